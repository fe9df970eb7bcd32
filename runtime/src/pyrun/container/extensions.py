"""crun's annotations, which podman sets too; loaded only for a container that has one of them.

``keep_original_groups`` and ``mount_context_type`` are read where they act, and
``systemd.subgroup`` by the systemd driver.
"""

from __future__ import annotations

import posix

from pyrun import names
from pyrun.container.stage import RECEIVER_VARIABLE
from pyrun.errors import ConfigError, KernelError
from pyrun.linux.cgroups.hierarchy import UNIFIED, write_file
from pyrun.linux.cgroups.manager import make_directories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.linux.cgroups.manager import Manager
    from pyrun.spec.types import JsonObject

_REFUSED = {
    "run.oci.handler": "pyrun runs programs itself: it has no handler such as krun or wasm",
    "run.oci.seccomp.plugins": "pyrun loads no plugins: name a socket in run.oci.seccomp.receiver",
}
_CONTEXTS = ("context", "fscontext", "defcontext", "rootcontext")
_DELEGATED = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control")
_FILTER_ENTRY_BYTES = 8  # struct sock_filter
_CLOCKS = {"1": "monotonic", "7": "boottime", "monotonic": "monotonic", "boottime": "boottime"}


def apply(config: JsonObject) -> None:
    """Change ``config`` to what its annotations ask for.

    Raises:
        ConfigError: pyrun cannot do it, or a value has no meaning.
    """
    annotations = config.get("annotations") or {}
    for name, problem in _REFUSED.items():
        if annotations.get(name):
            raise _error(name, problem)
    context = annotations.get("run.oci.mount_context_type")
    if context is not None and context not in _CONTEXTS:
        problem = f"{context!r} is none of {', '.join(_CONTEXTS)}"
        raise _error("run.oci.mount_context_type", problem)
    _set_receiver(config, annotations)
    if annotations.get("run.oci.seccomp_fail_unknown_syscall", "0") != "0":
        _require_known_calls((config.get("linux") or {}).get("seccomp") or {})
    if annotations.get("run.oci.seccomp_bpf_data"):
        _set_filter(config, annotations["run.oci.seccomp_bpf_data"])
    if annotations.get("run.oci.timens_offset"):
        _set_time_offset(config, annotations["run.oci.timens_offset"])
    path = annotations.get("run.oci.systemd.force_cgroup_v1")
    if path:
        _mount_systemd_hierarchy(config, path)


def _error(name: str, problem: str) -> ConfigError:
    return ConfigError(f"/annotations/{name}", problem)


def _set_receiver(config: JsonObject, annotations: dict[str, str]) -> None:
    """The socket for the filter's notify descriptor, unless the profile names one."""
    name = "run.oci.seccomp.receiver"
    path = annotations.get(name) or names.environment(RECEIVER_VARIABLE)
    profile = (config.get("linux") or {}).get("seccomp")
    if not path:
        return
    if not path.startswith("/"):
        raise _error(name, f"{path!r} must be an absolute path")
    if not profile and annotations.get(name):
        raise _error(name, "needs a profile in /linux/seccomp")
    if profile and not profile.get("listenerPath"):
        profile["listenerPath"] = path


def _require_known_calls(profile: JsonObject) -> None:
    """Names that libseccomp does not know are otherwise left out of the filter."""
    import pyseccomp

    for index, rule in enumerate(profile.get("syscalls") or ()):
        for number, name in enumerate(rule["names"]):
            if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) == -1:
                place = f"/linux/seccomp/syscalls/{index}/names/{number}"
                problem = f"libseccomp knows no system call {name!r}"
                raise ConfigError(place, f"{problem} (run.oci.seccomp_fail_unknown_syscall)")


def _set_filter(config: JsonObject, data: str) -> None:
    """A compiled filter in the place of the profile."""
    import binascii

    from pyrun.linux.seccomp import filters

    name = "run.oci.seccomp_bpf_data"
    try:
        program = binascii.a2b_base64(data, strict_mode=True)
    except ValueError as error:
        raise _error(name, f"is not base64: {error}") from error
    if not program or len(program) % _FILTER_ENTRY_BYTES:
        raise _error(name, f"{len(program)} bytes are no BPF program")
    linux = config.setdefault("linux", {})
    linux["seccomp"] = filters.Compiled(linux.get("seccomp") or {}, program)


def _set_time_offset(config: JsonObject, value: str) -> None:
    """``CLOCK SECONDS NANOSECONDS`` as time_namespaces(7) has it, from before ``timeOffsets``."""
    name = "run.oci.timens_offset"
    words = value.split()
    digits = "".join(word.removeprefix("-") or "none" for word in words[1:])
    is_number = digits.isascii() and digits.isdigit() and len(digits) < 40
    if len(words) != 3 or words[0] not in _CLOCKS or not is_number:
        raise _error(name, f"{value!r} is not a clock (monotonic, boottime), seconds, nanoseconds")
    linux = config.get("linux") or {}
    types = {entry["type"] for entry in linux.get("namespaces") or () if not entry.get("path")}
    if "time" not in types:
        raise _error(name, "needs a time namespace of its own")
    offset = {"secs": int(words[1]), "nanosecs": int(words[2])}
    linux["timeOffsets"] = {_CLOCKS[words[0]]: offset, **(linux.get("timeOffsets") or {})}


def _mount_systemd_hierarchy(config: JsonObject, path: str) -> None:
    """The mount on ``path`` becomes a tmpfs with the hierarchy that an older systemd looks for."""
    for entry in config.get("mounts") or ():
        if entry["destination"] == path:
            kept = [word for word in entry.get("options") or () if word not in ("bind", "rbind")]
            entry["type"] = entry["source"] = "tmpfs"
            entry["options"] = [*kept, "mode=755", "size=1024k"]
            config["mounts"].append({
                "destination": f"{path}/systemd", "type": "cgroup", "source": "cgroup",
                "options": [*kept, "none", "name=systemd", "xattr"],
            })  # fmt: skip
            return
    raise _error("run.oci.systemd.force_cgroup_v1", f"there is no mount on {path}")


def delegate(config: JsonObject, manager: Manager, pid: int) -> None:
    """Move init to a cgroup below the container's, which is the container's own to manage.

    Its cgroup namespace has been made before, so it sees the limits from inside.

    Raises:
        ConfigError: cgroups cannot be delegated here.
        KernelError: the kernel refused.
    """
    name = "run.oci.delegate-cgroup"
    below = ((config.get("annotations") or {}).get(name) or "").strip("/")
    if not below:
        return
    if ".." in below.split("/"):
        raise _error(name, f"{below!r} is not below the container's cgroup")
    if manager.layout != "v2" or not manager.paths:
        raise _error(name, "only cgroup2 can be delegated safely, and this host has v1")
    from pyrun.linux.cgroups import v2

    directory = f"{manager.paths[UNIFIED]}/{below}"
    linux = config.get("linux") or {}
    owner = [_root_of(linux.get(kind) or []) for kind in ("uidMappings", "gidMappings")]
    try:
        make_directories(directory, [])
        write_file(f"{directory}/cgroup.procs", str(pid))
        v2.enable(directory, None)
        for path in (directory, *(f"{directory}/{file}" for file in _DELEGATED)):
            posix.chown(path, *owner)
    except OSError as error:
        raise KernelError(f"delegate the cgroup {directory}", error) from error


def _root_of(mappings: list[JsonObject]) -> int:
    return next((one["hostID"] for one in mappings if one["containerID"] == 0), 0)
