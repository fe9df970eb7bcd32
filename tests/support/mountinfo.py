"""What /proc/self/mountinfo of a container says."""

from __future__ import annotations


class MountInfo:
    """The topmost mounts that a container saw, by their targets."""

    def __init__(self, mountinfo: str) -> None:
        self._found: dict[str, tuple[set[str], str, set[str]]] = {}
        for line in mountinfo.splitlines():
            left, _, right = line.partition(" - ")
            fields, tail = left.split(), right.split()
            self._found[fields[4]] = (set(fields[5].split(",")), tail[0], set(tail[2].split(",")))

    def type(self, target: str) -> str:
        return self._found[target][1]

    def own_options(self, target: str) -> set[str]:
        """Those of the mount alone."""
        return self._found[target][0]

    def options(self, target: str) -> set[str]:
        """Those of the mount and of its file system."""
        return self._found[target][0] | self._found[target][2]

    def below(self, target: str) -> list[str]:
        return sorted(path for path in self._found if path.startswith(f"{target}/"))
