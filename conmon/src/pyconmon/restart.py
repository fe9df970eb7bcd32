"""The restart policy: whether a container that ended is started again, and when.

Only the engine can start it; the monitor waits for as long as the back-off says and then tells the
exit command (docs/pyconmon.md). Loaded at the end of a container that has a policy.
"""

from __future__ import annotations

import time

from pyconmon import children, diagnostics, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyconmon.loop import Loop
    from pyconmon.options import Options
    from pyconmon.record import Life

_FIRST_DELAY_MS = 100
_LONGEST_DELAY_MS = 60_000
# A container that has lived for so long is no longer one that fails at its start.
_SETTLED_NS = 10_000_000_000


class Restart:
    """The next start: its number, and how long to wait for it."""

    __slots__ = ("count", "delay_ms")

    def __init__(self, count: int, delay_ms: int) -> None:
        self.count = count
        self.delay_ms = delay_ms


def split(policy: str) -> tuple[str, int]:
    """``on-failure:3`` to its name and its limit; 0 is no limit.

    Raises:
        ValueError: no such policy.
    """
    name, colon, limit = policy.partition(":")
    if name not in ("no", "on-failure", "always", "unless-stopped"):
        raise ValueError(policy)
    if colon and (name != "on-failure" or not limit.isdecimal()):
        raise ValueError(policy)
    return name, int(limit or 0)


def decide(options: Options, life: Life, code: int) -> Restart | None:
    """The restart that is due after the container's end; ``None`` when it stays stopped."""
    if stop_requested(options):
        return None
    count, delay_ms = _so_far(options)
    name, limit = split(options.restart_policy or "no")
    failed = code != 0
    if not (
        life.health_action == "restart"
        or name in ("always", "unless-stopped")
        or (name == "on-failure" and failed and (not limit or count < limit))
    ):
        return None
    if time.time_ns() - life.created_ns >= _SETTLED_NS:
        delay_ms = 0
    delay_ms = min(2 * delay_ms, _LONGEST_DELAY_MS) or _FIRST_DELAY_MS
    return Restart(count + 1, delay_ms)


def stop_requested(options: Options) -> bool:
    """Whether the engine left word that the container has to stay stopped."""
    return files.exists(f"{options.persist_dir}/stopped")


def wait(the_loop: Loop, restart: Restart, options: Options) -> bool:
    """Let the back-off pass; ``False`` when a signal or the engine called the restart off."""
    signals: list[int] = []

    def call_off(number: int) -> None:
        signals.append(number)
        the_loop.stop()

    for number in children.FORWARDED_SIGNALS:
        the_loop.on_signal(number, call_off)
    if stop_requested(options):  # perhaps with a signal that came before anybody waited for it
        return False
    the_loop.after(restart.delay_ms / 1000, the_loop.stop)
    the_loop.run()
    the_loop.cancel(the_loop.stop)
    if signals or stop_requested(options):
        return False
    try:
        files.replace(
            f"{options.persist_dir}/restarts", f"{restart.count} {restart.delay_ms}\n", sync=True
        )
    except OSError as error:  # without a count there is no limit and no back-off: stay stopped
        diagnostics.error(f"Failed to count the restarts of {options.cid}: {error.strerror}")
        return False
    return True


def _so_far(options: Options) -> tuple[int, int]:
    """How often it was started again, and the last delay in milliseconds."""
    path = f"{options.persist_dir}/restarts"
    try:
        count, delay_ms = files.read_all(path).split()
        return int(count), int(delay_ms)
    except FileNotFoundError:
        return 0, 0
    except (OSError, ValueError) as error:
        diagnostics.warn(f"{path}: {error}")
        return 0, 0
