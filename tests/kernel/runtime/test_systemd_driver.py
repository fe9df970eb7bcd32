"""pyrun's systemd driver on a real systemd: the system's as root, the user's own as another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.machine import BUSYBOX

pytestmark = pytest.mark.needs("systemd", "busybox")

ROOTLESS = os.geteuid() != 0
SYSTEMCTL = ["systemctl", "--user"] if ROOTLESS else ["systemctl"]
CGROUP = Path("/sys/fs/cgroup")


class Container:
    """A bundle of busybox, and ``pyrun --systemd-cgroup`` for it."""

    def __init__(self, pyrun: str, top: Path) -> None:
        self.id = f"sd{uuid.uuid4().hex[:10]}"
        self.unit = f"test-{self.id}.scope"
        self.command = [pyrun, "--root", str(top / "state"), "--systemd-cgroup"]
        self.bundle = top / self.id
        programs = self.bundle / "rootfs/bin"
        programs.mkdir(parents=True)
        shutil.copy(BUSYBOX, programs)
        words = [pyrun, "spec", *(["--rootless"] if ROOTLESS else [])]
        subprocess.run(words, cwd=self.bundle, check=True)
        self.config: dict[str, Any] = json.loads((self.bundle / "config.json").read_text())
        self.config["process"]["terminal"] = False
        self.config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
        self.config["linux"]["cgroupsPath"] = f":test:{self.id}"
        self.config["annotations"] = {}

    @property
    def linux(self) -> Any:
        return self.config["linux"]

    def pyrun(self, *words: str) -> subprocess.CompletedProcess[str]:
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        return subprocess.run(
            [*self.command, *words],
            cwd=self.bundle,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def start(self) -> None:
        for word in ("create", "start"):
            # create leaves its output to the container, so a pipe would stay open
            with open(self.bundle / "log", "w+") as log:
                (self.bundle / "config.json").write_text(json.dumps(self.config))
                done = subprocess.run(
                    [*self.command, word, self.id],
                    cwd=self.bundle,
                    check=False,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
                log.seek(0)
                assert done.returncode == 0, log.read()

    def pid(self) -> int:
        return int(json.loads(self.pyrun("state", self.id).stdout)["pid"])

    def cgroup(self) -> Path:
        line = Path(f"/proc/{self.pid()}/cgroup").read_text().splitlines()[-1]
        return CGROUP / line.split(":", 2)[2].lstrip("/")

    def show(self, *names: str) -> dict[str, str]:
        return show(self.unit, *names)


def show(unit: str, *names: str) -> dict[str, str]:
    words = [*SYSTEMCTL, "show", unit, f"--property={','.join(names)}"]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


@pytest.fixture
def new(pyrun_path: str, tmp_path: Path) -> Iterator[Callable[[], Container]]:
    """Makes containers, which are deleted at the end with nothing left of them."""
    made: list[Container] = []

    def make() -> Container:
        made.append(Container(pyrun_path, tmp_path))
        return made[-1]

    yield make
    for container in made:
        container.pyrun("delete", "--force", container.id)
        assert container.show("LoadState") == {"LoadState": "not-found"}
        assert list(CGROUP.rglob(container.unit)) == []
    state = tmp_path / "state"
    assert not state.exists() or list(state.iterdir()) == []


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
        "Description": f"pyrun container {container.id}",
        "CPUAccounting": "yes",
        "MemoryAccounting": "yes",
        "TasksAccounting": "yes",
        "Transient": "yes",
    }
    assert container.show(*wanted) == wanted
    assert container.cgroup().name == container.unit


def test_a_nested_slice_is_made_on_the_way(container: Container) -> None:
    container.linux["cgroupsPath"] = f"pyt-{container.id}.slice:test:{container.id}"
    container.start()
    tail = f"pyt.slice/pyt-{container.id}.slice/{container.unit}"
    assert str(container.cgroup()).endswith(f"/{tail}")


def test_limits_are_properties_of_the_scope_and_in_its_files(container: Container) -> None:
    container.linux["resources"] = {
        **container.linux.get("resources", {}),
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


@pytest.mark.needs("root")
def test_a_reload_of_systemd_leaves_limits_and_devices_alone(container: Container) -> None:
    rule = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
    container.linux["resources"]["devices"].append(rule)
    container.linux["resources"]["pids"] = {"limit": 33}
    container.linux["resources"]["unified"] = {"memory.oom.group": "1"}
    container.start()
    allowed = container.show("DevicePolicy", "DeviceAllow")
    assert allowed["DevicePolicy"] == "strict"
    subprocess.run([*SYSTEMCTL, "daemon-reload"], check=True)
    group = container.cgroup()
    assert (group / "pids.max").read_text() == "33\n"
    assert (group / "memory.oom.group").read_text() == "1\n"
    read = container.pyrun("exec", container.id, "/bin/busybox", "head", "-c", "0", "/dev/zero")
    assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["good", "bad"])
def test_annotations_set_properties_of_systemd(container: Container, kind: str) -> None:
    value = {"good": "uint64 7000000", "bad": "'soon'"}[kind]
    container.config["annotations"]["org.systemd.property.TimeoutStopUSec"] = value
    if kind == "good":
        container.start()
        assert container.show("TimeoutStopUSec") == {"TimeoutStopUSec": "7s"}
        return
    done = container.pyrun("create", container.id)
    assert done.returncode == 1
    assert f"start {container.unit} in" in done.stderr
    assert "annotations set its properties TimeoutStopUSec" in done.stderr


def test_crun_s_annotation_asks_for_a_cgroup_below_the_scope(container: Container) -> None:
    container.config["annotations"]["run.oci.systemd.subgroup"] = "inner"
    container.linux.setdefault("resources", {})["pids"] = {"limit": 20}
    container.start()
    group = container.cgroup()
    assert (group.name, group.parent.name) == ("inner", container.unit)
    assert (group / "pids.max").read_text() == "20\n"


def test_exec_joins_the_scope(container: Container) -> None:
    container.start()
    done = container.pyrun("exec", container.id, "/bin/busybox", "cat", "/proc/self/cgroup")
    assert (done.returncode, done.stderr) == (0, "")
    inside = done.stdout.strip()
    assert inside in ("0::/", f"0::/{container.cgroup().relative_to(CGROUP)}")


def test_a_unit_of_another_is_refused_and_left_alone(new: Callable[[], Container]) -> None:
    first, second = new(), new()
    first.start()
    second.unit = first.unit
    second.linux["cgroupsPath"] = first.linux["cgroupsPath"]
    done = second.pyrun("create", second.id)
    assert done.returncode == 1
    problem = "there is a unit of this name already, of another container or service"
    assert problem in done.stderr
    assert json.loads(first.pyrun("state", first.id).stdout)["status"] == "running"
    assert (first.cgroup() / "cgroup.procs").read_text() == f"{first.pid()}\n"


def test_a_failed_unit_of_the_same_name_makes_room(container: Container) -> None:
    words = ["systemd-run", *SYSTEMCTL[1:], "--quiet", "--scope", f"--unit={container.unit}"]
    seconds = "--property=RuntimeMaxSec=100ms"
    done = subprocess.run([*words, seconds, "sleep", "1000"], check=False, capture_output=True)
    assert done.returncode != 0
    assert container.show("ActiveState") == {"ActiveState": "failed"}
    container.start()
    assert container.show("ActiveState") == {"ActiveState": "active"}


def test_a_limit_that_is_refused_leaves_no_scope(container: Container) -> None:
    container.linux.setdefault("resources", {})["unified"] = {"memory.nonsense": "1"}
    done = container.pyrun("create", container.id)
    assert done.returncode == 1
    assert "/linux/resources/unified/memory.nonsense" in done.stderr
    assert container.show("LoadState") == {"LoadState": "not-found"}


def test_a_path_of_the_other_driver_is_refused(container: Container) -> None:
    container.linux["cgroupsPath"] = "/somewhere"
    done = container.pyrun("create", container.id)
    assert done.returncode == 1
    assert "must be slice:prefix:name for --cgroup-manager systemd" in done.stderr
