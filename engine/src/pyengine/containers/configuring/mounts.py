"""The options of the section ``mounts``."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError
from pyengine.specgen import mount_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig, Volume


def configure(config: ContainerConfig, wanted: ContainerOptions) -> None:
    """Write what the options mean into ``config``.

    Raises:
        ConfigError: the form of an option is wrong, or it names a place that another one has.
    """
    config["tmpfs"] = dict(mount_options.tmpfs(text) for text in wanted.tmpfs)
    config["volumes"] = _volumes(wanted.volumes)


def _volumes(texts: tuple[str, ...]) -> list[Volume]:
    volumes = [mount_options.volume(text) for text in texts]
    seen = set()
    for volume in volumes:
        path = os.path.normpath(volume["destination"])
        if path in seen:
            raise ConfigError(f"{volume['destination']}: duplicate mount destination")
        seen.add(path)
    return volumes
