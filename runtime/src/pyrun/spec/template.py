"""The config.json that ``pyrun spec`` writes: a shell with few privileges."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.spec.types import JsonObject

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
    "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def config(*, unified: bool) -> JsonObject:
    """A new config.json.

    Args:
        unified: whether the host has cgroup2 alone, so that a cgroup namespace hides the host's;
            with v1 it would change the paths that programs inside read, as runc and crun have it.
    """
    namespaces = ["pid", "network", "ipc", "uts", "mount", *(["cgroup"] if unified else [])]
    return {
        "ociVersion": "1.3.0",
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {
                name: list(_CAPABILITIES) for name in ("bounding", "effective", "permitted")
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyrun",
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": name} for name in namespaces],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READ_ONLY),
        },
    }


def _mounts() -> list[JsonObject]:
    strict = ["nosuid", "noexec", "nodev"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": [*strict, "mode=1777", "size=65536k"],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": strict},
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": [*strict, "ro"],
        },
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": [*strict, "relatime", "ro"],
        },
    ]


def make_rootless(made: JsonObject, uid: int, gid: int) -> None:
    """Change a config so that a caller without privileges can use it.

    Args:
        made: from ``config``.
        uid: becomes root of the container.
        gid: the same for the group.
    """
    linux = made["linux"]
    linux["namespaces"] = [
        entry for entry in linux["namespaces"] if entry["type"] not in ("network",)
    ] + [{"type": "user"}]
    linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    del linux["resources"]
    mounts = []
    for entry in made["mounts"]:
        if entry["type"] == "sysfs":
            # a new sysfs needs a network namespace of one's own; the cgroups in this one stay
            # writable for whoever may write them, so the next entry covers them
            options = ["rbind", "nosuid", "noexec", "nodev", "ro"]
            mounts.append({**entry, "type": "none", "source": "/sys", "options": options})
            continue
        options = [word for word in entry.get("options", []) if not word.startswith("gid=")]
        mounts.append({**entry, "options": options} if options else entry)
    made["mounts"] = mounts
