"""Forks the process that becomes init before this one has loaded its own half of pyrun.

Loading modules is most of what ``create`` does, so both processes do it at the same time, each
what it needs: the stage opens, computes and makes the namespaces, while its parent validates
config.json, makes the cgroup and writes the state. Nothing but namespaces of its own is made before
the parent says that config.json is valid. Where a user namespace is asked for, the parent has to
come first, and ``create`` forks a helper instead (docs/adr/0012).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix

from pyrun import names, syscalls
from pyrun.container import channel
from pyrun.container.request import inherited
from pyrun.errors import KernelError
from pyrun.spec import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.channel import Channel
    from pyrun.container.request import Request
    from pyrun.spec.load import Bundle
    from pyrun.spec.types import JsonObject

# stands for the annotation where there is none, as in crun
RECEIVER_VARIABLE = "RUN_OCI_SECCOMP_RECEIVER"
TRACE = "io.containers.trace-syscall"  # the annotation that container/record.py reads
# What the stage can do by itself; whatever else config.json asks for is ``create``'s to begin.
_NAMESPACES = frozenset(("mount", "network", "ipc", "uts", "cgroup", "pid"))
_LINUX = frozenset((
    "cgroupsPath", "devices", "maskedPaths", "mountLabel", "namespaces", "personality",
    "readonlyPaths", "resources", "rootfsPropagation", "seccomp", "sysctl",
))  # fmt: skip

# Of the standard library, what both processes need: loaded now, it is loaded once.
_SHARED = ("_stat", "errno", "fcntl")


class Stage:
    """What has been begun.

    Attributes:
        adopts: this process takes the orphans of a container that has no pid namespace.
        bundle: read, not validated.
        channel: to the process, if there is one.
        console_fd: gets the terminal of a container that this process waits for; or -1.
        inherited: how many descriptors from 3 on the container gets.
        pid: of the process; 0 where ``create`` has to fork it.
        request: what is asked for.
        starts: ``create`` starts the container, too, without the way of the exec fifo.
    """

    __slots__ = (
        "adopts", "bundle", "channel", "console_fd", "inherited", "pid", "request", "starts",
    )  # fmt: skip

    def __init__(self, request: Request, bundle: Bundle, count: int) -> None:
        self.request = request
        self.bundle = bundle
        self.inherited = count
        self.adopts = False
        self.channel: Channel | None = None
        self.console_fd = -1
        self.pid = 0
        self.starts = False

    def fork(self) -> None:
        """Fork the process.

        Raises:
            KernelError: there can be no more processes.
        """
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # init outlives the stage, its parent
        self.channel, theirs = channel.pair()
        try:
            self.pid = posix.fork()
        except OSError as error:
            raise KernelError("fork the container process", error) from error
        if self.pid == 0:
            _main(self, theirs)
        theirs.close()

    def end(self) -> None:
        """Have the process end, if it is there still; what it made goes with it."""
        if self.channel:
            self.channel.close()
        if self.pid:
            posix.kill(self.pid, _signal.SIGKILL)
            self.reap()

    def reap(self) -> None:
        """Wait for the end of the process."""
        posix.waitpid(self.pid, 0)
        self.pid = 0
        self.settle()

    def settle(self) -> None:
        """Once init is our child: from here on only orphans that were asked for come to us."""
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, self.adopts)


def begin(
    request: Request, *, start: bool = False, foreground: bool = False, adopt: bool = False
) -> Stage:
    """Read the bundle, and fork if nothing keeps us from it.

    Args:
        request: what is asked for.
        start: the container is to be started, too.
        adopt: takes the orphans of a container that has no pid namespace.
        foreground: this process waits for the container, so it gets its terminal.

    Raises:
        ContainerError: config.json cannot be read.
        ConfigError: config.json is not a JSON object.
    """
    count = inherited(request.preserve_fds)
    bundle = load.read_bundle(request.bundle, request.config_name)
    begun = Stage(request, bundle, count)
    begun.adopts = adopt
    begun.starts = start and not bundle.config.get("hooks")  # they see it created, and running
    if foreground:
        from pyrun.container import attached

        attached.hold_signals()  # of what comes meanwhile, nothing is lost and nothing left behind
        settings = bundle.config.get("process")
        if isinstance(settings, dict) and settings.get("terminal") and not request.console_socket:
            begun.console_fd, request.console_fd = attached.console_pair(settings)
    plain = _is_plain(bundle.config)
    if not plain or posix.geteuid() != 0:
        from pyrun.container import user_maps

        user_maps.complete(bundle.config)
        plain = plain and _is_plain(bundle.config)
    if plain:
        for name in _SHARED:
            __import__(name)
        begun.fork()
    return begun


def _is_plain(config: JsonObject) -> bool:
    """Whether the parent has no part in what config.json asks for; it may hold anything yet."""
    linux, annotations = config.get("linux"), config.get("annotations") or {}
    if not isinstance(linux, dict) or not _LINUX.issuperset(linux):
        return False
    if not isinstance(annotations, dict) or is_extended(annotations):
        return False
    entries, profile = linux.get("namespaces"), linux.get("seccomp")
    if not isinstance(entries, list) or (isinstance(profile, dict) and "listenerPath" in profile):
        return False
    types = [entry.get("type") if isinstance(entry, dict) else None for entry in entries]
    return all(isinstance(name, str) and name in _NAMESPACES for name in types)


def is_extended(annotations: dict[str, str]) -> bool:
    """Whether crun's annotations, or variables in the place of one, change the config."""
    asked = any(key.startswith("run.oci.") for key in annotations)
    return asked or any(map(names.environment, (RECEIVER_VARIABLE, "NOTIFY_SOCKET")))


def hook_state(bundle: Bundle, container_id: str) -> JsonObject:
    """The state that hooks read while the container is being created."""
    return {
        "ociVersion": bundle.config["ociVersion"],
        "id": container_id,
        "status": "creating",
        "bundle": bundle.path,
        "annotations": bundle.config.get("annotations") or {},
    }


def _main(begun: Stage, own: Channel) -> None:
    """The process up to its fork of init; never returns."""
    try:
        if begun.channel:
            begun.channel.close()  # only the parent's end is the news of its death
        from pyrun.container import init, prepare

        task = prepare.prepare(begun.bundle, begun.request, begun.inherited)
        task.channel = own
        prepare.make_trees(task)
        init.stage(task)
    except channel.ChannelClosedError:
        posix._exit(1)
    except BaseException as error:  # noqa: BLE001 - must never return into its parent's code
        own.send("error", **channel.describe(error))
    finally:
        posix._exit(1)
