"""A container's files outside the storage: run directory, exit files, ``--cidfile``."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError, ConflictError
from pyengine.storage import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.specgen.types import NameSettings


def clear(host: Host, id_: str) -> None:
    """Remove the run directory and the exit files."""
    bundle = host.bundle(id_)
    if os.path.isdir(f"{bundle}/shm"):
        from pyengine.containers import joining

        joining.leave(bundle)
    trees.remove_tree(bundle)
    try:
        names = os.listdir(host.exit_dir)
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith(id_):  # a killed monitor may leave its temporary file too
            try:
                os.unlink(f"{host.exit_dir}/{name}")
            except FileNotFoundError:  # its own exit command was quicker
                continue


def claim_cidfile(path: str, id_: str) -> None:
    """Write the file of ``--cidfile``, if there is to be one.

    Raises:
        ConflictError: it exists.
        ConfigError: it cannot be made.
    """
    if not path:
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        raise ConflictError(
            f"container id file exists. Ensure another container is not using it or delete {path}"
        ) from error
    except OSError as error:
        raise ConfigError(f"opening cidfile {path}: {error.strerror}") from error
    with open(fd, "w", encoding="utf-8") as file:
        file.write(id_)


def write_pids(settings: NameSettings, pid: int, monitor_pid: int) -> None:
    """Write the files of ``--pidfile`` and ``--conmon-pidfile``.

    Raises:
        ConfigError: one cannot be written.
    """
    for path, number in (
        (settings.get("pidfile"), pid), (settings.get("conmon_pidfile"), monitor_pid)
    ):  # fmt: skip
        if path:
            try:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(str(number))
            except OSError as error:
                raise ConfigError(f"write pid file {path}: {error.strerror}") from error


def remove_cidfile(path: str) -> None:
    """Remove the file of ``--cidfile``, if there is one."""
    if path:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
