"""A bundle to test a runtime with: a busybox root and a config.json like that of ``runc spec``."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

BUSYBOX = "/bin/busybox"
_STRICT = ["nosuid", "noexec", "nodev"]


def busybox_root(path: Path) -> Path:
    """A root file system with busybox and a link for each of its commands that tests use."""
    (path / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, path / "bin/busybox")
    commands = "cat chmod cut df echo env false grep head hostname id ip kill ln ls mkdir mount mv"
    commands += " nc ps pwd readlink rm sed seq sh sleep stat stty sync tail test touch tr true tty"
    for name in f"{commands} umount uname wc".split():
        os.symlink("busybox", path / "bin" / name)
    for name in ("dev", "etc", "proc", "sys", "tmp"):
        (path / name).mkdir()
    (path / "tmp").chmod(0o1777)
    (path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
    return path


def default_config(args: list[str]) -> dict[str, Any]:
    """What ``runc spec`` writes, without a terminal."""
    sets = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {"bounding": sets, "effective": sets, "permitted": sets},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "tested",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": [*_STRICT, "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": _STRICT},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": [*_STRICT, "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": [*_STRICT, "relatime", "ro"]},
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [
                {"type": name} for name in ("pid", "network", "ipc", "uts", "mount", "cgroup")
            ],
            "maskedPaths": ["/proc/kcore", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }  # fmt: skip


class Bundle:
    """A directory whose config.json is written from ``config`` by ``save``.

    Attributes:
        path: the directory.
        config: config.json, free to change.
    """

    def __init__(self, path: Path, args: list[str] | None = None) -> None:
        self.path = path
        self.config = default_config(args or ["true"])
        busybox_root(path / "rootfs")

    @property
    def rootfs(self) -> Path:
        """The root file system."""
        return self.path / "rootfs"

    @property
    def process(self) -> dict[str, Any]:
        """``process`` of config.json."""
        found: dict[str, Any] = self.config["process"]
        return found

    @property
    def linux(self) -> dict[str, Any]:
        """``linux`` of config.json."""
        found: dict[str, Any] = self.config["linux"]
        return found

    def shell(self, script: str) -> None:
        """Have the container run a script."""
        self.process["args"] = ["sh", "-c", script]

    def mount(self, destination: str, **fields: object) -> None:
        """Add an entry to ``mounts``."""
        self.config["mounts"].append({"destination": destination, **fields})

    def change_mount(self, place: str, /, **fields: object) -> None:
        """Change the entry of ``mounts`` with this destination."""
        (entry,) = [one for one in self.config["mounts"] if one["destination"] == place]
        entry.update(fields)

    def host_python(self) -> None:
        """Let the host's Python run in the container."""
        for folder in ("/usr", "/lib", "/lib64"):
            if os.path.exists(folder):
                self.mount(folder, type="bind", source=folder, options=["rbind", "ro"])
        # the interpreter looks for its library from the place of its first argument
        self.process["env"].append("PYTHONHOME=/usr")

    def hook(self, kind: str, path: Path, script: str, **fields: object) -> None:
        """Add a hook that runs ``script`` with the host's /bin/sh."""
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        hooks = self.config.setdefault("hooks", {})
        hooks.setdefault(kind, []).append({"path": str(path), **fields})

    def save(self) -> None:
        """Write config.json."""
        (self.path / "config.json").write_text(json.dumps(self.config))
