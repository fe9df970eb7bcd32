"""A checkpoint as an archive or an image, as podman writes and reads it.

``checkpoint/`` has CRIU's images, ``config.dump`` what the engine knows of the container,
``spec.dump`` its config.json, ``rootfs-diff.tar`` and ``deleted.files`` what it changed of its
image, ``volumes/NAME.tar`` its volumes, ``ctr.log`` its output, ``stats-dump`` CRIU's figures.
``config.dump`` has podman's names, and all of our own configuration as ``pyengine``.
"""

from __future__ import annotations

import json
import os
import tarfile
from datetime import UTC, datetime

from pyengine.containers import differences, file_trees, record
from pyengine.containers.checkpointing import STATISTICS
from pyengine.errors import ConfigError, StorageError
from pyengine.images import compression, importing, manifests
from pyengine.storage.packing import pack_paths
from pyengine.volumes import contents, model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from pyengine.containers.checkpointing import Checkpoints, Wish
    from pyengine.containers.record import Container

CONFIG, SPEC, NETWORK, LOG = "config.dump", "spec.dump", "network.status", "ctr.log"
CHANGES, DELETED, VOLUMES = "rootfs-diff.tar", "deleted.files", "volumes"
ANNOTATION = "io.podman.annotations.checkpoint"
PODMANS_VOLUMES = "/var/lib/containers/storage/volumes"
FORMAT = 1  # of what config.dump has for us
_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES, _END_BYTES = 512, 1024


class Archive:
    """An archive that is open before the container ends, so that it does not end in vain."""

    def __init__(self, checkpoints: Checkpoints, container: Container, wish: Wish) -> None:
        """``write`` comes after the checkpoint.

        Raises:
            ConfigError: the container needs others, which stay here.
        """
        if container.config["dependencies"]:
            raise ConfigError("cannot export checkpoints of containers with dependencies")
        self._checkpoints, self._container, self._wish = checkpoints, container, wish
        self._host = checkpoints.host
        self._fd, self._staged = -1, ""

    def __enter__(self) -> Archive:
        """Open it.

        Raises:
            StorageError: it cannot be written.
        """
        path = self._wish.export
        try:
            if not path:
                self._fd = self._temporary()
            elif os.path.exists(path) and not os.path.isfile(path):  # such as /dev/stdout
                self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            else:
                self._staged = f"{path}.{os.urandom(8).hex()}"
                # The memory of a process is nobody else's business.
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._fd = os.open(self._staged, flags, 0o600)
        except OSError as error:
            raise self._failed(error) from error
        return self

    def write(self) -> None:
        """Fill it.

        Raises:
            StorageError: something cannot be read or written; the checkpoint itself stays.
        """
        packed = compression.compressed(
            self._pieces(), self._wish.compression if self._wish.export else "none", None
        )
        try:
            for chunk in packed:
                _write(self._fd, chunk)
            if self._staged:
                os.rename(self._staged, self._wish.export)
                self._staged = ""
        except OSError as error:
            raise self._failed(error) from error
        if self._wish.image:
            self._add_image()

    def __exit__(self, *_error: object) -> None:
        """Close it; what is not complete goes."""
        os.close(self._fd)
        if self._staged:
            os.unlink(self._staged)

    def _failed(self, error: OSError) -> StorageError:
        where = self._wish.export or self._wish.image
        return StorageError(
            f"export the checkpoint of {self._container.name} to {where}: {error.strerror}"
        )

    def _temporary(self) -> int:
        staging = f"{self._host.root}/staging"
        return os.open(staging, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)

    def _pieces(self) -> Iterator[bytes]:
        host, container, wish = self._host, self._container, self._wish
        bundle = host.bundle(container.id)
        yield from _text(CONFIG, json.dumps(description(container), indent=2))
        yield from _text(SPEC, json.dumps(self._spec(), indent=2))
        yield from _text(NETWORK, "{}")
        directory = (host.pre_checkpoint_dir if wish.pre else host.checkpoint_dir)(container.id)
        yield from _directory(os.path.basename(directory), directory)
        for name, path in ((STATISTICS, f"{bundle}/{STATISTICS}"), (LOG, host.log_path(container))):
            if os.path.isfile(path):
                yield from _file(name, path)
        if not (wish.without_root or container.config["rootfs"]):
            yield from self._changes()
        if not wish.without_volumes:
            for name in dict.fromkeys(one["name"] for one in container.config["volumes"]):
                if name:
                    yield from self._volume(name)
        yield bytes(_END_BYTES)

    def _spec(self) -> Any:
        """config.json; volumes are where podman has them, because it does not look for them."""
        path = f"{self._host.bundle(self._container.id)}/config.json"
        with open(path, encoding="utf-8") as file:
            spec = json.loads(file.read())
        volumes = self._container.config["volumes"]
        names = {one["destination"]: one["name"] for one in volumes if one["name"]}
        for mount in spec["mounts"]:
            if mount["destination"] in names:
                mount["source"] = f"{PODMANS_VOLUMES}/{names[mount['destination']]}/_data"
        return spec

    def _changes(self) -> Iterator[bytes]:
        host, container = self._host, self._container
        found = differences.changes(host, container)
        kept = [path[1:] for kind, path in found if kind != differences.DELETED]
        deleted = [path for kind, path in found if kind == differences.DELETED]
        # In any case: of the root's permissions podman knows by it alone, and CRIU minds them.
        tree, label = file_trees.shown(host, container), f"export {container.name}"
        packed = pack_paths(tree, sorted(kept), label, record.id_maps(container))
        yield from self._nested(CHANGES, packed)
        if deleted:
            yield from _text(DELETED, json.dumps(deleted))

    def _volume(self, name: str) -> Iterator[bytes]:
        volumes = self._checkpoints.volumes
        volume = model.by_name(volumes.database, name)
        assert volume is not None  # the container's row refers to it
        fd = self._temporary()
        try:
            contents.export(volumes, volume, fd)
            yield from _open_file(f"{VOLUMES}/{name}.tar", fd)
        finally:
            os.close(fd)

    def _nested(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """A tar in the tar, whose size has to be known before."""
        fd = self._temporary()
        try:
            for chunk in chunks:
                _write(fd, chunk)
            yield from _open_file(name, fd)
        finally:
            os.close(fd)

    def _add_image(self) -> None:
        container = self._container
        annotations = {
            "name": container.name,
            "rawImageName": container.image_name,
            "rootfsImageID": container.image_id or "",
            "rootfsImageName": container.image_name,
            "runtime.name": os.path.basename(self._host.runtime_path(container.config["runtime"])),
            "host.arch": os.uname().machine,
            "host.kernel": os.uname().release,
        }
        importing.import_archive(
            self._checkpoints.images, self._fd, self._wish.image,
            platform=manifests.platform_of("", "", ""), instructions=(), message="",
            report=lambda _: None,
            annotations={f"{ANNOTATION}.{name}": text for name, text in annotations.items()},
        )  # fmt: skip


def description(container: Container) -> dict[str, Any]:
    """config.dump: what podman wants to know, and what we do."""
    config = container.config
    created = datetime.fromtimestamp(container.created_at, UTC)
    volumes = [
        {"volumeName": one["name"], "dest": one["destination"], "options": one["options"]}
        for one in config["volumes"] if one["name"]
    ]  # fmt: skip
    policy, _, retries = config["restart_policy"].partition(":")
    return {
        "id": container.id,
        "name": container.name,
        "lockID": 0,
        "CreateCommand": config["create_command"],
        "RawImageName": config["image"],
        "idMappingsOptions": _mappings(container),
        "rootfsImageID": config["image_id"],
        "rootfsImageName": config["image"],
        "rootfs": config["rootfs"],
        "shmSize": config["mounts"].get("shm_size_bytes", 65_536_000),
        "shmSizeSystemd": 0,
        "staticDir": "",
        "namedVolumes": volumes,
        "userVolumes": [one["destination"] for one in config["volumes"]],
        "secretsPath": "",
        "storageOpts": None,
        "privileged": config["privileged"],
        "user": config["user"],
        "createNetNS": False,
        "networkMode": config["network"],
        "entrypoint": config["entrypoint"],
        "command": config["command"],
        "stdin": config["stdin"],
        "labels": config["labels"],
        "stopSignal": config["stop_signal"],
        "stopTimeout": config["stop_timeout_s"],
        "createdTime": created.isoformat().replace("+00:00", "Z"),
        "cgroupParent": config["resources"].get("cgroup_parent", ""),
        "logDriver": config["log"].get("driver", "k8s-file"),
        "restart_policy": policy,
        "restart_retries": int(retries or 0),
        "runtime": os.path.basename(config["runtime"]),
        "healthcheck": None,
        "pyengine": {"format": FORMAT, "config": config},
    }


def _mappings(container: Container) -> dict[str, Any]:
    maps = record.id_maps(container)
    found: dict[str, Any] = {"HostUIDMapping": maps is None, "HostGIDMapping": maps is None}
    for name, id_map in zip(("UIDMap", "GIDMap"), maps or ([], []), strict=True):
        found[name] = [
            {"container_id": first, "host_id": host, "size": size} for first, host, size in id_map
        ]
    return found


def _directory(name: str, path: str) -> Iterator[bytes]:
    """CRIU's images: files, and perhaps a link to those before."""
    yield _header(name, tarfile.DIRTYPE, mode=0o700)
    for entry in sorted(os.listdir(path)):
        inside = f"{path}/{entry}"
        if os.path.islink(inside):
            yield _header(f"{name}/{entry}", tarfile.SYMTYPE, link=os.readlink(inside))
        elif os.path.isfile(inside):
            yield from _file(f"{name}/{entry}", inside)


def _file(name: str, path: str) -> Iterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield from _open_file(name, fd)
    finally:
        os.close(fd)


def _open_file(name: str, fd: int) -> Iterator[bytes]:
    """As many bytes as there are now; a log may grow meanwhile."""
    size = os.fstat(fd).st_size
    yield _header(name, tarfile.REGTYPE, size)
    place = 0
    while place < size:
        chunk = os.pread(fd, min(_CHUNK_BYTES, size - place), place)
        chunk = chunk or bytes(min(_CHUNK_BYTES, size - place))  # it was rotated
        place += len(chunk)
        yield chunk
    yield bytes(-size % _BLOCK_BYTES)


def _text(name: str, text: str) -> Iterator[bytes]:
    data = text.encode()
    yield _header(name, tarfile.REGTYPE, len(data)) + data + bytes(-len(data) % _BLOCK_BYTES)


def _header(name: str, kind: bytes, size: int = 0, link: str = "", mode: int = 0o600) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = kind, size, link, mode
    return info.tobuf(tarfile.PAX_FORMAT)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
