"""The user namespace and the mappings that config.json leaves out, as crun adds them.

(crun(1), "Automatically create user namespace".) Loaded only for a caller who is not root, and for
a config.json that is not an ordinary one.
"""

from __future__ import annotations

import posix

from pyrun.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.spec.types import JsonObject

_LIMIT_BYTES = 1 << 20


def complete(config: JsonObject) -> None:
    """Give an ordinary user a user namespace, and one without mappings the caller's ids.

    The caller is 0 inside, and 1 and on are the caller's ids of /etc/subuid and /etc/subgid.

    Args:
        config: not validated yet.

    Raises:
        ContainerError: one of the files cannot be read.
    """
    linux = config.get("linux")
    entries = linux.get("namespaces") if isinstance(linux, dict) else None
    if not isinstance(linux, dict) or not isinstance(entries, list):
        return
    asked = [one for one in entries if isinstance(one, dict) and one.get("type") == "user"]
    if not asked and posix.geteuid() != 0:
        entries.append({"type": "user"})
    elif not asked or asked[0].get("path"):
        return
    for kind, own, path in (
        ("uidMappings", posix.geteuid(), "/etc/subuid"),
        ("gidMappings", posix.getegid(), "/etc/subgid"),
    ):
        if not linux.get(kind):
            more = _subordinate(path)
            linux[kind] = [{"containerID": 0, "hostID": own, "size": 1}]
            if more:
                linux[kind].append({"containerID": 1, "hostID": more[0], "size": more[1]})


def _subordinate(path: str) -> tuple[int, int] | None:
    """The caller's first range of ids in ``path``: where it begins, and how many (subuid(5))."""
    names = _names()
    for line in _read(path).split("\n"):
        user, _, ids = line.strip().partition(":")
        first, _, count = ids.partition(":")
        digits = ids.isascii() and first.isdigit() and count.isdigit() and len(ids) < 40
        if user in names and digits and int(count):
            return int(first), int(count)
    return None


def _names() -> tuple[str, ...]:
    import pwd

    uid = posix.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name, str(uid)
    except KeyError:
        return (str(uid),)


def _read(path: str) -> str:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ContainerError(f"map the caller's ids: read {path}: {error.strerror}") from error
    try:
        return posix.read(fd, _LIMIT_BYTES).decode(errors="replace")
    finally:
        posix.close(fd)
