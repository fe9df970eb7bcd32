"""One exception class per layer; a message says what was done, to which object, and why not.

Making a class takes the time of reading fifty lines of code, so that those of them that somebody
tells apart are in ``particular_errors``, which is loaded when one is raised (docs/adr/0011).
"""

from __future__ import annotations


class PyrunError(Exception):
    """Whatever ends a command with a message instead of a traceback."""


class ConfigError(PyrunError):
    """config.json breaks the specification at ``pointer`` (RFC 6901)."""

    def __init__(self, pointer: str, problem: str) -> None:
        super().__init__(f"config.json: {pointer}: {problem}")
        self.pointer = pointer
        self.problem = problem


class ContainerError(PyrunError):
    """An operation does not fit the container, its status or its bundle."""


class KernelError(PyrunError):
    """The kernel refused ``step``."""

    def __init__(self, step: str, error: OSError | str) -> None:
        reason = error if isinstance(error, str) else error.strerror or str(error)
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.errno = 0 if isinstance(error, str) else error.errno or 0
