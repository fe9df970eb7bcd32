"""A container's group in resctrl (runtime-spec config-linux.md, "IntelRdt").

The files are those of the kernel's Documentation/filesystems/resctrl.
"""

from __future__ import annotations

import posix

from pyrun import names
from pyrun.errors import ConfigError, ContainerError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNTINFO = "/proc/self/mountinfo"
POINTER = "/linux/intelRdt"
# Of info/: what runc's events tell about the resource, and where the schemata stand in them.
_RESOURCES = (
    ("L3", "l3_cache", ("cbm_mask", "min_cbm_bits", "num_closids")),
    ("MB", "mem_bw", ("bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids")),
)
_MONITORED: dict[str, tuple[str, ...]] = {
    "mbm_stats": ("mbm_total_bytes", "mbm_local_bytes"),
    "cmt_stats": ("llc_occupancy",),
}
_NOT_GROUPS = ("info", "mon_data", "mon_groups", ".", "..")


class Group:
    """Where one container belongs in resctrl.

    Attributes:
        made: directories that are removed with the container, in the order they are made.
        path: the group's directory.
        shared: the group may be there already and outlives the container.
        tasks: files that take the ids of its processes.
    """

    __slots__ = ("made", "path", "shared", "tasks")

    def __init__(self, settings: dict[str, Any], container_id: str, top: str) -> None:
        """See ``plan``."""
        name = settings.get("closID") or ""
        self.shared = bool(name)
        self.path = top if name == "/" else f"{top}/{name or container_id}"
        self.made = [] if name else [self.path]
        self.tasks = [f"{self.path}/tasks"]
        if settings.get("enableMonitoring"):
            monitor = f"{self.path}/mon_groups/{container_id}"
            self.made.append(monitor)
            self.tasks.append(f"{monitor}/tasks")

    def record(self) -> dict[str, list[str]]:
        """What state.json keeps, for ``assign`` and ``remove``."""
        return {"tasks": self.tasks, "made": self.made}

    def create(self, settings: dict[str, Any]) -> None:
        """Make what is missing of the group, and write its schemata.

        Raises:
            ConfigError: a group that must be there is not, or its schemata differ.
            KernelError: the kernel refused.
        """
        lines = [settings[name] for name in ("l3CacheSchema", "memBwSchema") if settings.get(name)]
        more = settings.get("schemata") or []
        fresh = False
        if self.shared and names.is_dir(self.path):
            _compare(self.path, lines)
        elif self.shared and not lines and not more:
            problem = f"there is no group {self.path}, and no schema to make one"
            raise ConfigError(f"{POINTER}/closID", problem)
        elif self.shared:
            _make(self.path)
            fresh = True
        try:
            for path in self.made:
                _make(path)
            for line in [*lines, *more]:
                _write(f"{self.path}/schemata", f"{line}\n")
        except KernelError:
            if fresh:  # the group outlives its container, but not an error
                remove({"made": [self.path]})
            raise

    def assign(self, pid: int) -> None:
        """Put a process into the group; see the function."""
        assign(self.record(), pid)


def plan(settings: dict[str, Any], container_id: str) -> Group:
    """The group of a container; nothing is made yet.

    Args:
        settings: ``linux.intelRdt``, already validated.
        container_id: names what belongs to this container alone.

    Raises:
        ConfigError: this host has no resctrl, or ``closID`` is no name of a group.
    """
    top = mountpoint()
    if not top:
        raise ConfigError(POINTER, "this host has no resctrl file system mounted (Intel RDT)")
    name = settings.get("closID") or ""
    if name != "/" and ("/" in name or name in _NOT_GROUPS):
        raise ConfigError(f"{POINTER}/closID", f"{name!r} is no name of a group")
    group = Group(settings, container_id, top)
    for path in group.made:
        if names.exists(path):  # and must not be removed with this container
            raise ConfigError(POINTER, f"{path} is there already, and not this container's")
    return group


def _make(path: str) -> None:
    try:
        posix.mkdir(path, 0o755)
    except OSError as error:
        raise KernelError(f"make the group {path}{_last_status()}", error) from error


def _compare(path: str, lines: list[str]) -> None:
    """A group that others made must have the schemata that were asked for."""
    try:
        with open(f"{path}/schemata") as file:
            present = {_normal(line) for line in file}
    except OSError as error:
        raise KernelError(f"read {path}/schemata", error) from error
    for line in lines:
        if _normal(line) not in present:
            raise ConfigError(POINTER, f"{path} is there, and its schemata have no {line}")


def _normal(line: str) -> tuple[str, frozenset[tuple[str, str]]]:
    """``L3:0=7f0;1=01f``, whatever the order and the zeros in front."""
    kind, _, pairs = line.strip().partition(":")
    domains = (pair.strip().partition("=")[::2] for pair in pairs.split(";"))
    return kind, frozenset((domain, word.lower().lstrip("0")) for domain, word in domains)


def assign(record: dict[str, list[str]], pid: int) -> None:
    """Put a process, and those it will fork, into the group.

    Raises:
        KernelError: the kernel refused.
    """
    for path in record["tasks"]:
        _write(path, str(pid))


def remove(record: dict[str, list[str]]) -> None:
    """Remove what was made for the container alone.

    Raises:
        KernelError: the kernel refused.
    """
    for path in reversed(record["made"]):
        try:
            posix.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise KernelError(f"remove the group {path}", error) from error


def stats(record: dict[str, list[str]]) -> dict[str, Any]:
    """What ``events`` tells of the group, in runc's words; what the processor lacks is left out.

    The counts are those of the container's own monitoring group, if it has one.
    """
    top = mountpoint()
    group, monitored = (record["tasks"][place].removesuffix("/tasks") for place in (0, -1))
    found: dict[str, Any] = {}
    for kind, name, files in _RESOURCES:
        info = {file: _read(f"{top}/info/{kind}/{file}") for file in files}
        if any(info.values()):
            found[f"{name}_info"] = {
                file: int(text) if file != "cbm_mask" else text  # which is hexadecimal
                for file, text in info.items()
                if text
            }
        for key, path in ((f"{name}_schema_root", top), (f"{name}_schema", group)):
            for line in _read(f"{path}/schemata").splitlines():
                if line.strip().startswith(f"{kind}:"):
                    found[key] = line.strip()
    data = f"{monitored}/mon_data"
    domains = sorted(posix.listdir(data)) if names.is_dir(data) else []
    for name, counters in _MONITORED.items():
        counts = []
        for domain in domains:
            texts = [_read(f"{data}/{domain}/{counter}") for counter in counters]
            if all(text.isdigit() for text in texts):  # it may say Unavailable
                counts.append(dict(zip(counters, map(int, texts), strict=True)))
        if counts:
            found[name] = counts
    return found


def _read(path: str) -> str:
    """A short file; empty where there is none."""
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, text.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        raise KernelError(f"write {text.strip()} to {path}{_last_status()}", error) from error


def _last_status() -> str:
    """What resctrl itself says about the last failure."""
    try:
        with open(f"{mountpoint()}/info/last_cmd_status") as file:
            said = file.read().strip()
    except OSError:
        return ""
    return f" ({said})" if said and said != "ok" else ""


def mountpoint() -> str:
    """Where resctrl is mounted; empty without it."""
    with open(MOUNTINFO) as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            if right.startswith("resctrl "):
                return left.split(" ")[4]
    return ""


def write_schemata(group: str, lines: list[str], option: str) -> None:
    """Write lines such as ``L3:0=f`` or ``MB:0=50``, each to the group's schemata.

    Args:
        group: its name below the mountpoint.
        lines: of schemata.
        option: what asked for it, for messages.

    Raises:
        ContainerError: this host has no resctrl, or the container has no group in it.
        KernelError: the kernel refused a line.
    """
    top = mountpoint()
    if not top:
        raise ContainerError(f"option {option}: this host has no resctrl file system (Intel RDT)")
    path = f"{top}/{group}/schemata"
    if not names.exists(path):
        raise ContainerError(f"option {option}: the container has no group {group} in {top}")
    for line in lines:
        _write(path, f"{line}\n")
