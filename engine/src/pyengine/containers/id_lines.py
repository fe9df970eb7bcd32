"""The lines of ``--uidmap`` and ``--gidmap``: ``[FLAGS]INSIDE:[@]HOST[:COUNT]``, as podman 5.

``+`` puts a line in the place of what lines before it say of these ids; ``u`` and ``g`` let it
count for users or groups alone. ``@`` stands for an id of the host, which for an ordinary user is
another number than in the namespace that his containers' ids are taken from.
"""

from __future__ import annotations

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    IdMap = list[list[int]]
    Range = tuple[int, int]  # begin and end

MAX_ID = 2**32 - 1


def read(kind: str, texts: Iterable[str], ours: IdMap, *, fill: bool) -> IdMap:
    """The map that lines come to, sorted.

    Args:
        kind: uid or gid.
        texts: the lines.
        ours: the ids of this process's namespace: inside, host, count.
        fill: where the first line has a ``+``, or none is of this kind, ids of ours that are left
            over take the places that are.

    Raises:
        ConfigError: a line has no meaning, or names an id that is not ours.
    """
    what = f"--{kind}map"
    found: IdMap = []
    is_open = True
    for text in texts:
        numbers = text.lstrip("+ug")
        flags = text[: len(text) - len(numbers)]
        rows = line(what, numbers, ours)
        if {"u", "g"} & set(flags) and kind[0] not in flags:
            continue
        if "+" in flags:
            found = [piece for row in found for piece in _cut(row, rows)]
        elif not found:
            is_open = False
        found += rows
    if fill and is_open:
        found += _filled(found, ours)
    return _joined(sorted(found))


def line(what: str, text: str, ours: IdMap) -> IdMap:
    """One line without flags; several where ids of the host are apart in our namespace.

    Raises:
        ConfigError: it is none; ``what`` begins the message.
    """
    words = text.split(":")
    of_host = len(words) > 1 and words[1][:1] == "@"
    if of_host:
        words[1] = words[1][1:]
    if len(words) not in (2, 3) or not all(word.isdecimal() for word in words):
        raise ConfigError(f"{what} {text}: must be INSIDE:HOST[:COUNT]")
    first, host, count = (*map(int, words), 1)[:3]
    if not count or max(first, host) + count > MAX_ID:
        raise ConfigError(f"{what} {text}: ids must be below {MAX_ID}")
    if not of_host:
        return [[first, host, count]]
    rows = []
    for inside, outside, size in ours:
        begin, end = max(host, outside), min(host + count, outside + size)
        if begin < end:
            rows.append([first + begin - host, inside + begin - outside, end - begin])
    if sum(row[2] for row in rows) < count:
        raise ConfigError(f"{what} {text}: not all of these ids of the host are subordinate ones")
    return rows


def without(ranges: list[Range], holes: Iterable[Range]) -> list[Range]:
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


def _cut(row: list[int], others: IdMap) -> IdMap:
    """What is left of a line without the ids, inside and outside, of others."""
    first, host, count = row
    holes = [
        (start, start + size)
        for inside, outside, size in others
        for start in (inside - first, outside - host)
    ]
    return [[first + a, host + a, b - a] for a, b in without([(0, count)], holes)]


def _filled(found: IdMap, ours: IdMap) -> IdMap:
    """Lines for all ids of ours that are left over."""
    used = [(host, host + count) for _, host, count in found]
    free = without([(inside, inside + count) for inside, _, count in ours], used)
    left = sum(end - begin for begin, end in free)
    gaps = []
    for begin, end in without([(0, MAX_ID)], [(row[0], row[0] + row[2]) for row in found]):
        size = min(end - begin, left)
        if size:
            gaps.append((begin, begin + size))
            left -= size
    return hand_out(free, gaps)


def _joined(rows: IdMap) -> IdMap:
    """With lines that go on where another one ends as one."""
    found: IdMap = []
    for first, host, count in rows:
        if found and [first - found[-1][0], host - found[-1][1]] == [found[-1][2]] * 2:
            found[-1][2] += count
        else:
            found.append([first, host, count])
    return found
