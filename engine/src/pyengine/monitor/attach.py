"""The client of a monitor's attach socket: standard streams, terminal, signals, detach keys.

The socket is SOCK_SEQPACKET. Each packet to us begins with a byte that names the stream; what we
send is the process's input. Window sizes go through the ``ctl`` fifo.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal imports enum (docs/adr/0008)
import _socket  # socket costs 4 ms to import
import _struct
import fcntl
import os
import select
import termios

from pyengine.errors import MonitorError
from pyengine.monitor.keys import Matcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pyengine.monitor.exits import Exit, Watch

STDOUT, STDERR = 2, 3
PACKET_BYTES = 8192 + 1  # conmon's buffer and the stream byte
INPUT_BYTES = 8192
RESIZE = 1  # the ctl fifo's message for a new window size

PROXIED = (
    _signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1,
    _signal.SIGUSR2, _signal.SIGALRM, _signal.SIGCONT, _signal.SIGTSTP,
)  # fmt: skip


class Detached(Exception):  # noqa: N818 - not an error: the user typed the detach keys
    """The user left; the container goes on."""


class Attachment:
    """One connection, from before the container's process starts until it has ended."""

    def __init__(
        self,
        bundle: str,
        *,
        stdin: bool,
        terminal: bool,
        detach_keys: bytes,
        passed_through: bool = False,
        streams: Collection[str] = (),
    ) -> None:
        """Connect to the monitor that serves ``bundle``, and copy ``streams``, or all.

        One that passed our own streams on to the container serves nobody; then all that is left to
        do is to pass signals on and to wait.

        Raises:
            MonitorError: nobody listens there.
        """
        self._bundle, self._terminal = bundle, terminal
        self._stdin_open = stdin
        numbers = {"stdout": STDOUT, "stderr": STDERR}
        self._wanted = [number for name, number in numbers.items() if name in (streams or numbers)]
        self._saved: list[object] | None = None
        self._wakeup_read, self._wakeup_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._old_handlers: dict[int, object] = {}
        self._keys = Matcher(detach_keys)
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self._connected = not passed_through
        if passed_through:
            return
        directory_fd = os.open(bundle, os.O_PATH | os.O_CLOEXEC)
        try:  # through a descriptor: a socket's path is limited to 107 bytes
            self._socket.connect(f"/proc/self/fd/{directory_fd}/attach")
        except OSError as error:
            self._socket.close()
            raise MonitorError(f"connect to {bundle}/attach: {error.strerror}") from error
        finally:
            os.close(directory_fd)

    def prepare(self, *, proxy_signals: bool) -> None:
        """Put the terminal into raw mode, and catch the signals that belong to the container."""
        wanted = list(PROXIED) if proxy_signals else []
        if self._terminal and os.isatty(0):
            wanted.append(_signal.SIGWINCH)
            self._saved = termios.tcgetattr(0)
            _make_raw(0)
            self.resize()
        for number in wanted:
            self._old_handlers[number] = _signal.signal(number, _noted)
        _signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)

    def resize(self) -> None:
        """Tell the monitor the size of our terminal."""
        try:
            packed = fcntl.ioctl(1 if os.isatty(1) else 0, termios.TIOCGWINSZ, bytes(8))
            rows, columns = _struct.unpack("HHHH", packed)[:2]
            ctl_fd = os.open(f"{self._bundle}/ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # the container has just ended: nobody is left to be told
            return
        try:
            os.write(ctl_fd, f"{RESIZE} {rows} {columns}\n".encode())
        finally:
            os.close(ctl_fd)

    def run(self, watch: Watch, send_signal: Callable[[int], object]) -> Exit | None:
        """Copy until the container has ended; the answer is how, if that is known.

        Raises:
            Detached: the user typed the detach keys.
        """
        connected = self._connected
        while True:
            poller = select.poll()
            for fd in (*watch.fds(), self._wakeup_read):
                poller.register(fd, select.POLLIN)
            if connected:
                poller.register(self._socket.fileno(), select.POLLIN)
                if self._stdin_open:
                    poller.register(0, select.POLLIN)
            ready = {fd for fd, _ in poller.poll(watch.limit_ms())}
            if self._wakeup_read in ready:
                self._take_signals(send_signal)
            if connected and self._socket.fileno() in ready:
                connected = self._copy_output()
            if connected and 0 in ready and self._stdin_open:
                self._copy_input()
            if not ready or ready.intersection(watch.fds()) or not connected:
                ended, how = watch.poll_result()
                if ended:
                    # What we were too slow for, the monitor keeps and sends before it leaves.
                    while connected:
                        connected = self._copy_output()
                    return how

    def close(self) -> None:
        """Give the terminal and the signals back."""
        if self._saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]  # as saved
            self._saved = None
        _signal.set_wakeup_fd(-1)
        for number, handler in self._old_handlers.items():
            _signal.signal(number, handler)
        self._old_handlers.clear()
        self._socket.close()
        os.close(self._wakeup_read)
        os.close(self._wakeup_write)

    def _copy_output(self) -> bool:
        """One packet to its stream; false at the end."""
        try:
            packet = self._socket.recv(PACKET_BYTES)
        except ConnectionResetError:  # told once: it left some of our input; its output follows
            return True
        if not packet:
            return False
        if packet[0] in self._wanted:
            _write_all(2 if packet[0] == STDERR else 1, packet[1:])
        return True

    def _copy_input(self) -> None:
        try:
            data = os.read(0, INPUT_BYTES)
        except OSError:  # a terminal that was hung up
            data = b""
        typed, detached = self._keys.pass_on(data) if self._terminal else (data, False)
        try:
            if typed:
                self._socket.sendall(typed)
            if not data:
                self._stdin_open = False
                self._socket.shutdown(_socket.SHUT_WR)
        except OSError:  # the process has closed its input or ended; its output may still come
            self._stdin_open = False
        if detached:
            raise Detached

    def _take_signals(self, send_signal: Callable[[int], object]) -> None:
        for number in os.read(self._wakeup_read, 64):
            if number == _signal.SIGWINCH:
                self.resize()
            elif number in self._old_handlers:
                send_signal(number)


def _noted(_number: int, _frame: object) -> None:
    """Python writes the number to the wake-up descriptor; the poll loop reads it there."""


def _make_raw(fd: int) -> None:
    """As cfmakeraw(3); output processing stays off because the container's terminal does it."""
    mode = termios.tcgetattr(fd)
    mode[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
        | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    mode[1] &= ~termios.OPOST
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSADRAIN, mode)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
