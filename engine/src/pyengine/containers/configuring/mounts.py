"""The options of the section ``mounts``, and what an image asks for."""

from __future__ import annotations

import os

from pyengine.containers.configuring import rootfs
from pyengine.errors import ConfigError, NotFoundError
from pyengine.specgen import mount_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyengine.containers.host import Host
    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig, Volume

    # By destination: options of a tmpfs, or another mount.
    Mounts = dict[str, "list[str] | Volume"]


def configure(config: ContainerConfig, wanted: ContainerOptions) -> None:
    """Write what the options mean into ``config``; ``complete`` does what needs the host.

    Raises:
        ConfigError: the form of an option is wrong, or it names a place that another one has.
    """
    if wanted.rootfs:
        rootfs.configure(config)
    found: Mounts = {}
    for text in wanted.volumes:
        volume = mount_options.volume(text)
        _add(found, volume["destination"], volume)
    for text in wanted.tmpfs:
        _add(found, *mount_options.tmpfs(text))
    for text in wanted.mounts:
        from pyengine.specgen import mount_arguments

        mounts = mount_arguments.parse(text)
        for volume in mounts.volumes:
            _add(found, volume["destination"], volume)
        for destination, options in mounts.tmpfs.items():
            _add(found, destination, options)
    _put(config, found)
    settings = config["mounts"]
    if not wanted.read_only_tmpfs:
        settings["no_read_only_tmpfs"] = True
    if wanted.shm_size is not None:
        settings["shm_size_bytes"] = _size("--shm-size", wanted.shm_size)
    if wanted.shm_size_systemd is not None:
        settings["shm_size_systemd_bytes"] = _size("--shm-size-systemd", wanted.shm_size_systemd)


def _add(found: Mounts, destination: str, mount: list[str] | Volume) -> None:
    path = os.path.normpath(destination)
    if found.setdefault(path, mount) != mount:
        raise ConfigError(f"{path}: duplicate mount destination")


def _put(config: ContainerConfig, found: Mounts) -> None:
    for destination, mount in found.items():
        if isinstance(mount, list):
            config["tmpfs"][destination] = mount
        else:
            if mount.get("anonymous") and not mount["name"]:
                mount["name"] = os.urandom(32).hex()
            config["volumes"].append(mount)


def _size(option: str, text: str) -> int:
    from pyengine.specgen.options import size

    return size(option, text)


def complete(
    host: Host, config: ContainerConfig, wanted: ContainerOptions, image: dict[str, Any]
) -> None:
    """Add what other containers and the image have, where the user has nothing.

    Args:
        host: where other containers and images are.
        config: to be completed.
        wanted: what the user asked for.
        image: the ``config`` object of the image's configuration.

    Raises:
        ConfigError: an option is wrong.
        NotFoundError: a container or an image is not there.
    """
    taken = {os.path.normpath(path) for path in config["tmpfs"]}
    taken |= {os.path.normpath(volume["destination"]) for volume in config["volumes"]}
    found: Mounts = {}
    for text in wanted.volumes_from:
        for volume in _of_container(host, text):
            found[os.path.normpath(volume["destination"])] = volume
    for destination in sorted(image.get("Volumes") or {}):
        path = os.path.normpath(f"/{destination.lstrip('/')}")  # some images leave the slash out
        if path != "/" and path not in found:
            found.update(_of_image(path, wanted.image_volume))
    _put(config, {path: mount for path, mount in found.items() if path not in taken})
    for volume in config["volumes"]:
        if volume.get("kind") == "image":
            volume["source"] = host.images.resolve(volume["source"]).id
    if wanted.secrets:
        from pyengine.containers import secret_use

        secret_use.request(host, config, wanted.secrets)


def _of_container(host: Host, text: str) -> Iterable[Volume]:
    from pyengine.containers import record

    name, access = mount_options.volumes_from(text)
    try:
        other = record.find(host, name)
    except NotFoundError as error:
        raise NotFoundError(f"looking up container {name!r} for volumes-from: {error}") from error
    for volume in other.config["volumes"]:
        kept = [word for word in volume["options"] if not access or word not in ("ro", "rw")]
        copied: Volume = {**volume, "options": [*kept, *([access] if access else [])]}
        copied.pop("chown", None)
        yield copied


def _of_image(path: str, mode: str) -> Mounts:
    if mode == "ignore":
        return {}
    if mode == "tmpfs":
        return {path: mount_options.tmpfs_options(["exec"])}
    volume = mount_options.make("image volume", "", path, ["exec"])
    return {path: volume}
