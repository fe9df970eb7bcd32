"""Lets a small resident program go on with a container that has settled (docs/adr/0022).

The process stays the same: its id, its children, its descriptors. What the resident program loads
later is opened here, so that it is there whatever becomes of the installed files. Until execve
succeeds nothing has changed, and when anything is unusual nothing does.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import marshal
import posix
import sys

from pyconmon import diagnostics, loader
from pyconmon.resident import NEEDED_AT_ONCE, SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyconmon.loop import Loop

_TOP = str(__spec__.origin).rpartition("/")[0]
# All that a container's end, a client or a request may need.
_MODULES = (
    "attach", "backlog", "caller", "channels", "children", "cli", "client", "console", "control",
    "diagnostics", "errors", "exits", "files", "handover", "health", "loader", "logs", "loop",
    "monitor", "oom", "options", "orders", "passing", "processes", "record", "resident", "restart",
    "stdio", "syscalls", "version",
)  # fmt: skip


def execute(state: dict[str, Any], environment: dict[bytes, bytes], the_loop: Loop) -> None:
    """Become the resident program; returns when that cannot be done, or a signal waits."""
    held: dict[str, int] = {}
    opened: list[int] = []
    old_mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, SIGNALS)
    try:
        if the_loop.has_signals:  # of before they were blocked: they are known to this program only
            raise OSError("a signal has come")
        if not _is_same_file(sys.executable, "/proc/self/exe"):
            raise OSError("another Python is installed meanwhile")
        for name in _MODULES:
            held[name] = _open_module(name, state["began_ns"])
            opened.append(held[name])
        state_fd = posix.memfd_create("pyconmon", posix.MFD_CLOEXEC)
        opened.append(state_fd)
        kept = [*opened, *_descriptors(state)]
        state.update(held=held, top=_TOP, cloexec=[*held.values(), *_descriptors(state)])
        now = {name: state[name] for name in NEEDED_AT_ONCE}
        data = marshal.dumps((now, marshal.dumps(state)))
        if posix.write(state_fd, data) != len(data):
            raise OSError("no memory for the state")
        for fd in kept:
            posix.set_inheritable(fd, True)
        argv = [
            sys.executable, "-I", "-S", "-X", f"pyconmon={state_fd}",
            f"/proc/self/fd/{held['resident']}", *sys.argv[1:],
        ]  # fmt: skip
        posix.execve(sys.executable, argv, environment)
    except Exception as error:  # noqa: BLE001 - less memory is not worth a container's exit code
        diagnostics.debug(f"the monitor stays as it is: {error}")
    for fd in _descriptors(state):
        posix.set_inheritable(fd, False)
    for fd in opened:
        posix.close(fd)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, old_mask)


def hold_modules(began_ns: int) -> None:
    """For a monitor that stays as it is: what it may load yet is there when the package is not."""
    for name in _MODULES:
        if name not in loader.held and f"pyconmon.{name}" not in sys.modules:
            try:
                loader.held[name] = _open_module(name, began_ns)
            except OSError as error:  # not compiled, perhaps
                diagnostics.debug(f"{name} will be loaded from where it is installed: {error}")


def _open_module(name: str, since_ns: int) -> int:
    """The compiled module, if it is the one that this process would have loaded.

    Raises:
        OSError: it is not there, or younger than this process: another version, perhaps.
    """
    path = f"{_TOP}/__pycache__/{name}.{sys.implementation.cache_tag}.pyc"
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    source = posix.stat(f"{_TOP}/{name}.py")
    changed_ns = max(posix.fstat(fd).st_ctime_ns, source.st_ctime_ns)
    words = (0, int(source.st_mtime), source.st_size)
    header = b"".join((n & 0xFFFFFFFF).to_bytes(4, "little") for n in words)
    is_small = posix.fstat(fd).st_size < loader.LIMIT_BYTES
    if changed_ns > since_ns or posix.pread(fd, 12, 4) != header or not is_small:
        posix.close(fd)
        raise OSError(f"{path} has changed")
    return fd


def _descriptors(state: dict[str, Any]) -> list[int]:
    """What the monitor's open files are."""
    fds = {
        state["stdin"], *state["outputs"], state["terminal"], state["attach"], *state["fifos"],
        state["sync"][0], *(log["_fd"] for log in state["logs"]), *(state["oom"] or (-1,))[:1],
    }  # fmt: skip
    return [fd for fd in fds if fd >= 0]


def _is_same_file(one: str, other: str) -> bool:
    first, second = posix.stat(one), posix.stat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
