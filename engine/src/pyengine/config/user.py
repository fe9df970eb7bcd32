"""Whose files these are: inside a user namespace of our own, root stands for an ordinary user."""

from __future__ import annotations

import os

# Set by storage/user_namespace.py for the program that it starts again.
MARK = "PYENGINE_ROOTLESS_UID"
# The process that this was; what it starts (`unshare`) is in a namespace that outlives it.
ENTERED = "PYENGINE_ROOTLESS_PID"


def user_id() -> int:
    """The user who called, whatever he is called in this namespace."""
    marked = os.environ.get(MARK, "")
    return int(marked) if marked.isdigit() else os.geteuid()


def is_rootless() -> bool:
    """Whether the caller is an ordinary user."""
    return user_id() != 0


def is_in_own_namespace() -> bool:
    """Whether this process made the namespace it is in, which then ends with it."""
    return os.environ.get(ENTERED) == str(os.getpid()) or os.geteuid() != 0
