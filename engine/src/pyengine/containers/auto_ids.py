"""``--userns=auto``: which ids of the host are free, and how many a container needs."""

from __future__ import annotations

import os

from pyengine.containers import differences, record, rootless_ids
from pyengine.errors import ConfigError
from pyengine.specgen import users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyengine.containers.host import Host

    IdMap = list[list[int]]
    Range = tuple[int, int]  # begin and end

OWNER = "containers"  # whose subordinate ids are handed out
SUBUID, SUBGID = "/etc/subuid", "/etc/subgid"
MAX_ID = 2**32 - 1
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
                self.maps[name == "gidmapping"].append(line(f"--userns {text}: {name}", value))
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
    used = [one.config["id_maps"] for one in record.every(host)]
    found = []
    for kind, path in enumerate((SUBUID, SUBGID)):
        owned = rootless_ids.own(kind) if host.rootless else subordinate(path, OWNER)
        extra = wish.maps[kind]
        taken = [row for maps in used if maps for row in maps[kind]]
        free = _without(
            [(start, start + count) for start, count in owned],
            ((row[1], row[1] + row[2]) for row in (*taken, *extra)),
        )
        wanted = _without([(0, size)], ((row[0], row[0] + row[2]) for row in extra))
        found.append(sorted([*hand_out(free, wanted), *extra]))
    return found[0], found[1]


def line(what: str, text: str) -> list[int]:
    """One line of a map, ``INSIDE:HOST[:COUNT]``.

    Raises:
        ConfigError: it is none; ``what`` begins the message.
    """
    words = text.split(":")
    if len(words) not in (2, 3) or not all(word.isdecimal() for word in words):
        raise ConfigError(f"{what} {text}: must be INSIDE:HOST[:COUNT]")
    first, host, count = (*map(int, words), 1)[:3]
    if not count or max(first, host) + count > MAX_ID:
        raise ConfigError(f"{what} {text}: ids must be below {MAX_ID}")
    return [first, host, count]


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


def _without(ranges: list[Range], holes: Iterable[Range]) -> list[Range]:
    """What is left of the ranges, sorted."""
    for begin, end in holes:
        pieces = [
            piece
            for first, last in ranges
            for piece in ((first, min(last, begin)), (max(first, end), last))
        ]
        ranges = [piece for piece in pieces if piece[0] < piece[1]]
    return sorted(ranges)


def hand_out(free: list[Range], wanted: list[Range]) -> IdMap:
    """Ids of the host for those of a container, in a row where there is room for all.

    Raises:
        ConfigError: there are not enough.
    """
    needed = sum(end - begin for begin, end in wanted)
    if needed > sum(end - begin for begin, end in free):
        raise ConfigError(
            f"could not find enough available IDs: --userns=auto needs {needed} that no other"
            " container has"
        )
    free = sorted(free, key=lambda piece: piece[1] - piece[0] < needed)
    found, (place, last), others = [], free[0] if free else (0, 0), iter(free[1:])
    for begin, end in wanted:
        inside = begin
        while inside < end:
            if place == last:
                place, last = next(others)
            count = min(end - inside, last - place)
            found.append([inside, place, count])
            inside += count
            place += count
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
