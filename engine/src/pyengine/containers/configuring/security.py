"""The options of the section ``security``: confinement, and what is shared with the host."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig


def configure(config: ContainerConfig, wanted: ContainerOptions) -> None:
    """Write what the options mean into ``config``.

    Raises:
        ConfigError: an option has no meaning.
    """
    config["seccomp"], config["no_new_privileges"] = _security(wanted.security_opt)


def _security(security_opt: tuple[str, ...]) -> tuple[str, bool]:
    """The seccomp choice and no_new_privileges."""
    seccomp, no_new_privileges = "", False
    for option in security_opt:
        name, separator, value = option.replace(":", "=", 1).partition("=")
        if name == "seccomp" and value:
            seccomp = value if value == "unconfined" else os.path.abspath(value)
        elif name == "no-new-privileges" and value in ("", "true", "false"):
            no_new_privileges = not separator or value == "true"
        else:
            raise ConfigError(
                f"invalid --security-opt {option}: this version knows seccomp=FILE,"
                " seccomp=unconfined and no-new-privileges"
            )
    return seccomp, no_new_privileges
