"""The processes of a container, in the words of ``top`` (its format descriptors)."""

from __future__ import annotations

import os
import time

from pyengine.containers.cgroup_files import Cgroups
from pyengine.errors import ConfigError
from pyengine.specgen import users
from pyengine.specgen.capabilities import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyengine.containers.record import Container

DEFAULT = ("user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args")
SECCOMP = {"0": "disabled", "1": "strict", "2": "filter"}
MAX_COMMAND_BYTES = 1 << 16
TTY_MAJOR, PTS_MAJOR = 4, 136


class Process:
    """One process as /proc shows it (proc(5))."""

    def __init__(self, pid: int) -> None:
        """Read it.

        Raises:
            OSError: it has ended.
        """
        base = f"/proc/{pid}"
        with open(f"{base}/stat", "rb") as file:
            name, _, rest = file.read().rpartition(b")")
        with open(f"{base}/status", encoding="utf-8", errors="replace") as file:
            pairs = (line.partition(":") for line in file)
            self.status = {key: value.strip() for key, _, value in pairs}
        with open(f"{base}/cmdline", "rb") as file:
            words = file.read(MAX_COMMAND_BYTES).rstrip(b"\0").split(b"\0")
        self.hpid = pid
        self.stat = rest.decode("ascii").split()  # from field 3 on
        self.comm = name.partition(b"(")[2].decode("utf-8", "replace")
        self.args = b" ".join(words).decode("utf-8", "replace") or f"[{self.comm}]"
        self.pid = int(self._in_container("NSpid"))
        self.label = _label(base)

    def field(self, number: int) -> int:
        """A numeric field of ``stat``, counted as in proc(5)."""
        return int(self.stat[number - 3])

    def ids(self, key: str) -> list[int]:
        """Real, effective, saved and file-system id (``Uid``, ``Gid``) on the host."""
        return [int(word) for word in self.status[key].split()]

    def pgid(self) -> str:
        """Its process group, as the container numbers it."""
        return self._in_container("NSpgid")

    def capabilities(self, key: str) -> str:
        """A set by name: ``full``, ``none``, or what is in it."""
        bits = int(self.status[key], 16)
        names = [name for number, name in enumerate(NAMES) if bits >> number & 1]
        if not names:
            return "none"
        return "full" if len(names) == len(_known()) else ",".join(sorted(names))

    def _in_container(self, key: str) -> str:
        return self.status.get(key, "0").split()[-1]


def _known() -> list[str]:
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return NAMES[: int(file.read()) + 1]


def _label(base: str) -> str:
    try:
        with open(f"{base}/attr/current", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\0\n") or "?"
    except OSError:  # no security module
        return "?"


class Table:
    """The processes of one container and the names of their users."""

    def __init__(self, container: Container) -> None:
        """Read them; those that end meanwhile are left out."""
        self.processes = []
        for pid in Cgroups(container).pids():
            try:
                self.processes.append(Process(pid))
            except (OSError, ValueError, IndexError):
                continue
        self._inside = {process.hpid: process.pid for process in self.processes}
        self._uids, self._gids = _id_map(container.pid, "uid"), _id_map(container.pid, "gid")
        self._users, self._groups = _names(container.pid)
        with open("/proc/uptime", encoding="ascii") as file:
            self._uptime_s = float(file.read().split()[0])
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")

    def rows(self, descriptors: tuple[str, ...], show_s: Callable[[float], str]) -> list[list[str]]:
        """A row for each process; ``show_s`` writes a time in seconds."""
        readers = [_DESCRIPTORS[_canonical(name)][1] for name in descriptors]
        return [[reader(self, process, show_s) for reader in readers]
                for process in self.processes]  # fmt: skip

    def parent(self, process: Process) -> str:
        """The parent's number in the container, 0 outside."""
        return str(self._inside.get(process.field(4), 0))

    def lived_s(self, process: Process) -> float:
        """Since its start."""
        return max(self._uptime_s - process.field(22) * self._tick_s, 0.0)

    def used_s(self, process: Process) -> float:
        """Processor time."""
        return (process.field(14) + process.field(15)) * self._tick_s

    def user(self, host_id: int) -> str:
        """As the container calls it."""
        inside = _mapped(host_id, self._uids)
        return self._users.get(inside, str(inside))

    def group(self, host_id: int) -> str:
        """As the container calls it."""
        inside = _mapped(host_id, self._gids)
        return self._groups.get(inside, str(inside))


def _id_map(pid: int | None, kind: str) -> list[tuple[int, int, int]]:
    try:
        with open(f"/proc/{pid}/{kind}_map", encoding="ascii") as file:
            return [(int(a), int(b), int(c)) for a, b, c in map(str.split, file)]
    except OSError:  # it has just ended
        return []


def _mapped(host_id: int, ranges: list[tuple[int, int, int]]) -> int:
    for inside, outside, count in ranges:
        if outside <= host_id < outside + count:
            return inside + host_id - outside
    return host_id


def _names(pid: int | None) -> tuple[dict[int, str], dict[int, str]]:
    """The users and groups that the container's own files name."""
    try:
        root_fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return {}, {}
    try:
        return (
            users.names_by_id(root_fd, "etc/passwd"), users.names_by_id(root_fd, "etc/group"),
        )  # fmt: skip
    finally:
        os.close(root_fd)


def _host_name(kind: str, number: int) -> str:
    import grp
    import pwd

    try:
        return pwd.getpwuid(number).pw_name if kind == "user" else grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _tty(process: Process) -> str:
    number = process.field(7)
    if not number:
        return "?"
    major, minor = os.major(number), os.minor(number)
    if major in range(PTS_MAJOR, PTS_MAJOR + 8):
        return f"pts/{minor + (major - PTS_MAJOR) * 256}"
    return f"tty{minor}" if major == TTY_MAJOR else "?"


def _percent(table: Table, process: Process) -> str:
    return f"{table.used_s(process) / max(table.lived_s(process), 0.01) * 100:.3f}"


def _started(table: Table, process: Process) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z",
                         time.localtime(time.time() - table.lived_s(process)))  # fmt: skip


# descriptor: heading, how its value is found
_DESCRIPTORS: dict[str, tuple[str, Callable[[Table, Process, Callable[[float], str]], str]]] = {
    "args": ("COMMAND", lambda _t, p, _s: p.args),
    "capamb": ("AMBIENT CAPS", lambda _t, p, _s: p.capabilities("CapAmb")),
    "capbnd": ("BOUNDING CAPS", lambda _t, p, _s: p.capabilities("CapBnd")),
    "capeff": ("EFFECTIVE CAPS", lambda _t, p, _s: p.capabilities("CapEff")),
    "capinh": ("INHERITED CAPS", lambda _t, p, _s: p.capabilities("CapInh")),
    "capprm": ("PERMITTED CAPS", lambda _t, p, _s: p.capabilities("CapPrm")),
    "comm": ("COMMAND", lambda _t, p, _s: p.comm),
    "etime": ("ELAPSED", lambda t, p, show: show(t.lived_s(p))),
    "group": ("GROUP", lambda t, p, _s: t.group(p.ids("Gid")[1])),
    "groups": ("GROUPS", lambda t, p, _s: ",".join(
        t.group(int(word)) for word in p.status.get("Groups", "").split())),
    "hgroup": ("HGROUP", lambda _t, p, _s: _host_name("group", p.ids("Gid")[1])),
    "hgroups": ("HGROUPS", lambda _t, p, _s: ",".join(
        _host_name("group", int(word)) for word in p.status.get("Groups", "").split())),
    "hpid": ("HPID", lambda _t, p, _s: str(p.hpid)),
    "huser": ("HUSER", lambda _t, p, _s: _host_name("user", p.ids("Uid")[1])),
    "label": ("LABEL", lambda _t, p, _s: p.label),
    "nice": ("NI", lambda _t, p, _s: str(p.field(19))),
    "pcpu": ("%CPU", lambda t, p, _s: _percent(t, p)),
    "pgid": ("PGID", lambda _t, p, _s: p.pgid()),
    "pid": ("PID", lambda _t, p, _s: str(p.pid)),
    "ppid": ("PPID", lambda t, p, _s: t.parent(p)),
    "rgroup": ("RGROUP", lambda t, p, _s: t.group(p.ids("Gid")[0])),
    "rss": ("RSS", lambda _t, p, _s: p.status.get("VmRSS", "0").split()[0]),
    "ruser": ("RUSER", lambda t, p, _s: t.user(p.ids("Uid")[0])),
    "seccomp": ("SECCOMP", lambda _t, p, _s: SECCOMP.get(p.status.get("Seccomp", ""), "?")),
    "state": ("STATE", lambda _t, p, _s: p.stat[0]),
    "stime": ("STIME", lambda t, p, _s: _started(t, p)),
    "time": ("TIME", lambda t, p, show: show(t.used_s(p))),
    "tty": ("TTY", lambda _t, p, _s: _tty(p)),
    "user": ("USER", lambda t, p, _s: t.user(p.ids("Uid")[1])),
    "vsz": ("VSZ", lambda _t, p, _s: str(p.field(23) // 1024)),
}  # fmt: skip
# ps(1)'s names of some of them, which podman takes too.
_AIX = {"%C": "pcpu", "%G": "group", "%P": "ppid", "%U": "user", "%a": "args", "%c": "comm",
        "%g": "rgroup", "%n": "nice", "%p": "pid", "%r": "pgid", "%t": "etime", "%u": "ruser",
        "%x": "time", "%y": "tty", "%z": "vsz"}  # fmt: skip


def _canonical(name: str) -> str:
    return _AIX.get(name, name.lower())


def headings(descriptors: tuple[str, ...]) -> list[str] | None:
    """The titles of columns; None where one of the words is no descriptor."""
    names = [_canonical(name) for name in descriptors]
    if any(name not in _DESCRIPTORS for name in names):
        return None
    return [_DESCRIPTORS[name][0] for name in names]


def filter_ps(output: str, pids: set[int]) -> list[str]:
    """Of what the host's ps(1) printed, the heading and the container's rows.

    Raises:
        ConfigError: there is no column PID to tell them by.
    """
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise ConfigError("ps(1) of the host printed no column PID: add pid to its options")
    place = titles.index("PID")
    rows = [line for line in lines[1:] if _pid_at(line, place) in pids]
    return [lines[0], *rows]


def _pid_at(line: str, place: int) -> int:
    words = line.split()
    return int(words[place]) if place < len(words) and words[place].isdecimal() else -1
