"""``cp``: files and trees between the host and containers, and as a tar to and from a stream.

What is read becomes a tar; what is written is unpacked from one by a confined child that has the
directory it writes to as its root. So a container's files can lead neither of the two astray.
"""

from __future__ import annotations

import os

from pyengine.containers.copy_places import ContainerRoot, HostRoot, Place, locate
from pyengine.errors import ArchiveError, ConfigError, ConflictError
from pyengine.storage.packing import pack_entry
from pyengine.storage.unpacking import Extract, Unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyengine.containers.host import Host

    Root = HostRoot | ContainerRoot

STREAM = "-"
_CHUNK_BYTES = 1 << 20


class Options:
    """How to copy.

    Attributes:
        archive: what goes into a container becomes its user's; else owners are kept.
        overwrite: a directory and something else may replace one another.
    """

    __slots__ = ("archive", "overwrite")

    def __init__(self, *, archive: bool = True, overwrite: bool = False) -> None:
        self.archive, self.overwrite = archive, overwrite


def copy(host: Host, source: str, destination: str, options: Options) -> None:
    """Copy ``[CONTAINER:]PATH`` to ``[CONTAINER:]PATH``; ``-`` is a tar on a standard stream.

    Raises:
        ConfigError: neither side is a container, or a path is missing.
        NotFoundError: a container or a path does not exist.
        ConflictError: what is there is of another kind.
        ArchiveError: standard input is no tar, or holds what is not allowed.
        StorageError: something cannot be read or written.
    """
    from_name, from_path = split(source)
    to_name, to_path = split(destination)
    if not (from_name or to_name):
        raise ConfigError(
            f'invalid arguments "{source}", "{destination}": name or ID cannot be empty: one of'
            " them must be CONTAINER:PATH"
        )
    if not from_path or not to_path:
        raise ConfigError(f'invalid arguments "{source}", "{destination}": you must specify paths')
    source_root, target_root = _roots(host, from_name, to_name)
    if to_path == STREAM and not to_name:
        _to_stream(source_root, from_path)
    elif from_path == STREAM and not from_name:
        _from_stream(target_root, to_path, options)
    else:
        _between(source_root, from_path, target_root, to_path, options)


def split(text: str) -> tuple[str, str]:
    """Container and path; no container for a path of the host, which may have colons."""
    if text.startswith((".", "/")):
        return "", text
    name, colon, path = text.partition(":")
    return (name, path) if colon else ("", text)


def _roots(host: Host, from_name: str, to_name: str) -> tuple[Root, Root]:
    """Both sides, open. Stopped containers are locked: each once, and in the order of their ids."""
    found = {name: ContainerRoot(host, name) for name in (from_name, to_name) if name}
    by_id = {root.id: root for root in found.values()}
    for _, root in sorted(by_id.items()):
        root.open()
    source: Root = by_id[found[from_name].id] if from_name else HostRoot()
    return source, by_id[found[to_name].id] if to_name else HostRoot()


def _to_stream(root: Root, path: str) -> None:
    place = _existing(root, path)
    if os.isatty(1):
        raise ConfigError("cannot write a tar to a terminal: redirect it")
    with open(1, "wb", closefd=False) as output:
        for chunk in _packed(root, place, _base_name(place)):
            output.write(chunk)


def _from_stream(root: Root, path: str, options: Options) -> None:
    place = locate(root, path)
    if not place.is_directory:
        raise ConflictError("destination must be a directory when copying from stdin")
    try:
        _unpack(_input(), place.open_directory(), path, _extract(root, options))
    except ArchiveError as error:
        if "no tar archive" not in str(error):
            raise
        raise ArchiveError(
            f"source must be a (compressed) tar archive when copying from stdin: {error}"
        ) from error


def _input() -> Iterable[bytes]:
    while data := os.read(0, _CHUNK_BYTES):
        yield data


def _between(
    from_root: Root, from_path: str, to_root: Root, to_path: str, options: Options
) -> None:
    source = _existing(from_root, from_path)
    target = locate(to_root, to_path)
    if target.status is None and to_path.endswith("/") and not source.is_directory:
        raise target.missing()
    is_other = target.status is not None and not target.is_directory
    if source.is_directory and is_other and not options.overwrite:
        raise ConflictError("destination must be a directory when copying a directory")
    if target.is_directory:
        directory_fd, member = target.open_directory(), _base_name(source)
    else:
        directory_fd, member = os.dup(target.parent_fd), target.name
    if source.is_directory and from_root.where == to_root.where:
        _refuse_itself(source, directory_fd)
    _unpack(_packed(from_root, source, member), directory_fd, to_path, _extract(to_root, options))


def _existing(root: Root, path: str) -> Place:
    place = locate(root, path)
    if place.status is None:
        raise place.missing()
    return place


def _base_name(place: Place) -> str:
    """What the source is called in a directory; ``DIR/.`` has no name: its content counts."""
    text = place.text.rstrip("/")
    name = text.rpartition("/")[2]
    return "" if name in ("", ".", "..") else name


def _packed(root: Root, place: Place, member: str) -> Iterable[bytes]:
    label = f"copy {place.text}"
    return pack_entry(place.parent_fd, place.name, member, label, root.id_maps)


def _extract(root: Root, options: Options) -> Extract:
    owner = root.owner if options.archive or isinstance(root, HostRoot) else None
    return Extract(owner, overwrite=options.overwrite, id_maps=root.id_maps)


def _refuse_itself(source: Place, directory_fd: int) -> None:
    """A directory that is copied into itself would never be complete."""
    assert source.status is not None
    wanted = (source.status.st_dev, source.status.st_ino)
    fd, below = os.dup(directory_fd), (-1, -1)
    while True:
        status = os.fstat(fd)
        here = (status.st_dev, status.st_ino)
        if here == wanted:
            raise ConflictError(f"cannot copy a directory, {source.text}, into itself")
        if here == below:
            os.close(fd)
            return
        above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        os.close(fd)
        fd, below = above, here


def _unpack(chunks: Iterable[bytes], directory_fd: int, label: str, extract: Extract) -> None:
    unpacking = Unpacking(f"/proc/self/fd/{directory_fd}", f"to {label}", extract)
    os.close(directory_fd)
    unpacking.take(chunks)
