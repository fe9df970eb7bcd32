"""``exec``: enters a running container."""

from __future__ import annotations

import posix

from pyrun import syscalls
from pyrun.container import channel, fork, init, prepare, process, status, store
from pyrun.container.request import inherited, listen_environment
from pyrun.container.stage import TRACE
from pyrun.errors import ContainerError, KernelError
from pyrun.linux import keyring, namespaces, rlimits
from pyrun.linux.cgroups import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.channel import Channel
    from pyrun.container.store import Entry
    from pyrun.linux.cgroups.manager import Manager
    from pyrun.spec.types import JsonObject


class Request:
    """What ``exec`` is asked for.

    Attributes:
        cgroup: a cgroup below the container's, or an empty string.
        cgroups: the same for single controllers of v1, by their names.
        console_fd: a connected console socket, or -1.
        console_socket: its path, or an empty string.
        container_id: of the container to enter.
        pid_file: gets the process id, or an empty string.
        pidfd_socket: gets the pidfd, or an empty string.
        preserve_fds: how many descriptors from 3 on the process inherits.
        process: as in config.json.
        root: of ``--root``.
    """

    __slots__ = (
        "cgroup", "cgroups", "console_fd", "console_socket", "container_id", "pid_file",
        "pidfd_socket", "preserve_fds", "process", "root",
    )  # fmt: skip

    def __init__(self, root: str, container_id: str, settings: JsonObject) -> None:
        self.root = root
        self.container_id = container_id
        self.process = settings
        self.cgroup = ""
        self.cgroups: dict[str, str] = {}
        self.console_fd = -1
        self.console_socket = ""
        self.pid_file = ""
        self.pidfd_socket = ""
        self.preserve_fds = 0


class _Task:
    """What the child has to do; it has it by fork."""

    __slots__ = (
        "cgroup", "channel", "console_fd", "first_free_fd", "identity", "keyring_name",
        "parents_fds", "plan", "recorded", "root_fd", "sub_cgroup",
    )  # fmt: skip

    cgroup: Manager
    channel: Channel
    console_fd: int
    first_free_fd: int
    identity: process.Identity
    keyring_name: str
    parents_fds: list[int]
    plan: namespaces.Plan
    recorded: bool
    root_fd: int
    sub_cgroup: str


def find_running(root: str, container_id: str, *, paused: bool = False) -> Entry:
    """The container to enter.

    Args:
        root: of ``--root``.
        container_id: of the container.
        paused: takes a paused one, too.

    Raises:
        ContainerError: there is none, it has stopped, or it is paused.
    """
    entry = store.find(root, container_id, lock=False)
    now = status.of(entry)
    if now == "paused" and not paused:
        raise ContainerError(f"exec in container {entry.id}: it is paused (or use --ignore-paused)")
    if now not in ("created", "running", "paused"):
        raise ContainerError(f"exec in container {container_id}: status is {now}, must be running")
    return entry


def execute(request: Request, entry: Entry) -> int:
    """Start the process in the container; returns its id on the host, and does not wait for it.

    Raises:
        PyrunError: it could not be started; nothing of it is left.
    """
    config = entry.config()
    prepare.extend(config)
    manager = select.from_record(entry.state["cgroup"] or {})
    task = _prepare(request, config, entry)
    manager.descend(request.cgroups)
    task.cgroup, task.sub_cgroup = manager, request.cgroup
    ours, task.channel = channel.pair()
    task.parents_fds = [ours.fd]
    pids: list[int] = []
    try:
        _spawn(task, entry, ours, pids)
        task.channel.close()
        pid = pids[-1]
        if task.recorded:
            from pyrun.container import record

            ours.receive("settling")
            record.begin(config, task.identity.process, pid, first=False)
            ours.send("go")
        ours.receive("created")
        if request.pid_file:
            from pyrun.container import saving

            saving.write_pid_file(request.pid_file, pid)
        if request.pidfd_socket:
            from pyrun.linux import pidfd

            pidfd.send(request.pidfd_socket, pid, "setns")
        ours.send("go")
        channel.wait_for_execve(ours)
    except channel.ChannelClosedError as error:
        fork.end(pids)
        problem = "its process was killed (has the container stopped?)"
        raise ContainerError(f"exec in container {entry.id}: {problem}") from error
    except BaseException:
        fork.end(pids)
        raise
    finally:
        ours.close()
        task.plan.close()
        posix.close(task.root_fd)
    return pid


def _prepare(request: Request, config: JsonObject, entry: Entry) -> _Task:
    settings = request.process
    process.check_labels(settings)
    profile, compiled = (config.get("linux") or {}).get("seccomp"), None
    if profile:
        from pyrun.linux.seccomp import filters

        compiled = filters.prepare(profile, filters.cache_directories(request.root))
    task = _Task()
    task.identity = process.Identity(settings, config.get("linux") or {}, compiled)
    task.identity.keep_groups = process.keeps_groups(config)
    task.identity.env += listen_environment()
    task.first_free_fd = 3 + inherited(request.preserve_fds)
    task.keyring_name = f"_ses.{entry.id}"
    task.recorded = TRACE in (config.get("annotations") or {})
    task.console_fd = request.console_fd
    terminal = bool(settings.get("terminal"))
    if terminal:
        from pyrun.linux import console

        if request.console_socket:
            task.console_fd = console.connect(request.console_socket)
        if task.console_fd < 0:
            problem = "a terminal without --console-socket needs a process that is waited for"
            raise ContainerError(f"exec in container {entry.id}: {problem}")
    elif request.console_socket:
        problem = "a console socket is of use only with --tty"
        raise ContainerError(f"exec in container {entry.id}: {problem}")
    if profile and profile.get("listenerPath"):
        from pyrun.container import listener

        state = status.state_of(entry, status.of(entry))
        task.identity.listener = listener.connect(compiled, state)
    task.plan, task.root_fd = _plan(entry)
    return task


def _plan(entry: Entry) -> tuple[namespaces.Plan, int]:
    """The namespaces of init that are not ours, and its root directory."""
    pid = entry.state["pid"]
    plan = namespaces.Plan()
    try:
        for flag, name in namespaces.TYPES.values():
            if namespaces.is_other(pid, name):
                path = f"/proc/{pid}/ns/{name}"
                plan.joined[flag] = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        root_fd = posix.open(
            f"/proc/{pid}/root", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
        )
    except OSError as error:
        plan.close()
        raise KernelError(f"open the namespaces of process {pid}", error) from error
    if not status.is_alive(entry):  # the number may belong to another process by now
        plan.close()
        raise ContainerError(f"exec in container {entry.id}: it has stopped")
    return plan, root_fd


def _spawn(task: _Task, entry: Entry, ours: Channel, pids: list[int]) -> None:
    """Fork the process, or the helper that forks it; fills ``pids``, the process last."""
    helper = init.needs_helper(task.plan)
    _set_affinity(task, "initial")
    limits: list[JsonObject] = []
    cgroup_fd = task.cgroup.clone_fd(task.sub_cgroup)
    if helper:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        limits, task.identity.limits = task.identity.limits, []
        pid, cloned = fork.fork(cgroup_fd, lambda: _helper(task))
    else:
        pid, cloned = fork.fork_in_pid_namespace(task.plan, cgroup_fd, lambda: _child(task))
    pids.append(pid)
    task.channel.close()
    rlimits.apply(pid, limits)
    task.cgroup.join(pid, task.sub_cgroup, beside=entry.state["pid"], entered=True, cloned=cloned)
    if entry.state.get("resctrl"):
        from pyrun.linux import resctrl

        resctrl.assign(entry.state["resctrl"], pid)
    ours.send("go")
    if helper:
        pids.append(ours.receive("forked")["pid"])
        posix.waitpid(pid, 0)
        pids.remove(pid)
        ours.send("go")


def _set_affinity(task: _Task, when: str) -> None:
    """``process.execCPUAffinity``; ``initial`` is this process's, which the new one inherits."""
    if task.identity.process.get("execCPUAffinity"):
        from pyrun.linux import affinity

        affinity.apply(task.identity.process, when)


def _helper(task: _Task) -> None:
    """Between the parent and the process, where the pid namespace belongs to a user namespace."""
    try:
        for fd in task.parents_fds:
            posix.close(fd)
        task.parents_fds = []
        task.cgroup.enter(task.sub_cgroup)
        task.channel.receive("go")
        _set_affinity(task, "final")
        init.set_oom_score(task.identity.process)
        # The process is born where the container's others see it, and they may be as powerful in
        # their user namespace as it is.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        namespaces.join_from_outside(task.plan)
        namespaces.join(task.plan, syscalls.CLONE_NEWUSER)
        if task.plan.has(syscalls.CLONE_NEWUSER):
            init.become_root()
            task.identity.enter_user_namespace()
        namespaces.join(task.plan, namespaces.OF_CHILDREN)
        pid = posix.fork()
        if pid == 0:
            init.wait_for_helper(task.channel)
            _child(task)
        task.channel.send("forked", pid=pid)
        posix._exit(0)
    except BaseException as error:  # noqa: BLE001 - must never return into its parent's code
        if not isinstance(error, channel.ChannelClosedError):
            task.channel.send("error", **channel.describe(error))
    finally:
        posix._exit(1)


def _child(task: _Task) -> None:
    """The process up to execve(2); never returns."""
    try:
        for fd in task.parents_fds:
            posix.close(fd)
        proc_fd = process.open_proc_self()
        if not init.needs_helper(task.plan):
            task.cgroup.enter(task.sub_cgroup)
            task.channel.receive("go")
            _set_affinity(task, "final")
            init.set_oom_score(task.identity.process)
        posix.setsid()
        if not task.identity.process.get("execCPUAffinity"):
            process.use_every_processor()
        process.label_keyring(task.identity.process, proc_fd)
        keyring.join(task.keyring_name)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        namespaces.join(task.plan, ~(namespaces.OF_CHILDREN | syscalls.CLONE_NEWUSER))
        if not task.plan.has(syscalls.CLONE_NEWNS):
            posix.fchdir(task.root_fd)
            posix.chroot(".")
        if task.identity.process.get("terminal"):
            _make_console(task)
        listener = task.identity.listener
        needed = [task.channel.fd, proc_fd, *([listener.fd] if listener else ())]
        process.hide_descriptors(task.first_free_fd, needed)
        if task.recorded:
            task.channel.send("settling")
            task.channel.receive("go")  # there is a recorder now
        path = process.settle(task.identity, proc_fd)
        task.channel.send("created")
        task.channel.receive("go")
        process.execute(path, task.identity)
    except channel.ChannelClosedError:
        posix._exit(1)
    except BaseException as error:  # noqa: BLE001 - must never return into its parent's code
        task.channel.send("error", **channel.describe(error))
    finally:
        posix._exit(1)


def _make_console(task: _Task) -> None:
    from pyrun.linux import console  # the parent has imported it already

    master_fd, slave_fd = console.make(task.root_fd, task.identity.process.get("consoleSize"))
    console.send(task.console_fd, master_fd)
    posix.close(master_fd)
    console.attach(slave_fd)
    posix.close(slave_fd)
