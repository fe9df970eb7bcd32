"""pyrun's systemd driver on a real systemd: the system's as root, the user's own as another."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrun.linux.cgroups import select
from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("systemd", "busybox")

ROOTLESS = os.geteuid() != 0
SYSTEMCTL = ["systemctl", "--user"] if ROOTLESS else ["systemctl"]
CGROUP = Path("/sys/fs/cgroup")


class Container:
    """A bundle and ``pyrun --systemd-cgroup`` for one container of it."""

    def __init__(self, pyrun: str, top: Path) -> None:
        name = uuid.uuid4().hex[:10]
        self.unit = f"test-sd{name}.scope"
        self.runtime = Runtime(pyrun, top / "state", "--systemd-cgroup")
        (top / name).mkdir()
        self.bundle = Bundle(top / name, ["sleep", "1000"])
        self.linux = self.bundle.linux
        self.linux["cgroupsPath"] = f":test:sd{name}"
        self.resources = self.linux["resources"]
        self.annotations = self.bundle.config.setdefault("annotations", {})
        if ROOTLESS:
            self.linux["namespaces"].append({"type": "user"})
            for key, own in (("uidMappings", os.getuid()), ("gidMappings", os.getgid())):
                self.linux[key] = [{"containerID": 0, "hostID": own, "size": 1}]

    def start(self) -> None:
        self.runtime.start(self.bundle)

    def refused(self) -> str:
        """What ``create`` says, which must fail."""
        self.bundle.save()
        words = ("create", "-b", str(self.bundle.path), self.runtime.new_id())
        done = self.runtime.call(*words)
        assert done.returncode == 1
        return done.stderr

    def state(self) -> dict[str, Any]:
        return self.runtime.state(self.runtime.ids[-1])

    def cgroup(self) -> Path:
        line = Path(f"/proc/{self.state()['pid']}/cgroup").read_text().splitlines()[-1]
        return CGROUP / line.split(":", 2)[2].lstrip("/")

    def exec(self, *words: str) -> str:
        """The output of a command in it, which must succeed."""
        done = self.runtime.call("exec", self.runtime.ids[-1], *words)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    def update(self, *options: str) -> None:
        """``update``, which must succeed."""
        done = self.runtime.call("update", *options, self.runtime.ids[-1])
        assert (done.returncode, done.stderr) == (0, "")

    def show(self, *names: str) -> dict[str, str]:
        """Properties of the scope."""
        words = [*SYSTEMCTL, "show", self.unit, f"--property={','.join(names)}"]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        return dict(line.split("=", 1) for line in text.splitlines())


@pytest.fixture
def new_of(tmp_path: Path) -> Iterator[Callable[[str], Container]]:
    """Makes containers of a runtime, which are deleted at the end with nothing left of them."""
    made: list[Container] = []

    def make(program: str) -> Container:
        made.append(Container(program, tmp_path))
        return made[-1]

    yield make
    for container in made:
        container.runtime.close()
    for container in made:
        assert container.show("LoadState") == {"LoadState": "not-found"}
        assert list(CGROUP.rglob(container.unit)) == []
    state = tmp_path / "state"
    assert not state.exists() or list(state.iterdir()) == []


@pytest.fixture
def new(pyrun_path: str, new_of: Callable[[str], Container]) -> Callable[[], Container]:
    """The same of pyrun."""
    return lambda: new_of(pyrun_path)


@pytest.fixture
def container(new: Callable[[], Container]) -> Container:
    return new()


def test_a_container_is_a_delegated_scope_in_its_slice(container: Container) -> None:
    container.start()
    wanted = {
        "ActiveState": "active",
        "Slice": "user.slice" if ROOTLESS else "system.slice",
        "Delegate": "yes",
        "DefaultDependencies": "no",
        "CPUAccounting": "yes",
        "MemoryAccounting": "yes",
        "TasksAccounting": "yes",
        "Transient": "yes",
    }
    assert container.show(*wanted) == wanted
    name = container.runtime.ids[-1]
    assert container.show("Description") == {"Description": f"pyrun container {name}"}
    assert container.cgroup().name == container.unit


@pytest.mark.needs("runc")
def test_a_scope_and_its_files_are_those_of_runc(
    container: Container, new_of: Callable[[str], Container]
) -> None:
    names = ["Slice", "Delegate", "DefaultDependencies", "Transient", "CPUAccounting"]
    names += ["MemoryAccounting", "TasksAccounting", "IOAccounting", "KillMode", "OOMPolicy"]
    names += ["MemoryMax", "MemorySwapMax", "MemoryLow", "MemoryHigh", "TasksMax", "CPUWeight"]
    names += ["CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec"]
    files = ["cpu.max", "cpu.weight", "memory.max", "memory.swap.max", "memory.low", "memory.high"]
    files += ["pids.max", "cgroup.type", "cgroup.subtree_control"]
    found = []
    for one in (container, new_of("runc")):
        one.resources |= {
            "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
            "cpu": {"quota": 25000, "period": 50000},
            "pids": {"limit": 16},
            "unified": {"memory.high": str(48 << 20), "cpu.weight": "77"},
        }
        one.start()
        texts = {name: (one.cgroup() / name).read_text() for name in files}
        owners = {path.name: path.stat().st_uid for path in one.cgroup().iterdir()}
        assert texts["pids.max"] == "16\n"
        found.append((one.show(*names), texts, owners, one.cgroup().parent))
    assert found[0] == found[1]


def test_a_nested_slice_is_made_on_the_way(container: Container) -> None:
    name = container.linux["cgroupsPath"].rpartition(":")[2]
    container.linux["cgroupsPath"] = f"pyt-{name}.slice:test:{name}"
    container.start()
    tail = f"pyt.slice/pyt-{name}.slice/{container.unit}"
    assert str(container.cgroup()).endswith(f"/{tail}")


def test_limits_are_properties_of_the_scope_and_in_its_files(container: Container) -> None:
    container.resources |= {
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 1024, "quota": 25000, "period": 50000},
        "pids": {"limit": 16},
        "unified": {"memory.high": str(48 << 20)},
    }
    container.start()
    wanted = {
        "MemoryMax": str(64 << 20),
        "MemorySwapMax": str(32 << 20),
        "MemoryLow": str(32 << 20),
        "MemoryHigh": str(48 << 20),
        "CPUWeight": "100",
        "CPUQuotaPerSecUSec": "500ms",
        "CPUQuotaPeriodUSec": "50ms",
        "TasksMax": "16",
    }
    assert container.show(*wanted) == wanted
    names = ("memory.max", "memory.swap.max", "cpu.weight", "cpu.max", "pids.max", "memory.high")
    values = [(container.cgroup() / name).read_text().strip() for name in names]
    assert values == [str(64 << 20), str(32 << 20), "100", "25000 50000", "16", str(48 << 20)]


def test_an_update_reaches_systemd_and_the_files(container: Container) -> None:
    container.resources["cpu"] = {"quota": 25000, "period": 50000}
    container.start()
    files = container.runtime.root / container.runtime.ids[-1] / "state.json"
    group = select.from_record(json.loads(files.read_text())["cgroup"])
    group.set({"pids": {"limit": 21}, "cpu": {"quota": 10000}})
    wanted = {"TasksMax": "21", "CPUQuotaPerSecUSec": "200ms", "CPUQuotaPeriodUSec": "50ms"}
    assert container.show(*wanted) == wanted
    found = [(container.cgroup() / name).read_text() for name in ("pids.max", "cpu.max")]
    assert found == ["21\n", "10000 50000\n"]


def test_a_quota_is_the_same_for_systemd_and_in_the_file(container: Container) -> None:
    container.resources["cpu"] = {"quota": 33333}
    container.start()
    assert container.show("CPUQuotaPerSecUSec") == {"CPUQuotaPerSecUSec": "340ms"}
    assert (container.cgroup() / "cpu.max").read_text() == "34000 100000\n"
    container.update("--cpu-period", "90000")
    assert container.show("CPUQuotaPerSecUSec") == {"CPUQuotaPerSecUSec": "380ms"}
    subprocess.run([*SYSTEMCTL, "daemon-reload"], check=True)
    assert (container.cgroup() / "cpu.max").read_text() == "34200 90000\n"


def test_an_idle_container_has_no_weight_until_an_update_ends_it(container: Container) -> None:
    container.resources["cpu"] = {"idle": 1, "shares": 2048}  # a weight that has to wait
    container.start()
    assert container.show("CPUWeight") == {"CPUWeight": "idle"}
    assert (container.cgroup() / "cpu.idle").read_text() == "1\n"
    container.update("--cpu-idle", "0", "--cpu-share", "512")
    weight = container.show("CPUWeight")["CPUWeight"]
    assert weight == "59"
    subprocess.run([*SYSTEMCTL, "daemon-reload"], check=True)
    values = [(container.cgroup() / name).read_text() for name in ("cpu.idle", "cpu.weight")]
    assert values == ["0\n", "59\n"]


@pytest.mark.needs("root", "cgroup2_io_weight")
def test_weights_of_block_devices_are_those_of_the_scope(container: Container) -> None:
    container.resources["blockIO"] = {"weight": 500}
    container.start()
    assert container.show("IOWeight") == {"IOWeight": "4950"}
    subprocess.run([*SYSTEMCTL, "daemon-reload"], check=True)
    assert (container.cgroup() / "io.weight").read_text().splitlines()[0] == "default 4950"
    container.update("--blkio-weight", "10")
    assert container.show("IOWeight") == {"IOWeight": "1"}
    assert (container.cgroup() / "io.weight").read_text().splitlines()[0] == "default 1"


@pytest.mark.needs("root")
def test_a_reload_of_systemd_leaves_limits_and_devices_alone(container: Container) -> None:
    rule = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
    container.resources["devices"].append(rule)
    unified = {"memory.oom.group": "1", "cpu.idle": "1"}
    container.resources |= {"pids": {"limit": 33}, "unified": unified}
    container.start()
    allowed = container.show("DevicePolicy", "DeviceAllow")
    assert allowed["DevicePolicy"] == "strict"
    subprocess.run([*SYSTEMCTL, "daemon-reload"], check=True)
    group = container.cgroup()
    assert (group / "pids.max").read_text() == "33\n"
    assert (group / "memory.oom.group").read_text() == "1\n"
    assert (group / "cpu.idle").read_text() == "1\n"
    assert container.exec("head", "-c", "3", "/dev/zero") == "\0" * 3


@pytest.mark.parametrize("kind", ["good", "bad"])
def test_annotations_set_properties_of_systemd(container: Container, kind: str) -> None:
    value = {"good": "uint64 7000000", "bad": "'soon'"}[kind]
    container.annotations["org.systemd.property.TimeoutStopUSec"] = value
    if kind == "good":
        container.start()
        assert container.show("TimeoutStopUSec") == {"TimeoutStopUSec": "7s"}
        return
    said = container.refused()
    assert f"make the systemd scope {container.unit} in" in said
    assert "annotations set its properties TimeoutStopUSec" in said


def test_crun_s_annotation_asks_for_a_cgroup_below_the_scope(container: Container) -> None:
    container.annotations["run.oci.systemd.subgroup"] = "inner"
    container.resources["pids"] = {"limit": 20}
    container.start()
    group = container.cgroup()
    assert (group.name, group.parent.name) == ("inner", container.unit)
    assert (group / "pids.max").read_text() == "20\n"


def test_exec_joins_the_scope(container: Container) -> None:
    container.start()
    assert container.exec("cat", "/proc/self/cgroup") == "0::/"


def test_a_scope_of_another_container_is_refused_and_left_alone(
    new: Callable[[], Container],
) -> None:
    first, second = new(), new()
    first.start()
    second.unit = first.unit
    second.linux["cgroupsPath"] = first.linux["cgroupsPath"]
    assert "it has processes already" in second.refused()
    assert first.state()["status"] == "running"


def test_a_unit_of_this_name_in_another_slice_is_refused_and_left_alone(
    new: Callable[[], Container],
) -> None:
    first, second = new(), new()
    first.start()
    second.unit = first.unit
    second.linux["cgroupsPath"] = "machine.slice" + first.linux["cgroupsPath"]
    problem = "there is a unit of this name already, of another container or service"
    assert problem in second.refused()
    assert first.state()["status"] == "running"
    assert first.show("ActiveState") == {"ActiveState": "active"}


def test_a_failed_unit_of_the_same_name_makes_room(container: Container) -> None:
    words = ["systemd-run", *SYSTEMCTL[1:], "--quiet", "--scope", f"--unit={container.unit}"]
    seconds = "--property=RuntimeMaxSec=100ms"
    done = subprocess.run([*words, seconds, "sleep", "1000"], check=False, capture_output=True)
    assert done.returncode != 0
    assert container.show("ActiveState") == {"ActiveState": "failed"}
    container.start()
    assert container.show("ActiveState") == {"ActiveState": "active"}


def test_a_limit_that_is_refused_leaves_no_scope(container: Container) -> None:
    container.resources["unified"] = {"memory.nonsense": "1"}
    assert "/linux/resources/unified/memory.nonsense" in container.refused()
    assert container.show("LoadState") == {"LoadState": "not-found"}


def test_a_path_of_the_other_driver_is_refused(container: Container) -> None:
    container.linux["cgroupsPath"] = "/somewhere"
    assert "must be slice:prefix:name for --cgroup-manager systemd" in container.refused()
