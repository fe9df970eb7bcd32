"""Idmapped mounts (runtime-spec config.md, ``idmap`` and ``ridmap``; mount_setattr(2))."""

from __future__ import annotations

from pyrun import syscalls
from pyrun.errors import ConfigError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Mappings = list[dict[str, Any]]


def wanted(
    entry: dict[str, Any], word: str, linux: dict[str, Any], pointer: str
) -> tuple[Mappings, Mappings] | None:
    """The mappings of one entry of ``mounts``; None for those of the container's user namespace.

    Args:
        entry: of ``mounts``.
        word: ``idmap`` or ``ridmap`` as it stands in the options, crun's mappings included.
        linux: ``linux`` of config.json.
        pointer: the place of the entry.

    Raises:
        ConfigError: the mappings behind the word have no meaning.
    """
    text = word.partition("=")[2]
    if text:
        found = _parse(text, linux, f"{pointer}/options")
        return found["uids"], found["gids"]
    if entry.get("uidMappings") or entry.get("gidMappings"):
        return entry["uidMappings"], entry["gidMappings"]
    return None


def _parse(text: str, linux: dict[str, Any], pointer: str) -> dict[str, Mappings]:
    """``uids=0-1-10#10-11-10;gids=@0-100-10``: backing id, id on the host, length."""
    found: dict[str, Mappings] = {}
    for part in text.split(";"):
        kind, _, ranges = part.partition("=")
        if kind not in ("uids", "gids"):
            raise ConfigError(pointer, f"idmap: {part!r} is neither uids=... nor gids=...")
        outer = linux.get("uidMappings" if kind == "uids" else "gidMappings") or []
        found[kind] = [_triplet(one, outer, pointer) for one in ranges.split("#")]
    if len(found) < 2:
        raise ConfigError(pointer, "idmap: needs uids as well as gids")
    return found


def _triplet(text: str, outer: Mappings, pointer: str) -> dict[str, int]:
    relative = text.startswith("@")
    words = text.removeprefix("@").split("-")
    if len(words) != 3 or not all(
        one.isascii() and one.isdigit() and len(one) < 11 for one in words
    ):
        raise ConfigError(pointer, f"idmap: {text!r} is not like 0-100000-65536")
    inner, host, size = map(int, words)
    if relative:  # to the container's user namespace
        for mapping in outer:
            if mapping["containerID"] <= inner < mapping["containerID"] + mapping["size"]:
                host += mapping["hostID"] - mapping["containerID"]
                break
        else:
            raise ConfigError(pointer, f"idmap: the container has no id {inner}")
    return {"containerID": inner, "hostID": host, "size": size}


def apply(tree_fd: int, namespace_fd: int, source: str, *, recursive: bool) -> None:
    """Give a detached mount the mapping of a user namespace.

    Raises:
        KernelError: the kernel refused, such as for a file system that has no idmapped mounts.
    """
    flags = syscalls.AT_RECURSIVE if recursive else 0
    try:
        syscalls.mount_setattr(tree_fd, flags, syscalls.MOUNT_ATTR_IDMAP, 0, userns_fd=namespace_fd)
    except OSError as error:
        what = " and what is mounted below it" if recursive else ""
        step = f"idmap the mount {source}{what} (the file system must be able to)"
        raise KernelError(step, error) from error
