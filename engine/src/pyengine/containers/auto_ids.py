"""``--userns=auto``: which ids of the host are free, and how many a container needs."""

from __future__ import annotations

import os

from pyengine.containers import differences, record, rootless_ids
from pyengine.containers.id_lines import MAX_ID, hand_out, line, without
from pyengine.errors import ConfigError
from pyengine.specgen import users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyengine.containers.host import Host

    IdMap = list[list[int]]

OWNER = "containers"  # whose subordinate ids are handed out
SUBUID, SUBGID = "/etc/subuid", "/etc/subgid"
# As the sizes that podman estimates.
LEAST_SIZE, MOST_SIZE = 1024, 65536
NOBODY = 65534
NOBODYS_NAMES = ("nobody", "nogroup")


class Wish:
    """What follows ``auto:``; ``size`` 0 is to be estimated, ``maps`` must be among the others."""

    __slots__ = ("maps", "size")

    def __init__(self, text: str, detail: str) -> None:
        """Read ``size=N,uidmapping=INSIDE:HOST:COUNT,gidmapping=INSIDE:HOST:COUNT``.

        Raises:
            ConfigError: it says something else.
        """
        self.size = 0
        self.maps: tuple[IdMap, IdMap] = ([], [])
        for word in detail.split(",") if detail else []:
            name, _, value = word.partition("=")
            if name == "size" and value.isdecimal() and 0 < int(value) < MAX_ID:
                self.size = int(value)
            elif name in ("uidmapping", "gidmapping"):
                kind = name[:3]
                rows = line(f"--userns {text}: {name}", value, rootless_ids.ours(kind))
                self.maps[kind == "gid"].extend(rows)
            else:
                raise ConfigError(
                    f"--userns {text}: unknown option specified: {word!r}: give size=N,"
                    " uidmapping=INSIDE:HOST:COUNT or gidmapping=INSIDE:HOST:COUNT"
                )


def choose(host: Host, wish: Wish, size: int) -> tuple[IdMap, IdMap]:
    """The maps of users and of groups; the caller holds the lock until they are in the database.

    Raises:
        ConfigError: there are not so many ids that no other container has.
    """
    # One that has all ids of the host is no more in the way than the host itself.
    used = [record.id_maps(one) for one in record.every(host)]
    found = []
    for kind, path in enumerate((SUBUID, SUBGID)):
        owned = rootless_ids.own(kind) if host.rootless else subordinate(path, OWNER)
        extra = wish.maps[kind]
        taken = [row for maps in used if maps for row in maps[kind]]
        free = without(
            [(start, start + count) for start, count in owned],
            ((row[1], row[1] + row[2]) for row in (*taken, *extra)),
        )
        wanted = without([(0, size)], ((row[0], row[0] + row[2]) for row in extra))
        found.append(sorted([*hand_out(free, wanted), *extra]))
    return found[0], found[1]


def subordinate(path: str, owner: str) -> IdMap:
    """The ranges of ``owner`` (subuid(5)), each start and count.

    Raises:
        ConfigError: it has none.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip().split(":") for line in file]
    except FileNotFoundError:
        lines = []
    found = [
        [int(line[1]), int(line[2])] for line in lines
        if len(line) == 3 and line[0] == owner and line[1].isdecimal() and line[2].isdecimal()
    ]  # fmt: skip
    if not found:
        raise ConfigError(
            f'cannot find subordinate ids of user "{owner}" in {path}: add a line such as'
            f" {owner}:2147483647:2147483648"
        )
    return found


def estimate(user: str, layers: list[str]) -> int:
    """How many ids a container needs: for the users and groups of its image, and its own.

    Args:
        user: ``--user``, or the image's.
        layers: the directories of the image's layers, the top first.

    Raises:
        ConfigError: they are more than anybody gets without asking.
    """
    numbers = [int(word) for word in user.split(":") if word.isdecimal()]
    for path in ("etc/passwd", "etc/group"):
        numbers += _ids(layers, path)
    size = max(LEAST_SIZE, *(number + 1 for number in numbers), 0)
    if size > MOST_SIZE:
        raise ConfigError(
            f"the container needs a user namespace with size {size} that is bigger than the maximum"
            f" value allowed with userns=auto {MOST_SIZE}: give --userns auto:size={size}"
        )
    return size


def _ids(layers: list[str], path: str) -> Iterable[int]:
    """The numbers in a file as the layers show it."""
    for layer in layers:
        status, is_final = differences.in_layer(layer, path.split("/"))
        if status is not None:
            root_fd = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                found = users.numbers(root_fd, path, without=NOBODYS_NAMES)
            finally:
                os.close(root_fd)
            return found - {NOBODY}
        if is_final:
            break
    return ()
