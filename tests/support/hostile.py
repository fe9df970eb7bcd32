"""Hostile config.json: a valid one that uses nearly everything, and ways to break it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

JsonObject = dict[str, Any]
Place = tuple[Any, ...]

DEEP: Any = None
for _ in range(200):
    DEEP = [DEEP]

# Values of other types, on the edges of ranges, and strings that fool parsers of paths and lines.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 64, 255, 1000, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1,
    2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**31), -(2**63), -(2**63) - 1, 10**40, 0.5, 1e308,
    "", " ", "/", "//", "/.", "..", "/..", "/../../..", "a/../b", "relative", "/does/not/exist",
    "/proc/self/cwd", "/proc/self/fd/3", "/dev/null", "x" * 300, "/" + "y" * 5000, "/z" * 3000,
    "\0", "a\0b", "line\nline", "tab\there", "é", "\ud800", "😀", "%s%n", "$(true)", "=", "A=B=C",
    "1", "-1", "0-", "0,", "0-99999", "9" * 400, "rw", "bind", "rbind", "ro", "idmap", "tmpcopyup",
    "mode=99999", "size=-1", "size=1", "CAP_SYS_ADMIN", "ALL", "SCMP_ACT_KILL", "SCMP_ACT_NOTIFY",
    "RLIMIT_AS", "RLIMIT_NOFILE", "proc", "tmpfs", "cgroup", "overlay", "nosuchfs", "rwm", "c", "b",
    [], {}, [[]], [{}], {"": ""}, {"\0": "\0"}, [None], ["", None, 1], {"path": "/"}, DEEP,
)  # fmt: skip

# What would reach out of the container if a runtime took it: never changed in real runs.
OUTSIDE: tuple[Place, ...] = (
    ("root",), ("root", "path"), ("linux",), ("linux", "cgroupsPath"), ("linux", "namespaces"),
)  # fmt: skip


def full_config(args: list[str]) -> JsonObject:
    """A valid config.json that asks for most of what the specification has."""
    sets = ["CAP_KILL", "CAP_CHOWN", "CAP_NET_BIND_SERVICE"]
    mount = {"nosuid": 1, "noexec": 1, "nodev": 1}
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "hostile",
        "domainname": "example",
        "annotations": {"org.example.key": "value", "run.oci.x": ""},
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0, "umask": 18, "additionalGids": [5, 6]},
            "args": args,
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                name: list(sets) for name in ("bounding", "effective", "permitted", "inheritable")
            },
            "rlimits": [
                {"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024},
                {"type": "RLIMIT_CORE", "hard": 0, "soft": 0},
            ],
            "noNewPrivileges": True,
            "oomScoreAdj": 500,
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
            "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": list(mount)},
            {
                "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            {"destination": "/tmp", "type": "bind", "source": "rootfs/tmp", "options": ["bind"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["ro", "nosuid"]},
        ],
        "hooks": {
            kind: [{"path": "/bin/true", "args": ["true"], "env": ["A=B"], "timeout": 5}]
            for kind in ("createRuntime", "createContainer", "poststop")
        },
        "linux": {
            "cgroupsPath": "/hostile",
            "namespaces": [
                {"type": name} for name in ("pid", "network", "ipc", "uts", "mount", "cgroup")
            ],
            "devices": [
                {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438,
                 "uid": 0, "gid": 0},
                {"path": "/dev/pipe", "type": "p"},
            ],
            "resources": {
                "devices": [
                    {"allow": False, "access": "rwm"},
                    {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
                ],
                "memory": {"limit": 1 << 28, "reservation": 1 << 27},
                "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
                "pids": {"limit": 64},
            },
            "sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "100000"},
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64"],
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "syscalls": [
                    {
                        "names": ["mkdir", "chmod"],
                        "action": "SCMP_ACT_ERRNO",
                        "errnoRet": 1,
                        "args": [
                            {"index": 1, "value": 7, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"}
                        ],
                    }
                ],
            },
            "rootfsPropagation": "private",
            "maskedPaths": ["/proc/kcore", "/sys/firmware"],
            "readonlyPaths": ["/proc/sys", "/proc/bus"],
            "personality": {"domain": "LINUX"},
        },
    }  # fmt: skip


def places(value: Any, place: Place = ()) -> list[Place]:
    """The way to each value inside."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    found = [place] if place else []
    for key, inner in pairs:
        found += places(inner, (*place, key))
    return found


def _replace(holder: Any, key: Any, dice: random.Random, _config: JsonObject) -> None:
    holder[key] = copy.deepcopy(dice.choice(VALUES))


def _remove(holder: Any, key: Any, _dice: random.Random, _config: JsonObject) -> None:
    del holder[key]


def _copy_of_another(holder: Any, key: Any, dice: random.Random, config: JsonObject) -> None:
    holder[key] = copy.deepcopy(at(config, dice.choice(places(config))))


def _repeat(holder: Any, key: Any, dice: random.Random, _config: JsonObject) -> None:
    value = holder[key]
    if isinstance(value, list) and value:
        value += [copy.deepcopy(value[-1]) for _ in range(dice.choice((1, 2, 300)))]
    elif isinstance(value, str):
        holder[key] = value * dice.choice((2, 500))
    elif isinstance(value, int):
        holder[key] = value * dice.choice((-1, 2, 1 << 20))
    else:
        holder[key] = [value, value]


def _add(holder: Any, key: Any, dice: random.Random, _config: JsonObject) -> None:
    value = holder[key]
    if isinstance(value, dict):
        name = dice.choice(("", "\0", "unknown", "path", "type", "options", "x" * 300))
        value[name] = copy.deepcopy(dice.choice(VALUES))
    elif isinstance(value, list):
        value.insert(dice.randrange(len(value) + 1), copy.deepcopy(dice.choice(VALUES)))
    else:
        holder[key] = f"{value}{dice.choice(VALUES)}"


_WAYS: tuple[Callable[[Any, Any, random.Random, JsonObject], None], ...] = (
    _replace, _replace, _replace, _remove, _copy_of_another, _repeat, _add,
)  # fmt: skip


def at(config: Any, place: Place) -> Any:
    """The value there."""
    for key in place:
        config = config[key]
    return config


def mutate(config: JsonObject, dice: random.Random, spare: tuple[Place, ...] = ()) -> list[Place]:
    """Break ``config`` in one to four places; returns them.

    Args:
        config: changed in place.
        dice: decides.
        spare: what stays, with all below it; but not what is below ``linux`` and ``root`` alone.
    """
    changed = []
    whole = {kept for kept in spare if len(kept) > 1}
    for _ in range(dice.randint(1, 4)):
        free = [
            one
            for one in places(config)
            if one not in spare and not any(one[: len(kept)] == kept for kept in whole)
        ]
        place = dice.choice(free)
        dice.choice(_WAYS)(at(config, place[:-1]), place[-1], dice, config)
        changed.append(place)
    return changed


# One change each that has broken a runtime, or well might.
CORPUS: tuple[tuple[Place, Any], ...] = (
    (("process", "args"), ["\0"]),
    (("process", "args"), [""]),
    (("process", "args"), ["/"]),
    (("process", "args"), ["true", "x" * 200_000]),
    (("process", "args"), ["true"] * 100_000),
    (("process", "env"), ["A=" + "x" * 200_000]),
    (("process", "cwd"), "/proc/self/fd/7"),
    (("process", "cwd"), "/proc/self/cwd/../.."),
    (("process", "user", "additionalGids"), list(range(70_000))),
    (("process", "user", "umask"), 2**32 - 1),
    (("process", "rlimits"), [{"type": "RLIMIT_AS", "soft": 1, "hard": 1}]),
    (("process", "rlimits"), [{"type": "RLIMIT_AS", "soft": 1 << 24, "hard": 1 << 24}]),
    (("process", "rlimits"), [{"type": "RLIMIT_NOFILE", "soft": 0, "hard": 0}]),
    (("process", "rlimits"), [{"type": "RLIMIT_NPROC", "soft": 0, "hard": 0}]),
    (("process", "rlimits"), [{"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0}]),
    (("process", "rlimits"), [{"type": "RLIMIT_STACK", "soft": 1, "hard": 1}]),
    (("process", "rlimits"), [{"type": "RLIMIT_DATA", "soft": 1, "hard": 1}]),
    (("process", "rlimits"), [{"type": "RLIMIT_CPU", "soft": 0, "hard": 0}]),
    (("process", "capabilities"), {}),
    (("process", "capabilities"), {"ambient": ["CAP_SYS_ADMIN"]}),
    (("process", "scheduler"), {"policy": "SCHED_FIFO", "priority": 99}),
    (
        ("process", "scheduler"),
        {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 1, "period": 1},
    ),
    (("mounts", 0, "destination"), "/"),
    (("mounts", 0, "destination"), "/proc/../proc/."),
    (("mounts", 1, "options"), ["mode=777", "size=0", "nr_inodes=1"]),
    (("mounts", 1, "options"), ["tmpcopyup"]),
    (("mounts", 4, "source"), "/proc/self/fd/0"),
    (("mounts", 4, "source"), "rootfs/bin/busybox"),
    (("mounts", 4, "destination"), "/bin/busybox"),
    (("mounts",), []),
    (("mounts",), [{"destination": "/tmp", "type": "tmpfs"}] * 300),
    (("linux", "devices"), [{"path": "/dev/null", "type": "b", "major": 7, "minor": 1}]),
    (("linux", "devices"), [{"path": "/dev", "type": "p"}]),
    (("linux", "devices"), [{"path": "/bin/busybox/x", "type": "p"}]),
    (("linux", "devices"), [{"path": "/a/../../b", "type": "c", "major": 1, "minor": 3}]),
    (("linux", "devices"), [{"path": "/dev/x", "type": "c", "major": -1, "minor": -1}]),
    (("linux", "maskedPaths"), ["/", "/proc", "/bin/busybox", "/dev/null", "/.."]),
    (("linux", "readonlyPaths"), ["/", "/proc/self", "/nowhere"]),
    (("linux", "sysctl"), {"net.ipv4.ip_forward": "x" * 10_000}),
    (("linux", "sysctl"), {"net.ipv4.conf.all.forwarding\n": "1"}),
    (("linux", "resources", "memory"), {"limit": 1}),
    (("linux", "resources", "memory"), {"limit": 1 << 20}),
    (("linux", "resources", "pids"), {"limit": 1}),
    (("linux", "resources", "cpu"), {"cpus": "9999"}),
    (("linux", "resources", "cpu"), {"cpus": "", "mems": ""}),
    (("linux", "resources", "cpu"), {"quota": 1, "period": 1}),
    (("linux", "resources", "devices"), [{"allow": False}] * 2000),
    (("linux", "seccomp"), {"defaultAction": "SCMP_ACT_KILL_PROCESS"}),
    (("linux", "seccomp"), {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}),
    (("linux", "seccomp", "syscalls", 0, "names"), ["nosuchcall"] * 5000),
    (("linux", "seccomp", "architectures"), []),
    (("linux", "personality"), {"domain": "LINUX32"}),
    (("hooks", "createRuntime"), [{"path": "/bin/false"}]),
    (("hooks", "createRuntime"), [{"path": "/", "args": []}]),
    (("hooks", "createRuntime"), [{"path": "/bin/sleep", "args": ["sleep", "9"], "timeout": 1}]),
    (("hooks", "createContainer"), [{"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $$"]}]),
    (("hooks", "poststop"), [{"path": "/bin/false"}]),
    (("hostname",), "x" * 65),
    (("annotations",), {"k" * 100_000: "v" * 100_000}),
    (("unknown",), DEEP),
)
