"""The parent: makes the cgroup, maps ids, waits for init.

A killed parent leaves its lock free and its state.json saying ``creating``: init ends by itself
when the channel closes, and the next command with this id removes the rest.
"""

from __future__ import annotations

import posix
import time

from pyrun import names, syscalls
from pyrun.container import channel, directories, fork, removal, saving, stage, status, store
from pyrun.errors import ContainerError
from pyrun.linux.cgroups import select
from pyrun.spec import validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.channel import Channel
    from pyrun.container.init import Task
    from pyrun.container.request import Request
    from pyrun.container.stage import Stage
    from pyrun.container.store import Entry
    from pyrun.linux import net_devices, resctrl
    from pyrun.linux.cgroups.manager import Manager
    from pyrun.spec.load import Bundle
    from pyrun.spec.types import JsonObject, State


def create(begun: Stage) -> Entry:
    """Create a container up to the point where ``start`` lets it go; the entry stays locked.

    Where ``begun.starts``, it is let go here, once its record is saved.

    Args:
        begun: what is asked for, with the bundle.

    Raises:
        PyrunError: anything; nothing of the container is left then.
    """
    try:
        return _create(begun)
    except BaseException:
        begun.end()
        raise


def _create(begun: Stage) -> Entry:
    bundle, request = begun.bundle, begun.request
    config = bundle.config
    store.check_id(request.container_id)
    validate.require(config, bundle.path)
    check_terminal(config, request)
    task = None
    if not begun.pid:
        from pyrun.container import prepare

        task = prepare.prepare(bundle, request, begun.inherited)
    entry, manager = reserve(bundle, request)
    try:
        _make(begun, task, entry, manager)
    except BaseException:
        from pyrun.container import lifecycle

        entry.state["cgroup"] = manager.record()  # it may have turned out to be another's
        if entry.state["pid"]:  # hooks may have run, and those of poststop undo what they did
            request.warnings += lifecycle.delete(entry, force=True)
        else:
            lifecycle.discard(entry)
        raise
    finally:
        if task:
            task.plan.close()
            for fd in (*task.trees.values(), *task.nodes.values()):
                posix.close(fd)
    if request.cgroup_driver == "disabled" and _device_rules(config):
        request.warnings.append("/linux/resources/devices: without a cgroup no rule holds")
    if not manager.paths and not entry.state["own_pid_namespace"]:
        problem = (
            "with neither a new pid namespace nor a cgroup, processes may outlive the container"
        )
        request.warnings.append(f"/linux/namespaces: {problem}")
    return entry


def _device_rules(config: JsonObject) -> list[JsonObject]:
    return ((config.get("linux") or {}).get("resources") or {}).get("devices") or []


def reserve(bundle: Bundle, request: Request) -> tuple[Entry, Manager]:
    """Make the container's directory with the record that whoever cleans up needs; it is locked.

    Raises:
        PyrunError: the id is in use, or its cgroup is, or the directory cannot be made.
    """
    entry = directories.reserve(request.root, request.container_id)
    try:
        if entry.state:
            _clear(entry)
        removal.empty(entry)
        manager = _manager(bundle.config, request)
        entry.state = _state(bundle, request, manager)
        saving.save(entry)
        saving.write(entry, store.CONFIG, bundle.text)
    except BaseException:
        _clear(entry)
        removal.remove(entry)
        raise
    return entry, manager


def _timestamp() -> str:
    """Now, as RFC 3339 with nanoseconds in UTC."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


def _clear(entry: Entry) -> None:
    from pyrun.container import lifecycle

    lifecycle.clear(entry)


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


def _manager(config: JsonObject, request: Request) -> Manager:
    path = (config.get("linux") or {}).get("cgroupsPath") or ""
    return select.manager(
        path,
        request.container_id,
        request.cgroup_driver,
        rootless=request.rootless,
        annotations=config.get("annotations"),
    )


def _state(bundle: Bundle, request: Request, manager: Manager) -> State:
    config = bundle.config
    all_hooks = config.get("hooks") or {}
    namespaces = (config.get("linux") or {}).get("namespaces") or ()
    joined = {entry["type"]: entry.get("path") or "" for entry in namespaces}
    rootfs = names.real(names.join(bundle.path, config["root"]["path"]))
    return {
        "ociVersion": config["ociVersion"],
        "id": request.container_id,
        "stage": "creating",
        "pid": 0,
        "pid_start": 0,
        "bundle": bundle.path,
        "rootfs": rootfs,
        "created": _timestamp(),
        "owner": _user_name(posix.geteuid()),
        "annotations": config.get("annotations") or {},
        "cgroup": manager.record(),
        "own_pid_namespace": joined.get("pid") == "",
        "hooks": {kind: all_hooks.get(kind) or [] for kind in ("poststart", "poststop")},
        "program": config.get("process") is not None,
        "host_mounts": None if "mount" in joined else _host_mounts(rootfs),
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


def _make(begun: Stage, task: Task | None, entry: Entry, manager: Manager) -> None:
    """The cgroup, the process, and its record."""
    config, request = begun.bundle.config, begun.request
    resources = (config.get("linux") or {}).get("resources") or {}
    late = _late_limits(resources)
    manager.create({name: value for name, value in resources.items() if name not in late})
    if not begun.starts:
        fifo = entry.file(store.FIFO)
        posix.mkfifo(fifo, 0o622)
        posix.chmod(fifo, 0o622)  # the container's user writes; the umask took that away
    pids: list[int] = []
    undo: list[net_devices.Moved] = []
    try:
        group = make_resctrl_group(config, entry)
        if task:
            ours = _from_helper(begun, task, entry, manager, pids)
        else:
            ours = _from_stage(begun, entry, manager, pids)
        pid = pids[-1]
        if group:
            group.assign(pid)
        entry.state["pid"] = pid
        entry.state["pid_start"] = status.start_time(pid)
        if config.get("hooks"):
            saving.save(entry)  # a hook may hang: delete --force must find init
        _give_cgroup(begun, manager)
        _wait_for_init(begun, entry, ours, pid, undo)
        if late:
            manager.set(late)
        request.warnings += manager.unheard(resources)
        if task and task.nodes:
            removal.forget_nodes(entry)
        entry.state["stage"] = "created"
        entry.state["cgroup"] = manager.record()  # what it really has
        saving.save(entry)
        write_pid_file(request, pid)
        annotations = config.get("annotations") or {}
        receiver = request.pidfd_socket or annotations.get("run.oci.pidfd_receiver")
        if receiver:
            from pyrun.linux import pidfd

            pidfd.send(receiver, pid, "standard")
        if annotations.get("run.oci.delegate-cgroup"):
            from pyrun.container import extensions

            extensions.delegate(config, manager, pid)
        ours.send("go")
        if begun.starts:
            channel.wait_for_execve(ours)
        ours.close()
    except BaseException:
        for one in undo:
            request.warnings += one.give_back()
        fork.end(pids)
        begun.end()
        raise
    finally:
        for one in undo:
            one.close()


def _late_limits(resources: JsonObject) -> JsonObject:
    """What is set once init stands ready: in a cgroup for one process or none, nobody forks it."""
    limit = (resources.get("pids") or {}).get("limit")
    return {"pids": resources["pids"]} if limit in (0, 1) else {}


def write_pid_file(request: Request, pid: int) -> None:
    """Write ``--pid-file``, if it was asked for.

    Raises:
        ContainerError: it cannot be written.
    """
    if request.pid_file:
        saving.write_pid_file(request.pid_file, pid)


def make_resctrl_group(config: JsonObject, entry: Entry) -> resctrl.Group | None:
    """Make the group of ``linux.intelRdt``; None without one.

    Its record is saved before it is made: whoever cleans up must find it.

    Raises:
        PyrunError: the host has no resctrl, or the kernel refused.
    """
    settings = (config.get("linux") or {}).get("intelRdt")
    if settings is None:
        return None
    from pyrun.linux import resctrl

    group = resctrl.plan(settings, entry.id)
    entry.state["resctrl"] = group.record()
    saving.save(entry)
    group.create(settings)
    return group


def _from_stage(begun: Stage, entry: Entry, manager: Manager, pids: list[int]) -> Channel:
    """Tell the stage where the cgroup is, and learn init's id."""
    ours: Channel = begun.channel  # type: ignore[assignment]  # it has one with its pid
    clone_path = manager.clone_path()
    if not clone_path:
        manager.join(begun.pid, entered=True)
    place = {
        "entered": manager.entered(),
        "clone": clone_path,
        "hierarchies": [hierarchy.fields() for hierarchy in manager.hierarchies],
        "fifo": "" if begun.starts else entry.file(store.FIFO),
    }
    try:
        ours.send("cgroup", **place)
        record = ours.receive("forked")
    except channel.ChannelClosedError as error:
        raise ContainerError("create the container: its process was killed") from error
    pids.append(record["pid"])
    begun.request.warnings, begun.request.notes = record["warnings"], record["notes"]
    if clone_path and not record["cloned"]:
        manager.join(pids[-1], entered=True)
    ours.send("go")
    begun.reap()
    return ours


def _from_helper(
    begun: Stage, task: Task, entry: Entry, manager: Manager, pids: list[int]
) -> Channel:
    """Fork the helper, which forks init; the parent writes the mappings of a user namespace."""
    from pyrun.container import init, prepare
    from pyrun.linux import idmap, rlimits

    begun.request.warnings = task.identity.warnings
    begun.request.notes = task.identity.notes()
    task.entered, task.hierarchies = manager.entered(), manager.hierarchies
    begun.channel, task.channel = ours, _ = channel.pair()
    task.parents_fds = [ours.fd, entry.lock_fd]
    if not begun.starts:
        task.fifo_fd = posix.open(entry.file(store.FIFO), posix.O_PATH | posix.O_CLOEXEC)
    if names.environment("NOTIFY_SOCKET"):
        from pyrun.container import notify

        posix.mkdir(entry.file(store.NOTIFY), 0o755)
        begun.request.notify = notify.Listener(entry, begun.request.warnings)
    prepare.make_trees(task)
    prepare.make_nodes(task, entry.file(store.NODE))
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # init outlives the helper, its parent
    limits = []
    if task.plan.has(syscalls.CLONE_NEWUSER):
        limits, task.identity.limits = task.identity.limits, []
    helper, cloned = fork.fork(manager.clone_fd(), lambda: init.helper(task))
    pids.append(helper)
    task.channel.close()
    if task.fifo_fd >= 0:
        posix.close(task.fifo_fd)
    rlimits.apply(helper, limits)  # inherited; in the user namespace none could be raised
    manager.join(helper, entered=True, cloned=cloned)
    ours.send("go")
    if task.plan.new & syscalls.CLONE_NEWUSER:
        linux = task.config["linux"]
        ours.receive("user")
        idmap.write(helper, linux.get("uidMappings") or [], linux.get("gidMappings") or [])
        ours.send("go")
    pids.append(ours.receive("forked")["pid"])
    posix.waitpid(helper, 0)
    pids.remove(helper)
    begun.settle()
    ours.send("go")
    return ours


def _give_cgroup(begun: Stage, manager: Manager) -> None:
    """Let the user of the process manage the cgroup, if the container mounts it for that.

    (config-linux.md, "Cgroup ownership".)
    """
    config = begun.bundle.config
    linux = config.get("linux") or {}
    directory = manager.paths.get("") if manager.layout == "v2" else None
    entries = {entry["type"]: entry for entry in linux.get("namespaces") or ()}
    uid = ((config.get("process") or {}).get("user") or {}).get("uid") or 0
    if not directory or (not uid and "user" not in entries):
        return  # there is none, or it is root's already
    if "cgroup" not in entries or entries["cgroup"].get("path"):
        return
    from pyrun.linux.cgroups import ownership

    if not ownership.is_writable(config.get("mounts") or []):
        return
    if "user" in entries:
        uid = ownership.host_id(uid, linux.get("uidMappings") or [])
    try:
        ownership.give(directory, uid)
    except OSError as error:
        problem = f"the container does not own its cgroup {directory}: {error.strerror}"
        begun.request.warnings.append(problem)


def _wait_for_init(
    begun: Stage, entry: Entry, ours: Channel, pid: int, undo: list[net_devices.Moved]
) -> None:
    """Answer what init asks until it stands ready."""
    config = begun.bundle.config
    all_hooks = config.get("hooks") or {}
    devices = (config.get("linux") or {}).get("netDevices")
    if devices:
        ours.receive("network")
        undo.append(move_net_devices(devices, pid))
        ours.send("go")
    if all_hooks.get("prestart") or all_hooks.get("createRuntime"):
        ours.receive("mounted")
        run_hooks(all_hooks, stage.hook_state(begun.bundle, begun.request.container_id), pid)
        ours.send("go")
    if config.get("process") and stage.TRACE in (config.get("annotations") or {}):
        from pyrun.container import record

        ours.receive("settling")
        recorder = record.begin(config, config["process"], pid, first=True)
        entry.state["recorder"] = [recorder, status.start_time(recorder)]
        ours.send("go")
    try:
        ours.receive("created")
    except channel.ChannelClosedError as error:
        raise ContainerError("create the container: its process was killed") from error


def move_net_devices(devices: JsonObject, pid: int) -> net_devices.Moved:
    """Give ``linux.netDevices`` to the network namespace of a process; close what is returned.

    Raises:
        PyrunError: one is missing, or the kernel refused; nothing is moved then.
    """
    from pyrun.linux import net_devices

    moved = net_devices.Moved(posix.open(f"/proc/{pid}/ns/net", posix.O_RDONLY | posix.O_CLOEXEC))
    try:
        moved.move(devices)
    except BaseException:
        moved.give_back()
        moved.close()
        raise
    return moved


def run_hooks(all_hooks: JsonObject, state: JsonObject, pid: int) -> None:
    """Run the hooks that belong to the host, before the root changes.

    Args:
        all_hooks: ``hooks`` of config.json.
        state: from ``stage.hook_state``.
        pid: of init.

    Raises:
        ContainerError: one failed.
    """
    from pyrun.container import hooks

    init_fd = posix.pidfd_open(pid)
    try:
        # prestart is older than the status creating (runtime.md, "Lifecycle"): its hooks come
        # after the environment was created, and crun tells them so.
        state = {**state, "pid": pid, "status": "created"}
        hooks.run("prestart", all_hooks.get("prestart") or [], state, init_fd=init_fd)
        state["status"] = "creating"
        hooks.run("createRuntime", all_hooks.get("createRuntime") or [], state, init_fd=init_fd)
    finally:
        posix.close(init_fd)
