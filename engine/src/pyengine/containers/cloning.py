"""Makes a container that is configured as another one."""

from __future__ import annotations

import copy
import os

from pyengine.containers import record, updating, user_namespaces
from pyengine.containers.create import Source, add
from pyengine.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.containers.options import ContainerOptions
    from pyengine.containers.record import Container
    from pyengine.specgen.types import ContainerConfig


def clone(
    host: Host,
    original: Container,
    wanted: ContainerOptions,
    source: Source | None,
    *,
    replaces: bool,
) -> Container:
    """Add the copy: its options, not what the original has written.

    Args:
        host: where both are.
        original: is left as it is.
        wanted: a name, and limits that replace the original's.
        source: another image; None for the original's.
        replaces: the original is about to be removed, so it may keep its name for so long.

    Raises:
        ConfigError: a limit makes no sense.
        ConflictError: the name is taken.
    """
    config: ContainerConfig = copy.deepcopy(original.config)
    config["resources"], _ = updating.merge(config["resources"], wanted)
    # These are files of one container alone.
    config["cidfile"] = ""
    for name in ("pidfile", "conmon_pidfile"):
        config["names"].pop(name, None)  # type: ignore[misc]  # both are optional
    for volume in config["volumes"]:
        volume.pop("anonymous", None)  # shared now, and removed with neither of the two
    if source is None:
        layers = host.storage.container_layers(original.id)
        source = Source(original.image_id or "", original.image_name, layers, {})
    else:
        config["image"], config["image_id"] = source.name, source.id
    if "userns_auto" not in config:
        return _add(host, original, wanted, config, source, replaces=replaces)
    with host.database.locks.hold("user-namespaces"):
        user_namespaces.choose_again(host, config)
        return _add(host, original, wanted, config, source, replaces=replaces)


def _add(
    host: Host,
    original: Container,
    wanted: ContainerOptions,
    config: ContainerConfig,
    source: Source,
    *,
    replaces: bool,
) -> Container:
    name = wanted.name or (
        original.name if replaces else _free_name(host, f"{original.name}-clone")
    )
    if not (replaces and name == original.name):
        return add(host, name, os.urandom(32).hex(), config, source)[0]
    _rename(host, original, f"{name}-{original.id[:12]}")
    try:
        return add(host, name, os.urandom(32).hex(), config, source)[0]
    except BaseException:
        _rename(host, original, name)
        raise


def _rename(host: Host, container: Container, name: str) -> None:
    with host.database.write() as connection:
        record.update(connection, container, name=name)


def _free_name(host: Host, base: str) -> str:
    """``web-clone``, ``web-clone1``, ``web-clone2``..."""
    number = 0
    while True:
        name = f"{base}{number or ''}"
        try:
            found = record.find(host, name)
        except NotFoundError:
            return name
        if found.name != name:
            return name
        number += 1
