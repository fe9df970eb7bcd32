"""The ids of an ordinary user's container: some of those that his own namespace has.

``--uidmap`` and the like count from 0, which is the user, as in ``pyengine unshare``; his
subordinate ids follow.
"""

from __future__ import annotations

import os

from pyengine.config import user
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig

    IdMap = list[list[int]]


def keep_id(config: ContainerConfig, wanted: ContainerOptions, detail: str) -> list[IdMap]:
    """The maps of ``keep-id[:uid=N,gid=N,size=N]``, where the user has the same id inside.

    The container's process is that user, unless ``--user`` or the image says otherwise, and in any
    case a member of the user's group.

    Raises:
        ConfigError: an option has no meaning.
    """
    given = options(wanted.userns, detail)
    own = [user.user_id(), _own_group()]
    inside = [given.get("uid", own[0]), given.get("gid", own[1])]
    maps = []
    for kind, kept in zip(("uid", "gid"), inside, strict=True):
        last = count(kind) - 1  # the highest of the namespace
        if last < 1:
            raise ConfigError(
                f"--userns {wanted.userns}: user {own[0]} has no subordinate ids for the other"
                " users of the container: add a line to /etc/subuid and /etc/subgid, and run"
                " `pyengine system migrate`"
            )
        last = min(last, given["size"] - 1) if given.get("size") else last
        rows = [[0, 1, min(kept, last)], [kept, 0, 1], [kept + 1, kept + 1, last - kept]]
        maps.append([row for row in rows if row[2] > 0])
    if not config["user"]:
        config["user"] = f"{inside[0]}:{inside[1]}"
    settings = config["process"]
    settings["groups"] = [*settings.get("groups", []), str(inside[1])]
    if not given.keys() & {"uid", "gid"}:
        _add_own_entries(config, *own)
    return maps


def nomap(mode: str) -> list[IdMap]:
    """The maps of ``nomap``, where the user has no id inside."""
    counts = [count(kind) - 1 for kind in ("uid", "gid")]
    if min(counts) < 1:
        raise ConfigError(f"--userns {mode}: user {user.user_id()} has no subordinate ids")
    return [[[0, 1, ids]] for ids in counts]


def own(kind: int) -> IdMap:
    """The subordinate ids as one range, start and count; ``kind`` is 0 for users, 1 for groups."""
    return [[1, count(("uid", "gid")[kind]) - 1]]


def split(maps: list[IdMap]) -> list[IdMap]:
    """The maps in pieces of which each is in one line of our own maps, as the kernel wants them.

    Raises:
        ConfigError: a map has an id that the user does not.
    """
    found: list[IdMap] = []
    for kind, id_map in zip(("uid", "gid"), maps, strict=True):
        found.append([])
        for first, begin, size in id_map:
            pieces = [
                [first + start - begin, start, end - start]
                for inside, _, ids in ours(kind)
                if (start := max(begin, inside)) < (end := min(begin + size, inside + ids))
            ]
            if sum(piece[2] for piece in pieces) < size:
                raise ConfigError(
                    f"--{kind}map {first}:{begin}:{size}: user {user.user_id()} has {count(kind)}"
                    f" ids, with 0 for himself: add more to /etc/sub{kind}, and run `pyengine"
                    " system migrate`"
                )
            found[-1] += pieces
    return found


def count(kind: str) -> int:
    """How many ids this namespace has, without gaps from 0 on; ``kind`` is uid or gid."""
    return sum(size for _, _, size in ours(kind))


def ours(kind: str) -> IdMap:
    """The ids of this namespace: inside, host, count."""
    with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
        return [[int(word) for word in line.split()] for line in file]


def _own_group() -> int:
    """The user's group outside, which the namespace's group 0 stands for."""
    return next((host for first, host, _ in ours("gid") if first == 0), 0)


def options(mode: str, detail: str) -> dict[str, int]:
    """``uid=N,gid=N,size=N``.

    Raises:
        ConfigError: it is something else.
    """
    found = {}
    for text in filter(None, detail.split(",")):
        name, _, value = text.partition("=")
        if name not in ("uid", "gid", "size") or not value.isdecimal():
            raise ConfigError(f"--userns {mode}: {text}: only uid=N, gid=N and size=N are known")
        found[name] = int(value)
    return found


def _add_own_entries(config: ContainerConfig, uid: int, gid: int) -> None:
    """The user's lines of /etc/passwd and /etc/group, with a home that the container has."""
    import grp
    import pwd

    try:
        account = pwd.getpwuid(uid)
    except KeyError:  # the container has a line for its user anyhow
        return
    home = config["cwd"] or "/"
    volumes = [os.path.normpath(volume["destination"]) for volume in config["volumes"]]
    if any(f"{account.pw_dir}/".startswith(f"{path}/") for path in volumes):
        home = account.pw_dir
    name, gecos = account.pw_name, account.pw_gecos.partition(",")[0]
    settings = config["process"]
    settings["host_users"] = [
        *settings.get("host_users", []), f"{name}:*:{uid}:{gid}:{gecos}:{home}:/bin/sh"
    ]  # fmt: skip
    if "group_entry" not in settings:
        try:
            group = grp.getgrgid(gid).gr_name
        except KeyError:
            group = name
        settings["group_entry"] = f"{group}:x:{gid}:{name}"
