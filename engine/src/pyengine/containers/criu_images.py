"""What CRIU's files tell: figures of a checkpoint or a restore, and of the container's root.

A file is two magic numbers, and messages of protocol buffers, each after its size in four bytes
(CRIU's images/*.proto).
"""

from __future__ import annotations

import stat

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
_MAGIC_BYTES, _SIZE_BYTES = 8, 4
_MOST_BYTES = 1 << 16
# file_entry.reg; reg_file_entry.name and .mode
_REG, _NAME, _MODE = 3, 6, 10
_ROOTS = (b"/", b".")
_VARINT, _BYTES = 0, 2


def root_mode(directory: str) -> int | None:
    """The permissions of the container's root, which CRIU wants to find; None where it is unknown.

    An image may not say: podman makes it 0555 then.
    """
    try:
        with open(f"{directory}/files.img", "rb") as file:
            file.seek(_MAGIC_BYTES)
            while size := int.from_bytes(file.read(_SIZE_BYTES), "little"):
                part = dict(_fields(file.read(size))).get(_REG)
                entry = dict(_fields(part)) if isinstance(part, bytes) else {}
                mode = entry.get(_MODE)
                if entry.get(_NAME) in _ROOTS and isinstance(mode, int) and stat.S_ISDIR(mode):
                    return stat.S_IMODE(mode)
    except (FileNotFoundError, IndexError, ValueError):
        return None
    return None


def statistics(path: str) -> dict[str, int]:
    """The figures of ``stats-dump`` or ``stats-restore``; none where it is another file."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES)[_MAGIC_BYTES + _SIZE_BYTES :]
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
