"""The log drivers: where the container's output is kept.

A driver has ``write(stream, data)``, ``reopen()`` and ``sync()``; stream numbers are the
attach protocol's. Nothing that goes wrong with a log may stop the container, so a driver warns and
goes on.
"""

from __future__ import annotations

import posix
import time

from pyconmon import diagnostics
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyconmon.journal import JournalLog
    from pyconmon.jsonfile import JsonFile
    from pyconmon.options import Options

STDOUT = 2
STDERR = 3

# conmon reads blocks of this size, and a block's end cuts a line into partial ones.
BLOCK_BYTES = 8192
NEWLINE = 10

NAMES = {STDOUT: "stdout", STDERR: "stderr"}
_OPEN_FLAGS = posix.O_WRONLY | posix.O_CREAT | posix.O_CLOEXEC
# "2026-01-02T03:04:05.678901234+00:00 stdout F ": what conmon counts for each line
_PREFIX_BYTES = 45


class Logs:
    """All drivers of one container."""

    __slots__ = ("_drivers", "passthrough")

    def __init__(
        self, drivers: list[KubernetesFile | JsonFile | JournalLog], passthrough: bool
    ) -> None:
        self._drivers = drivers
        self.passthrough = passthrough

    def states(self) -> list[dict[str, object]] | None:
        """What a resident monitor needs of each, or None where a driver is not for it."""
        if self.passthrough or not all(isinstance(one, KubernetesFile) for one in self._drivers):
            return None
        return [one.state() for one in self._drivers]  # type: ignore[union-attr]  # all are such

    def write(self, stream: int, data: bytes) -> None:
        """Keep output; ``stream`` is ``STDOUT`` or ``STDERR``, ``data`` not empty."""
        for driver in self._drivers:
            driver.write(stream, data)

    def reopen(self) -> None:
        """Start new files."""
        for driver in self._drivers:
            driver.reopen()

    def finish(self, sync: bool) -> None:
        """Write what a driver still holds; with ``sync`` wait until it is on the disk."""
        for driver in self._drivers:
            driver.finish(sync)


def open_drivers(options: Options) -> Logs:
    """Open what ``--log-path`` names: DRIVER:PATH, DRIVER or PATH.

    Raises:
        MonitorError: no driver, an unknown one, or one that cannot be opened.
    """
    if not options.log_paths:
        raise MonitorError("Log driver not provided. Use --log-path")
    journald = passthrough = False
    drivers: list[KubernetesFile | JsonFile | JournalLog] = []
    for text in options.log_paths:
        driver, path = _split(text)
        if driver == "k8s-file":
            drivers.append(KubernetesFile(path, options))
        elif driver == "json-file":
            from pyconmon.jsonfile import JsonFile

            drivers.append(JsonFile(path, options))
        elif driver == "journald":
            journald = True
        elif driver in ("passthrough", "passthrough-tty"):
            passthrough = True
    if drivers and not journald:
        if options.log_tag is not None:
            raise MonitorError("k8s-file and json-file don't support --log-tag")
        if options.log_labels:
            raise MonitorError("k8s-file and json-file don't support --log-label")
    if journald:
        from pyconmon.journal import JournalLog

        drivers.append(JournalLog(options))
    return Logs(drivers, passthrough)


_FILE_DRIVERS = ("k8s-file", "json-file")
_DRIVERS = (*_FILE_DRIVERS, "journald", "passthrough", "passthrough-tty", "none", "off", "null")


def _split(text: str) -> tuple[str, str]:
    """The driver and its path; a text without a colon that names no driver is a path."""
    driver, colon, path = text.partition(":")
    if not text.strip(":"):
        raise MonitorError("log-path must not be empty")
    if not driver:
        return "k8s-file", path
    if driver not in _DRIVERS:
        if colon:
            raise MonitorError(f"No such log driver {driver}")
        return "k8s-file", driver
    if driver in _FILE_DRIVERS and not path:
        raise MonitorError(f"{driver} requires a filename")
    return driver, path


def _check_allowed(path: str, directories: list[str]) -> None:
    """Refuse a log outside the directories, wherever links lead.

    Raises:
        MonitorError: it is outside, or its directory is missing.
    """
    real = _real_directory(path.rpartition("/")[0] or ("/" if path.startswith("/") else "."))
    for directory in directories:
        allowed = _real_directory(directory)
        if real == allowed or real.startswith(allowed.rstrip("/") + "/"):
            return
    raise MonitorError(f"log file {path} is in none of the allowed directories: {directories}")


def _real_directory(path: str) -> str:
    try:
        fd = posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as error:
        raise MonitorError(f"Failed to open log directory {path}", error) from error
    try:
        return posix.readlink(f"/proc/self/fd/{fd}")
    finally:
        posix.close(fd)


class LogFile:
    """A file with limits and rotation; what a line looks like is the driver's."""

    __slots__ = (
        "_fd", "_global_max", "_max", "_max_files", "_path", "_rotate", "_size", "_torn", "_total",
    )  # fmt: skip

    def __init__(self, path: str, options: Options) -> None:
        flags = _OPEN_FLAGS | posix.O_APPEND
        if options.log_allowlist_dirs:
            _check_allowed(path, options.log_allowlist_dirs)
            flags |= posix.O_NOFOLLOW
        self._path = path
        self._max = options.log_size_max_bytes
        self._global_max = options.log_global_size_max_bytes
        self._rotate = options.log_rotate
        self._max_files = options.log_max_files
        self._torn = False  # the last write stopped inside a line
        try:
            self._fd = posix.open(path, flags, 0o640)
        except OSError as error:
            raise MonitorError(f"Failed to open log file {path}", error) from error
        self._size = self._total = posix.fstat(self._fd).st_size

    def append_lines(self, lines: list[bytes]) -> None:
        """Append lines, in a new file from where the old one would exceed its limit."""
        if not self._would_exceed(sum(map(len, lines))):
            self._append_counted(b"".join(lines))
            return
        for line in lines:
            if 0 < self._global_max <= self._total:
                return
            if 0 < self._max < self._size + len(line):
                self.reopen()
            self._append_counted(line)

    def _append_counted(self, text: bytes) -> None:
        self._append([text])
        self._size += len(text)
        self._total += len(text)

    def _would_exceed(self, cost: int) -> bool:
        return (0 < self._max < self._size + cost) or (0 < self._global_max < self._total + cost)

    def _append(self, pieces: list[bytes]) -> None:
        """Append what they make together; it is not made, as memory is what costs most here."""
        if self._torn and pieces:
            pieces = [b"\n", *pieces]
        left = sum(map(len, pieces))
        try:
            while left:
                written = posix.writev(self._fd, pieces)
                left -= written
                self._torn = left > 0
                if left:
                    pieces = [b"".join(pieces)[written:]]
        except OSError as error:
            diagnostics.warn(f"lost {left} bytes of log {self._path}: {error.strerror}")

    def reopen(self) -> None:
        """Start a new file: an empty one in the old one's place, or by rotation.

        When the new file cannot be made, the old one goes on.
        """
        temporary = self._path + (".new" if self._rotate else ".tmp")
        try:
            fd = posix.open(temporary, _OPEN_FLAGS | posix.O_TRUNC | posix.O_APPEND, 0o640)
            try:
                if self._rotate:
                    self._shift()
                posix.rename(temporary, self._path)
            except OSError:
                posix.close(fd)
                raise
        except OSError as error:
            diagnostics.warn(f"Failed to reopen log file {self._path}: {error.strerror}")
            return
        posix.close(self._fd)
        self._fd = fd
        self._size = 0
        self._torn = False

    def _shift(self) -> None:
        """Rename LOG.1 to LOG.2 and so on; the oldest is overwritten. LOG itself becomes LOG.1."""
        for number in range(self._max_files, 0, -1):
            source = f"{self._path}.{number - 1}" if number > 1 else self._path
            try:
                posix.rename(source, f"{self._path}.{number}")
            except FileNotFoundError:
                continue

    def finish(self, sync: bool) -> None:
        """Wait until the log is on the disk, if ``sync`` says so."""
        if not sync:
            return
        try:
            posix.fsync(self._fd)
        except OSError as error:
            diagnostics.warn(f"Failed to sync log file {self._path}: {error.strerror}")


class KubernetesFile(LogFile):
    """The CRI's log format: time, stream, F(ull) or P(artial), line."""

    __slots__ = ("_second", "_second_text")

    def state(self) -> dict[str, object]:
        """What ``restored`` needs to go on with it; its descriptor is among that."""
        return {name: getattr(self, name) for name in (*LogFile.__slots__, *self.__slots__)}

    @classmethod
    def restored(cls, state: dict[str, object]) -> KubernetesFile:
        """A log that another program of this process has begun."""
        log = cls.__new__(cls)
        for name, value in state.items():
            setattr(log, name, value)
        return log

    def __init__(self, path: str, options: Options) -> None:
        super().__init__(path, options)
        self._second = -1
        self._second_text = ("", "")

    def write(self, stream: int, data: bytes) -> None:
        """Append lines; one time stamp stands for all that was read at once."""
        stamp = f"{self._timestamp()} {NAMES[stream]} ".encode()
        full, part = stamp + b"F ", stamp + b"P "
        pieces: list[bytes] = []
        for start in range(0, len(data), BLOCK_BYTES):
            block = data[start : start + BLOCK_BYTES]
            # Searching is done by memchr; bytes.count would look at each byte by itself.
            cut = block.rfind(b"\n")
            marked, ends = b"", 0
            if cut >= 0:
                marked = block[:cut].replace(b"\n", b"\n" + full)
                ends = (len(marked) - cut) // len(full) + 1
            partial = cut < len(block) - 1
            cost = len(block) + _PREFIX_BYTES * (ends + partial) + partial
            if self._would_exceed(cost):
                self._append(pieces)
                pieces.clear()
                self._write_by_line(full, part, block)
                continue
            if ends:
                pieces += (full, marked, b"\n")
            if partial:
                pieces += (part, block[cut + 1 :] if ends else block, b"\n")
            self._size += cost
            self._total += cost
        self._append(pieces)

    def _write_by_line(self, full: bytes, part: bytes, block: bytes) -> None:
        """Near a limit each line is counted, as conmon counts all of them."""
        for line in lines_of(block):
            partial = line[-1] != NEWLINE
            cost = len(line) + _PREFIX_BYTES + partial
            if 0 < self._global_max <= self._total:
                return
            if 0 < self._max < self._size + cost:
                self.reopen()
            self._append([part + line + b"\n" if partial else full + line])
            self._size += cost
            self._total += cost

    def _timestamp(self) -> str:
        second, nanosecond = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            local = time.localtime(second)
            offset = local.tm_gmtoff
            sign = "-" if offset < 0 else "+"
            hours, rest = divmod(abs(offset), 3600)
            self._second = second
            self._second_text = (
                f"{local.tm_year}-{local.tm_mon:02}-{local.tm_mday:02}"
                f"T{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}",
                f"{sign}{hours:02}:{rest // 60:02}",
            )
        return f"{self._second_text[0]}.{nanosecond:09}{self._second_text[1]}"


def lines_of(block: bytes) -> list[bytes]:
    """Lines with their newline; unlike bytes.splitlines a carriage return ends none."""
    pieces = block.split(b"\n")
    last = pieces.pop()
    lines = [piece + b"\n" for piece in pieces]
    return [*lines, last] if last else lines
