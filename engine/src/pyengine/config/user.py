"""Whose files these are: inside a user namespace of our own, root stands for an ordinary user."""

from __future__ import annotations

import os

# Set by storage/user_namespace.py for itself and what it starts.
MARK = "PYENGINE_ROOTLESS_UID"
# The process that entered; what it starts (`unshare`) sees the mounts, its caller does not.
ENTERED = "PYENGINE_ROOTLESS_PID"


def user_id() -> int:
    """The user who called, whatever he is called in this namespace."""
    marked = os.environ.get(MARK, "")
    return int(marked) if marked.isdigit() else os.geteuid()


def is_rootless() -> bool:
    """Whether the caller is an ordinary user."""
    return user_id() != 0


def is_in_own_namespace() -> bool:
    """Whether this process entered the user's namespace by itself: its caller is outside."""
    return os.environ.get(ENTERED) == str(os.getpid()) or os.geteuid() != 0


def has_manager() -> bool:
    """Whether a systemd of the user's own answers, which can make cgroups for him."""
    directory = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user_id()}"
    places = [f"{directory}/systemd/private", f"{directory}/bus"]
    return os.path.isdir("/run/systemd/system") and any(map(os.path.exists, places))
