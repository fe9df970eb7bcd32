"""The ``local`` driver: a directory, or what mount(8) shows there while somebody uses the volume.

A mount belongs to its users, one row each of ``volume_mounts``: the first one mounts, the last one
unmounts. A row of an earlier boot counts for nothing, because the mount did not outlive it.
"""

from __future__ import annotations

import os

from pyengine.errors import ConfigError, StorageError
from pyengine.volumes.directories import volume_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.database.connection import Database
    from pyengine.volumes.model import Volume

OPTIONS = ("copy", "device", "nocopy", "o", "type")
# What podman would ask a project quota of the file system for; a tmpfs understands them itself.
_QUOTA = ("size", "inodes")
_NO_MOUNT_OPTIONS = ("copy", "nocopy", "noquota")


def check(options: dict[str, str]) -> None:
    """See that a volume's driver options make sense.

    Raises:
        ConfigError: one is unknown, or lacks another.
    """
    for name in options:
        if name not in OPTIONS:
            raise ConfigError(
                f"invalid mount option {name} for driver 'local': invalid argument: use one of"
                f" {', '.join(OPTIONS)}"
            )
    words = _words(options)
    for word in words:
        name, _, value = word.partition("=")
        if name in ("uid", "gid") and not value.isdecimal():
            raise ConfigError(f"cannot convert {name} {value} to integer: invalid argument")
    if options.get("type") == "tmpfs":
        return
    quota = [word for word in words if word.partition("=")[0] in _QUOTA]
    if quota:
        raise ConfigError(
            f"volume option {quota[0]}: volume options size and inodes need project quotas, which"
            " this version does not set: use type=tmpfs, or a file system of that size as device"
        )


def owner(options: dict[str, str]) -> tuple[int | None, int | None]:
    """The user and group that ``o=uid=...,gid=...`` gives the volume."""
    found = dict(word.partition("=")[::2] for word in _words(options) if "=" in word)
    uid, gid = found.get("uid"), found.get("gid")
    return (int(uid) if uid else None, int(gid) if gid else None)


def is_read_only(volume: Volume) -> bool:
    """Whether nobody may write to it; a bind mount of a read-only one would be writable again."""
    return "ro" in _words(volume.options)


def copies_up(volume: Volume) -> bool:
    """Whether an image may fill the volume at all."""
    return "nocopy" not in volume.options and "nocopy" not in _words(volume.options)


def attach(database: Database, root: str, volume: Volume, user: str, boot_id: str) -> str:
    """Make the volume's content visible for ``user`` and return its path; the lock is the caller's.

    Raises:
        StorageError: the directory cannot be made, or mount(8) refuses.
    """
    path = volume_path(root, volume.name)
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        raise StorageError(f"make volume {volume.name}: {error.strerror}") from error
    if not volume.is_mounted_for_use:
        return path
    # The row comes first: a mount that a killed process made is known to need an unmount.
    with database.write() as connection:
        connection.execute("DELETE FROM volume_mounts WHERE boot_id != ?", (boot_id,))
        connection.execute(
            "INSERT OR REPLACE INTO volume_mounts VALUES (?, ?, ?)", (volume.name, user, boot_id)
        )
    if not os.path.ismount(path):
        try:
            mount(volume, path)
        except StorageError:
            with database.write() as connection:
                _forget(connection, volume.name, user)
            raise
    return path


def detach(database: Database, root: str, name: str, user: str) -> None:
    """Forget a user of the volume, and unmount it after its last; under the volume's lock.

    Raises:
        StorageError: the kernel refuses.
    """
    with database.write() as connection:
        _forget(connection, name, user)
        left = connection.execute(
            "SELECT 1 FROM volume_mounts WHERE volume = ? LIMIT 1", (name,)
        ).fetchone()
    if left is None:
        from pyengine.storage import overlay

        overlay.unmount(volume_path(root, name))


def count(database: Database, name: str, boot_id: str) -> int:
    """How many users have it mounted."""
    with database.read() as connection:
        row = connection.execute(
            "SELECT count(*) FROM volume_mounts WHERE volume = ? AND boot_id = ?", (name, boot_id)
        ).fetchone()
    return int(row[0])


def _forget(connection: object, name: str, user: str) -> None:
    connection.execute(  # type: ignore[attr-defined]  # _sqlite3's connection
        "DELETE FROM volume_mounts WHERE volume = ? AND user = ?", (name, user)
    )


def _words(options: dict[str, str]) -> list[str]:
    return [word for word in options.get("o", "").split(",") if word]


def mount(volume: Volume, path: str) -> None:
    """Mount what the volume's options say at its directory.

    By mount(8), which knows the helpers of nfs and its like, and read-only binds.

    Raises:
        StorageError: mount(8) refuses.
    """
    import subprocess

    options = volume.options
    words = [word for word in _words(options) if word not in _NO_MOUNT_OPTIONS]
    kind = options.get("type", "")
    if kind != "tmpfs":  # a file system on a device has owners of its own
        words = [word for word in words if word.partition("=")[0] not in ("uid", "gid")]
    command = ["mount"]
    if kind and kind != "bind":
        command += ["-t", kind]
    if kind == "bind" and not {"bind", "rbind"} & set(words):
        words.append("bind")
    if words:
        command += ["-o", ",".join(words)]
    command += [options.get("device") or kind, path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL)  # fmt: skip
    except OSError as error:
        raise StorageError(f"mount volume {volume.name}: {command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        why = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise StorageError(f"mount volume {volume.name}: {' '.join(command)}: {why}")
