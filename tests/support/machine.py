"""What this machine has: the probes behind ``@pytest.mark.needs``."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from support import selinux_policy

BUSYBOX = "/bin/busybox"
APPARMOR_PARSER = "/usr/sbin/apparmor_parser"

# The place of cgroup2 gets a tmpfs: crun makes plain directories there, which would stay for good.
V1_ONLY = (
    "if umount /sys/fs/cgroup/unified 2>/dev/null; then"
    ' mount -t tmpfs tmpfs /sys/fs/cgroup/unified; fi; exec "$@"'
)
V2_ONLY = 'umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"'


def with_cgroup_layout(layout: str, command: list[str]) -> list[str]:
    """``command`` in a private mount namespace that shows one cgroup layout.

    Args:
        layout: ``host`` (unchanged), ``v1`` (only the v1 hierarchies) or ``v2`` (only cgroup2).
        command: argv.
    """
    if layout == "host":
        return command
    script = {"v1": V1_ONLY, "v2": V2_ONLY}[layout]
    unshare = ["unshare", "--mount", "--propagation", "private"]
    return [*unshare, "sh", "-c", script, "sh", *command]


def _root() -> str:
    return "" if os.geteuid() == 0 else "runs as root only"


def _program(name: str) -> Callable[[], str]:
    return lambda: "" if shutil.which(name) else f"{name} is not installed"


def _cgroup_v1(controller: str) -> Callable[[], str]:
    def probe() -> str:
        path = f"/sys/fs/cgroup/{controller}/tasks"
        return "" if os.path.exists(path) else f"no v1 hierarchy of {controller}"

    return probe


def _hybrid() -> str:
    if os.path.exists("/sys/fs/cgroup/unified/cgroup.procs"):
        return ""
    return "no cgroup2 beside the v1 hierarchies"


def _cgroup2() -> str:
    """Alone, or beside v1."""
    if os.path.exists("/sys/fs/cgroup/cgroup.procs"):
        return ""
    return _hybrid()


def _v2_view() -> str:
    if os.geteuid() != 0:
        return "runs as root only"
    probe = with_cgroup_layout("v2", ["test", "-e", "/sys/fs/cgroup/cgroup.procs"])
    done = subprocess.run(probe, check=False, capture_output=True)
    return "" if done.returncode == 0 else "cgroup2 cannot be mounted here"


def _cgroup2_limits() -> str:
    try:
        words = set(Path("/sys/fs/cgroup/cgroup.controllers").read_text().split())
    except FileNotFoundError:
        return "cgroup2 is not mounted alone at /sys/fs/cgroup"
    missing_here = {"cpu", "memory", "pids"} - words
    return f"cgroup2 lacks {', '.join(sorted(missing_here))}" if missing_here else ""


def _cgroup2_io_weight() -> str:
    """The root cgroup has the same cost model's settings instead of a weight."""
    if os.path.exists("/sys/fs/cgroup/io.cost.qos"):
        return ""
    return "no io.weight: cgroup2 is not alone, or the kernel has no CONFIG_BLK_CGROUP_IOCOST"


def _ps() -> str:
    if problem := _program("ps")():
        return problem
    done = subprocess.run(["ps", "-ef"], check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else f"ps -ef fails here: {done.stderr.strip()}"


def _memory_limit() -> str:
    """Either version will do."""
    return _cgroup_v1("memory")() and _cgroup2_limits()


def _systemd() -> str:
    """Whether systemd is process 1 and its manager, or the user's own one, answers."""
    if not os.path.isdir("/run/systemd/system"):
        return "systemd is not process 1"
    words = ["systemctl", "show", "--property=Version"]
    if os.geteuid() != 0:
        words.insert(1, "--user")
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else f"systemd does not answer: {done.stderr.strip()}"


def _userns() -> str:
    done = subprocess.run(["unshare", "-U", "true"], check=False, capture_output=True)
    return "" if done.returncode == 0 else "user namespaces cannot be made here"


def _mapped_mounts() -> str:
    """Whether overlay's layers can be mounted with other owners; by the programs' own test."""
    from pyengine.errors import StorageError
    from pyengine.storage import idmapped

    try:
        with tempfile.TemporaryDirectory() as directory:
            namespace_fd = idmapped.namespace([[0, 200_000, 1]], [[0, 200_000, 1]])
            try:
                os.close(idmapped.clone(directory, namespace_fd))
            finally:
                os.close(namespace_fd)
    except (OSError, StorageError) as error:
        return f"owners cannot be mapped here: {error}"
    return ""


def _namespace(kind: str) -> Callable[[], str]:
    known = os.path.exists(f"/proc/self/ns/{kind}")
    return lambda: "" if known else f"this kernel has no {kind} namespaces"


def _veth() -> str:
    made = ["unshare", "--net", "ip", "link", "add", "one", "type", "veth", "peer", "name", "two"]
    done = subprocess.run(made, check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else f"no pair of interfaces: {done.stderr.strip()}"


def _realtime() -> str:
    done = subprocess.run(["chrt", "-f", "10", "true"], check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else f"no real-time policy: {done.stderr.strip()}"


def _syscall_info() -> str:
    user_mode = "User Mode Linux" in Path("/proc/cpuinfo").read_text()
    return "user-mode Linux does not tell of system calls (ptrace(2))" if user_mode else ""


def _numa() -> str:
    return "" if os.path.exists("/proc/self/numa_maps") else "this kernel knows no NUMA"


def _apparmor() -> str:
    try:
        enabled = Path("/sys/module/apparmor/parameters/enabled").read_text().startswith("Y")
    except FileNotFoundError:
        enabled = False
    if not enabled:
        return "this kernel has no AppArmor"
    return "" if os.path.exists(APPARMOR_PARSER) else f"there is no {APPARMOR_PARSER}"


def _selinux() -> str:
    """Whether SELinux enforces the policy of ``selinux_policy``."""
    try:
        if Path("/sys/fs/selinux/enforce").read_text() != "1":
            return "SELinux enforces nothing here"
        # CLOSED is nobody's but ours
        Path("/sys/fs/selinux/context").write_text(selinux_policy.CLOSED)
    except OSError as error:
        return f"no SELinux with the tests' policy: {error.strerror}"
    return ""


def _delegable_pids() -> str:
    if not _cgroup_v1("pids")():
        return ""
    return _cgroup2_limits()


def _criu() -> str:
    """Whether there is a CRIU that works on this kernel."""
    if not shutil.which("criu"):
        return "criu is not installed"
    command = ["criu", "check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    return "" if done.returncode == 0 else f"criu check: {done.stderr.strip()[-200:]}"


def _fuse() -> str:
    """Whether the device can be opened at all."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/fuse: {error.strerror}"
    return ""


def _btrfs() -> str:
    """Whether a file can be a disk with btrfs on it."""
    if problem := _root() or _program("mkfs.btrfs")():
        return problem
    if "\tbtrfs\n" not in Path("/proc/filesystems").read_text():
        return "this kernel has no btrfs"
    done = subprocess.run(["losetup", "-f"], check=False, capture_output=True, text=True)
    return "" if os.path.exists(done.stdout.strip()) else "there is no free loop device"


def _vm() -> str:
    cache = os.environ.get("VM_CACHE") or os.path.expanduser("~/.cache/pyrun-vm")
    return "" if os.path.exists(f"{cache}/done") else "no guest: tools/vm/build makes it"


_PROBES: dict[str, Callable[[], str]] = {
    "root": _root,
    "busybox": lambda: "" if os.path.exists(BUSYBOX) else "busybox-static is not installed",
    "hybrid": _hybrid,
    "cgroup2": _cgroup2,
    "v2_view": _v2_view,
    "userns": _userns,
    "mapped_mounts": _mapped_mounts,
    "time_namespace": _namespace("time"),
    "syscall_info": _syscall_info,
    "cgroup2_limits": _cgroup2_limits,
    "memory_limit": _memory_limit,
    "cgroup2_io_weight": _cgroup2_io_weight,
    "ps": _ps,
    "systemd": _systemd,
    "criu": _criu,
    "fuse": _fuse,
    "btrfs": _btrfs,
    "vm": _vm,
    "delegable_pids": _delegable_pids,
    "veth": _veth,
    "numa": _numa,
    "realtime": _realtime,
    "apparmor": _apparmor,
    "selinux": _selinux,
    **{
        f"cgroup_{name}": _cgroup_v1(name)
        for name in ("memory", "cpu", "cpuset", "blkio", "pids", "devices", "freezer")
    },
    **{
        name: _program(name)
        for name in (
            "buildah",
            "cc",
            "conmon",
            "containerd",
            "crun",
            "docker",
            "docker-registry",
            "dockerd",
            "fuse-overlayfs",
            "gpg",
            "newuidmap",
            "openssl",
            "podman",
            "runc",
            "skopeo",
            "strace",
        )
    },
}


@functools.cache
def missing(need: str) -> str:
    """Why ``need`` is not there, or an empty string; an unknown need is a ``KeyError``."""
    return _PROBES[need]()
