"""The errors of containers that somebody tells apart, and words for those of Python itself."""

from __future__ import annotations

from pyrun.errors import ContainerError


class NoSuchContainerError(ContainerError):
    """There is no container of that id."""


class DamagedStateError(ContainerError):
    """state.json does not say what it must, such as after a power cut."""


class HookError(ContainerError):
    """A hook failed, which is the end of its container (runtime-spec runtime.md, "Lifecycle")."""


class CommandNotFoundError(ContainerError):
    """The program to run is not in the container."""


class CommandNotExecutableError(ContainerError):
    """The program to run is there and cannot be executed."""


def unexpected(error: BaseException) -> str:
    """What to say of an exception that no layer raises."""
    if isinstance(error, ImportError):  # no more descriptors or memory, in most cases
        return f"load a part of Python: {error}"
    if isinstance(error, MemoryError):
        return "there is no memory left"
    return f"a fault of pyrun: {error!r}"
