"""The confined child that unpacks one layer: a compressed tar on standard input, to overlay's form.

It runs as a program of its own, in its own namespaces, with the layer's directory as its root, so
nothing in an archive can reach outside, whatever this code overlooks. Inside, every name is
resolved component by component without following a symbolic link. The answer is one JSON object
on standard output.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import tarfile

from pyengine import syscalls
from pyengine.storage import trees
from pyengine.storage.layer_stream import (
    OPAQUE,
    WHITEOUT,
    XATTR,
    LayerStream,
    UnpackError,
    member_parts,
    members_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_MEMBERS = 1_000_000
_CHUNK_BYTES = 1 << 20

# What every container has in /dev; another device in an image would open the host's hardware.
_HARMLESS_DEVICES = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacker:
    """Writes members below the root directory, which is the layer's own."""

    def __init__(
        self, stream: LayerStream, *, user_namespace: bool, single_id: bool = False
    ) -> None:
        self._stream = stream
        self._user_namespace = user_namespace
        self._single_id = single_id
        self._opaque = "user.overlay.opaque" if user_namespace else "trusted.overlay.opaque"
        self._root_fd = os.open("/", _DIRECTORY)
        self._current: list[str] | None = None  # the working directory, below the root
        self._directory_times: dict[tuple[str, ...], int] = {}
        self._skipped_attributes = 0

    def unpack(self) -> dict[str, object]:
        """Write all members; what was read, for the parent to verify."""
        members = 0
        try:
            for member in members_of(self._stream):
                members += 1
                if members > MAX_MEMBERS:
                    raise UnpackError(f"it has more than {MAX_MEMBERS} members")
                self._unpack_member(member)
        except tarfile.TarError as error:
            raise UnpackError(f"it is no tar archive: {error}") from error
        self._set_directory_times()
        return {
            "diff_id": self._stream.digest(),
            "size": self._stream.size,
            "members": members,
            "skipped_attributes": self._skipped_attributes,
        }

    def _unpack_member(self, member: tarfile.TarInfo) -> None:
        try:
            self._unpack_entry(member_parts(member.name), member)
        except UnpackError as error:
            raise UnpackError(f"member {member.name}: {error}") from error
        except ValueError as error:  # a null byte, a number out of range
            raise UnpackError(f"member {member.name!r}: {error}") from error
        except OSError as error:
            raise OSError(error.errno, f"member {member.name}: {error.strerror}") from error

    def _unpack_entry(self, parts: list[str], member: tarfile.TarInfo) -> None:
        if not parts:
            self._update_root(member)
            return
        self._enter(parts[:-1])
        name = parts[-1]
        if name.startswith(WHITEOUT):
            self._whiteout(name)
        elif member.isdir():
            self._make_directory(parts, member)
        else:
            self._make_other(name, member)

    def _update_root(self, member: tarfile.TarInfo) -> None:
        if not member.isdir():
            raise UnpackError("the root must be a directory")
        os.fchdir(self._root_fd)
        self._current = []
        self._set_metadata(".", member)
        self._directory_times[()] = _mtime_ns(member)

    def _make_directory(self, parts: list[str], member: tarfile.TarInfo) -> None:
        name = parts[-1]
        try:
            os.mkdir(name)
        except FileExistsError:
            found = os.lstat(name)
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name)
                os.mkdir(name)
                if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
                    os.setxattr(name, self._opaque, b"y")  # it also hid what lies below
        self._set_metadata(name, member)
        self._directory_times[tuple(parts)] = _mtime_ns(member)

    def _make_other(self, name: str, member: tarfile.TarInfo) -> None:
        make = self._maker(member)
        if make is None:
            return
        try:
            make(name, member)
        except FileExistsError:
            trees.remove_tree(name)  # a directory too, with all that earlier members put into it
            make(name, member)
        if not member.islnk():
            self._set_metadata(name, member)
            os.utime(name, ns=(_mtime_ns(member),) * 2, follow_symlinks=False)

    def _maker(self, member: tarfile.TarInfo) -> Callable[[str, tarfile.TarInfo], None] | None:
        if member.isreg():
            return self._make_file
        if member.issym():
            return _make_symbolic_link
        if member.islnk():
            return self._make_hard_link
        if member.isfifo():
            return _make_fifo
        if member.ischr() or member.isblk():
            device = (member.devmajor, member.devminor)
            if member.isblk() or device not in _HARMLESS_DEVICES:
                kind = "block" if member.isblk() else "character"
                raise UnpackError(f"{kind} device {device[0]}:{device[1]} is not allowed")
            # An ordinary user cannot make devices; containers get theirs from the runtime.
            return None if self._user_namespace else _make_device
        raise UnpackError(f"its type {member.type!r} is unknown")

    def _make_file(self, name: str, member: tarfile.TarInfo) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if member.issparse():
                pieces: list[tuple[int, int]] = member.sparse  # type: ignore[assignment]  # as it is
                for offset, size in pieces:
                    os.lseek(fd, offset, os.SEEK_SET)
                    self._copy(fd, size)
                os.ftruncate(fd, member.size)
            else:
                self._copy(fd, member.size)
        finally:
            os.close(fd)

    def _copy(self, fd: int, size: int) -> None:
        while size > 0:
            piece = self._stream.take(size)
            if not piece:
                raise UnpackError("the archive ends inside it")
            size -= len(piece)
            while piece:
                piece = piece[os.write(fd, piece) :]

    def _make_hard_link(self, name: str, member: tarfile.TarInfo) -> None:
        target = member_parts(member.linkname)
        if not target:
            raise UnpackError("a hard link to the root directory")
        try:
            directory_fd = self._open_directory(target[:-1], make=False)
            try:
                os.link(target[-1], name, src_dir_fd=directory_fd, follow_symlinks=False)
            finally:
                os.close(directory_fd)
        except FileNotFoundError as error:
            raise UnpackError(f"hard link to {member.linkname}, which is not there") from error

    def _whiteout(self, name: str) -> None:
        """Overlay marks a removed entry with a 0:0 device and a replaced directory as opaque."""
        if name == OPAQUE:
            os.setxattr(".", self._opaque, b"y")
        elif not name.startswith(WHITEOUT * 2):  # aufs kept its own records under such names
            hidden = name.removeprefix(WHITEOUT)
            if hidden in ("", ".", ".."):
                raise UnpackError("a whiteout of no entry")
            try:
                os.mknod(hidden, stat.S_IFCHR, 0)
            except FileExistsError:
                return  # the layer has its own entry, which hides the lower one

    def _set_metadata(self, name: str, member: tarfile.TarInfo) -> None:
        self._set_owner(name, member)
        if not member.issym():
            os.chmod(name, member.mode & 0o7777)
        for key, value in member.pax_headers.items():
            if key.startswith(XATTR):
                self._set_attribute(name, key.removeprefix(XATTR), value)

    def _set_owner(self, name: str, member: tarfile.TarInfo) -> None:
        if self._single_id:
            return
        try:
            os.chown(name, member.uid, member.gid, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EINVAL and self._user_namespace:
                raise UnpackError(
                    f"its owner {member.uid}:{member.gid} is not mapped in this user namespace: "
                    "give the user more ids in /etc/subuid and /etc/subgid"
                ) from error
            raise

    def _set_attribute(self, name: str, attribute: str, value: str) -> None:
        if attribute.startswith(("trusted.", "user.overlay.")):
            raise UnpackError(f"extended attribute {attribute} is not allowed")
        data = value.encode("utf-8", "surrogateescape")
        try:
            os.setxattr(name, attribute, data, follow_symlinks=False)
        except OSError as error:
            needed = attribute == "security.capability"  # programs misbehave without it
            if needed or error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise
            self._skipped_attributes += 1

    def _enter(self, parts: list[str]) -> None:
        """Make the directory ``parts`` the working directory, with missing ones made."""
        if parts == self._current:
            return
        fd = self._open_directory(parts, make=True)
        os.fchdir(fd)
        os.close(fd)
        self._current = parts

    def _open_directory(self, parts: list[str], *, make: bool) -> int:
        try:
            path = "/".join(parts) or "."
            return syscalls.openat2(
                self._root_fd, path, _DIRECTORY, resolve=syscalls.RESOLVE_STRICTLY_BELOW
            )
        except (OSError, ValueError):  # missing, too long, a link or an old kernel: step by step
            return self._step_down(parts, make=make)

    def _step_down(self, parts: list[str], *, make: bool) -> int:
        fd = os.dup(self._root_fd)
        for depth, part in enumerate(parts, 1):
            try:
                try:
                    below = os.open(part, _DIRECTORY, dir_fd=fd)
                except FileNotFoundError:
                    if not make:
                        raise
                    os.mkdir(part, 0o755, dir_fd=fd)
                    below = os.open(part, _DIRECTORY, dir_fd=fd)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    path = "/".join(parts[:depth])
                    raise UnpackError(f"{path} on its way is no directory") from error
                raise
            finally:
                os.close(fd)
            fd = below
        return fd

    def _set_directory_times(self) -> None:
        """Last, because every entry made in a directory changes its time."""
        for parts, mtime_ns in self._directory_times.items():
            try:
                fd = self._open_directory(list(parts), make=False)
            except (OSError, UnpackError):
                continue  # a later member took its place
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            os.close(fd)


def _make_symbolic_link(name: str, member: tarfile.TarInfo) -> None:
    os.symlink(member.linkname, name)


def _make_fifo(name: str, member: tarfile.TarInfo) -> None:
    os.mkfifo(name, member.mode & 0o7777)


def _make_device(name: str, member: tarfile.TarInfo) -> None:
    os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(member.devmajor, member.devminor))


def _mtime_ns(member: tarfile.TarInfo) -> int:
    exact = member.pax_headers.get("mtime")
    if exact is None:
        return int(member.mtime) * 1_000_000_000
    whole, _, fraction = exact.partition(".")
    seconds = int(whole) if whole not in ("", "-") else 0
    nanoseconds = int((fraction + "000000000")[:9]) if fraction.isdigit() else 0
    return seconds * 1_000_000_000 + (-nanoseconds if whole.startswith("-") else nanoseconds)


def _confine() -> None:
    """The working directory becomes the root; nothing else of the machine stays in reach."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC)
    os.chroot(".")
    os.chdir("/")
    os.umask(0)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def main(user_namespace: bool, single_id: bool) -> None:
    """Unpack standard input into the working directory.

    Args:
        user_namespace: this is one, with fewer rights.
        single_id: it has one user, who gets every file.
    """

    def work(stream: LayerStream) -> dict[str, object]:
        return Unpacker(stream, user_namespace=user_namespace, single_id=single_id).unpack()

    answer(work)


def answer(work: Callable[[LayerStream], dict[str, object]]) -> None:
    """Do ``work`` in the confined process and tell the parent how it went. Does not return."""
    told: dict[str, object]
    try:
        stream = LayerStream(0)  # imports its decompressor, which the new root has not
        _preload()
        _confine()
        stream.read_ahead()
        told = work(stream)
    except UnpackError as error:
        told = {"broken": str(error)}
    except OSError as error:
        told = {"failed": error.strerror or str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a hostile archive makes of our libraries
        told = {"broken": f"{type(error).__name__}: {error}"}
    os.write(1, json.dumps(told).encode())
    sys.stdout.flush()
    os._exit(0)


def _preload() -> None:
    """Import what is otherwise imported at first use, when the files are out of reach."""
    import encodings.idna
    import encodings.utf_8  # noqa: F401 - wanted loaded, not named
