"""Asks before what cannot be undone."""

from __future__ import annotations

import sys

from pyengine.errors import ConfigError


def confirm(warning: str) -> bool:
    """Whether the user says yes to ``warning``.

    Raises:
        ConfigError: standard input ends before there is an answer.
    """
    print(f"{warning}\nAre you sure you want to continue? [y/N] ", end="", flush=True)
    answer = sys.stdin.readline()
    if not answer:
        raise ConfigError("EOF: there was no answer on standard input: --force does not ask")
    return answer.strip().lower() in ("y", "yes")
