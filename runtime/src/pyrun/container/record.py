"""Records the system calls of a container as a seccomp profile for it (docs/adr/0015).

The annotation ``io.containers.trace-syscall`` asks for it, as it asks podman's hook: ``of:PATH``
names the profile to write, ``if:PATH`` before that one whose calls are in it as well.
"""

from __future__ import annotations

import fcntl
import posix
import select

from pyrun import names, syscalls
from pyrun.container import fork, saving
from pyrun.container.stage import TRACE
from pyrun.errors import ConfigError, ContainerError
from pyrun.spec import jsontext
from pyrun.spec.load import read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrun.spec.types import JsonObject

_POINTER = f"/annotations/{TRACE}"
_WORD_BYTES = 4096
_END_TIMEOUT_MS = 10_000
# How a program begins and ends, and what the kernel has it call after a signal: any run may need
# them, whether this one did or not.
_ALWAYS = frozenset(("execve", "exit", "exit_group", "restart_syscall", "rt_sigreturn"))
# Whether a thread meets another at a lock, or outlives it, is another matter in each run.
_WITH_THREADS = frozenset(("futex", "madvise", "munmap"))


def begin(config: JsonObject, process: JsonObject, pid: int, *, first: bool) -> int:
    """Start the recorder of a process that waits for us to; returns the recorder's id.

    Args:
        config: config.json.
        process: its settings.
        pid: of init, or of a process that enters the container.
        first: of init: the profile begins anew.

    Raises:
        ConfigError: the annotation names no file to write.
        ContainerError: python-ptrace is missing, or the file cannot be written.
        KernelError: the kernel does not let us trace the process.
    """
    base, path = _paths((config.get("annotations") or {})[TRACE])
    try:
        from pyrun.linux import tracer
    except ImportError as error:
        problem = f"the Python package {error.name} is missing: install pyrun[record]"
        raise ContainerError(f"record the system calls: {problem}") from error
    known = _calls(base) if base else set()
    if first:
        _make_room(path)
    # The filter of a process that may gain privileges is loaded before it gives up its own: what
    # pyrun itself calls between that and the program has to be allowed, too.
    program_only = bool(process.get("noNewPrivileges"))
    ours_fd, theirs_fd = posix.pipe()
    recorder = posix.fork()
    if recorder == 0:
        _main(tracer, pid, path, known, theirs_fd, program_only=program_only)
    posix.close(theirs_fd)
    said = b""
    while chunk := posix.read(ours_fd, _WORD_BYTES):
        said += chunk
    posix.close(ours_fd)
    if said != b"ready":
        posix.waitpid(recorder, 0)
        said = said or b"the recorder was killed"
        raise ContainerError(f"record the system calls: {said.decode(errors='replace')}")
    return recorder


def wait(recorder: int) -> None:
    """Wait until a recorder has written its profile; its processes have ended."""
    try:
        pid_fd = posix.pidfd_open(recorder)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(pid_fd, select.POLLIN)
    poll.poll(_END_TIMEOUT_MS)
    posix.close(pid_fd)


def _paths(value: str) -> tuple[str, str]:
    """The profile to begin with, or an empty string, and the one to write."""
    found = {"if": "", "of": ""}
    for piece in value.split(";"):
        kind, _, path = piece.partition(":")
        if kind not in found or found[kind] or not path.startswith("/"):
            raise ConfigError(_POINTER, f"{value!r} is not of:PATH or if:PATH;of:PATH")
        found[kind] = path
    if not found["of"]:
        raise ConfigError(_POINTER, f"{value!r} names no file to write (of:PATH)")
    return found["if"], found["of"]


def _calls(path: str) -> set[str]:
    """The names that a profile allows."""
    rules = read_object(path, "the seccomp profile")[0].get("syscalls") or []
    try:
        allowed = [rule for rule in rules if rule["action"] == "SCMP_ACT_ALLOW"]
        return {name for rule in allowed for name in rule["names"]}
    except (TypeError, KeyError) as error:
        raise ContainerError(f"read the seccomp profile {path}: it is none") from error


def _make_room(path: str) -> None:
    """Remove an older profile, which nobody shall take for the new one."""
    try:
        posix.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ContainerError(f"record system calls into {path}: {error.strerror}") from error
    directory = path.rpartition("/")[0] or "/"
    if not names.is_dir(directory) or not posix.access(directory, posix.W_OK):
        raise ContainerError(f"record system calls into {path}: its directory cannot be written")


def _main(  # type: ignore[no-untyped-def]  # the module that begin has imported
    tracer, pid: int, path: str, known: set[str], ready_fd: int, *, program_only: bool
) -> NoReturn:
    """The recorder: nothing of its caller's may keep it, and it may keep nothing of its caller."""
    try:
        posix.setsid()
        fork.reset_signals()
        null_fd = posix.open("/dev/null", posix.O_RDWR)
        for fd in range(3):
            posix.dup2(null_fd, fd)
        posix.dup2(ready_fd, 3, inheritable=False)
        syscalls.close_range(4, 0xFFFFFFFF, 0)
        try:
            tracer.seize(pid)
        except BaseException as error:
            posix.write(3, str(error).encode())
            raise
        posix.write(3, b"ready")
        posix.close(3)
        seen = tracer.watch(pid, program_only=program_only)
        if seen:
            _write(path, known, seen)
        posix._exit(0)
    finally:
        posix._exit(1)


def _write(path: str, known: set[str], seen: set[tuple[int, int]]) -> None:
    """Write the profile; another process of the container may have written its part already."""
    from pyseccomp import Arch, resolve_syscall

    spelled = {int(value): name for name, value in vars(Arch).items() if isinstance(value, int)}
    calls = known | _ALWAYS
    architectures = set()
    for architecture, number in seen:
        if architecture in spelled:
            architectures.add(f"SCMP_ARCH_{spelled[architecture]}")
        try:
            calls.add(resolve_syscall(architecture, number).decode())
        except ValueError:
            continue  # libseccomp is older than the call and could not allow it either
    if calls & {"clone", "clone3"}:
        calls |= _WITH_THREADS
    directory_fd = posix.open(path.rpartition("/")[0] or "/", posix.O_RDONLY | posix.O_CLOEXEC)
    fcntl.flock(directory_fd, fcntl.LOCK_EX)
    if names.exists(path):
        calls |= _calls(path)
        architectures |= set(read_object(path, "the seccomp profile")[0]["architectures"])
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": sorted(architectures),
        "syscalls": [{"names": sorted(calls), "action": "SCMP_ACT_ALLOW"}],
    }
    text = jsontext.dumps(profile, 2).encode() + b"\n"
    saving.replace(path, text, f"write {path}", 0o644)
