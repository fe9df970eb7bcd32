"""What CRIU counted of a checkpoint or a restore: its files ``stats-dump``, ``stats-restore``.

A file is two magic numbers, a size, and a message of protocol buffers (CRIU's stats.proto), whose
fields have the numbers below; all that matter are integers.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# By the number of the part, dump or restore: names as podman prints them, by number.
_FIELDS = {
    1: {1: "freezing_time", 2: "frozen_time", 3: "memdump_time", 4: "memwrite_time",
        5: "pages_scanned", 7: "pages_written"},
    2: {1: "pages_compared", 2: "pages_skipped_cow", 3: "forking_time", 4: "restore_time",
        5: "pages_restored"},
}  # fmt: skip
_HEADER_BYTES = 12
_MOST_BYTES = 1 << 16
_VARINT, _BYTES = 0, 2


def read(path: str) -> dict[str, int]:
    """The numbers by name; empty where there is no such file, or another one."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES)[_HEADER_BYTES:]
    except FileNotFoundError:
        return {}
    found: dict[str, int] = {}
    try:
        for number, part in _fields(data):
            names = _FIELDS.get(number)
            if names and isinstance(part, bytes):
                values = dict.fromkeys(names.values(), 0)
                values.update(
                    (names[field], value) for field, value in _fields(part)
                    if field in names and isinstance(value, int)
                )  # fmt: skip
                found.update(values)
    except (IndexError, ValueError):  # cut short
        return {}
    return found


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        value, place = _varint(data, place)
        kind = tag & 7
        if kind == _BYTES:
            yield tag >> 3, data[place : place + value]
            place += value
        elif kind == _VARINT:
            yield tag >> 3, value
        else:
            raise ValueError(kind)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
