"""The errors of containers that somebody tells apart from the others."""

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
