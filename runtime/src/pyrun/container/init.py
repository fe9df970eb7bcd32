"""The child: from the first unshare to execve(2).

Everything is imported before the root changes: an import after that would read the image's files.
Init cannot raise into its parent, so it sends what went wrong through the channel.
"""

from __future__ import annotations

import posix

from pyrun import names, syscalls
from pyrun.container import cgroup_mounts, channel, fork, process
from pyrun.container.channel import Channel, ChannelClosedError
from pyrun.container.stage import TRACE
from pyrun.errors import ContainerError, KernelError
from pyrun.linux import devices, interfaces, keyring, mounts, namespaces, paths, rootfs
from pyrun.linux.cgroups import hierarchy
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrun.linux.cgroups.hierarchy import Hierarchy
    from pyrun.linux.namespaces import Plan
    from pyrun.spec.types import JsonObject


class Task:
    """What init has to do; made by the parent, and the child has it by fork.

    Attributes:
        bundle: absolute path of the bundle.
        channel: the child's end.
        config: config.json.
        console_fd: the console socket, or -1.
        entered: cgroup directories that the process enters by itself.
        fifo_fd: the exec fifo, opened O_PATH; -1 where the parent starts what it creates.
        first_free_fd: descriptors from here on are not for the container.
        hierarchies: of the host, for mounts of type ``cgroup``.
        identity: of the process.
        in_cgroup: whether the parent knows of this process, and it is in all of its cgroup.
        keyring_name: the session keyring to join, or an empty string.
        nodes: detached mounts of devices made in advance, by index in ``linux.devices``.
        parents_fds: only the parent may hold them: its end of the channel, whose closing is the
            news of its death, and the lock, which dies with its last holder.
        plan: its namespaces.
        rootfs: absolute path of the root on the host.
        state: as hooks read it.
        trees: detached mounts made in advance, by index in ``mounts``; -1 is the root.
        use_pivot: pivot_root(2), or MS_MOVE and chroot(2).
    """

    __slots__ = (
        "bundle", "channel", "config", "console_fd", "entered", "fifo_fd", "first_free_fd",
        "hierarchies", "identity", "in_cgroup", "keyring_name", "nodes", "parents_fds", "plan",
        "rootfs", "state", "trees", "use_pivot",
    )  # fmt: skip

    bundle: str
    channel: Channel
    config: JsonObject
    console_fd: int
    entered: list[str]
    fifo_fd: int
    first_free_fd: int
    hierarchies: list[Hierarchy]
    identity: process.Identity
    in_cgroup: bool
    keyring_name: str
    nodes: dict[int, int]
    parents_fds: list[int]
    plan: Plan
    rootfs: str
    state: JsonObject
    trees: dict[int, int]
    use_pivot: bool

    def linux(self, name: str) -> JsonObject | list[JsonObject] | None:
        """A member of ``linux``."""
        return (self.config.get("linux") or {}).get(name)

    def hooks(self, kind: str) -> list[JsonObject]:
        """The hooks of one kind."""
        return (self.config.get("hooks") or {}).get(kind) or []

    def leave_parent(self) -> None:
        """Close what only the parent may hold; the child's first act."""
        for fd in self.parents_fds:
            posix.close(fd)
        self.parents_fds = []


def main(task: Task) -> None:
    """Init's whole life up to execve(2); never returns."""
    task.leave_parent()
    start = StartPipe(task)
    try:
        _set_up(task, start.proc_fd)
        process.hide_descriptors(task.first_free_fd, _needed_descriptors(task, start.proc_fd))
        has_program = bool(task.config.get("process"))
        if has_program and TRACE in (task.config.get("annotations") or {}):
            task.channel.send("settling")
            task.channel.receive("go")  # there is a recorder now
        waits = task.fifo_fd >= 0 and not task.hooks("startContainer")
        path = process.settle(task.identity, start.proc_fd, waits=waits) if has_program else ""
        task.channel.send("created")
        task.channel.receive("go")
        start.wait()
        if not has_program:
            raise ContainerError("start the container: config.json has no process")
        if task.hooks("startContainer"):
            from pyrun.container import hooks  # the preparation has imported it already

            state = {**task.state, "status": "created", "pid": posix.getpid()}
            place = hooks.Place(".", task.identity.env, lambda: process.confine(task.identity))
            hooks.run("startContainer", task.hooks("startContainer"), state, place=place)
        process.execute(path, task.identity)
    except ChannelClosedError:
        posix._exit(1)  # the parent was killed; whoever deletes the container finds nothing of us
    except BaseException as error:  # noqa: BLE001 - init must never return into its parent's code
        start.report(error)
    finally:
        posix._exit(1)


def _needed_descriptors(task: Task, proc_fd: int) -> list[int]:
    """What init still uses between its last mount and the program."""
    needed = [task.channel.fd, task.fifo_fd, proc_fd]
    if task.identity.listener is not None:
        needed.append(task.identity.listener.fd)
    if task.hooks("startContainer"):
        from pyrun.container import hooks  # as in main

        needed += hooks.outputs()
    return needed


def stage(task: Task) -> None:
    """The stage's part after its preparations: makes the namespaces and forks init; never returns.

    Raises:
        KernelError: the kernel refused a namespace or a cgroup.
        ChannelClosedError: the parent was killed, or config.json is not valid.
    """
    _make_namespaces(task)
    record = task.channel.receive("cgroup")
    hierarchy.enter(record["entered"])
    set_oom_score(task.config.get("process") or {})
    task.hierarchies = [hierarchy.Hierarchy(*fields) for fields in record["hierarchies"]]
    if record["fifo"]:
        task.fifo_fd = posix.open(record["fifo"], posix.O_PATH | posix.O_CLOEXEC)
    _fork_init(task, hierarchy.clone_fd(record["clone"]))


def helper(task: Task) -> None:
    """The process between parent and init, where a user or time namespace asks for one."""
    try:
        task.leave_parent()
        hierarchy.enter(task.entered)
        task.channel.receive("go")  # the parent has done its part
        set_oom_score(task.config.get("process") or {})
        offsets = task.linux("timeOffsets") if task.plan.new & syscalls.CLONE_NEWTIME else None
        offsets_fd = namespaces.open_time_offsets() if offsets else -1
        namespaces.join_from_outside(task.plan)
        _enter_user_namespace(task)
        # Init is born where others may see it who are as powerful as it in the same user namespace.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        _make_namespaces(task)
        if offsets:
            namespaces.set_time_offsets(offsets, offsets_fd)  # type: ignore[arg-type]  # validated
        _fork_init(task, -1)
    except BaseException as error:  # noqa: BLE001 - as in main
        if not isinstance(error, ChannelClosedError):
            task.channel.send("error", **channel.describe(error))
    finally:
        posix._exit(1)


def _make_namespaces(task: Task) -> None:
    """Make and join all but the user namespace.

    Init enters a mount namespace and a cgroup namespace itself: the one shows another /proc, a new
    one of the other has the cgroup as its root that its maker is in, and an older one may keep its
    processes in the cgroups below its root (``nsdelegate``, cgroups(7)).
    """
    plan = task.plan
    by_init = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWCGROUP
    namespaces.join(plan, ~(syscalls.CLONE_NEWUSER | by_init))
    namespaces.unshare(plan.new & ~(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWCGROUP))
    if plan.new & syscalls.CLONE_NEWNET:
        interfaces.set_loopback_up()


def _fork_init(task: Task, cgroup_fd: int) -> None:
    pid, cloned = fork.fork(cgroup_fd, lambda: main(task))
    warnings = channel.shortened(task.identity.warnings)
    notes = channel.shortened(task.identity.notes())
    task.channel.send("forked", pid=pid, cloned=cloned, warnings=warnings, notes=notes)
    posix._exit(0)


def wait_for_helper(own: Channel) -> None:
    """Keep quiet until the parent has our pid from the helper: both speak through one channel."""
    try:
        own.receive("go")
    except ChannelClosedError:
        posix._exit(1)


def _enter_user_namespace(task: Task) -> None:
    """Join or make it, first of all; the parent writes the mappings."""
    if not task.plan.has(syscalls.CLONE_NEWUSER):
        return
    namespaces.join(task.plan, syscalls.CLONE_NEWUSER)
    if task.plan.new & syscalls.CLONE_NEWUSER:
        namespaces.unshare(syscalls.CLONE_NEWUSER)
        task.channel.send("user")
        task.channel.receive("go")
    become_root()
    task.identity.enter_user_namespace()


def become_root() -> None:
    """Take the ids that the user namespace calls 0.

    Raises:
        KernelError: it maps no such id.
    """
    try:
        posix.setresgid(0, 0, 0)
        posix.setresuid(0, 0, 0)
    except OSError as error:
        raise KernelError("become root of the user namespace (is id 0 mapped?)", error) from error


class StartPipe:
    """The way to ``start``: the exec fifo, once it is open; to the parent before that.

    A parent that starts what it creates has no fifo: it keeps listening until execve(2).
    """

    __slots__ = ("_fd", "_task", "proc_fd")

    def __init__(self, task: Task) -> None:
        self._task = task
        self._fd = -1
        self.proc_fd = process.open_proc_self()

    def wait(self) -> None:
        """Block until ``start`` opens the other end."""
        task = self._task
        if task.fifo_fd < 0:
            return
        task.channel.close()
        fork.end_on_signals()
        self._fd = posix.open(
            f"fd/{task.fifo_fd}", posix.O_WRONLY | posix.O_CLOEXEC, dir_fd=self.proc_fd
        )

    def report(self, error: BaseException) -> None:
        """Tell whoever waits what went wrong."""
        if self._fd >= 0:
            posix.write(self._fd, jsontext.dumps(channel.describe(error)).encode())
        else:
            _wait_for_parent(self._task)
            self._task.channel.send("error", **channel.describe(error))


def _set_up(task: Task, proc_fd: int) -> None:
    """Everything between the fork and the process's own settings."""
    config = task.config
    posix.setsid()
    process.use_every_processor()
    if task.keyring_name:
        process.label_keyring(config.get("process") or {}, proc_fd)
        keyring.join(task.keyring_name)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    namespaces.join(task.plan, syscalls.CLONE_NEWNS)
    if config.get("hostname"):
        _uts("hostname", config["hostname"], syscalls.sethostname)
    if config.get("domainname"):
        _uts("domainname", config["domainname"], syscalls.setdomainname)
    if task.linux("netDevices"):
        _wait_for_parent(task)  # its answer comes first
        task.channel.send("network")
        task.channel.receive("go")
    _change_root(task)


def _wait_for_parent(task: Task) -> None:
    """Wait until the parent has our pid and we are in the whole of the cgroup; make that the root.

    Before that the parent listens to the process that forked us, through the same channel.
    """
    if not task.in_cgroup:
        task.in_cgroup = True
        task.channel.receive("go")
        namespaces.join(task.plan, syscalls.CLONE_NEWCGROUP)
        namespaces.unshare(task.plan.new & syscalls.CLONE_NEWCGROUP)


def needs_helper(plan: Plan) -> bool:
    """Whether init cannot be the parent's own child.

    Its pid namespace may belong to a user namespace that the parent is not in, a time namespace is
    entered by forking, and the parent may not be allowed back into its own pid namespace.
    """
    if plan.has(syscalls.CLONE_NEWUSER) or plan.has(syscalls.CLONE_NEWTIME):
        return True
    return plan.has(syscalls.CLONE_NEWPID) and not plan.may_return()


def _has_bound_dev(entries: Iterable[JsonObject]) -> bool:
    """Whether /dev is the host's, which nobody may change for a container (as with runc)."""
    found = [entry for entry in entries if names.normal(entry["destination"]) == "/dev"]
    return bool(found) and mounts.is_bind(found[-1])


def _uts(name: str, value: str, call: object) -> None:
    try:
        call(value)  # type: ignore[operator]  # one of two functions of syscalls
    except OSError as error:
        raise KernelError(f"set the {name} {value}", error) from error


def set_oom_score(settings: JsonObject) -> None:
    """Set ``process.oomScoreAdj``, before this process's files in /proc become root's; inherited.

    Raises:
        KernelError: the kernel refused; lowering it needs CAP_SYS_RESOURCE.
    """
    score = settings.get("oomScoreAdj")
    if score is None:
        return
    try:
        fd = posix.open("/proc/self/oom_score_adj", posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, str(score).encode())
        finally:
            posix.close(fd)
    except OSError as error:
        raise KernelError(f"set oom_score_adj to {score}", error) from error


def _change_root(task: Task) -> None:
    """Mounts, devices and hooks in the container's root, and then the root itself."""
    plan, config = task.plan, task.config
    settings = config.get("linux") or {}
    propagation = settings.get("rootfsPropagation") or ""
    if plan.new & syscalls.CLONE_NEWNS:
        root_fd = rootfs.prepare(task.rootfs, propagation, task.trees.get(-1, -1))
    else:
        root_fd = posix.open(task.rootfs, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    label = label_option(config)
    mounter = mounts.Mounter(root_fd, task.bundle, label, task.trees, _copy_tree)
    for index, entry in enumerate(config.get("mounts") or ()):
        if entry.get("type") in ("cgroup", "cgroup2"):
            _wait_for_parent(task)
            own = plan.has(syscalls.CLONE_NEWCGROUP)
            cgroup_mounts.mount(mounter, entry, index, task.hierarchies, own_namespace=own)
        else:
            mounter.mount(entry, index)
    bind = plan.has(syscalls.CLONE_NEWUSER)
    if not _has_bound_dev(config.get("mounts") or ()):
        devices.make_all(root_fd, settings.get("devices") or [], task.nodes, bind=bind)
        devices.make_links(root_fd)
    _wait_for_parent(task)
    if task.hooks("prestart") or task.hooks("createRuntime"):
        task.channel.send("mounted")
        task.channel.receive("go")
    if task.hooks("createContainer"):
        from pyrun.container import hooks  # as above

        state = {**task.state, "pid": posix.getpid()}
        place = hooks.Place(paths.proc_path(root_fd))  # as with runc
        hooks.run("createContainer", task.hooks("createContainer"), state, place=place)
    if (config.get("process") or {}).get("terminal"):
        _make_console(task, root_fd)
    if settings.get("sysctl"):
        from pyrun.linux import sysctl  # the parent has imported it already

        sysctl.apply(settings["sysctl"])
    _protect(root_fd, config, label)
    mounter.finish_late()
    if plan.new & syscalls.CLONE_NEWNS:
        rootfs.make_working_directory(root_fd, task.identity.process.get("cwd") or "/")
        if (config.get("root") or {}).get("readonly"):
            rootfs.make_read_only(root_fd)
        if task.use_pivot:
            rootfs.pivot(root_fd)
        else:
            rootfs.move(root_fd, task.rootfs)
        rootfs.set_propagation(propagation)
    else:
        rootfs.chroot(root_fd)
    posix.close(root_fd)


def _copy_tree(source_fd: int, target_fd: int) -> None:
    from pyrun.linux import mount_copy  # the parent has imported it already

    try:
        mount_copy.copy_tree(source_fd, target_fd)
    except RecursionError:
        problem = "directories are nested too deep"
        raise KernelError("copy into a tmpfs (tmpcopyup)", problem) from None


def label_option(config: JsonObject) -> str:
    """``linux.mountLabel`` as a mount option; an annotation of crun chooses which.

    Empty without a label, and where the kernel would not know the option.
    """
    label = (config.get("linux") or {}).get("mountLabel")
    if not label:
        return ""
    from pyrun.linux import lsm  # the parent has imported it already

    if not lsm.has_selinux():
        return ""
    kind = (config.get("annotations") or {}).get("run.oci.mount_context_type") or "context"
    return f'{kind}="{label}"'


def _protect(root_fd: int, config: JsonObject, label: str) -> None:
    settings = config.get("linux") or {}
    masked, read_only = settings.get("maskedPaths"), settings.get("readonlyPaths")
    if not masked and not read_only:
        return
    places = rootfs.Places(root_fd, config.get("mounts") or [])
    for path in read_only or ():
        rootfs.make_path_read_only(places, path)
    if masked:
        null_fd = rootfs.open_null()
        for path in dict.fromkeys(masked):
            rootfs.mask_path(places, path, null_fd, label)
        posix.close(null_fd)
    places.close()


def _make_console(task: Task, root_fd: int) -> None:
    from pyrun.linux import console  # the parent has imported it already

    settings = task.identity.process
    master_fd, slave_fd = console.make(root_fd, settings.get("consoleSize"))
    if task.plan.has(syscalls.CLONE_NEWNS):
        console.bind_console(root_fd, slave_fd)
    console.send(task.console_fd, master_fd)
    posix.close(master_fd)
    console.attach(slave_fd)
    posix.close(slave_fd)
