"""Whether events are kept, and where."""

from __future__ import annotations

from pyengine.events.log import LIMIT_BYTES, Events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def make(backend: str | None, engine_table: dict[str, Any], root: str) -> Events:
    """The events of one storage root.

    Args:
        backend: the ``--events-backend`` option.
        engine_table: the ``[engine]`` table of containers.conf. Its ``journald`` means the file,
            which needs no journal.
        root: the storage root or --tmpdir, where the file is unless ``events_logfile_path`` says
            otherwise.
    """
    if (backend or engine_table.get("events_logger")) == "none":
        return Events("")
    path = engine_table.get("events_logfile_path") or f"{root}/events/events.log"
    limit = engine_table.get("events_logfile_max_size")
    return Events(str(path), size_bytes(limit) if limit else LIMIT_BYTES)


def size_bytes(text: str) -> int:
    """``1m`` in bytes.

    Raises:
        ValueError: it is no size.
    """
    number = text.strip().lower().removesuffix("b")
    unit = _UNITS.get(number[-1:], 0)
    return int(float(number[:-1]) * unit) if unit else int(number)
