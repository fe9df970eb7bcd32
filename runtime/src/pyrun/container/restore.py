"""Restores a container with CRIU from what ``checkpoint`` wrote."""

from __future__ import annotations

import posix

from pyrun import names, syscalls
from pyrun.container import checkpoint, criu_service, init, lifecycle, prepare, saving, status
from pyrun.container import create as creation
from pyrun.container.stage import hook_state
from pyrun.errors import ConfigError, ContainerError, KernelError
from pyrun.linux import criu, interfaces, mounts, namespaces, paths
from pyrun.linux.cgroups import select
from pyrun.linux.cgroups.hierarchy import read_file
from pyrun.linux.cgroups.manager import own_paths
from pyrun.spec import jsontext, load, validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrun.container.checkpoint import Images
    from pyrun.container.init import Task
    from pyrun.container.request import Request
    from pyrun.container.store import Entry
    from pyrun.linux.cgroups.manager import Manager
    from pyrun.linux.criu import Message
    from pyrun.spec.load import Bundle

_INVENTORY = "inventory.img"  # every image of CRIU has it
_LSM_SINCE = 31600


def restore(request: Request, images: Images, bundle: Bundle | None = None) -> Entry:
    """Restore a container, which runs then; the entry stays locked.

    Args:
        request: as for ``create``.
        images: where from, and CRIU's options.
        bundle: the one of ``request``, if it has been read already.

    Raises:
        PyrunError: anything; nothing of the container is left then.
    """
    step = f"restore container {request.container_id}"
    bundle = bundle or load.read_bundle(request.bundle, request.config_name)
    validate.require(bundle.config, bundle.path)
    prepare.extend(bundle.config)
    creation.check_terminal(bundle.config, request)
    task = _prepare(bundle, request)
    try:
        program = checkpoint.ready(images)
        _check_options(images, program)
        descriptors = _read_images(images)
        if request.console_socket:
            from pyrun.linux import console

            task.console_fd = console.connect(request.console_socket)
    except ContainerError as error:
        task.plan.close()
        raise ContainerError(f"{step}: {error}") from error
    entry, manager = creation.reserve(bundle, request)
    try:
        _restore(task, entry, manager, images, program, descriptors)
        creation.write_pid_file(request, entry.state["pid"])
    except BaseException as error:
        entry.state["cgroup"] = manager.record()
        lifecycle.discard(entry)
        if type(error) is ContainerError:
            raise ContainerError(f"{step}: {error}") from error
        raise
    finally:
        task.plan.close()
    return entry


def _prepare(bundle: Bundle, request: Request) -> Task:
    """What is needed of the bundle, checked before anything is made."""
    config = bundle.config
    task = init.Task()
    task.bundle = bundle.path
    task.config = config
    task.rootfs = names.real(names.join(bundle.path, config["root"]["path"]))
    task.console_fd = request.console_fd
    task.use_pivot = not request.no_pivot
    if not names.is_dir(task.rootfs):
        raise ConfigError("/root/path", f"{task.rootfs} is no directory")
    for index, entry in enumerate(config.get("mounts") or ()):
        source = names.join(bundle.path, entry["source"]) if mounts.is_bind(entry) else "/"
        if not names.exists(source):
            raise ConfigError(f"/mounts/{index}/source", f"{source} does not exist")
    task.plan = namespaces.plan((config.get("linux") or {}).get("namespaces") or ())
    task.state = hook_state(bundle, request.container_id)
    return task


def _check_options(images: Images, program: str) -> None:
    for name in ("lsm_profile", "lsm_mount_context"):
        if name in images.options and criu_service.version(program) < _LSM_SINCE:
            option = "--" + name.replace("_", "-")
            raise ContainerError(f"{option} needs CRIU 3.16, {program} is older")
    if images.options.get("lazy_pages"):
        criu_service.require_feature(program, "lazy_pages", "--lazy-pages")


def _read_images(images: Images) -> list[str]:
    """What init had as its standard descriptors; refuses what is no checkpoint."""
    if not names.is_dir(images.path):
        raise ContainerError(f"there is no directory {images.path} (--image-path)")
    if not names.exists(f"{images.path}/{_INVENTORY}"):
        raise ContainerError(f"{images.path} is no checkpoint: it has no {_INVENTORY}")
    path = f"{images.path}/{checkpoint.DESCRIPTORS}"
    try:
        found = jsontext.loads(read_file(path))
    except FileNotFoundError:
        problem = f"it has no {checkpoint.DESCRIPTORS} (is it a --pre-dump?)"
        raise ContainerError(f"{images.path} is no checkpoint of a container: {problem}") from None
    except (ValueError, RecursionError) as error:
        raise ContainerError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ContainerError(f"{path} must hold a list of strings")
    return found


def _restore(
    task: Task,
    entry: Entry,
    manager: Manager,
    images: Images,
    program: str,
    descriptors: list[str],
) -> None:
    """The cgroup, the processes, and their record."""
    linux = task.config.get("linux") or {}
    manager.create(linux.get("resources") or {})
    group = creation.make_resctrl_group(task.config, entry)
    own_mounts = bool(task.plan.new & syscalls.CLONE_NEWNS)
    root = f"{entry.path}/root"
    copies: list[int] = []

    def prepare() -> list[int]:
        """CRIU mounts below its working directory, which must be in its own namespace for that."""
        if own_mounts:
            _make_root(task, entry.path, root)
        return checkpoint.open_directories(images, make=False)

    try:
        options = {
            **checkpoint.common_options(task.config, images, "restore.log"),
            "evasive_devices": True,
            "rst_sibling": True,  # the container becomes our child, as one of ``run`` is
            "root": root if own_mounts else "/",
            "ext_mnt": list(_external_mounts(task, manager)),
            "inherit_fd": _inherited(task, descriptors, copies),
            "join_ns": list(_joined(task)),
        }

        log = f"{images.work_path or images.path}/restore.log"
        inherit = [*copies, *task.plan.joined.values()]
        with criu_service.Service(program, log, inherit=inherit, prepare=prepare) as service:
            manager.join(service.pid)
            if group:
                group.assign(service.pid)  # inherited by what it restores
            options.update(checkpoint.directory_options(service.prepared))
            options["cg_root"] = list(_cgroup_roots(service.pid))
            events = _Events(task)
            request = {"type": criu.RESTORE, "opts": options}
            answer = service.ask(request, events.notice)
            pid = (answer.get("restore") or {}).get("pid", 0)
    finally:
        for fd in copies:
            posix.close(fd)
    entry.state["pid"] = pid
    entry.state["pid_start"] = status.start_time(pid)
    entry.state["stage"] = "created"
    entry.state["cgroup"] = manager.record()
    saving.save(entry)


class _Events:
    """What CRIU tells while it restores."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task

    def notice(self, script: str, pid: int, fd: int) -> None:
        """Answer one notification.

        Raises:
            PyrunError: it cannot be done; CRIU ends the processes then.
        """
        task = self._task
        if script == "setup-namespaces":
            if task.plan.new & syscalls.CLONE_NEWNET:
                _set_loopback_up(pid)
            devices = (task.config.get("linux") or {}).get("netDevices")
            if devices:
                creation.move_net_devices(devices, pid).close()
            creation.run_hooks(task.config.get("hooks") or {}, task.state, pid)
        elif script == "orphan-pts-master" and task.console_fd >= 0 and fd >= 0:
            from pyrun.linux import console

            console.send(task.console_fd, fd)


def _set_loopback_up(pid: int) -> None:
    """In the network namespace of another process."""
    own_fd = posix.open("/proc/self/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
    its_fd = posix.open(f"/proc/{pid}/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        syscalls.setns(its_fd, syscalls.CLONE_NEWNET)
        try:
            interfaces.set_loopback_up()
        finally:
            syscalls.setns(own_fd, syscalls.CLONE_NEWNET)
    finally:
        posix.close(own_fd)
        posix.close(its_fd)


def _make_root(task: Task, directory: str, root: str) -> None:
    """Give CRIU a root that is a mount of its own, whose parent is covered by nothing.

    All this is in a mount namespace of criu alone: nothing can be left behind. The directory is the
    container's, below a tmpfs that only this namespace has.
    """
    step = f"prepare the root {task.rootfs}"
    try:
        host_fd = posix.open("/proc/self/ns/mnt", posix.O_RDONLY | posix.O_CLOEXEC)
        for make in (_make_mount_points, None):
            syscalls.setns(host_fd, syscalls.CLONE_NEWNS)
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount(None, "/", None, syscalls.MS_SLAVE | syscalls.MS_REC, None)
            if make:
                make(task)
        posix.close(host_fd)
        syscalls.mount("tmpfs", directory, "tmpfs", 0, "mode=755")
        if not task.use_pivot:
            _leave_ramfs(f"{directory}/host")
        posix.mkdir(root, 0o755)
        syscalls.mount(task.rootfs, root, None, syscalls.MS_BIND | syscalls.MS_REC, None)
    except OSError as error:
        raise KernelError(step, error) from error


def _leave_ramfs(copy: str) -> None:
    """CRIU changes its root by pivot_root(2), which a host whose root is a ramfs does not allow.

    So a mount of the whole host goes over it.
    """
    posix.mkdir(copy, 0o755)
    syscalls.mount("/", copy, None, syscalls.MS_BIND | syscalls.MS_REC, None)
    posix.chdir(copy)
    syscalls.mount(".", "/", None, syscalls.MS_MOVE, None)
    posix.chroot(".")
    posix.chdir("/")


def _make_mount_points(task: Task) -> None:
    """Make what is missing in the root, as ``create`` does; one may be in another bind mount.

    What is on a tmpfs is in the image.
    """
    root_fd = posix.open(task.rootfs, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    entries = task.config.get("mounts") or ()
    volatile = [entry["destination"] + "/" for entry in entries if entry.get("type") == "tmpfs"]
    for entry in entries:
        destination = entry["destination"]
        bind = mounts.is_bind(entry)
        below = any(destination.startswith(path) for path in volatile)
        if below or entry.get("type") in ("cgroup", "cgroup2"):
            continue
        source = names.join(task.bundle, entry["source"]) if bind else "/"
        fd = paths.make_inside(root_fd, destination, directory=names.is_dir(source))
        if bind:
            flags = syscalls.MS_BIND | syscalls.MS_REC
            syscalls.mount(source, paths.proc_path(fd), None, flags, None)
        posix.close(fd)
    posix.close(root_fd)


def _external_mounts(task: Task, manager: Manager) -> Iterator[Message]:
    """What to mount where the image says that a part of the host was."""
    for name, source in checkpoint.bind_mounts(task.config, select.hierarchies()):
        controller = source.removeprefix("cgroup:")
        path = manager.paths[controller] if controller != source else source
        yield {"key": name, "val": names.join(task.bundle, path)}
    if task.linux("maskedPaths"):
        yield {"key": "/dev/null", "val": "/dev/null"}


def _inherited(task: Task, descriptors: list[str], copies: list[int]) -> list[Message]:
    """Descriptors for those that lead out of the container; fills ``copies`` with the new ones."""
    found: list[Message] = []
    for number, name in enumerate(descriptors):
        key, _, path = name.partition(" ")
        if not key.startswith(("pipe:", "file[")) or any(key == known["key"] for known in found):
            continue
        try:
            copies.append(_open_again(path) if path else _high_copy(number))
        except OSError as error:
            what = f"descriptor {number} of the container was {path or key}"
            raise ContainerError(f"{what}: {error.strerror}") from error
        found.append({"key": key, "fd": copies[-1]})
    for kind, (_, key) in checkpoint.EXTERNAL.items():
        flag = namespaces.TYPES[kind][0]
        if flag in task.plan.joined:
            found.append({"key": key, "fd": task.plan.joined[flag]})
    return found


def _open_again(path: str) -> int:
    """A file of the host; CRIU sets its position and compares its size."""
    try:
        return posix.open(path, posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC)
    except PermissionError:
        return posix.open(path, posix.O_RDONLY | posix.O_NOCTTY | posix.O_CLOEXEC)


def _high_copy(fd: int) -> int:
    """A copy beyond the standard descriptors, which criu itself uses otherwise."""
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def _joined(task: Task) -> Iterator[Message]:
    """Namespaces that the processes are restored into."""
    asked = (task.config.get("linux") or {}).get("namespaces") or ()
    for index, item in enumerate(asked):
        if not item.get("path") or item["type"] in checkpoint.EXTERNAL:
            continue
        if item["type"] == "cgroup":
            pointer = f"/linux/namespaces/{index}"
            raise ConfigError(pointer, "CRIU cannot restore into an existing cgroup namespace")
        yield {"ns": namespaces.TYPES[item["type"]][1], "ns_file": item["path"]}


def _cgroup_roots(pid: int) -> Iterator[Message]:
    """The container's cgroups, instead of those that it had."""
    for controllers, path in own_paths(read_file(f"/proc/{pid}/cgroup")).items():
        for controller in controllers:
            yield {"ctrl": controller, "path": path}
