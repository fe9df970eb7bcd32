"""Reads what the log driver journald kept, by journalctl(1), which knows the journal's files."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time

from pyengine.containers.logs import Line
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyengine.monitor.exits import Watch

    Test = Callable[[Line], bool]

STDERR_PRIORITY = "3"


def _arguments(id_: str) -> list[str]:
    return ["journalctl", "--quiet", "--no-pager", "--output=json", f"CONTAINER_ID_FULL={id_}"]


def _line(raw: bytes) -> Line | None:
    try:
        fields = json.loads(raw)
    except ValueError:  # cut short by the end of journalctl
        return None
    message = fields.get("MESSAGE") or ""
    text = bytes(message) if isinstance(message, list) else str(message).encode("utf-8", "replace")
    seconds, microseconds = divmod(int(fields["__REALTIME_TIMESTAMP"]), 1_000_000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    stream = "stderr" if fields.get("PRIORITY") == STDERR_PRIORITY else "stdout"
    partial = fields.get("CONTAINER_PARTIAL_MESSAGE") == "true"
    # conmon sends the newline of a line as well.
    return Line(f"{stamp}.{microseconds:06}000Z", stream, text.removesuffix(b"\n"), partial=partial)


def lines(id_: str) -> list[Line]:
    """All lines of a container, the parts of each joined.

    Raises:
        ConfigError: there is no journalctl, or it fails.
    """
    for command in (["journalctl", "--sync"], _arguments(id_)):
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError as error:
            raise ConfigError("logs of the driver journald: journalctl is not installed") from error
    if done.returncode not in (0, 1):  # 1: no line
        raise ConfigError(f"journalctl: {done.stderr.decode(errors='replace').strip()}")
    begun: dict[str, Line] = {}
    joined = (_join(part, begun) for part in map(_line, done.stdout.splitlines()))
    return [*(line for line in joined if line), *begun.values()]


def _join(part: Line | None, begun: dict[str, Line]) -> Line | None:
    """The line that a part completes; other parts wait in ``begun`` by their stream."""
    if part is None:
        return None
    line = begun.pop(part.stream, part)
    if line is not part:
        line.text, line.partial = line.text + part.text, part.partial
    if line.partial:
        begun[part.stream] = line
        return None
    return line


def read(id_: str, tail: int | None, wanted: Test) -> Iterator[Line]:
    """The lines there are, as ``logs.read`` gives those of a file."""
    found = lines(id_)
    yield from filter(
        wanted, found if tail is None else found[len(found) - min(tail, len(found)) :]
    )


class Follower:
    """Follows as ``logs.Follower`` does: journalctl gives the lines, a last look what it missed."""

    def __init__(
        self, id_: str, tail: int | None, wanted: Test, watch: Watch, write: Callable[[Line], None]
    ) -> None:
        """``write`` is called with each line."""
        self._id, self._wanted, self._watch, self._write = id_, wanted, watch, write
        self._begun: dict[str, Line] = {}
        self._rest = b""
        self._taken = 0
        self._first = 0 if tail is None else max(len(lines(id_)) - tail, 0)
        command = [*_arguments(id_), "--follow", "--no-tail"]
        self._journalctl = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
        assert self._journalctl.stdout is not None
        self._output = self._journalctl.stdout

    def fds(self) -> list[int]:
        """What to poll for."""
        return [self._output.fileno(), *self._watch.fds()]

    def limit_ms(self) -> float | None:
        """For how long, at most."""
        return self._watch.limit_ms()

    def go_on(self) -> bool:
        """Pass on what has come; false when the container has ended."""
        ended, _ = self._watch.poll_result()
        if ended:
            for line in lines(self._id)[self._taken :]:
                self._take(line)
            return False
        if select.select([self._output], [], [], 0)[0]:
            *raws, self._rest = (self._rest + os.read(self._output.fileno(), 1 << 16)).split(b"\n")
            for raw in raws:
                joined = _join(_line(raw), self._begun)
                if joined is not None:
                    self._take(joined)
        return True

    def close(self) -> None:
        """End journalctl."""
        self._journalctl.terminate()
        self._journalctl.wait()
        self._output.close()

    def _take(self, line: Line) -> None:
        if self._taken >= self._first and self._wanted(line):
            self._write(line)
        self._taken += 1
