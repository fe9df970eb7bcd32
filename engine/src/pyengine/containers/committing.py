"""Makes an image of a container: its image's layers and one with its changes (``commit``)."""

from __future__ import annotations

import datetime
import os

from pyengine.containers import differences, file_trees, record
from pyengine.errors import ConfigError, StorageError
from pyengine.images import changes, compression, manifests, platforms, references
from pyengine.images.adding import NewImage, add_image
from pyengine.images.manifests import Manifest
from pyengine.images.transports import files
from pyengine.storage.packing import pack_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyengine.containers.host import Host
    from pyengine.containers.record import Container
    from pyengine.images.model import Image
    from pyengine.images.store import Images
    from pyengine.storage.addition import LayerSource

FORMATS = {"oci": "oci", "docker": "v2s2"}
EMPTY_TAR = bytes(10240)  # the two blocks of its end, in a whole record


class CommitOptions:
    """Options of commit as given, each under its long name."""

    __slots__ = (
        "author", "change", "config", "form", "include_volumes", "message", "pause", "squash",
    )  # fmt: skip

    def __init__(
        self,
        *,
        author: str = "",
        change: tuple[str, ...] = (),
        config: dict[str, Any] | None = None,
        form: str = "oci",
        include_volumes: bool = False,
        message: str = "",
        pause: bool = False,
        squash: bool = False,
    ) -> None:
        """``form`` is ``oci`` or ``docker``, ``config`` what is merged into the image's.

        Raises:
            ConfigError: there is no such format, or it has no place for a message.
        """
        if form not in FORMATS:
            raise ConfigError(f'unrecognized image format "{form}": oci or docker')
        if message and form != "docker":
            raise ConfigError(
                "messages are only compatible with the docker image format (-f docker)"
            )
        self.author, self.change, self.form, self.message = author, change, form, message
        self.config = config or {}
        self.include_volumes, self.pause, self.squash = include_volumes, pause, squash


def commit(
    host: Host,
    images: Images,
    container: Container,
    name: str | None,
    options: CommitOptions,
    report: Callable[[str], None],
) -> str:
    """Add the image; the answer is its id.

    Raises:
        ConfigError: the name or an instruction makes no sense.
        StorageError: something cannot be read or written.
    """
    names = [references.local_name(name).name] if name else []
    base = images.resolve(container.image_id) if container.image_id else None
    settings = changes.merge(_settings(container, base, options), options.config)
    settings = changes.apply(settings, options.change)
    pauses = options.pause and container.status == "running"
    layer_fd = _temporary(images)
    try:
        if pauses:
            from pyengine.containers.changes import pause

            pause(host, container.id, paused=True)
        try:
            is_whole = _write_layer(host, container, layer_fd, whole=options.squash or base is None)
        finally:
            if pauses:
                pause(host, container.id, paused=False)
        below = None if is_whole else base
        new = _image(images, container, below, base, settings, options, names, layer_fd)

        def fetch(layer: LayerSource, begin: int) -> Iterator[bytes]:
            return _chunks(layer_fd, begin, layer.size)

        report("Getting image source signatures")
        image_id = add_image(images, new, fetch, report)
    finally:
        os.close(layer_fd)
    host.tell(container, "commit")
    return image_id


def _settings(container: Container, base: Image | None, options: CommitOptions) -> dict[str, Any]:
    """The image's ``config``: its base's, with what the container was created with."""
    config = container.config
    settings: dict[str, Any] = dict((base.config.get("config") or {}) if base else {})
    settings.update(Env=config["env"], Cmd=config["command"], Entrypoint=config["entrypoint"],
                    WorkingDir=config["cwd"] or "/", User=config["user"])  # fmt: skip
    if config["labels"]:
        settings["Labels"] = config["labels"]
    if ports := config.get("exposed_ports"):
        settings["ExposedPorts"] = {port: {} for port in ports}
    if options.include_volumes:
        paths = [volume["destination"] for volume in config["volumes"]]
        settings["Volumes"] = {**(settings.get("Volumes") or {}), **{path: {} for path in paths}}
    return {key: value for key, value in settings.items() if value}


def _temporary(images: Images) -> int:
    staging = f"{images.storage.root}/staging"
    try:
        return os.open(staging, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"commit: open a file in {staging}: {error.strerror}") from error


def _write_layer(host: Host, container: Container, layer_fd: int, *, whole: bool) -> bool:
    """The tar of the changes; whether it is of the whole tree, as always with the vfs driver."""
    label = f"commit {container.name}"
    upper = None if whole else file_trees.upper(host, container)
    is_untouched = container.started_at is None and not container.live
    if upper is None and not whole and is_untouched and host.storage.driver == "overlay":
        chunks: Iterator[bytes] = iter((EMPTY_TAR,))
    else:
        tree = upper or file_trees.shown(host, container)
        whole = upper is None
        below = file_trees.layers(host, container)[::-1]
        chunks = pack_tree(
            tree, label, skip=differences.stubs(tree, below), id_maps=record.id_maps(container)
        )
    try:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(layer_fd, view) :]
    except OSError as error:
        raise StorageError(f"{label}: write a layer: {error.strerror}") from error
    return whole


def _image(
    images: Images,
    container: Container,
    below: Image | None,
    base: Image | None,
    settings: dict[str, Any],
    options: CommitOptions,
    names: list[str],
    layer_fd: int,
) -> NewImage:
    form = FORMATS[options.form]
    size = os.fstat(layer_fd).st_size
    digest = manifests.digest_of_chunks(_chunks(layer_fd, 0, size))
    now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
    system, architecture, *_ = platforms.host().split("/")
    arguments = [*container.config["entrypoint"], *container.config["command"]]
    step = {"created": now, "created_by": " ".join(arguments),
            **({"author": options.author} if options.author else {}),
            "comment": options.message or f"FROM {container.image_name or 'scratch'}"}  # fmt: skip
    old = below.config if below else {}
    config = {
        **{key: value for key, value in (base.config if base else {}).items()
           if key in ("architecture", "os", "variant", "os.version")},
        "created": now,
        **({"author": options.author} if options.author else {}),
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [*(below.diff_ids if below else []), digest]},
        "history": [*(old.get("history") or []), step],
    }  # fmt: skip
    config.setdefault("architecture", architecture)
    config.setdefault("os", system)
    if options.message:
        config["comment"] = options.message
    data = manifests.encode_in_order(config)
    layers = _layers_of(images, below, form) if below else []
    layers.append({"mediaType": compression.media_type(form, "none"), "digest": digest,
                   "size": size})  # fmt: skip
    kind = manifests.OCI_MANIFEST if form == "oci" else manifests.DOCKER_MANIFEST
    text = manifests.of_image(data, layers, kind)
    return NewImage(Manifest(text, kind, f"commit {container.name}"), data, names)


def _layers_of(images: Images, base: Image, form: str) -> list[dict[str, Any]]:
    """The layers of the base as its manifest names them, under the format's media types."""
    path = images.storage.blob_path(base.manifest_digest)
    try:
        with open(path, "rb") as file:
            manifest = Manifest(file.read(), "", f"manifest {base.manifest_digest}")
    except OSError as error:
        raise StorageError(f"commit: read {path}: {error.strerror}") from error
    found = []
    for blob in manifest.layers:
        how = compression.of_media_type(blob.media_type)
        media_type = compression.media_type(form, how) if how else blob.media_type
        found.append({"mediaType": media_type, "digest": blob.digest, "size": blob.size})
    return found


def _chunks(fd: int, begin: int, size: int) -> Iterator[bytes]:
    error = StorageError("commit: the layer's file became shorter")
    return files.pieces(fd, begin, size, error)
