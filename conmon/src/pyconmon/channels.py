"""What goes between a container and the others: its streams, log, clients and requests."""

from __future__ import annotations

import posix

from pyconmon import attach, control, diagnostics, logs, loop, stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyconmon.console import ConsoleSocket
    from pyconmon.options import Options

# A client that takes nothing for this long after the container's end is given up.
_LAST_CLIENT_S = 10


class Channels:
    """The open ends of one container or exec session."""

    __slots__ = (
        "_control", "_input", "_loop", "_on_failure", "_on_request", "_options", "_terminal_fd",
        "_window", "attach", "console", "logs", "stderr", "stdout", "tail",
    )  # fmt: skip

    def __init__(
        self,
        options: Options,
        the_loop: loop.Loop,
        the_logs: logs.Logs,
        on_request: Callable[[int], None],
        on_failure: Callable[[str], None],
    ) -> None:
        """Nothing is open yet.

        Args:
            options: the command line.
            the_loop: watches what will be open.
            the_logs: take the output.
            on_request: called with what only the monitor can do (``control.Control``).
            on_failure: called with the reason when there will be no terminal.
        """
        self._options = options
        self._loop = the_loop
        self._on_request = on_request
        self._on_failure = on_failure
        self._terminal_fd = -1
        self._window: tuple[int, int] | None = None
        self._control: control.Control | None = None
        self.logs = the_logs
        self.tail = stdio.Tail(b"")
        self.attach: attach.AttachServer | None = None
        self.console: ConsoleSocket | None = None

    def open_streams(self) -> stdio.Pipes:
        """Make the pipes, of which the runtime gets the other ends, or listen for a terminal."""
        options = self._options
        self._input = attach.Input(self._loop, awaited=options.terminal)
        self.stdout = stdio.Output(self._loop, logs.STDOUT, self._on_output)
        self.stderr = stdio.Output(self._loop, logs.STDERR, self._on_output)
        if options.terminal:
            from pyconmon.console import ConsoleSocket

            self.console = ConsoleSocket(self._loop, self._on_terminal, self._on_failure)
        pipes = stdio.Pipes(
            stdin=options.stdin and not options.terminal, stdout=not options.terminal
        )
        if pipes.stdin_fd >= 0:
            self._input.open(pipes.stdin_fd)
        if pipes.stdout_fd >= 0:
            self.stdout.open(pipes.stdout_fd)
        # With a terminal too: the runtime's messages come this way.
        self.stderr.open(pipes.stderr_fd)
        return pipes

    def open_bundle(self, bundle: str) -> None:
        """Let clients and requests come."""
        self.attach = self._make_attach(bundle)
        self._control = self._make_control(bundle)

    def _make_attach(self, bundle: str, listening_fd: int = -1) -> attach.AttachServer:
        options = self._options
        link = None
        if not options.full_attach:
            link = attach.link_path(options.socket_dir_path, options.cuuid or "")
        return attach.AttachServer(
            self._loop, self._input, bundle, link, self._hold_output,
            close_input_with_client=options.stdin and not options.leave_stdin_open,
            listening_fd=listening_fd,
        )  # fmt: skip

    def _make_control(self, bundle: str, fds: tuple[int, int] = (-1, -1)) -> control.Control:
        return control.Control(
            self._loop, bundle, self._on_resize, self.logs.reopen, self._on_request, fds
        )

    # Waiting in less memory (docs/adr/0022)

    def state(self) -> dict[str, Any] | None:
        """What ``restore`` needs; None while there is something that is not handed over."""
        drivers = self.logs.states()
        fifos = self._control.fds() if self._control else None
        if drivers is None or fifos is None or self.console or self._input.awaited:
            return None
        if self.attach is None or self.attach.clients:
            return None
        return {
            "logs": drivers,
            "tail": self.tail.data,
            "stdin": self._input.fileno(),
            "outputs": (self.stdout.fileno(), self.stderr.fileno()),
            "terminal": self._terminal_fd,
            "window": self._window,
            "attach": self.attach.fileno(),
            "fifos": fifos,
        }

    def restore(
        self, state: dict[str, Any], outputs: list[stdio.Output], tail: stdio.Tail
    ) -> attach.AttachServer:
        """Go on with what ``state`` told, and with the outputs, which are paused."""
        bundle = self._options.bundle or ""
        self.tail = tail
        self.stdout, self.stderr = outputs
        self._terminal_fd, self._window = state["terminal"], state["window"]
        self._input = attach.Input(self._loop, awaited=False)
        if state["stdin"] >= 0:
            self._input.open(state["stdin"])
        self.attach = self._make_attach(bundle, state["attach"])
        self._control = self._make_control(bundle, state["fifos"])
        self.attach.accept_waiting()
        for output in outputs:
            output.sink = self._on_output
            output.resume()
        return self.attach

    # What comes

    def _on_output(self, stream: int, data: bytes) -> None:
        self.tail.add(data)
        self.logs.write(stream, data)
        if self.attach:
            self.attach.broadcast(stream, data)

    def _hold_output(self, hold: bool) -> None:
        for output in (self.stdout, self.stderr):
            if hold:
                output.pause()
            else:
                output.resume()

    @property
    def lacks_terminal(self) -> bool:
        """Whether one was asked for and has not come."""
        return self._options.terminal and self._terminal_fd < 0

    def _on_terminal(self, fd: int) -> None:
        from pyconmon import console  # loaded with the socket that the terminal came from

        self.console = None  # it has done its work
        console.prepare_terminal(fd)
        self._terminal_fd = fd
        self.stdout.open(fd, terminal=True)
        if self._window:
            self._on_resize(*self._window)
        self._input.open(posix.dup(fd))

    def _on_resize(self, height: int, width: int) -> None:
        self._window = (height, width)
        if self._terminal_fd >= 0 and self.stdout.is_open:
            try:
                from pyconmon import console
            except ImportError as error:  # this Python was uninstalled since then
                diagnostics.warn(f"Failed to load what resizes a terminal: {error}")
                return
            console.resize(self._terminal_fd, height, width)

    # The end

    def drain(self) -> None:
        """Pass on what is left, to those as well who have connected before the end."""
        if self.attach:
            self.attach.accept_waiting()
        self.stdout.drain()
        self.stderr.drain()

    def close_entrances(self) -> None:
        """Let nobody in any more; clients leave as soon as they have everything."""
        if self.console:
            self.console.close()
        if self._control:
            self._control.close()
        if self.attach:
            self.attach.stop_listening()
            self.attach.finish()

    def serve_last_clients(self) -> None:
        """Let clients that lag behind have the rest, as long as they take some of it."""
        server = self.attach
        if server is None:
            return
        left = server.queued_bytes
        while left:
            self._loop.after(_LAST_CLIENT_S, self._loop.stop)
            server.on_idle = self._loop.stop
            self._loop.run()
            self._loop.cancel(self._loop.stop)
            before, left = left, server.queued_bytes
            if left >= before:
                diagnostics.warn(f"an attached client left {left} bytes unread")
                break
        server.close()
