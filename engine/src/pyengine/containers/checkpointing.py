"""container checkpoint and restore: what the runtime saves of a container, with CRIU, and where.

The images lie among the container's own files, so they outlive reboots, and go with it. Its root
file system stays as it is; the rest of a restore is a start. An archive takes all of it elsewhere.
"""

from __future__ import annotations

import os
import time

from pyengine.containers import criu_images, ending, ends, record, start, stopping
from pyengine.containers.host import make_directory
from pyengine.errors import ConfigError, ConflictError, NotFoundError, RuntimeCallError
from pyengine.storage import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyengine.containers.create import Source
    from pyengine.containers.host import Host
    from pyengine.containers.importing import Wanted
    from pyengine.containers.options import ContainerOptions
    from pyengine.containers.record import Container
    from pyengine.containers.service import Containers
    from pyengine.database.intents import Intent
    from pyengine.images.model import Image
    from pyengine.images.store import Images
    from pyengine.volumes.service import Volumes

STATISTICS, RESTORE_STATISTICS = "stats-dump", "stats-restore"


class Wish:
    """What a checkpoint is to be, and where it goes besides the container's own files.

    Attributes:
        flags: for the runtime.
        keep: CRIU's log and statistics stay beside the images.
        leave_running: the container goes on.
        pre: only its memory; it goes on, and a checkpoint ``with_previous`` saves what is new.
        export: the path of an archive, or empty.
        image: the name of an image, or empty.
        without_root, without_volumes: what is left out of both.
    """

    __slots__ = (
        "compression", "export", "flags", "image", "keep", "leave_running", "pre", "with_previous",
        "without_root", "without_volumes",
    )  # fmt: skip

    def __init__(
        self, flags: Sequence[str], *, keep: bool = False, leave_running: bool = False,
        pre: bool = False, with_previous: bool = False, export: str = "", image: str = "",
        compression: str = "zstd", without_root: bool = False, without_volumes: bool = False,
    ) -> None:  # fmt: skip
        self.flags, self.keep, self.leave_running = flags, keep, leave_running or pre
        self.pre, self.with_previous = pre, with_previous
        self.export, self.image, self.compression = export, image, compression
        self.without_root, self.without_volumes = without_root, without_volumes


class Report:
    """What was done, and how long it took."""

    __slots__ = ("criu", "id", "runtime_us")

    def __init__(self, id_: str, runtime_us: int, criu: dict[str, int]) -> None:
        self.id, self.runtime_us, self.criu = id_, runtime_us, criu


class Checkpoints:
    """The calls that both faces make on checkpoints."""

    def __init__(
        self,
        containers: Containers,
        images: Images,
        volumes: Volumes,
        obtain: Callable[[ContainerOptions], Source],
    ) -> None:
        """``obtain`` answers what a container is made from, pulled if need be."""
        self.containers, self.host = containers, containers.host
        self.images, self.volumes, self.obtain = images, volumes, obtain

    def save(self, name_or_id: str, wish: Wish) -> Report:
        """Save a running container, which ends by that unless it is to go on.

        Raises:
            ConflictError: it does not run.
            ConfigError: it would be removed with its checkpoint, or cannot be taken elsewhere.
            RuntimeCallError: the runtime cannot; the container goes on.
            StorageError: the archive cannot be written.
        """
        container = self.containers.find(name_or_id)
        if not wish.leave_running:
            self.containers.call_off_restart(container)
        return _checkpoint(self, container.id, wish)

    def restore(self, name_or_id: str, flags: Sequence[str], *, keep: bool) -> Report:
        """Let a container go on where it was saved; used up unless ``keep``.

        Raises:
            ConflictError: it has no checkpoint, or runs.
            PyengineError: the runtime or its monitor cannot; the checkpoint stays.
        """
        id_ = self.containers.find(name_or_id).id
        ending.finish(self.host, id_)
        with self.host.locked(id_) as lock:
            return restore_locked(self.host, record.still_there(self.host, lock, id_), flags,
                                  keep=keep)  # fmt: skip

    def image_of(self, name: str) -> Image | None:
        """The checkpoint image of this name, where no container has it.

        Raises:
            NotFoundError: there is neither.
        """
        try:
            self.containers.find(name)
        except NotFoundError as error:
            try:
                return self.images.resolve(name)
            except NotFoundError:
                raise error from None
        return None

    def bring_in(self, wanted: Wanted) -> Report:
        """Make a container of an archive or an image, and let it go on; ``importing`` says more."""
        from pyengine.containers import importing

        return importing.bring_in(self, wanted)

    def recover(self, intent: Intent) -> None:
        """Remove what a killed pyengine had unpacked of an archive."""
        self.host.storage.empty_trash(intent)


def _checkpoint(checkpoints: Checkpoints, id_: str, wish: Wish) -> Report:
    host = checkpoints.host
    with host.locked(id_) as lock:
        container = record.still_there(host, lock, id_)
        if container.status != "running":
            raise ConflictError(
                f'"{id_}" is not running, cannot checkpoint: container state improper'
            )
        if container.config["auto_remove"] and not (wish.leave_running or wish.export):
            raise ConfigError(
                f"cannot checkpoint container {container.name}: --rm would remove it with its"
                " checkpoint: give --leave-running or --export"
            )
        if wish.export or wish.image:
            from pyengine.containers import exporting

            with exporting.Archive(checkpoints, container, wish) as archive:
                report = _save(host, container, wish)
                archive.write()
        else:
            report = _save(host, container, wish)
    host.tell(container, "checkpoint")
    if not wish.leave_running:
        stopping.wait(host, container, None)
        ending.finish(host, id_)
    return report


def _save(host: Host, container: Container, wish: Wish) -> Report:
    last, previous = host.checkpoint_dir(container.id), host.pre_checkpoint_dir(container.id)
    directory = previous if wish.pre else last
    if wish.with_previous and not os.path.isdir(previous):
        raise ConflictError(
            f"checkpoint container {container.name}: --with-previous: there is none: make one with"
            " --pre-checkpoint"
        )
    trees.remove_tree(directory)
    make_directory(directory)
    work = directory if wish.keep else host.bundle(container.id)
    words = ["checkpoint", "--image-path", directory, *wish.flags, "--work-path", work]
    if wish.pre:
        words.append("--pre-dump")
    elif wish.leave_running:
        words.append("--leave-running")
    else:
        ends.note_request(host, container.id, stopping.KILL, "checkpoint")
    if wish.with_previous:
        words += ["--parent-path", f"../{os.path.basename(previous)}"]
    began = time.monotonic_ns()
    try:
        host.runtime(container.config["runtime"]).call(*words, container.id)
    except RuntimeCallError as error:
        trees.remove_tree(directory)
        raise RuntimeCallError(f"checkpoint container {container.name}: {error}") from error
    runtime_us = (time.monotonic_ns() - began) // 1000
    return Report(container.id, runtime_us, criu_images.statistics(f"{work}/{STATISTICS}"))


def restore_locked(host: Host, container: Container, flags: Sequence[str], *, keep: bool) -> Report:
    """Restore a container from its own checkpoint, under its lock."""
    id_ = container.id
    if container.live:
        raise ConflictError(
            f"container {id_} is running or paused, cannot restore: container state improper"
        )
    directory = host.checkpoint_dir(id_)
    if not os.path.isdir(directory):
        raise ConflictError(
            f"a checkpoint for container {container.name} cannot be found, cannot restore:"
            " make one with container checkpoint"
        )
    intent = start.begin(host, container)
    began = time.monotonic_ns()
    start.launch(host, container, intent, attach=False, restore=(directory, *flags))
    runtime_us = (time.monotonic_ns() - began) // 1000
    criu = criu_images.statistics(f"{host.bundle(id_)}/{RESTORE_STATISTICS}")
    if not keep:
        for path in (directory, host.pre_checkpoint_dir(id_)):
            trees.remove_tree(path)
    return Report(id_, runtime_us, criu)
