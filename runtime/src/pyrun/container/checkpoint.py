"""Checkpoints a running container with CRIU: its processes go into a directory of image files."""

from __future__ import annotations

import _stat
import posix

from pyrun import names, syscalls
from pyrun.container import criu_service, lifecycle, status
from pyrun.errors import ConfigError, ContainerError
from pyrun.linux import criu, mounts, paths
from pyrun.linux.cgroups import select
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrun.container.criu_service import Notice
    from pyrun.container.store import Entry
    from pyrun.linux.cgroups.hierarchy import Hierarchy
    from pyrun.linux.criu import Message
    from pyrun.spec.types import JsonObject

DESCRIPTORS = "descriptors.json"  # what init had as 0, 1 and 2, under runc's name for it
_CONFIG_ANNOTATION = "org.criu.config"
_CONFIG_FILES = ("/etc/criu/pyrun.conf", "/etc/criu/crun.conf", "/etc/criu/runc.conf")
_STATUS_NOTIFICATION_SINCE = 31500
_OLDEST = 30000
# namespaces that stay outside of an image when config.json gives a path: their names in CRIU
EXTERNAL = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}
_MEMORY_DEVICES = 1  # the major number of /dev/null and its like


class Images:
    """What ``checkpoint`` and ``restore`` have in common.

    Attributes:
        criu: the program.
        options: fields of CRIU's options, as the command line asked for them.
        path: directory of the images.
        work_path: directory of CRIU's log and statistics, or an empty string: that of the images.
    """

    __slots__ = ("criu", "options", "path", "work_path")

    def __init__(self, path: str, work_path: str = "") -> None:
        self.criu = "criu"
        self.options: Message = {}
        self.path = names.absolute(path)
        self.work_path = names.absolute(work_path) if work_path else ""


class Request:
    """What ``checkpoint`` is asked for.

    Attributes:
        images: where to, and CRIU's options.
        leave_running: the container goes on afterwards.
        parent_path: of an earlier image, relative to the new one, or an empty string.
        pre_dump: only the memory, while the container runs.
        status_fd: gets a zero byte when the server of lazy pages is ready; or -1.
    """

    __slots__ = ("images", "leave_running", "parent_path", "pre_dump", "status_fd")

    def __init__(self, images: Images) -> None:
        self.images = images
        self.leave_running = False
        self.parent_path = ""
        self.pre_dump = False
        self.status_fd = -1


def checkpoint(entry: Entry, request: Request) -> list[str]:
    """Checkpoint a container, which is deleted unless it is to go on; the entry is locked.

    Returns:
        Warnings of the deletion.

    Raises:
        ContainerError: its status does not allow it, or CRIU cannot do it; it runs on.
    """
    step = f"checkpoint container {entry.id}"
    now = status.of(entry, held=True)
    if now not in ("running", "paused"):
        raise ContainerError(f"{step}: status is {now}, must be running")
    try:
        program = ready(request.images)
        _dump(entry, request, program)
    except BaseException as error:
        if now == "running" and status.is_paused(entry):  # criu died before it could thaw it
            select.from_record(entry.state["cgroup"] or {}).thaw()
        if type(error) is ContainerError:
            raise ContainerError(f"{step}: {error}") from error
        raise
    if request.leave_running or request.pre_dump:
        return []
    return lifecycle.delete(entry, force=True)


def ready(images: Images) -> str:
    """The path of a criu that can be used.

    Raises:
        ContainerError: it is missing, cannot run or is too old, or the caller may not use it.
    """
    if posix.geteuid() != 0:
        raise ContainerError("CRIU needs root")
    program = criu_service.find(images.criu)
    number = criu_service.version(program)
    if number < _OLDEST:
        raise ContainerError(f"{program} is older than 3.0")
    return program


def _dump(entry: Entry, request: Request, program: str) -> None:
    images = request.images
    config = entry.config()
    if request.pre_dump:
        criu_service.require_feature(program, "mem_track", "--pre-dump")
    if images.options.get("lazy_pages"):
        criu_service.require_feature(program, "lazy_pages", "--lazy-pages")
    opened = open_directories(images, make=True)
    try:
        _check_parent(request, opened[0])
        options = {
            **common_options(config, images, "dump.log"),
            **directory_options(opened),
            "pid": entry.state["pid"],
            "root": entry.state["rootfs"],
            "leave_running": request.leave_running,
            "external": list(_external_namespaces(entry, config)),
        }
        freezer = _freezer(entry)
        if freezer:
            options["freeze_cgroup"] = freezer
        if request.parent_path:
            options.update(parent_img=request.parent_path, track_mem=True)
        if request.pre_dump:
            kind = criu.PRE_DUMP
            options["track_mem"] = True
        else:
            kind = criu.DUMP
            options["ext_mnt"] = list(_external_mounts(entry, config))
            found = _descriptors(entry.state["pid"])
            options["external"] += [name.split()[0] for name in found if name.startswith("file[")]
            _write_descriptors(opened[0], found)
        notice = None
        if request.status_fd >= 0:
            notice = _status_to(request.status_fd, program, options)
        # A signal of the terminal must not end criu halfway; but lazy pages may take for ever.
        own_session = not images.options.get("lazy_pages")
        log = f"{images.work_path or images.path}/dump.log"
        with criu_service.Service(program, log, own_session=own_session) as service:
            service.ask({"type": kind, "opts": options}, notice)
    finally:
        for fd in opened:
            posix.close(fd)


def _check_parent(request: Request, directory_fd: int) -> None:
    parent = request.parent_path
    if parent.startswith("/"):
        raise ContainerError(f"--parent-path {parent} must be relative to --image-path")
    try:
        posix.stat(f"{parent or '.'}/.", dir_fd=directory_fd)
    except OSError as error:
        where = f"{request.images.path}/{parent}"
        raise ContainerError(f"--parent-path: {where}: {error.strerror}") from error


def open_directories(images: Images, *, make: bool) -> list[int]:
    """The descriptors of the directory of images, and of the other one if there is any.

    Raises:
        ContainerError: one of them cannot be made or opened.
    """
    opened: list[int] = []
    for path in filter(None, (images.path, images.work_path)):
        try:
            if make or path == images.work_path:
                # Root of a user namespace must get through; CRIU's files are readable for root only
                names.make_directories(path, 0o711)
            opened.append(posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC))
        except OSError as error:
            for fd in opened:
                posix.close(fd)
            raise ContainerError(f"open the directory {path}: {error.strerror}") from error
    return opened


def directory_options(opened: list[int]) -> Message:
    """The descriptors of ``open_directories`` as CRIU's options."""
    return dict(zip(("images_dir_fd", "work_dir_fd"), opened, strict=False))


def common_options(config: JsonObject, images: Images, log: str) -> Message:
    """What CRIU is told in both directions.

    Raises:
        ConfigError: the annotation names a file that is not there.
    """
    options: Message = {
        "log_level": criu_service.LOG_LEVEL,
        "log_file": log,
        "notify_scripts": True,
        "orphan_pts_master": True,
        "manage_cgroups": True,
        "manage_cgroups_mode": criu.CGROUP_MODES["soft"],
        # Interfaces are the business of whoever made the namespace; loopback is ours.
        "empty_ns": syscalls.CLONE_NEWNET,
        **images.options,
    }
    own = (config.get("annotations") or {}).get(_CONFIG_ANNOTATION)
    if own and not names.exists(own):
        pointer = f"/annotations/{_CONFIG_ANNOTATION}"
        raise ConfigError(pointer, f"{own}, the configuration file for CRIU, does not exist")
    chosen = own if own is not None else next(filter(names.exists, _CONFIG_FILES), "")
    if chosen:
        options["config_file"] = chosen
    return options


def _freezer(entry: Entry) -> str:
    """Where CRIU can stop all processes at once."""
    record = entry.state["cgroup"] or {}
    found = record.get("paths") or {}
    return str(found.get("freezer") or found.get("") or "")


def _external_namespaces(entry: Entry, config: JsonObject) -> Iterator[str]:
    """Namespaces that were there before the container, and will be when it is restored."""
    for item in (config.get("linux") or {}).get("namespaces") or ():
        if item.get("path") and item["type"] in EXTERNAL:
            name, key = EXTERNAL[item["type"]]
            inode = posix.stat(f"/proc/{entry.state['pid']}/ns/{name}").st_ino
            yield f"{name}[{inode}]:{key}"


def _external_mounts(entry: Entry, config: JsonObject) -> Iterator[Message]:
    """Mounts that show a part of the host: where they are, and their names in the image."""
    root_fd = posix.open(f"/proc/{entry.state['pid']}/root", posix.O_PATH | posix.O_CLOEXEC)
    try:
        for name, _ in bind_mounts(config, select.hierarchies()):
            yield {"key": _inside(root_fd, name), "val": name}
        for path in (config.get("linux") or {}).get("maskedPaths") or ():
            try:
                fd = paths.open_inside(root_fd, path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            kind = posix.fstat(fd).st_mode
            posix.close(fd)
            if _stat.S_ISCHR(kind):
                yield {"key": _inside(root_fd, path), "val": "/dev/null"}
    finally:
        posix.close(root_fd)


def _inside(root_fd: int, path: str) -> str:
    """The path of a mount without links, as mountinfo of the container has it."""
    try:
        fd = paths.open_inside(root_fd, path)
    except OSError:  # it was unmounted or covered since
        return names.normal(path)
    try:
        return posix.readlink(paths.proc_path(fd))
    finally:
        posix.close(fd)


def bind_mounts(config: JsonObject, hierarchies: list[Hierarchy]) -> Iterator[tuple[str, str]]:
    """Destination and source of every mount that is a part of the host.

    The source of a cgroup is its controller, behind ``cgroup:``.
    """
    linux = config.get("linux") or {}
    own = {item["type"] for item in linux.get("namespaces") or ()}
    for entry in config.get("mounts") or ():
        destination = entry["destination"]
        if mounts.is_bind(entry):
            yield destination, entry["source"]
        elif entry.get("type") in ("cgroup", "cgroup2") and "cgroup" not in own:
            for hierarchy in hierarchies:
                place = f"{destination}/{hierarchy.name}" if hierarchy.name else destination
                yield place, f"cgroup:{hierarchy.controllers[0]}"
    if "user" in own:  # where mknod(2) is forbidden, nodes are bind mounts
        from pyrun.linux import devices

        for device in (*devices.DEFAULT, *(linux.get("devices") or ())):
            yield device["path"], device["path"]


def _descriptors(pid: int) -> list[str]:
    """What init has as standard input, output and error, in CRIU's words.

    A file of the host, such as /dev/null or a log, belongs to no mount of the container: with its
    path, it is opened again at restore. A pipe is replaced by what ``restore`` has itself there.
    """
    with open(f"/proc/{pid}/mountinfo") as lines:
        own = {line.split(" ", 1)[0] for line in lines}
    found = []
    for number in range(3):
        path = f"/proc/{pid}/fd/{number}"
        try:
            name, info = posix.readlink(path), posix.stat(path)
        except FileNotFoundError:  # closed
            found.append("")
            continue
        plain = _stat.S_ISREG(info.st_mode) or (
            _stat.S_ISCHR(info.st_mode) and posix.major(info.st_rdev) == _MEMORY_DEVICES
        )
        mount_id = _mount_id(pid, number)
        if plain and mount_id not in own:
            name = f"file[{int(mount_id):x}:{info.st_ino:x}] {name}"
        found.append(name)
    return found


def _mount_id(pid: int, number: int) -> str:
    with open(f"/proc/{pid}/fdinfo/{number}") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name == "mnt_id":
                return value.strip()
    return "0"


def _write_descriptors(directory_fd: int, found: list[str]) -> None:
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC
    try:
        fd = posix.open(DESCRIPTORS, flags, 0o600, dir_fd=directory_fd)
        try:
            posix.write(fd, jsontext.dumps(found).encode())
        finally:
            posix.close(fd)
    except OSError as error:
        raise ContainerError(f"write {DESCRIPTORS}: {error.strerror}") from error


def _status_to(status_fd: int, program: str, options: Message) -> Notice | None:
    """Have a zero byte written to ``status_fd`` when the server of lazy pages is ready.

    Raises:
        ContainerError: it is not open for writing.
    """
    import fcntl

    try:
        writable = fcntl.fcntl(status_fd, fcntl.F_GETFL) & (posix.O_WRONLY | posix.O_RDWR)
    except OSError as error:
        raise ContainerError(f"--status-fd {status_fd}: {error.strerror}") from error
    if not writable:
        raise ContainerError(f"--status-fd {status_fd}: it is not open for writing")
    if criu_service.version(program) < _STATUS_NOTIFICATION_SINCE:
        options["status_fd"] = status_fd
        return None

    def notice(script: str, _pid: int, _fd: int) -> None:
        if script == "status-ready":
            posix.write(status_fd, b"\0")
            posix.close(status_fd)

    return notice
