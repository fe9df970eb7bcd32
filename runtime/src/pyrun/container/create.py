"""The parent: forks init, maps ids, joins the cgroup, waits for init.

A killed parent leaves its lock free and its state.json saying ``creating``: init ends by itself
when the channel closes, and the next command with this id removes the rest.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix

from pyrun import names, syscalls
from pyrun.container import channel, fork, hooks, init, lifecycle, process, store
from pyrun.errors import ConfigError, ContainerError
from pyrun.linux import mounts, namespaces, rlimits
from pyrun.linux.cgroups import select
from pyrun.spec import load, validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrun.container.channel import Channel
    from pyrun.container.init import Task
    from pyrun.container.store import Entry
    from pyrun.linux import resctrl
    from pyrun.linux.cgroups.manager import Manager
    from pyrun.spec.load import Bundle
    from pyrun.spec.types import JsonObject, State


class Request:
    """What ``create`` and ``run`` are asked for.

    Attributes:
        bundle: its path.
        cgroup_driver: ``cgroupfs``, ``systemd`` or ``disabled``.
        config_name: of config.json in the bundle.
        console_socket: its path, or an empty string.
        console_fd: a connected console socket, instead of its path; or -1.
        container_id: of the new container.
        no_new_keyring: keeps the caller's session keyring.
        notes: for the debug log, of a profile that was compiled.
        no_pivot: uses MS_MOVE and chroot(2).
        pid_file: gets init's process id, or an empty string.
        pidfd_socket: gets init's pidfd, or an empty string.
        preserve_fds: how many descriptors from 3 on the container inherits.
        root: of ``--root``.
        rootless: the caller has no privileges.
        warnings: what the container asked for and does not have, as the specification allows.
    """

    __slots__ = (
        "bundle", "cgroup_driver", "config_name", "console_fd", "console_socket", "container_id",
        "no_new_keyring", "no_pivot", "notes", "pid_file", "pidfd_socket", "preserve_fds",
        "root", "rootless", "warnings",
    )  # fmt: skip

    def __init__(self, root: str, container_id: str) -> None:
        self.root = root
        self.container_id = container_id
        self.bundle = "."
        self.cgroup_driver = "cgroupfs"
        self.config_name = "config.json"
        self.console_fd = -1
        self.console_socket = ""
        self.no_new_keyring = False
        self.no_pivot = False
        self.notes: list[str] = []
        self.pid_file = ""
        self.pidfd_socket = ""
        self.preserve_fds = 0
        self.rootless = False
        self.warnings: list[str] = []


def create(request: Request, bundle: Bundle | None = None) -> Entry:
    """Create a container up to the point where ``start`` lets it go; the entry stays locked.

    Args:
        request: what is asked for.
        bundle: the one of ``request``, if it has been read already.

    Raises:
        PyrunError: anything; nothing of the container is left then.
    """
    store.check_id(request.container_id)
    bundle = bundle or load.read_bundle(request.bundle, request.config_name)
    validate.require(bundle.config, bundle.path)
    config = bundle.config
    extend(config)
    check_terminal(config, request)
    task = _prepare(bundle, request)
    request.warnings = task.identity.warnings
    if request.cgroup_driver == "disabled" and _device_rules(config):
        request.warnings.append("/linux/resources/devices: without a cgroup no rule holds")
    request.notes = task.identity.filter.notes if task.identity.filter else []
    entry, manager = reserve(task, bundle, request)
    try:
        _make(task, entry, manager, request)
    except BaseException:
        entry.state["cgroup"] = manager.record()  # it may have turned out to be another's
        lifecycle.discard(entry)
        raise
    finally:
        task.plan.close()
        for fd in task.trees.values():
            posix.close(fd)
    return entry


def extend(config: JsonObject) -> None:
    """Have crun's annotations change ``config``.

    Raises:
        ConfigError: one of them asks for what pyrun does not do.
    """
    annotations = config.get("annotations") or {}
    asked = any(key.startswith("run.oci.") for key in annotations)
    if asked or names.environment("RUN_OCI_SECCOMP_RECEIVER"):
        from pyrun.container import extensions

        extensions.apply(config)
        if config.get("hooks"):
            hooks.redirect(annotations)  # init cannot open the files any more


def _device_rules(config: JsonObject) -> list[JsonObject]:
    return ((config.get("linux") or {}).get("resources") or {}).get("devices") or []


def reserve(task: Task, bundle: Bundle, request: Request) -> tuple[Entry, Manager]:
    """Make the container's directory with the record that whoever cleans up needs; it is locked.

    Args:
        task: its ``bundle``, ``rootfs`` and ``plan`` are read.
        bundle: of the container.
        request: what is asked for.

    Raises:
        PyrunError: the id is in use, or its cgroup is, or the directory cannot be made.
    """
    entry = store.reserve(request.root, request.container_id)
    try:
        if entry.state:
            lifecycle.clear(entry)
        entry.empty()
        manager = _manager(bundle.config, request)
        entry.state = _state(task, bundle.config, request, manager)
        entry.save()
        entry.write(store.CONFIG, bundle.text)
    except BaseException:
        lifecycle.clear(entry)
        entry.remove()
        raise
    return entry, manager


def check_terminal(config: JsonObject, request: Request) -> None:
    """Refuse a terminal that nobody gets, and a console socket without a terminal.

    Raises:
        ContainerError: of one of these.
    """
    terminal = bool((config.get("process") or {}).get("terminal"))
    has_socket = bool(request.console_socket) or request.console_fd >= 0
    if terminal and not has_socket:
        problem = "process.terminal is set: pass --console-socket"
        raise ContainerError(f"create container {request.container_id}: {problem}")
    if has_socket and not terminal:
        problem = "a console socket is of use only with process.terminal"
        raise ContainerError(f"create container {request.container_id}: {problem}")


def _prepare(bundle: Bundle, request: Request) -> Task:
    """Everything that can be checked, opened and computed before anything is made."""
    config = bundle.config
    settings = config.get("process") or {}  # start misses it, create does not
    linux = config.get("linux") or {}
    task = init.Task()
    task.bundle = bundle.path
    task.config = config
    task.rootfs = names.real(names.join(bundle.path, config["root"]["path"]))
    task.plan = namespaces.plan(linux.get("namespaces") or ())
    task.in_cgroup = False
    task.use_pivot = not request.no_pivot
    task.keyring_name = "" if request.no_new_keyring else f"_ses.{request.container_id}"
    task.fifo_fd = -1
    task.trees = {}
    if any(
        mounts.COPY_UP & set(entry.get("options") or ()) for entry in config.get("mounts") or ()
    ):
        __import__("pyrun.linux.mount_copy")  # init may not reach our modules any more
    _check_namespaces(config, task.plan)
    process.check_labels(settings, linux.get("mountLabel") or "")
    profile, compiled = linux.get("seccomp"), None
    if profile:
        from pyrun.linux import seccomp

        compiled = seccomp.prepare(profile, seccomp.cache_directories(request.root))
    task.identity = process.Identity(
        settings, linux, compiled, user_namespace=task.plan.has(syscalls.CLONE_NEWUSER)
    )
    task.identity.keep_groups = process.keeps_groups(config)
    task.first_free_fd = 3 + inherited(request.preserve_fds, task.identity.env)
    task.console_fd = request.console_fd
    if settings.get("terminal"):
        from pyrun.linux import console

        if request.console_socket:
            task.console_fd = console.connect(request.console_socket)
    task.state = {
        "ociVersion": config["ociVersion"],
        "id": request.container_id,
        "status": "creating",
        "bundle": bundle.path,
        "annotations": config.get("annotations") or {},
    }
    if profile and profile.get("listenerPath"):
        from pyrun.container import listener

        task.identity.listener = listener.connect(compiled, task.state)
    return task


def inherited(preserve_fds: int, env: list[str]) -> int:
    """How many descriptors from 3 on the process gets; those of LISTEN_FDS come first.

    Raises:
        ContainerError: one of them is not open.
    """
    listen = names.environment("LISTEN_FDS")
    count = preserve_fds
    if listen.isascii() and listen.isdigit() and 0 < len(listen) < 10 and int(listen) > 0:
        count += int(listen)
        env += [f"LISTEN_FDS={listen}", "LISTEN_PID=1"]
    for fd in range(3, 3 + count):
        try:
            posix.fstat(fd)
        except OSError as error:
            raise ContainerError(
                f"preserve descriptor {fd} of {count}: {error.strerror}"
            ) from error
    return count


def _check_namespaces(config: JsonObject, plan: namespaces.Plan) -> None:
    """Refuse settings that would change the host for want of a namespace."""
    linux = config.get("linux") or {}
    own = plan.new
    for flag in plan.joined:
        own |= flag
    if linux.get("sysctl"):
        from pyrun.linux import sysctl

        sysctl.check(linux["sysctl"], own)
    if not own & syscalls.CLONE_NEWNS:
        for name, value in (
            ("/linux/maskedPaths", linux.get("maskedPaths")),
            ("/linux/readonlyPaths", linux.get("readonlyPaths")),
            ("/root/readonly", config["root"].get("readonly")),
        ):
            if value:
                raise ConfigError(name, "needs a mount namespace in /linux/namespaces")


def _manager(config: JsonObject, request: Request) -> Manager:
    path = (config.get("linux") or {}).get("cgroupsPath") or ""
    return select.manager(
        path,
        request.container_id,
        request.cgroup_driver,
        rootless=request.rootless,
        annotations=config.get("annotations"),
    )


def _state(task: Task, config: JsonObject, request: Request, manager: Manager) -> State:
    all_hooks = config.get("hooks") or {}
    return {
        "ociVersion": config["ociVersion"],
        "id": request.container_id,
        "stage": "creating",
        "pid": 0,
        "pid_start": 0,
        "bundle": task.bundle,
        "rootfs": task.rootfs,
        "created": store.timestamp(),
        "owner": _user_name(posix.geteuid()),
        "annotations": config.get("annotations") or {},
        "cgroup": manager.record(),
        "own_pid_namespace": task.plan.has(syscalls.CLONE_NEWPID),
        "hooks": {kind: all_hooks.get(kind) or [] for kind in ("poststart", "poststop")},
        "host_mounts": None if task.plan.has(syscalls.CLONE_NEWNS) else _host_mounts(task.rootfs),
    }


def _host_mounts(rootfs: str) -> list[str]:
    """What is mounted there already, so that delete takes away only what this container mounts."""
    from pyrun.linux import host_mounts

    return list(host_mounts.below(rootfs))


def _user_name(uid: int) -> str:
    """For ``list``; ``#1000`` for a user without a name, as runc has it."""
    if uid == 0:
        return "root"
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _make(task: Task, entry: Entry, manager: Manager, request: Request) -> None:
    """The cgroup, the process, and its record."""
    linux = task.config.get("linux") or {}
    manager.create(linux.get("resources") or {})
    task.cgroup = manager
    fifo = entry.file(store.FIFO)
    posix.mkfifo(fifo, 0o622)
    posix.chmod(fifo, 0o622)  # the container's user writes; the umask took that away
    task.fifo_fd = posix.open(fifo, posix.O_PATH | posix.O_CLOEXEC)
    ours, task.channel = channel.pair()
    task.parents_fds = [ours.fd, entry.lock_fd]
    pids: list[int] = []
    try:
        outside = task.plan.has(syscalls.CLONE_NEWUSER) and posix.geteuid() == 0
        if outside or _has_idmap(task.config.get("mounts") or ()):
            from pyrun.container import mount_trees

            task.trees = mount_trees.make(task)
        group = make_resctrl_group(linux, entry)
        _spawn(task, manager, ours, pids)
        task.channel.close()
        pid = pids[-1]
        if group:
            group.assign(pid)
        entry.state["pid"] = pid
        entry.state["pid_start"] = lifecycle.start_time(pid)
        if task.config.get("hooks"):
            entry.save()  # a hook may hang: delete --force must find init
        _wait_for_init(task, ours, pid)
        entry.state["stage"] = "created"
        entry.state["cgroup"] = manager.record()  # what it really has
        entry.save()
        write_pid_file(request, pid)
        annotations = task.config.get("annotations") or {}
        receiver = request.pidfd_socket or annotations.get("run.oci.pidfd_receiver")
        if receiver:
            from pyrun.linux import pidfd

            pidfd.send(receiver, pid, "standard")
        if annotations.get("run.oci.delegate-cgroup"):
            from pyrun.container import extensions

            extensions.delegate(task.config, manager, pid)
        ours.send("go")
    except BaseException:
        end(pids)
        raise
    finally:
        ours.close()
        posix.close(task.fifo_fd)


def make_resctrl_group(linux: JsonObject, entry: Entry) -> resctrl.Group | None:
    """Make the group of ``linux.intelRdt``; None without one.

    Its record is saved before it is made: whoever cleans up must find it.

    Raises:
        PyrunError: the host has no resctrl, or the kernel refused.
    """
    settings = linux.get("intelRdt")
    if not settings:
        return None
    from pyrun.linux import resctrl

    group = resctrl.plan(settings, entry.id)
    entry.state["resctrl"] = group.record()
    entry.save()
    group.create(settings)
    return group


def _has_idmap(entries: Iterable[JsonObject]) -> bool:
    return any(
        entry.get("uidMappings") or any(map(mounts.is_idmap, entry.get("options") or ()))
        for entry in entries
    )


def write_pid_file(request: Request, pid: int) -> None:
    """Write ``--pid-file``, if it was asked for.

    Raises:
        ContainerError: it cannot be written.
    """
    if request.pid_file:
        path = names.absolute(request.pid_file)
        store.replace(path, str(pid).encode(), f"write the pid file {path}", 0o644)


def _spawn(task: Task, manager: Manager, ours: Channel, pids: list[int]) -> None:
    """Fork init, or the helper that forks it; fills ``pids``, init's last."""
    if not init.needs_helper(task.plan):
        pid, cloned = fork.fork_in_pid_namespace(
            task.plan, manager.clone_fd(), lambda: init.main(task)
        )
        pids.append(pid)
        manager.join(pid, entered=True, cloned=cloned)
        ours.send("go")
        return
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # init outlives the helper, its parent
    limits, task.identity.limits = task.identity.limits, []
    helper, cloned = fork.fork(manager.clone_fd(), lambda: init.helper(task))
    pids.append(helper)
    task.channel.close()
    rlimits.apply(helper, limits)  # inherited; in the user namespace none could be raised
    manager.join(helper, entered=True, cloned=cloned)
    ours.send("go")
    if task.plan.new & syscalls.CLONE_NEWUSER:
        from pyrun.linux import idmap

        linux = task.config["linux"]
        ours.receive("user")
        idmap.write(helper, linux.get("uidMappings") or [], linux.get("gidMappings") or [])
        ours.send("go")
    pids.append(ours.receive("forked")["pid"])
    posix.waitpid(helper, 0)
    pids.remove(helper)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 0)
    ours.send("go")


def _wait_for_init(task: Task, ours: Channel, pid: int) -> None:
    """Answer what init asks until it stands ready."""
    if task.linux("netDevices"):
        ours.receive("network")
        move_net_devices(task, pid)
        ours.send("go")
    if task.hooks("prestart") or task.hooks("createRuntime"):
        ours.receive("mounted")
        run_hooks(task, pid)
        ours.send("go")
    try:
        ours.receive("created")
    except channel.ChannelClosedError as error:
        raise ContainerError("create the container: its process was killed") from error


def move_net_devices(task: Task, pid: int) -> None:
    """Give ``linux.netDevices`` to the network namespace of a process.

    Raises:
        PyrunError: one is missing, or the kernel refused.
    """
    from pyrun.linux import net_devices

    namespace_fd = posix.open(f"/proc/{pid}/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        net_devices.move(task.linux("netDevices"), namespace_fd)  # type: ignore[arg-type]  # validated
    finally:
        posix.close(namespace_fd)


def run_hooks(task: Task, pid: int) -> None:
    """Run the hooks that belong to the host, before the root changes.

    Raises:
        ContainerError: one failed.
    """
    init_fd = posix.pidfd_open(pid)
    try:
        # prestart is older than the status creating (runtime.md, "Lifecycle"): its hooks come
        # after the environment was created, and crun tells them so.
        state = {**task.state, "pid": pid, "status": "created"}
        hooks.run("prestart", task.hooks("prestart"), state, init_fd=init_fd)
        state["status"] = "creating"
        hooks.run("createRuntime", task.hooks("createRuntime"), state, init_fd=init_fd)
    finally:
        posix.close(init_fd)


def end(pids: list[int]) -> None:
    """Kill and reap what was forked."""
    for pid in pids:
        try:
            posix.kill(pid, _signal.SIGKILL)
            posix.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue
