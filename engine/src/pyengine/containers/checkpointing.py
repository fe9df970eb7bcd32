"""container checkpoint and restore: what the runtime saves of a container, with CRIU, and where.

The images lie among the container's own files, so they outlive reboots, and go with it. Its root
file system stays as it is; the rest of a restore is a start.
"""

from __future__ import annotations

import os

from pyengine.containers import ending, ends, record, start, stopping
from pyengine.containers.host import make_directory
from pyengine.errors import ConfigError, ConflictError, RuntimeCallError
from pyengine.storage import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyengine.containers.host import Host
    from pyengine.containers.record import Container


def checkpoint(
    host: Host, id_: str, flags: Sequence[str], *, keep: bool, leave_running: bool
) -> None:
    """Save a running container, which ends by that.

    Args:
        host: where.
        id_: of the container.
        flags: for the runtime.
        keep: CRIU's log and statistics stay beside the images.
        leave_running: it goes on.

    Raises:
        ConflictError: it does not run.
        ConfigError: it would be removed with its checkpoint.
        RuntimeCallError: the runtime cannot; the container goes on.
    """
    with host.locked(id_) as lock:
        container = record.still_there(host, lock, id_)
        if container.status != "running":
            raise ConflictError(
                f'"{id_}" is not running, cannot checkpoint: container state improper'
            )
        if container.config["auto_remove"] and not leave_running:
            raise ConfigError(
                f"cannot checkpoint container {container.name}: --rm would remove it with its"
                " checkpoint: give --leave-running"
            )
        _save(host, container, flags, keep=keep, leave_running=leave_running)
    host.tell(container, "checkpoint")
    if not leave_running:
        stopping.wait(host, container, None)
        ending.finish(host, id_)


def _save(
    host: Host, container: Container, flags: Sequence[str], *, keep: bool, leave_running: bool
) -> None:
    directory = host.checkpoint_dir(container.id)
    trees.remove_tree(directory)
    make_directory(directory)
    words = ["checkpoint", "--image-path", directory, *flags]
    words += ["--work-path", directory if keep else host.bundle(container.id)]
    if leave_running:
        words.append("--leave-running")
    else:
        ends.note_request(host, container.id, stopping.KILL, "checkpoint")
    try:
        host.runtime(container.config["runtime"]).call(*words, container.id)
    except RuntimeCallError as error:
        trees.remove_tree(directory)
        raise RuntimeCallError(f"checkpoint container {container.name}: {error}") from error


def restore(host: Host, id_: str, flags: Sequence[str], *, keep: bool) -> None:
    """Let a container go on where its checkpoint was made, which is used up unless ``keep``.

    Raises:
        ConflictError: it has no checkpoint, or runs.
        PyengineError: the runtime or its monitor cannot; the checkpoint stays.
    """
    with host.locked(id_) as lock:
        container = record.still_there(host, lock, id_)
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
        start.launch(host, container, intent, attach=False, restore=(directory, *flags))
        if not keep:
            trees.remove_tree(directory)
