"""``linux.resources`` and ``cgroupsPath`` through the installed pyrun, in every cgroup layout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from support.bundle import Bundle
from support.runtime import InLayout, Runtime

pytestmark = pytest.mark.needs("root", "busybox")

MIB = 1 << 20
V1 = pytest.mark.needs("cgroup_memory", "cgroup_cpu", "cgroup_pids", "cgroup_devices")


def cgroups_of(pid: int) -> dict[str, str]:
    """Controller to directory on the host; ``""`` is cgroup2."""
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            folder = controller.removeprefix("name=") or "unified"
            if controllers == "" and os.path.exists("/sys/fs/cgroup/cgroup.procs"):
                folder = ""
            found[controller] = os.path.normpath(f"/sys/fs/cgroup/{folder}/{path}")
    return found


def read(pid: int, controller: str, name: str) -> str:
    return Path(cgroups_of(pid)[controller], name).read_text().strip()


def sleeping(pyrun: Runtime, bundle: Bundle, resources: dict[str, Any]) -> int:
    """The pid of a running container with these limits."""
    bundle.linux["resources"].update(resources)
    bundle.shell("sleep 1000")
    pid: int = pyrun.state(pyrun.start(bundle))["pid"]
    return pid


@V1
def test_each_limit_of_an_ordinary_config_reaches_its_file(pyrun: Runtime, bundle: Bundle) -> None:
    memory = {"limit": 64 * MIB, "swap": 128 * MIB, "reservation": 32 * MIB}
    cpu = {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"}
    pid = sleeping(pyrun, bundle, {"memory": memory, "cpu": cpu, "pids": {"limit": 16}})
    seen = {
        name: read(pid, controller, name)
        for controller, name in (
            ("memory", "memory.limit_in_bytes"),
            ("memory", "memory.memsw.limit_in_bytes"),
            ("memory", "memory.soft_limit_in_bytes"),
            ("cpu", "cpu.shares"),
            ("cpu", "cpu.cfs_quota_us"),
            ("cpu", "cpu.cfs_period_us"),
            ("cpuset", "cpuset.cpus"),
            ("pids", "pids.max"),
        )
    }
    assert seen == {
        "memory.limit_in_bytes": str(64 * MIB),
        "memory.memsw.limit_in_bytes": str(128 * MIB),
        "memory.soft_limit_in_bytes": str(32 * MIB),
        "cpu.shares": "512",
        "cpu.cfs_quota_us": "50000",
        "cpu.cfs_period_us": "100000",
        "cpuset.cpus": "0",
        "pids.max": "16",
    }


@pytest.mark.needs("cgroup2_limits")
def test_each_limit_reaches_its_file_in_cgroup2(pyrun: Runtime, bundle: Bundle) -> None:
    memory = {"limit": 64 * MIB, "swap": 128 * MIB}
    cpu = {"shares": 512, "quota": 50000, "period": 100000}
    pid = sleeping(pyrun, bundle, {"memory": memory, "cpu": cpu, "pids": {"limit": 16}})
    names = ("memory.max", "memory.swap.max", "cpu.weight", "cpu.max", "pids.max")
    assert [read(pid, "", name) for name in names] == [
        str(64 * MIB),
        str(64 * MIB),
        "59",
        "50000 100000",
        "16",
    ]


@pytest.mark.needs("cgroup2_limits", "systemd")
def test_a_scope_of_systemd_has_the_limits(pyrun_path: str, tmp_path: Path, bundle: Bundle) -> None:
    with Runtime(pyrun_path, tmp_path / "state", "--systemd-cgroup") as runtime:
        name = f"scope{os.getpid()}"
        bundle.linux["cgroupsPath"] = f"system.slice:test:{name}"
        pid = sleeping(runtime, bundle, {"pids": {"limit": 16}})
        assert cgroups_of(pid)[""] == f"/sys/fs/cgroup/system.slice/test-{name}.scope"
        assert read(pid, "", "pids.max") == "16"
        done = runtime.call("exec", runtime.ids[-1], "cat", "/proc/self/cgroup")
        assert (done.returncode, done.stdout) == (0, "0::/\n"), done.stderr
        assert runtime.call("delete", "--force", runtime.ids[-1]).returncode == 0
        assert not os.path.exists(f"/sys/fs/cgroup/system.slice/test-{name}.scope")


def test_without_systemd_its_driver_says_what_it_tried(
    pyrun_path: str, tmp_path: Path, bundle: Bundle
) -> None:
    if os.path.exists("/run/systemd/private"):
        pytest.skip("systemd runs here")
    with Runtime(pyrun_path, tmp_path / "state", "--systemd-cgroup") as runtime:
        done = runtime.run(bundle)
        assert done.returncode == 1
        assert "make the systemd scope pyrun-test-" in done.stderr
        assert "/run/systemd/private: No such file or directory" in done.stderr
        assert runtime.left(runtime.ids[-1]) == []


def processes_beyond_the_limit(pyrun: Runtime, bundle: Bundle) -> list[str]:
    """What a container prints that may have four processes and wants seven."""
    bundle.linux["resources"]["pids"] = {"limit": 4}
    bundle.shell("echo begun; for n in 1 2 3 4 5 6; do sleep 5 & done 2>/dev/null; echo never")
    return pyrun.run(bundle).stdout.split()


@V1
def test_the_limits_hold(pyrun: Runtime, bundle: Bundle) -> None:
    assert processes_beyond_the_limit(pyrun, bundle) == ["begun"]


@pytest.mark.needs("cgroup2_limits")
def test_the_limits_hold_in_cgroup2(pyrun: Runtime, bundle: Bundle) -> None:
    assert processes_beyond_the_limit(pyrun, bundle) == ["begun"]


@V1
def test_memory_above_the_limit_ends_the_program(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["memory"] = {"limit": 32 * MIB, "swap": 32 * MIB}
    bundle.shell("tail /dev/zero")  # keeps the whole last line, which never ends
    assert pyrun.run(bundle).returncode == 137


@pytest.mark.needs("cgroup2_limits")
@pytest.mark.parametrize(
    ("unified", "wanted"), [({}, (3, "137\n")), ({"memory.oom.group": "1"}, (137, ""))]
)
def test_memory_above_the_limit_ends_one_or_all_in_cgroup2(
    pyrun: Runtime, bundle: Bundle, unified: dict[str, str], wanted: tuple[int, str]
) -> None:
    memory = {"limit": 32 * MIB, "swap": 32 * MIB}
    bundle.linux["resources"] |= {"memory": memory, "unified": unified}
    bundle.process["oomScoreAdj"] = 0  # the caller may be protected
    bundle.shell("tail /dev/zero; echo $?; exit 3")
    done = pyrun.run(bundle)
    assert (done.returncode, done.stdout) == wanted, done.stderr


@pytest.mark.needs("cgroup2_limits")
def test_time_above_the_quota_is_withheld_in_cgroup2(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["cpu"] = {"quota": 5000, "period": 100000}
    bundle.shell(
        "until grep -q 'nr_throttled [1-9]' /sys/fs/cgroup/cpu.stat; do :; done; echo withheld"
    )
    assert pyrun.output(bundle) == "withheld"


def test_denied_devices_cannot_be_opened(runtime: InLayout, bundle: Bundle) -> None:
    bundle.linux["devices"] = [{"type": "c", "path": "/dev/log", "major": 1, "minor": 11}]
    for names in bundle.process["capabilities"].values():
        names += ["CAP_SYSLOG"]
    script = "head -c 0 /dev/null && (exec 3</dev/log) 2>/dev/null && echo yes || echo no"
    bundle.shell(script)
    assert runtime.output(bundle) == "no"
    rules = bundle.linux["resources"]["devices"]
    rules.append({"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"})
    assert runtime.output(bundle) == "yes"


def test_exec_joins_the_cgroup(runtime: InLayout, bundle: Bundle) -> None:
    kept = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "cgroup"]
    bundle.linux["namespaces"] = kept  # so that both see the host's paths
    bundle.shell("sleep 1000")
    name = runtime.start(bundle)
    own = Path(f"/proc/{runtime.state(name)['pid']}/cgroup").read_text()
    assert name in own
    done = runtime.call("exec", name, "cat", "/proc/self/cgroup")
    assert (done.returncode, done.stdout) == (0, own), done.stderr


def test_no_cgroup_is_left(runtime: InLayout, bundle: Bundle) -> None:
    bundle.shell("sleep 1000 & sleep 1000 & exit 3")
    assert runtime.run(bundle).returncode == 3
    assert runtime.left(runtime.ids[-1]) == []


@V1
def test_processes_outside_of_the_pid_namespace_end_with_delete(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """Without a pid namespace nothing ends the others when init ends, but their cgroup tells."""
    kept = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "pid"]
    bundle.linux["namespaces"] = kept
    bundle.shell("sleep 1000 >/dev/null 2>&1 & exit 0")
    name = pyrun.start(bundle)
    pyrun.wait_until_stopped(name)
    assert pyrun.call("delete", name).returncode == 0
    assert pyrun.left(name) == []


@V1
@pytest.mark.parametrize("path", ["/{id}/inner", "{id}"])
def test_cgroups_path_is_absolute_or_relative(pyrun: Runtime, bundle: Bundle, path: str) -> None:
    name = f"path{os.getpid()}"
    bundle.linux["cgroupsPath"] = path.format(id=name)
    bundle.shell("sleep 1000")
    container = pyrun.start(bundle)
    try:
        seen = cgroups_of(pyrun.state(container)["pid"])["pids"]
        own = cgroups_of(os.getpid())["pids"]
        wanted = f"/sys/fs/cgroup/pids/{name}/inner" if path[0] == "/" else f"{own}/{name}"
        assert seen == wanted
    finally:
        pyrun.call("delete", "--force", container)
        if path[0] == "/":
            for parent in Path("/sys/fs/cgroup").glob(f"*/{name}"):
                parent.rmdir()


@V1
@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"network": {"classID": 1}}, "/linux/resources/network/classID: needs the cgroup"),
        ({"cpu": {"cpus": "4000"}}, "/linux/resources/cpu/cpus: write 4000 to"),
        (
            {"rdma": {"mlx5_1": {"hcaHandles": 1}}},
            "/linux/resources/rdma/mlx5_1: needs the cgroup controller rdma",
        ),
        (
            {"unified": {"memory.high": "1"}},
            "/linux/resources/unified/memory.high: needs the cgroup controller memory",
        ),
        (
            {"devices": [
                {"allow": True, "type": "c", "major": 1, "minor": -1, "access": "rwm"},
                {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "r"},
            ]},
            "/linux/resources/devices/1: denies a part of what a wider rule",
        ),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be_had_is_an_error(
    pyrun: Runtime, bundle: Bundle, resources: dict[str, Any], words: str
) -> None:
    bundle.linux["resources"] = resources
    done = pyrun.run(bundle)
    assert done.returncode == 1
    assert words in done.stderr
    assert pyrun.left(pyrun.ids[-1]) == []


@V1
def test_a_cgroup_in_use_is_refused(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["cgroupsPath"] = f"/used{os.getpid()}"
    bundle.shell("sleep 1000")
    first = pyrun.start(bundle)
    done = pyrun.run(bundle)
    assert done.returncode == 1
    assert "it has processes already" in done.stderr
    assert pyrun.state(first)["status"] == "running"


@V1
def test_a_cgroup_mount_shows_the_container_its_own_cgroup(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["pids"] = {"limit": 23}
    bundle.shell("cat /sys/fs/cgroup/pids/pids.max; ls /sys/fs/cgroup")
    first, *names = pyrun.output(bundle).split()
    assert first == "23"
    assert {"memory", "pids", "devices"} <= set(names)


@pytest.mark.needs("v2_view")
def test_init_is_moved_to_a_delegated_cgroup(
    pyrun_path: str, tmp_path: Path, bundle: Bundle
) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        bundle.linux[name] = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    bundle.shell("sleep 1000")
    bundle.config["annotations"] = {"run.oci.delegate-cgroup": "payload"}
    alone = os.path.exists("/sys/fs/cgroup/cgroup.procs")
    top = Path("/sys/fs/cgroup" if alone else "/sys/fs/cgroup/unified")
    with InLayout(pyrun_path, tmp_path / "state", "host" if alone else "v2") as pyrun:
        name = pyrun.start(bundle)
        state = json.loads((pyrun.root / name / "state.json").read_text())
        lines = Path(f"/proc/{state['pid']}/cgroup").read_text().splitlines()
        (place,) = [line[3:] for line in lines if line.startswith("0::")]
        assert place.endswith(f"/{name}/payload")
        # the container sees it below its own root
        shown = pyrun.call("exec", name, "cat", "/proc/1/cgroup").stdout
        assert "0::/payload" in shown.splitlines()
        directory = top / place.lstrip("/")
        assert (directory.stat().st_uid, (directory / "cgroup.procs").stat().st_gid) == (
            100000, 100000,
        )  # fmt: skip
        assert pyrun.call("delete", "--force", name).returncode == 0
        assert pyrun.left(name) == []


def test_the_cgroup_namespace_of_a_container_elsewhere_can_be_joined(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """Where cgroup2 has ``nsdelegate`` nobody in that namespace may enter the new cgroup."""
    bundle.shell("sleep 1000")
    path = f"/proc/{pyrun.state(pyrun.start(bundle))['pid']}/ns/cgroup"
    kinds = [one for one in bundle.linux["namespaces"] if one["type"] != "cgroup"]
    bundle.linux["namespaces"] = [*kinds, {"type": "cgroup", "path": path}]
    pid = pyrun.state(pyrun.start(bundle))["pid"]
    assert os.readlink(f"/proc/{pid}/ns/cgroup") == os.readlink(path)
    done = pyrun.call("exec", pyrun.ids[-1], "readlink", "/proc/self/ns/cgroup")
    assert done.stdout.strip() == os.readlink(path)
