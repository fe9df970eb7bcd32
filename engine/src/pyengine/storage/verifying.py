"""Whether a blob still is what its digest says, and an unpacked layer what its tar says."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile

from pyengine.storage import overlay, user_namespace
from pyengine.storage.layer_stream import (
    OPAQUE,
    WHITEOUT,
    LayerStream,
    UnpackError,
    member_parts,
    members_of,
)
from pyengine.storage.packing import open_below

_CHUNK_BYTES = 1 << 20


def blob_problem(path: str, digest: str, size: int, *, quick: bool) -> str:
    """What is wrong with a blob's file; empty: nothing.

    Args:
        path: of the file.
        digest: what it should have.
        size: the bytes it should have.
        quick: do not read it.
    """
    try:
        found = os.stat(path).st_size
        if found != size:
            return f"it has {found} bytes and should have {size}"
        if quick:
            return ""
        with open(path, "rb") as file:
            actual = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        return f"its file cannot be read: {error.strerror}"
    return "" if actual == digest else f"its digest is {actual}"


def layer_problem(directory: str, blob_path: str, diff_id: str) -> str:
    """The first difference between a layer's directory and the tar it was made of.

    Types, modes, owners, links and contents are compared, and that nothing was added.
    """
    try:
        root_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return f"its directory cannot be opened: {error.strerror}"
    try:
        with open(blob_path, "rb", buffering=0) as file:
            return _Comparison(root_fd, LayerStream(file.fileno())).run(diff_id)
    except (tarfile.TarError, UnpackError, OSError) as error:
        return f"its blob cannot be read: {error}"
    finally:
        os.close(root_fd)


class _Comparison:
    """Of one layer: a later member of the same path replaces what was found about an earlier."""

    def __init__(self, root_fd: int, stream: LayerStream) -> None:
        self._root_fd, self._stream = root_fd, stream
        self._problems: dict[str, str] = {}
        self._known: set[str] = set()
        self._parents: set[str] = set()  # every directory on the way to a member
        in_namespace = overlay.in_user_namespace()
        self._devices = not in_namespace
        self._owners = not in_namespace or not user_namespace.is_single()

    def run(self, diff_id: str) -> str:
        for member in members_of(self._stream):
            parts = member_parts(member.name)
            if parts:
                self._look(parts, member)
        for path, problem in self._problems.items():
            return f"{path}: {problem}"
        if self._stream.digest() != diff_id:
            return "its blob is not the tar it was made of"
        return self._added([])

    def _look(self, parts: list[str], member: tarfile.TarInfo) -> None:
        name = parts[-1]
        if name == OPAQUE or name.startswith(WHITEOUT * 2):
            return
        if name.startswith(WHITEOUT):
            self._known.add("/".join([*parts[:-1], name.removeprefix(WHITEOUT)]))
            return
        if (member.ischr() or member.isblk()) and not self._devices:
            return
        path = "/".join(parts)
        if path in self._parents and not member.isdir():
            self._forget_below(path)
        above = path.rpartition("/")[0]
        while above and above not in self._parents:
            self._parents.add(above)
            above = above.rpartition("/")[0]
        self._known.add(path)
        self._problems.pop(path, None)
        try:
            directory_fd = open_below(self._root_fd, parts[:-1])
            try:
                problem = self._difference(directory_fd, name, member)
            finally:
                os.close(directory_fd)
        except OSError as error:
            problem = error.strerror or str(error)
        if problem:
            self._problems[path] = problem

    def _forget_below(self, path: str) -> None:
        """A member that is no directory takes the place of one with all that is in it."""
        below = f"{path}/"
        self._known = {one for one in self._known if not one.startswith(below)}
        self._parents -= {one for one in self._parents if one == path or one.startswith(below)}
        for one in [one for one in self._problems if one.startswith(below)]:
            del self._problems[one]

    def _difference(self, directory_fd: int, name: str, member: tarfile.TarInfo) -> str:
        status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        if member.islnk():
            return "" if status.st_nlink > 1 else "it is no hard link"
        kinds = {tarfile.SYMTYPE: stat.S_IFLNK, tarfile.DIRTYPE: stat.S_IFDIR,
                 tarfile.FIFOTYPE: stat.S_IFIFO, tarfile.CHRTYPE: stat.S_IFCHR}  # fmt: skip
        if stat.S_IFMT(status.st_mode) != kinds.get(member.type, stat.S_IFREG):
            return "it is of another type"
        if member.issym():
            same = os.readlink(name, dir_fd=directory_fd) == member.linkname
            return "" if same else "it leads elsewhere"
        if stat.S_IMODE(status.st_mode) != member.mode & 0o7777:
            return f"its mode is {stat.S_IMODE(status.st_mode):o}, not {member.mode & 0o7777:o}"
        if self._owners and (status.st_uid, status.st_gid) != (member.uid, member.gid):
            return f"its owner is {status.st_uid}:{status.st_gid}, not {member.uid}:{member.gid}"
        if member.isreg():
            return self._content_difference(directory_fd, name, member, status.st_size)
        return ""

    def _content_difference(
        self, directory_fd: int, name: str, member: tarfile.TarInfo, size: int
    ) -> str:
        if size != member.size:
            return f"it has {size} bytes, not {member.size}"
        if member.issparse():
            return ""  # its pieces are covered by the digest of the tar; sizes must do
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=directory_fd)
        try:
            while size:
                expected = self._stream.take(min(size, _CHUNK_BYTES))
                if not expected or os.read(fd, len(expected)) != expected:
                    return "its content is another one"
                size -= len(expected)
        finally:
            os.close(fd)
        return ""

    def _added(self, parts: list[str]) -> str:
        """An entry that no member made; directories on the way to members need none."""
        waiting = [parts]
        above = {path.rpartition("/")[0] for path in self._known}
        for path in list(above):
            while path := path.rpartition("/")[0]:
                above.add(path)
        while waiting:
            parts = waiting.pop()
            fd = open_below(self._root_fd, parts)
            try:
                with os.scandir(fd) as listed:
                    entries = [(one.name, one.is_dir(follow_symlinks=False)) for one in listed]
            finally:
                os.close(fd)
            for name, is_directory in entries:
                path = "/".join([*parts, name])
                if path not in self._known and path not in above:
                    return f"{path}: it is not in the tar"
                if is_directory:
                    waiting.append([*parts, name])
        return ""
