"""Every breach of config.json at once, each under its pointer."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrun.errors import ConfigError
from pyrun.spec import validate

GOOD: dict[str, Any] = {
    "ociVersion": "1.0.2-dev",
    "process": {
        "terminal": True,
        "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 0, "gid": 0, "umask": 18, "additionalGids": [5]},
        "args": ["sh"],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_NOT_YET_INVENTED"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 2**64 - 1, "soft": 1024}],
        "noNewPrivileges": True,
        "oomScoreAdj": 100,
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4},
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "web1",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "relative", "source": "/tmp", "options": ["rbind", "ro"]},
    ],
    "hooks": {"poststop": [{"path": "/bin/true", "args": ["true"], "timeout": 5}]},
    "annotations": {"a": ""},
    "linux": {
        "namespaces": [
            {"type": "pid"},
            {"type": "network", "path": "/run/netns/x"},
            {"type": "ipc"},
            {"type": "uts"},
            {"type": "mount"},
            {"type": "cgroup"},
        ],
        "devices": [
            {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 438},
            {"type": "p", "path": "/dev/pipe"},
        ],
        "cgroupsPath": "/web1",
        "resources": {
            "devices": [{"allow": False, "access": "rwm"}],
            "memory": {"limit": 1, "swap": -1},
            "unified": {"memory.high": "1"},
        },
        "sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "1", "fs/mqueue/msg_max": "1"},
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [
                {
                    "names": ["getpid"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}],
                }
            ],
        },
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "rootfsPropagation": "rslave",
        "personality": {"domain": "LINUX32"},
    },
    "vendor": {"anything": ["goes"]},
}
MISSING = object()


def changed(pointer: str, value: Any) -> Any:
    """GOOD with one value set, or removed when it is MISSING."""
    config = copy.deepcopy(GOOD)
    *way, last = pointer.split("/")[1:]
    at: Any = config
    for part in way:
        at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
    if isinstance(at, list):
        at[int(last)] = value
    elif value is MISSING:
        del at[last]
    else:
        at[last] = value
    return config


def pointers(config: Any) -> list[str]:
    return [finding.pointer for finding in validate.check(config)]


def test_a_full_config_has_no_finding() -> None:
    assert validate.check(GOOD) == []


@pytest.mark.parametrize(
    "pointer",
    [
        "/process",
        "/hostname",
        "/linux/seccomp",
        "/linux/resources",
        "/mounts",
        "/hooks",
        "/annotations",
        "/process/rlimits",
        "/process/user",
    ],
)
def test_optional_parts_may_be_missing_or_null(pointer: str) -> None:
    assert pointers(changed(pointer, MISSING)) == []
    assert pointers(changed(pointer, None)) == []


@pytest.mark.parametrize(
    "version", ["1.0.0", "1.1.0+dev", "1.2.1", "1.3.0", "1.3.99", "1.0.0-rc5", "1.0.0--a.0+01"]
)
def test_supported_versions(version: str) -> None:
    assert pointers(changed("/ociVersion", version)) == []


@pytest.mark.parametrize(
    "version",
    [
        "1.4.0",
        "2.0.0",
        "0.9.0",
        "1.0",
        "",
        "one",
        "1.0.0.0",
        "-1.0.0",
        "01.0.0",
        "1.00.0",
        "1.0.0-",
        "1.0.0+",
        "1.0.0-a..b",
        "1.0.0-01",
        "1.0.0-\u00e4",
        "1.0.0+a+b",
        " 1.0.0",
    ],
)
def test_other_versions_are_refused(version: str) -> None:
    assert pointers(changed("/ociVersion", version)) == ["/ociVersion"]


RULE = "/linux/seccomp/syscalls/0"
BLOCK = "/linux/resources/blockIO"


@pytest.mark.parametrize(
    ("pointer", "value", "expected"),
    [
        ("/ociVersion", MISSING, ""),
        ("/ociVersion", 1, ""),
        ("/root", MISSING, ""),
        ("/root", [], ""),
        ("/root/path", MISSING, ""),
        ("/root/path", "", ""),
        ("/root/path", "a\0b", ""),
        ("/root/readonly", "yes", ""),
        ("/process/cwd", "relative", ""),
        ("/process/cwd", MISSING, ""),
        ("/process/args", [], ""),
        ("/process/args", MISSING, ""),
        ("/process/args", "sh", ""),
        ("/process/args/0", 1, ""),
        ("/process/user/uid", MISSING, ""),
        ("/process/user/uid", -1, ""),
        ("/process/user/uid", 2**32, ""),
        ("/process/user/uid", True, ""),
        ("/process/user/gid", 1.0, ""),
        ("/process/env", {"PATH": "/bin"}, ""),
        ("/process/terminal", 1, ""),
        ("/process/consoleSize", {"height": 1}, "/process/consoleSize/width"),
        ("/process/capabilities/bounding", "CAP_KILL", ""),
        ("/process/rlimits/0/type", "RLIMIT_NOPE", ""),
        ("/process/rlimits/0/soft", MISSING, ""),
        ("/process/rlimits/0/hard", 5, "/process/rlimits/0/soft"),
        ("/process/oomScoreAdj", 1001, ""),
        ("/process/ioPriority/class", "IDLE", ""),
        ("/process/ioPriority/priority", 8, ""),
        ("/process/scheduler/policy", "SCHED_NOPE", ""),
        ("/process/scheduler/nice", 20, ""),
        ("/process/scheduler/nice", -21, ""),
        ("/process/scheduler/flags", ["SCHED_FLAG_NOPE"], "/process/scheduler/flags/0"),
        ("/mounts/0", "proc", ""),
        ("/mounts/0/destination", MISSING, ""),
        ("/mounts/0/destination", "", ""),
        ("/mounts/0/options", ["a", 1], "/mounts/0/options/1"),
        ("/mounts/0/options", ["idmap"], ""),
        (
            "/mounts/0",
            {
                "destination": "/a",
                "uidMappings": [{"containerID": 0, "hostID": 0, "size": -1}],
                "gidMappings": [{"containerID": 0, "hostID": 0, "size": 1}],
            },
            "/mounts/0/uidMappings/0/size",
        ),
        (
            "/mounts/0/gidMappings",
            [{"containerID": 0, "hostID": 0, "size": 1}],
            "/mounts/0/uidMappings",
        ),
        ("/hooks/poststop/0/path", "bin/true", ""),
        ("/hooks/poststop/0/timeout", 0, ""),
        ("/hooks/poststop/0/args", "x", ""),
        ("/hooks/poststop/0/env", ["A=b", "=c"], "/hooks/poststop/0/env/1"),
        ("/annotations/", "empty key", ""),
        ("/annotations/a", 1, ""),
        ("/linux/namespaces/0/type", "nope", ""),
        ("/linux/namespaces/0/type", "ipc", "/linux/namespaces/2"),
        ("/linux/namespaces/1/path", "relative", ""),
        ("/linux/uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}], ""),
        ("/linux/timeOffsets", {"boottime": {"secs": 1}}, ""),
        ("/linux/devices/0/major", MISSING, ""),
        ("/linux/devices/0/path", "fuse", ""),
        ("/linux/devices/0/type", "x", ""),
        ("/linux/cgroupsPath", 1, ""),
        ("/linux/sysctl/kernel.pid_max", "1", ""),
        ("/linux/sysctl/kernel.hostname", "other", ""),
        ("/linux/sysctl/user.max_user_namespaces", "1", ""),
        ("/linux/maskedPaths", ["proc"], "/linux/maskedPaths/0"),
        ("/linux/readonlyPaths", ["proc"], "/linux/readonlyPaths/0"),
        ("/linux/rootfsPropagation", "nope", ""),
        ("/linux/personality/domain", "HPUX", ""),
        ("/linux/personality/flags", ["X"], "/linux/personality/flags/0"),
        ("/linux/memoryPolicy", {"mode": "MPOL_NOPE"}, "/linux/memoryPolicy/mode"),
        ("/linux/memoryPolicy", {"mode": "MPOL_BIND"}, "/linux/memoryPolicy/nodes"),
        (
            "/linux/memoryPolicy",
            {"mode": "MPOL_DEFAULT", "nodes": "1"},
            "/linux/memoryPolicy/nodes",
        ),
        ("/linux/memoryPolicy", {"mode": "MPOL_BIND", "nodes": "2-1"}, "/linux/memoryPolicy/nodes"),
        ("/linux/netDevices", {"a/b": {}}, "/linux/netDevices/a~1b"),
        ("/linux/netDevices", {"e": {"name": "sixteen-letters-"}}, "/linux/netDevices/e/name"),
        ("/linux/netDevices", {"e": {"name": "a%d%d"}}, "/linux/netDevices/e/name"),
        ("/process/execCPUAffinity", {"final": "1,"}, "/process/execCPUAffinity/final"),
        ("/linux/intelRdt/memBwSchema", "L3:0=1", ""),
        ("/linux/intelRdt/memBwSchema", "", ""),
        ("/linux/intelRdt/schemata", ["a\nb"], "/linux/intelRdt/schemata/0"),
        ("/linux/resources/devices/0/allow", MISSING, ""),
        ("/linux/resources/devices/0/access", "rx", ""),
        ("/linux/resources/memory/limit", "64m", ""),
        ("/linux/resources/memory/limit", 2**63, ""),
        ("/linux/resources/memory", {"limit": 2, "swap": 1}, "/linux/resources/memory/swap"),
        ("/linux/resources/memory/reservation", -2, ""),
        ("/linux/resources/memory/swappiness", 101, ""),
        ("/linux/resources/cpu/idle", 2, ""),
        ("/linux/resources/pids/limit", -2, ""),
        ("/linux/resources/cpu", {"quota": 1, "burst": 2}, "/linux/resources/cpu/burst"),
        ("/linux/resources/pids/limit", "max", ""),
        (f"{BLOCK}/weight", 5, ""),
        (f"{BLOCK}/weightDevice", [{"major": 8, "minor": 0}], f"{BLOCK}/weightDevice/0"),
        (
            "/linux/resources/hugepageLimits",
            [{"pageSize": "2MiB", "limit": 1}],
            "/linux/resources/hugepageLimits/0/pageSize",
        ),
        (
            "/linux/resources/hugepageLimits",
            [{"pageSize": "02MB", "limit": 1}],
            "/linux/resources/hugepageLimits/0/pageSize",
        ),
        ("/linux/resources/rdma/mlx5~1", {}, "/linux/resources/rdma/mlx5~01"),
        ("/linux/resources/unified/memory.high", 1, ""),
        ("/linux/seccomp/defaultAction", "SCMP_ACT_NOPE", ""),
        ("/linux/seccomp/architectures/0", "X86", ""),
        ("/linux/seccomp/flags", ["TSYNC"], "/linux/seccomp/flags/0"),
        ("/linux/seccomp/listenerMetadata", "x", ""),
        (f"{RULE}/names", [], ""),
        (f"{RULE}/names", MISSING, ""),
        (f"{RULE}/action", "SCMP_ACT_NOTIFY", "/linux/seccomp/listenerPath"),
        (f"{RULE}/errnoRet", 1, ""),
        (f"{RULE}/args/0/op", "EQ", ""),
        (f"{RULE}/args/0/index", 6, ""),
    ],
)
def test_a_breach_is_found_at_its_place(pointer: str, value: Any, expected: str) -> None:
    assert pointers(changed(pointer, value)) == [expected or pointer]


@pytest.mark.parametrize(
    ("removed", "expected"),
    [
        ("uts", ["/hostname"]),
        (
            "mount",
            [
                "/linux/maskedPaths",
                "/linux/readonlyPaths",
                "/linux/rootfsPropagation",
                "/root/readonly",
            ],
        ),
        ("network", ["/linux/sysctl/net.ipv4.ip_forward"]),
        ("ipc", ["/linux/sysctl/kernel.shmmax", "/linux/sysctl/fs~1mqueue~1msg_max"]),
    ],
)
def test_what_needs_a_namespace_is_refused_without_it(removed: str, expected: list[str]) -> None:
    kept = [entry for entry in GOOD["linux"]["namespaces"] if entry["type"] != removed]
    assert pointers(changed("/linux/namespaces", kept)) == expected


def test_a_joined_mount_namespace_has_its_root_from_others() -> None:
    config = changed("/linux/namespaces/4/path", "/run/other")
    assert pointers(config) == ["/linux/rootfsPropagation", "/root/readonly"]


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ({"monotonic": {"secs": -1}, "boottime": {"nanosecs": 10**9 - 1}}, []),
        ({"wall": {"secs": 1}}, ["/linux/timeOffsets/wall"]),
        ({"boottime": {"nanosecs": 10**9}}, ["/linux/timeOffsets/boottime/nanosecs"]),
    ],
)
def test_offsets_of_clocks(offsets: dict[str, Any], expected: list[str]) -> None:
    config = changed("/linux/timeOffsets", offsets)
    config["linux"]["namespaces"].append({"type": "time"})
    assert pointers(config) == expected
    config["linux"]["namespaces"][-1]["path"] = "/proc/1/ns/time"
    assert "/linux/timeOffsets" in pointers(config)


def test_all_breaches_are_found_at_once() -> None:
    config = changed("/process/cwd", "relative")
    del config["root"]
    config["mounts"][0]["options"] = [1]
    config["hooks"]["poststop"][0]["timeout"] = -1
    expected = ["/hooks/poststop/0/timeout", "/mounts/0/options/0", "/process/cwd", "/root"]
    assert sorted(pointers(config)) == expected
    with pytest.raises(ConfigError) as caught:
        validate.require(config)
    assert str(caught.value) == (
        "config.json: /mounts/0/options/0: must be a string (config.md, Mounts);"
        " /root: is missing (config.md);"
        " /process/cwd: must be an absolute path (config.md, Process);"
        " /hooks/poststop/0/timeout: must be greater than zero (config.md, POSIX-platform Hooks)"
    )


def test_a_wrong_type_hides_no_breach_beside_it() -> None:
    config = changed("/process/args", "sh")
    config["process"].update(cwd="relative", env=["A=b", 1, "=c"], oomScoreAdj=2000, user=None)
    config["process"]["rlimits"] *= 2
    config["mounts"] = ["proc", {"destination": ""}, {"destination": "/a", "options": [1]}]
    config["hooks"] = {"poststop": [{"path": 1, "timeout": 0}, {"path": "x"}]}
    config["linux"]["devices"] = [{"type": "x"}, {"type": "c", "path": "fuse", "minor": "1"}]
    config["linux"]["resources"] = {
        "memory": {"limit": "64m", "swappiness": 300}, "pids": 5, "cpu": {"idle": 2}
    }  # fmt: skip
    config["linux"]["seccomp"] = {
        "defaultErrnoRet": 1, "syscalls": [{"names": [], "action": "SCMP_ACT_KILL", "errnoRet": 2}]
    }  # fmt: skip
    assert sorted(pointers(config)) == [
        "/hooks/poststop/0/path", "/hooks/poststop/0/timeout", "/hooks/poststop/1/path",
        "/linux/devices/0/major", "/linux/devices/0/minor", "/linux/devices/0/path",
        "/linux/devices/0/type", "/linux/devices/1/major", "/linux/devices/1/minor",
        "/linux/devices/1/path", "/linux/resources/cpu/idle", "/linux/resources/memory/limit",
        "/linux/resources/memory/swappiness", "/linux/resources/pids",
        "/linux/seccomp/defaultAction", "/linux/seccomp/syscalls/0/errnoRet",
        "/linux/seccomp/syscalls/0/names", "/mounts/0", "/mounts/1/destination",
        "/mounts/2/options/0", "/process/args", "/process/cwd", "/process/env/1",
        "/process/env/2", "/process/oomScoreAdj", "/process/rlimits/1",
    ]  # fmt: skip


def test_a_wrong_type_hides_no_breach_elsewhere() -> None:
    config = changed("/linux/sysctl/kernel.pid_max", "1")
    config["linux"]["namespaces"][0] = "pid"
    config["linux"]["maskedPaths"] = ["proc"]
    assert pointers(config) == ["/linux/namespaces/0", "/linux/maskedPaths/0"]


def test_a_console_size_without_a_terminal_is_ignored() -> None:
    config = changed("/process/consoleSize", "huge")
    config["process"]["terminal"] = False
    assert pointers(config) == []


@pytest.mark.parametrize("config", [[], "x", 1, None, True])
def test_something_else_than_an_object_is_refused(config: Any) -> None:
    (finding,) = validate.check(config)
    assert (finding.pointer, finding.problem) == ("", "must be an object")


def test_the_root_filesystem_must_be_a_directory(tmp_path: Path) -> None:
    (finding,) = validate.check(GOOD, str(tmp_path))
    assert (finding.pointer, finding.problem) == ("/root/path", "there is no directory rootfs")
    (tmp_path / "rootfs").mkdir()
    assert validate.check(GOOD, str(tmp_path)) == []


def test_many_breaches_make_a_readable_message() -> None:
    config = changed("/process/args", [1] * 1000)
    with pytest.raises(ConfigError, match=r"; and 980 more") as caught:
        validate.require(config)
    assert len(str(caught.value)) < 2000


def test_twenty_thousand_breaches_are_no_minutes() -> None:
    """Each was once compared with all the others."""
    config = changed("/process/rlimits", ["none"] * 20_000)
    config["process"]["env"] = ["=x"] * 20_000
    assert len(validate.check(config)) == 40_000


def test_a_process_alone_has_pointers_of_its_own() -> None:
    process = copy.deepcopy(GOOD["process"])
    assert validate.check_process(process) == []
    process["cwd"] = "relative"
    assert [finding.pointer for finding in validate.check_process(process)] == ["/cwd"]
    del process["args"]
    assert [finding.pointer for finding in validate.check_process(process)] == ["/args", "/cwd"]
    assert [finding.pointer for finding in validate.check_process("sh")] == [""]


def test_resources_alone_have_pointers_of_their_own() -> None:
    assert validate.check_resources({"pids": {"limit": 1}}) == []
    found = validate.check_resources({"memory": {"limit": 2, "swap": 1}})
    assert [finding.pointer for finding in found] == ["/memory/swap"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any, pointer: str = "") -> list[str]:
    """The pointer of every value inside."""
    found = [pointer] if pointer else []
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    for key, inner in pairs:
        found += places(inner, f"{pointer}/{str(key).replace('/', '~1')}")
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(places(GOOD)), JSON), min_size=1, max_size=4))
def test_whatever_is_in_it_the_answer_is_findings(changes: list[tuple[str, Any]]) -> None:
    config: Any = copy.deepcopy(GOOD)
    for pointer, value in changes:
        *way, last = pointer.split("/")[1:]
        at: Any = config
        try:
            for part in way:
                at = at[int(part)] if isinstance(at, list) else at[part]
            at[int(last) if isinstance(at, list) else last] = value
        except (KeyError, TypeError, IndexError, ValueError):
            continue  # an earlier change took this place away
    for finding in validate.check(config):
        assert finding.pointer.startswith("/") or finding.path == []
        assert finding.problem
        assert finding.section.startswith("config")


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/linux/devices/0/major", 4096),
        ("/linux/devices/0/minor", -1),
        ("/linux/resources/devices/0/minor", 1 << 20),
        ("/linux/resources/devices/0/major", -2),
        ("/linux/seccomp/defaultErrnoRet", 4096),
        ("/process/user/additionalGids", list(range(65537))),
    ],
)
def test_numbers_that_linux_does_not_have_are_refused(pointer: str, value: Any) -> None:
    assert pointers(changed(pointer, value)) == [pointer]
