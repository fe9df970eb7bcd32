"""Makes a container: one row, in one transaction; its directories are made when it starts."""

from __future__ import annotations

import os
import time

from pyengine.containers import record, runfiles
from pyengine.containers.configure import configure
from pyengine.containers.names import random_name
from pyengine.containers.options import LoggingOptions, MountOptions, UserNamespaceOptions
from pyengine.database.sqlite import sqlite3
from pyengine.errors import ConflictError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.host import Host
    from pyengine.containers.options import ContainerOptions
    from pyengine.database.intents import Intent
    from pyengine.specgen.types import ContainerConfig, Volume

RANDOM_NAME_TRIES = 20
SELINUX = "/sys/fs/selinux/enforce"
LOG_DEFAULTS = ("log_driver", "log_size_max", "log_tag")  # of containers.conf


class Source:
    """What the container is made from: an image, or a directory of the host."""

    __slots__ = ("config", "id", "layers", "name")

    def __init__(self, id_: str, name: str, layers: list[str], config: dict[str, Any]) -> None:
        """``config`` is the image's ``config`` object, ``layers`` its diff_ids from the bottom."""
        self.id, self.name, self.layers, self.config = id_, name, layers, config


def create(
    host: Host, options: ContainerOptions, source: Source, then: str = "", id_: str = ""
) -> tuple[record.Container, Intent | None]:
    """Add the container.

    Args:
        host: where.
        options: what the user asked for.
        source: the image, already in the storage.
        then: the kind of the intent that comes next, begun in the same transaction.
        id_: the container's; empty for a new one.

    Raises:
        ConfigError: an option has no meaning.
        ConflictError: the name or the cidfile is taken.
    """
    if host.defaults:
        from pyengine.containers.configuring import defaults

        defaults.apply(options, host.defaults)
    if not options.userns.startswith("auto"):
        return _create(host, options, source, then, id_)
    with host.database.locks.hold("user-namespaces"):  # or two would choose the same ids
        return _create(host, options, source, then, id_)


def _create(
    host: Host, options: ContainerOptions, source: Source, then: str, id_: str
) -> tuple[record.Container, Intent | None]:
    id_ = id_ or os.urandom(32).hex()
    table = host.defaults
    config = configure(options, source.id, source.name, source.config)
    if options.asks(LoggingOptions) or any(table.get(key) for key in LOG_DEFAULTS):
        from pyengine.containers.configuring import logging

        config["log"] = logging.configure(options, table)
    if options.asks(MountOptions) or source.config.get("Volumes"):
        from pyengine.containers.configuring import mounts

        mounts.complete(host, config, options, source.config)
    if "cgroup_parent" in config["resources"]:
        from pyengine.containers import placement

        placement.check_parent(config["resources"]["cgroup_parent"], systemd=host.systemd)
    if host.rootless and config["resources"]:
        from pyengine.specgen import rootless

        rootless.check_limits(config["resources"], systemd=host.systemd)
    if options.asks(UserNamespaceOptions):
        from pyengine.containers import user_namespaces

        layers = [host.storage.layer_path(diff_id) for diff_id in reversed(source.layers)]
        user_namespaces.configure(host, config, options, layers or [config["rootfs"]])
    if "rootfs_idmap" in config["mounts"]:
        from pyengine.containers.configuring import rootfs

        rootfs.check(config)
    shared = (config["network"], *config["namespaces"].values())
    if options.requires or any(mode.startswith("container:") for mode in shared):
        from pyengine.containers import dependencies

        dependencies.resolve(host, config, options.requires)
    if os.path.exists(SELINUX):
        from pyengine.containers import labels

        labels.configure(host, config)
    # The container keeps the runtime it was made with; the monitor is only looked for.
    config["runtime"] = host.runtime_path(options.runtime)
    monitor_path = host.monitor_path(options.conmon)
    if config["supervision"] or config["may_restart"]:
        from pyengine.containers import supervising

        supervising.choose_monitor(config, options, monitor_path)
    runfiles.claim_cidfile(options.cidfile, id_)
    try:
        container, intent = add(host, options.name, id_, config, source, then)
    except BaseException:
        runfiles.remove_cidfile(options.cidfile)
        raise
    return container, intent


def add(
    host: Host, name: str, id_: str, config: ContainerConfig, source: Source, then: str = ""
) -> tuple[record.Container, Intent | None]:
    """Add a container whose configuration is made; the rest is as ``create``'s."""
    if config["mounts"].get("secrets"):
        from pyengine.containers import secret_use

        with secret_use.copied(host, id_, config):
            container, intent = _insert(host, name, id_, config, source, then)
    else:
        container, intent = _insert(host, name, id_, config, source, then)
    host.tell(container, "create")
    return container, intent


def _insert(
    host: Host, name: str, id_: str, config: Any, source: Source, then: str
) -> tuple[record.Container, Intent | None]:
    for _ in range(RANDOM_NAME_TRIES):
        container = record.new(id_, name or random_name(), config, time.time())
        try:
            with host.database.write() as connection:
                record.insert(connection, container)
                host.storage.record_layers(connection, id_, source.layers)
                made: list[str] = []
                if config["volumes"]:
                    made = _use_volumes(connection, id_, config["volumes"])
                if config["dependencies"]:
                    from pyengine.containers import dependencies

                    dependencies.insert(connection, id_, config["dependencies"])
                intent = None
                if then:
                    intent = host.database.intents.begin(then, id_, {}, connection)
        except sqlite3.IntegrityError as error:
            if "containers.name" not in str(error):
                raise ConflictError(
                    f"create container {container.name}: its image {source.name} was removed"
                    " meanwhile: try again"
                ) from error
            if name:
                raise record.name_taken(host, name) from error
        else:
            for volume in made:
                host.events.tell("volume", "create", name=volume)
            return container, intent
    raise ConflictError("no free name found for the container: give one with --name")


def _use_volumes(connection: sqlite3.Connection, id_: str, volumes: list[Volume]) -> list[str]:
    """Make the volumes that there are not yet, and keep all of them while the container is there.

    The answer is the names of the new ones.

    A volume of ``--volumes-from`` that was removed meanwhile breaks the reference.
    """
    from pyengine.volumes import model

    new = [one for one in volumes if one["name"]]
    made: list[str] = []
    for anonymous in (False, True):
        names = [one["name"] for one in new if bool(one.get("anonymous")) is anonymous]
        made += model.claim(connection, names, anonymous=anonymous)
    connection.executemany(
        "INSERT INTO container_volumes VALUES (?, ?)", [(id_, name) for name in
                                                        dict.fromkeys(one["name"] for one in new)],
    )  # fmt: skip
    return made
