"""New orders for a monitor that runs: other health checks, another restart policy.

The engine writes them into the bundle as ``orders``, a command line whose words end with a zero
byte, and asks for them through the fifo ``ctl`` (docs/pyconmon.md). Loaded only then.
"""

from __future__ import annotations

import posix

from pyconmon import cli, diagnostics, files, options
from pyconmon.errors import MonitorError

_OTHERS = (
    "exit_command", "exit_command_args", "persist_dir", "restart_policy", "stop_signal",
    "stop_timeout_s",
)  # fmt: skip


def take(current: options.Options) -> bool:
    """Let the options of the file ``orders`` hold; what it does not name has its default.

    The file is called ``orders.taken`` afterwards, or ``orders.refused`` and nothing has changed.
    """
    path = f"{current.bundle}/orders"
    try:
        words = files.read_all(path).decode("utf-8", "surrogateescape").split("\0")[:-1]
        wanted = options.parse(words)
        cli.check_supervision(wanted)
    except (OSError, MonitorError) as error:
        diagnostics.warn(f"{path}: {error}")
        _rename(path, "refused")
        return False
    for entry in options.TABLE:
        name = entry[3]
        if name in _OTHERS or name.startswith("health_"):
            setattr(current, name, getattr(wanted, name))
    _rename(path, "taken")
    return True


def _rename(path: str, how: str) -> None:
    try:
        posix.rename(path, f"{path}.{how}")
    except OSError as error:
        diagnostics.warn(f"{path}: {error.strerror}")
