"""CRIU's requests and responses in the wire format of protocol buffers (docs/adr/0016).

Only the fields that pyrun uses have names here; others in a response are skipped, as the format
wants it. Numbers and types are those of CRIU's rpc.proto, which never changes them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Message = dict[str, Any]

DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 4, 6, 9, 10
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5}
NETWORK_LOCKS = {"iptables": 1, "nftables": 2, "skip": 3}

_NUMBER, _TEXT = "number", "text"  # other kinds are names of messages
# message: field: its number, its kind
_SHAPES: dict[str, dict[str, tuple[int, str]]] = {
    "request": {
        "type": (1, _NUMBER), "opts": (2, "options"), "notify_success": (3, _NUMBER),
        "features": (5, "features"),
    },
    "response": {
        "type": (1, _NUMBER), "success": (2, _NUMBER), "restore": (4, "process"),
        "notify": (5, "notice"), "cr_errno": (7, _NUMBER), "features": (8, "features"),
        "cr_errmsg": (9, _TEXT), "version": (10, "version"),
    },
    "options": {
        "images_dir_fd": (1, _NUMBER), "pid": (2, _NUMBER), "leave_running": (3, _NUMBER),
        "ext_unix_sk": (4, _NUMBER), "tcp_established": (5, _NUMBER),
        "evasive_devices": (6, _NUMBER), "shell_job": (7, _NUMBER), "file_locks": (8, _NUMBER),
        "log_level": (9, _NUMBER), "log_file": (10, _TEXT), "ps": (11, "page_server"),
        "notify_scripts": (12, _NUMBER), "root": (13, _TEXT), "parent_img": (14, _TEXT),
        "track_mem": (15, _NUMBER), "auto_dedup": (16, _NUMBER), "work_dir_fd": (17, _NUMBER),
        "link_remap": (18, _NUMBER), "ext_mnt": (23, "mount"), "manage_cgroups": (24, _NUMBER),
        "cg_root": (25, "cgroup_root"), "rst_sibling": (26, _NUMBER),
        "inherit_fd": (27, "inherited"), "manage_cgroups_mode": (34, _NUMBER),
        "external": (37, _TEXT), "empty_ns": (38, _NUMBER), "join_ns": (39, "namespace"),
        "freeze_cgroup": (44, _TEXT), "tcp_skip_in_flight": (46, _NUMBER),
        "lazy_pages": (48, _NUMBER), "status_fd": (49, _NUMBER),
        "orphan_pts_master": (50, _NUMBER), "config_file": (51, _TEXT), "tcp_close": (52, _NUMBER),
        "lsm_profile": (53, _TEXT), "lsm_mount_context": (63, _TEXT),
        "network_lock": (64, _NUMBER),
    },
    "page_server": {"address": (1, _TEXT), "port": (2, _NUMBER)},
    "mount": {"key": (1, _TEXT), "val": (2, _TEXT)},
    "cgroup_root": {"ctrl": (1, _TEXT), "path": (2, _TEXT)},
    "inherited": {"key": (1, _TEXT), "fd": (2, _NUMBER)},
    "namespace": {"ns": (1, _TEXT), "ns_file": (2, _TEXT)},
    "process": {"pid": (1, _NUMBER)},
    "notice": {"script": (1, _TEXT), "pid": (2, _NUMBER)},
    "features": {"mem_track": (1, _NUMBER), "lazy_pages": (2, _NUMBER)},
    "version": {"major": (1, _NUMBER), "minor": (2, _NUMBER), "sublevel": (4, _NUMBER)},
}  # fmt: skip
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # how a field's value is written


def encode(shape: str, values: Mapping[str, Any]) -> bytes:
    """Write a message.

    Args:
        shape: its name.
        values: its fields; a list is a repeated one.
    """
    data = b""
    for name, value in values.items():
        number, kind = _SHAPES[shape][name]
        for item in value if isinstance(value, list) else (value,):
            if kind == _NUMBER:
                data += _varint(number << 3 | _VARINT) + _varint(int(item))
                continue
            text = item.encode() if kind == _TEXT else encode(kind, item)
            data += _varint(number << 3 | _BYTES) + _varint(len(text)) + text
    return data


def decode(shape: str, data: bytes) -> Message:
    """Read a message; of a repeated field the last value.

    Raises:
        ValueError: it is cut off, or is none.
    """
    fields = {number: (name, kind) for name, (number, kind) in _SHAPES[shape].items()}
    found: Message = {}
    rest = memoryview(data)
    while rest:
        tag, rest = _read_varint(rest)
        how = tag & 7
        value: Any
        if how == _VARINT:
            value, rest = _read_varint(rest)
        else:
            size = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(how, -1)
            if how == _BYTES:
                size, rest = _read_varint(rest)
            if not 0 <= size <= len(rest):
                raise ValueError("a field is cut off, or of an unknown type")
            value, rest = bytes(rest[:size]), rest[size:]
        name, kind = fields.get(tag >> 3, ("", ""))
        if not name:
            continue
        if (kind == _NUMBER) != (how == _VARINT):
            raise ValueError(f"field {name} has another type")
        if kind == _NUMBER:
            found[name] = value - (1 << 64) if value >> 63 else value
        else:
            found[name] = value.decode(errors="replace") if kind == _TEXT else decode(kind, value)
    return found


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative number as its 64-bit complement."""
    value &= (1 << 64) - 1
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def _read_varint(data: memoryview) -> tuple[int, memoryview]:
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & (1 << 64) - 1, data[index + 1 :]
    raise ValueError("a number is cut off")
