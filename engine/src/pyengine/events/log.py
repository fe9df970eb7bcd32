"""The events file: one JSON object a line, in podman's form, appended without a lock.

Each event is one write(2) to a file opened with O_APPEND, which the kernel keeps whole. A file
that has become too long is renamed to ``.1``; who had it open still writes there, and readers read
both. A line that a full disk or a power cut left unfinished is ended by whoever writes next, and
readers skip it.
"""

from __future__ import annotations

import fcntl
import os
import time

from pyengine import jsontext, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LIMIT_BYTES = 1 << 20  # podman's
_OPEN_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class Events:
    """Where one engine's events go.

    Attributes:
        path: of the file; empty when events are not kept (the backend ``none``).
    """

    __slots__ = ("_limit_bytes", "path")

    def __init__(self, path: str, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path, self._limit_bytes = path, limit_bytes

    def tell(
        self,
        kind: str,
        *statuses: str,
        id_: str = "",
        name: str = "",
        image: str = "",
        attributes: Mapping[str, str] | None = None,
        exit_code: int | None = None,
        oom_killed: bool = False,
        health: str = "",
    ) -> None:
        """Write an event for each status, in one step; what fails is only warned of.

        Args:
            kind: container, image, volume, pod, network, secret or system.
            statuses: what happened, in podman's words.
            id_: of the object.
            name: of the object.
            image: the name of a container's image.
            attributes: such as a container's labels.
            exit_code: goes with ``died`` and ``exec_died``.
            oom_killed: goes with ``died``.
            health: the state of a ``health_status``.
        """
        if not self.path:
            return
        lines = []
        for status in statuses:
            named = (("ID", id_), ("Image", image), ("Name", name))
            fields: dict[str, Any] = {key: value for key, value in named if value}
            if exit_code is not None and status in ("died", "exec_died"):
                fields["ContainerExitCode"] = exit_code
            if oom_killed and status == "died":
                fields["OOMKilled"] = True
            if health:
                fields["health_status"] = health
            fields.update(Status=status, Time=_now(), Type=kind, Attributes=attributes)
            lines.append(f"{jsontext.dumps(fields)}\n")
        try:
            self._append("".join(lines).encode())
        except OSError as error:
            log.warning(f"write event to {self.path}: {error.strerror}")

    def _append(self, data: bytes) -> None:
        try:
            fd = os.open(self.path, _OPEN_FLAGS, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            fd = os.open(self.path, _OPEN_FLAGS, 0o600)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                data = b"\n" + data
            os.write(fd, data)
            if size + len(data) > self._limit_bytes:
                self._rotate(fd)
        finally:
            os.close(fd)

    def _rotate(self, fd: int) -> None:
        """Rename the file unless another process, which has it open too, has just done it."""
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.path.samestat(os.fstat(fd), os.stat(self.path)):
            os.rename(self.path, rotated(self.path))


def rotated(path: str) -> str:
    """The file before this one."""
    return f"{path}.1"


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09}Z"
