"""One exception class per layer; a message says what was done, to which object, and why not."""

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


class NoSuchContainerError(ContainerError):
    """There is no container of that id."""


class DamagedStateError(ContainerError):
    """state.json does not say what it must, such as after a power cut."""


class KernelError(PyrunError):
    """The kernel refused ``step``."""

    def __init__(self, step: str, error: OSError | str) -> None:
        reason = error if isinstance(error, str) else error.strerror or str(error)
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.errno = 0 if isinstance(error, str) else error.errno or 0


class UsageError(PyrunError):
    """The command line has no meaning."""


class NoSuchCommandError(UsageError):
    """pyrun has no such command."""


class CommandNotFoundError(ContainerError):
    """The program to run is not in the container."""


class CommandNotExecutableError(ContainerError):
    """The program to run is there and cannot be executed."""
