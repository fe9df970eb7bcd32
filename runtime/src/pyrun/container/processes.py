"""``ps``: which processes a container has, and what ps(1) says of them."""

from __future__ import annotations

import posix

from pyrun.container import status
from pyrun.errors import ContainerError
from pyrun.linux.cgroups import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.store import Entry


def of(entry: Entry) -> list[int]:
    """Their ids on the host, sorted; none of a container that has stopped.

    Raises:
        ContainerError: nothing tells which they are.
        KernelError: its cgroup cannot be read.
    """
    manager = select.from_record(entry.state["cgroup"] or {})
    if manager.paths:
        return manager.procs()
    if status.of(entry) == "stopped":
        return []
    if not entry.state.get("own_pid_namespace"):
        problem = "it has neither a cgroup nor a pid namespace of its own"
        raise ContainerError(f"list the processes of container {entry.id}: {problem}")
    return _in_namespace(posix.readlink(f"/proc/{entry.state['pid']}/ns/pid"))


def _in_namespace(wanted: str) -> list[int]:
    found = []
    for name in filter(str.isdigit, posix.listdir("/proc")):
        try:
            if posix.readlink(f"/proc/{name}/ns/pid") == wanted:
                found.append(int(name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return sorted(found)


def table(pids: list[int], options: list[str]) -> str:
    """The headline of ps(1) and its lines for ``pids``.

    Raises:
        ContainerError: ps is missing or fails, or shows no process ids.
    """
    code, output = _run(["ps", *options])
    lines = output.splitlines()
    if code:
        raise ContainerError(f"ps {' '.join(options)}: exit status {code}: {output.strip()}")
    head = lines[0].split() if lines else []
    if "PID" not in head:
        raise ContainerError(f"ps {' '.join(options)}: its output has no column PID")
    column, wanted = head.index("PID"), {str(pid) for pid in pids}
    kept = [line for line in lines[1:] if line.split()[column : column + 1][0] in wanted]
    return "".join(f"{line}\n" for line in [lines[0], *kept])


def _run(words: list[str]) -> tuple[int, str]:
    """Exit status and output of a program."""
    output_fd = posix.memfd_create("output")
    try:
        actions = [(posix.POSIX_SPAWN_DUP2, output_fd, number) for number in (1, 2)]
        try:
            pid = posix.posix_spawnp(words[0], words, posix.environ, file_actions=actions)
        except OSError as error:
            problem = f"{error.strerror}: install procps, or use --format json"
            raise ContainerError(f"run {words[0]}: {problem}") from error
        code = posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
        size = posix.fstat(output_fd).st_size
        return code, posix.pread(output_fd, size, 0).decode(errors="replace")
    finally:
        posix.close(output_fd)
