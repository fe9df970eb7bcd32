"""Whose files these are: inside a user namespace of our own, root stands for an ordinary user."""

from __future__ import annotations

import os

# Set by storage/user_namespace.py for the program that it starts again.
MARK = "PYENGINE_ROOTLESS_UID"


def user_id() -> int:
    """The user who called, whatever he is called in this namespace."""
    marked = os.environ.get(MARK, "")
    return int(marked) if marked.isdigit() else os.geteuid()


def is_rootless() -> bool:
    """Whether the caller is an ordinary user."""
    return user_id() != 0
