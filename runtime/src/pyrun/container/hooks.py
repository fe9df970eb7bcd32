"""Runs one kind of hook with the state on its standard input (runtime-spec config.md, "Hooks")."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix
import select

from pyrun import syscalls
from pyrun.container import fork
from pyrun.errors import ContainerError, KernelError
from pyrun.particular_errors import HookError
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrun.spec.types import JsonObject

_SHOWN_BYTES = 1024
# crun's annotations for what hooks write, by the number of the stream
_FILES = {1: "run.oci.hooks.stdout", 2: "run.oci.hooks.stderr"}
_POLL_LIMIT_MS = 2**31 - 1  # 24 days
# the files of ``redirect``, open; by the number of the stream
_open: dict[int, int] = {}


def redirect(annotations: dict[str, str]) -> None:
    """Open the files that annotations name for the output of hooks; again, it does nothing.

    Raises:
        KernelError: one cannot be opened.
    """
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC
    for number, name in _FILES.items():
        path = annotations.get(name)
        if path and number not in _open:
            try:
                _open[number] = posix.open(path, flags, 0o600)
            except OSError as error:
                raise KernelError(f"open {path} for hooks ({name})", error) from error


def outputs() -> list[int]:
    """The descriptors of ``redirect``."""
    return list(_open.values())


class Place:
    """Where hooks run that are not the host's; the host's begin in the bundle.

    Attributes:
        cwd: their working directory.
        env: what a hook without ``env`` has; None leaves it the caller's, as runc and crun do.
        confine: called last, to give up what the hook may not do.
    """

    __slots__ = ("confine", "cwd", "env")

    def __init__(
        self,
        cwd: str,
        env: list[str] | None = None,
        confine: Callable[[], None] | None = None,
    ) -> None:
        self.cwd = cwd
        self.env = env
        self.confine = confine


def run(
    kind: str,
    hooks: list[JsonObject],
    state: JsonObject,
    *,
    first: int = 0,
    init_fd: int = -1,
    place: Place | None = None,
) -> None:
    """Run hooks in their order.

    Args:
        kind: such as ``createRuntime``.
        hooks: those of this kind.
        state: what they read.
        first: index of the first one to run, after one that failed.
        init_fd: a pidfd; a hook whose container was killed meanwhile is killed as well.
        place: of hooks in the container's namespaces.

    Raises:
        HookError: one failed, or took longer than its timeout.
        KernelError: a file for what they say cannot be opened.
    """
    place = place or Place(state["bundle"])
    redirect(state.get("annotations") or {})
    text = jsontext.dumps(state).encode()
    for index, hook in enumerate(hooks):
        if index >= first:
            _run_one(f"hook {kind}/{index} {hook['path']}", hook, text, init_fd, place)


def run_all(kind: str, hooks: list[JsonObject], state: JsonObject) -> list[str]:
    """Run every hook whatever happens; returns what went wrong."""
    problems = []
    for index in range(len(hooks)):
        try:
            run(kind, hooks[: index + 1], state, first=index)
        except (ContainerError, KernelError) as error:
            problems.append(str(error))
    return problems


def _run_one(name: str, hook: JsonObject, state: bytes, init_fd: int, place: Place) -> None:
    output_fd = posix.memfd_create("output")
    input_fd = posix.memfd_create("state")  # a hook that does not read it disturbs nobody
    try:
        posix.write(input_fd, state)
        posix.lseek(input_fd, 0, 0)
        try:
            pid = posix.fork()
        except OSError as error:  # createContainer hooks are in the container's cgroup
            raise HookError(f"{name}: cannot be forked: {error.strerror}") from error
        if pid == 0:
            _execute(hook, input_fd, output_fd, place)
        problem = _wait_until_ended(pid, hook.get("timeout"), init_fd)
        if problem:
            posix.kill(pid, _signal.SIGKILL)
            posix.waitpid(pid, 0)
            raise HookError(f"{name}: {problem}")
        _check_status(name, pid, output_fd)
    finally:
        posix.close(input_fd)
        posix.close(output_fd)


def _execute(hook: JsonObject, input_fd: int, output_fd: int, place: Place) -> None:
    """The child: never returns."""
    try:
        fork.reset_signals()
        streams = (input_fd, _open.get(1, output_fd), _open.get(2, output_fd))
        for number, fd in enumerate(streams):
            posix.dup2(fd, number, inheritable=True)
        syscalls.close_range(3, 0xFFFFFFFF, syscalls.CLOSE_RANGE_CLOEXEC)
        _enter(place.cwd)
        entries = hook.get("env", place.env)
        env: dict[str, str] | dict[bytes, bytes] = posix.environ
        if entries is not None:
            env = dict(entry.partition("=")[::2] for entry in entries)
        if place.confine:
            place.confine()
        posix.execve(hook["path"], hook.get("args") or [hook["path"]], env)
    except OSError as error:
        posix.write(2, f"cannot be executed: {error.strerror}".encode())
    except KernelError as error:
        posix.write(2, str(error).encode())
    finally:
        posix._exit(127)


def _enter(cwd: str) -> None:
    """Change to the directory; to / where it is gone: a bundle may be removed before poststop."""
    try:
        posix.chdir(cwd)
    except OSError:
        posix.chdir("/")


def _wait_until_ended(pid: int, timeout_s: int | None, init_fd: int) -> str:
    """Why the hook must not go on; nothing when it has ended by itself."""
    if timeout_s is None and init_fd < 0:
        return ""
    pid_fd = posix.pidfd_open(pid)
    poll = select.poll()
    for fd in (pid_fd, init_fd):
        if fd >= 0:
            poll.register(fd, select.POLLIN)
    limit_ms = None if timeout_s is None else min(timeout_s * 1000, _POLL_LIMIT_MS)
    ended = dict(poll.poll(limit_ms))
    posix.close(pid_fd)
    if not ended:
        return f"took longer than its timeout of {timeout_s} s"
    return "" if pid_fd in ended else "the container was killed meanwhile"


def _check_status(name: str, pid: int, output_fd: int) -> None:
    status = posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
    if status:
        said = posix.pread(output_fd, _SHOWN_BYTES, 0).decode(errors="replace").strip()
        how = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
        raise HookError(f"{name}: {how}" + (f": {said}" if said else ""))
