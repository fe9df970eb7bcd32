"""The resident program: keeps a container's output and waits, in little memory (docs/adr/0022).

``handover.execute`` starts it in place of the monitor. It knows output and nothing else: whatever
else happens, it loads the monitor, which goes on with the same loop and descriptors.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import gc
import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyconmon.loop import Loop
    from pyconmon.stdio import Output

# All that a monitor listens to; they wait while the programs change.
SIGNALS = (
    _signal.SIGCHLD, _signal.SIGTERM, _signal.SIGQUIT, _signal.SIGINT, _signal.SIGHUP,
    _signal.SIGUSR1,
)  # fmt: skip
NEEDED_AT_ONCE = (
    "attach", "cloexec", "diagnostics", "fifos", "held", "logs", "oom", "oom_events", "outputs",
    "tail", "terminal", "top",
)  # fmt: skip
_LONGEST_MODULE_BYTES = 1 << 16  # as the loader has it


def main() -> int:
    """Wait, and become the monitor again; the answer is the exit status of the process."""
    gc.disable()
    _make_room()
    state, whole = _read_state(int(sys._xoptions["pyconmon"]))
    for fd in state["cloexec"]:
        posix.set_inheritable(fd, False)
    _install_loader(state)
    # Loaded now, as the standard library might be replaced, too.
    __import__("_socket")
    from pyconmon import diagnostics, logs, loop, stdio

    diagnostics.configure(*state["diagnostics"])
    the_loop = loop.Loop()
    the_logs = logs.Logs([logs.KubernetesFile.restored(one) for one in state["logs"]], False)
    tail = stdio.Tail(state["tail"])

    def keep(stream: int, data: bytes) -> None:
        tail.add(data)
        the_logs.write(stream, data)

    outputs = []
    for stream, fd in zip((logs.STDOUT, logs.STDERR), state["outputs"], strict=True):
        output = stdio.Output(the_loop, stream, keep)
        output.release()
        if fd >= 0:
            output.open(fd, terminal=fd == state["terminal"])
        outputs.append(output)
    _wait(the_loop, outputs, state)
    from pyconmon import monitor

    state = marshal.loads(whole)
    options = type(sys.implementation)(**state["options"])
    return monitor.resume(options, the_logs, state, the_loop, outputs, tail)  # type: ignore[arg-type]  # it has all fields


def _make_room() -> None:
    """Drop what a start of Python makes and nothing here needs: what comes takes its place."""
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, name, None)
        setattr(sys, f"__{name}__", None)
    sys.path_importer_cache.clear()
    sys.modules["encodings.aliases"].aliases.clear()


def _read_state(fd: int) -> tuple[dict[str, Any], bytes]:
    """What is needed now, and all of it for the monitor."""
    data = posix.pread(fd, posix.fstat(fd).st_size, 0)
    state: tuple[dict[str, Any], bytes] = marshal.loads(data)
    posix.close(fd)
    return state


def _install_loader(state: dict[str, Any]) -> None:
    """From here on pyconmon's modules come from the descriptors that the monitor has opened."""
    loader = type(sys)("pyconmon.loader")
    loader.__file__ = f"{state['top']}/loader.py"
    code = marshal.loads(posix.pread(state["held"]["loader"], _LONGEST_MODULE_BYTES, 16))
    sys.modules[loader.__name__] = loader
    exec(code, loader.__dict__)
    loader.held.update(state["held"])
    loader.install()


def _wait(the_loop: Loop, outputs: list[Output], state: dict[str, Any]) -> None:
    """Until anything but output comes; then output waits for the monitor, and so for a client."""
    caught: list[int] = []

    def wake() -> None:
        for output in outputs:
            output.pause()
        the_loop.stop()

    def on_signal(number: int) -> None:
        caught.append(number)
        wake()

    watched = {state["attach"]: 1, state["fifos"][0]: 1, state["fifos"][1]: 1}  # 1: EPOLLIN
    if state["oom"]:
        watched[state["oom"][0]] = state["oom_events"]
    for fd, events in watched.items():
        the_loop.watch(fd, events, lambda _events: wake())
    for number in SIGNALS:
        the_loop.on_signal(number, on_signal)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, SIGNALS)
    gc.enable()
    try:
        the_loop.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, the monitor takes over from here
        from pyconmon import diagnostics

        diagnostics.error(f"while the monitor was small: {type(error).__name__}: {error}")
        wake()
    for fd in watched:
        the_loop.forget(fd)
    for number in caught:
        the_loop.raise_signal(number)


if __name__ == "__main__":
    posix._exit(main())
