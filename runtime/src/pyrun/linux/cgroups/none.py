"""``--cgroup-manager disabled``: the container stays in the cgroup of its caller."""

from __future__ import annotations

from pyrun.errors import ConfigError, KernelError
from pyrun.linux.cgroups import manager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROBLEM = "needs a cgroup, and the container has none (--cgroup-manager disabled)"


class Manager(manager.Manager):
    """No directory at all; device rules cannot hold, which ``create`` warns of."""

    def _make(self, made: list[str]) -> None:
        """See ``manager.Manager._make``."""

    def set(
        self,
        resources: dict[str, Any],
        pointer: str = "/linux/resources",
        *,
        creating: bool = False,
    ) -> None:
        """See ``manager.Manager.set``: there is nothing that could hold a limit."""
        for name, value in resources.items():
            empty = not value or (isinstance(value, dict) and not any(value.values()))
            if not empty and not (creating and name == "devices"):
                raise ConfigError(f"{pointer}/{name}", _PROBLEM)

    def freeze(self) -> None:
        """See ``manager.Manager.freeze``."""
        raise KernelError("freeze the container", _PROBLEM)

    def thaw(self) -> None:
        """See ``manager.Manager.thaw``."""
        raise KernelError("thaw the container", _PROBLEM)

    def release(self) -> None:
        """See ``manager.Manager.release``."""
        return

    def record(self) -> dict[str, Any]:
        """See ``manager.Manager.record``."""
        return {**super().record(), "driver": "disabled"}
