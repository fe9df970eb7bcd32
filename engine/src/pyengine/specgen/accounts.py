"""Lines for the container's /etc/passwd and /etc/group, as podman adds them.

A container with a read-only root gets a copy of the file instead.
"""

from __future__ import annotations

import os
import stat

from pyengine import syscalls
from pyengine.errors import ConfigError
from pyengine.specgen import users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.specgen.types import ContainerConfig

PASSWD, GROUP = "/etc/passwd", "/etc/group"


def add(config: ContainerConfig, root_fd: int, user: users.User) -> dict[str, str]:
    """Add who the process is, and whom the options name.

    The answer is the content by path of the files that are to be mounted because they cannot be
    written to.

    Raises:
        ConfigError: a file of the image cannot be written to.
    """
    settings = config["process"]
    if settings.get("no_passwd"):
        return {}
    passwd = list(settings.get("host_users", []))
    group = []
    name = config["user"].partition(":")[0] or "root"
    if "passwd_entry" in settings:
        passwd.append(_fill(settings["passwd_entry"], user, name))
    elif not user.known and user.uid:
        passwd.append(f"{user.uid}:*:{user.uid}:{user.gid}:container user:{user.home}:/bin/sh")
    if "group_entry" in settings:
        group.append(_fill(settings["group_entry"], user, name))
    elif config["user"] and not user.group_known:
        group.append(f"{user.group}:x:{user.group}:{name}")
    taken = {os.path.normpath(volume["destination"]) for volume in config["volumes"]}
    found = {}
    for path, lines in ((PASSWD, passwd), (GROUP, group)):
        if lines and path not in taken:
            text = _extend(root_fd, path, lines, write=not config["read_only"])
            if text:
                found[path] = text
    return found


def _fill(entry: str, user: users.User, name: str) -> str:
    """An entry of the user's with its variables replaced."""
    values = {
        "$USERNAME": name, "$GROUPNAME": name, "$USERLIST": name, "$NAME": "container user",
        "$UID": str(user.uid), "$GID": str(user.gid), "$HOME": user.home,
    }  # fmt: skip
    for variable, value in values.items():
        entry = entry.replace(variable, value)
    return entry


def _extend(root_fd: int, path: str, lines: list[str], *, write: bool) -> str:
    """Append to a file of the image; the answer is its content where it was not written to.

    Nothing happens where the image has no such file, and to lines that it has already.
    """
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = syscalls.openat2(root_fd, path[1:], flags, resolve=syscalls.RESOLVE_CONFINED)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"add a line to {path} of the container: {error.strerror}") from error
    with open(fd, "r+" if write else "r", encoding="utf-8", errors="surrogateescape") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        text = file.read(users.MAX_FILE_BYTES)
        there = set(text.splitlines())
        new = "".join(f"{line}\n" for line in lines if line not in there)
        if new and text and not text.endswith("\n"):
            new = f"\n{new}"
        if write:
            file.write(new)
            return ""
    return text + new
