"""Making an image of a root file system's archive (``import``)."""

from __future__ import annotations

import datetime
import os

from pyengine.errors import ArchiveError
from pyengine.images import changes, manifests, references
from pyengine.images.adding import NewImage, add_image
from pyengine.images.manifests import Manifest
from pyengine.images.transports import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyengine.images.store import Images
    from pyengine.storage.addition import LayerSource


def import_archive(
    images: Images,
    archive_fd: int,
    name: str | None,
    *,
    platform: str,
    instructions: tuple[str, ...],
    message: str,
    report: Callable[[str], None],
    annotations: dict[str, str] | None = None,
) -> str:
    """Add an image whose only layer is an uncompressed, seekable archive; its id.

    Args:
        images: the store.
        archive_fd: of the archive.
        name: the image gets, or None.
        platform: ``os/architecture[/variant]``.
        instructions: such as ``CMD ["sh"]``.
        message: becomes the history's comment.
        report: takes podman's progress lines.
        annotations: of the manifest.

    Raises:
        ConfigError: the name or an instruction makes no sense.
        ArchiveError: the archive is broken.
        StorageError: it cannot be written.
    """
    names = [references.local_name(name).name] if name else []
    settings = changes.apply({}, instructions)
    size = os.fstat(archive_fd).st_size
    if not size:
        raise ArchiveError("import: the archive is empty")
    digest = manifests.digest_of_chunks(_chunks(archive_fd, size))
    data = _config(platform, settings, digest, message)
    layer = {"mediaType": manifests.OCI_LAYER, "digest": digest, "size": size}
    text = manifests.of_image(data, [layer], manifests.OCI_MANIFEST, annotations)
    new = NewImage(Manifest(text, manifests.OCI_MANIFEST, "import"), data, names)

    def fetch(layer: LayerSource, begin: int) -> Iterator[bytes]:
        return _chunks(archive_fd, layer.size, begin)

    report("Getting image source signatures")
    image_id = add_image(images, new, fetch, report)
    images.events.tell("image", "import", id_=image_id, name=name or "")
    return image_id


def _config(platform: str, settings: dict[str, Any], digest: str, message: str) -> bytes:
    now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
    system, architecture, *variant = platform.split("/")
    return manifests.encode_in_order(
        {
            "created": now,
            "architecture": architecture,
            **({"variant": variant[0]} if variant else {}),
            "os": system,
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [digest]},
            "history": [
                {
                    "created": now,
                    "created_by": f"/bin/sh -c #(nop) ADD file:{digest[7:]} in /",
                    **({"comment": message} if message else {}),
                }
            ],
        }
    )


def _chunks(fd: int, size: int, position: int = 0) -> Iterator[bytes]:
    error = ArchiveError("import: the archive became shorter meanwhile")
    return files.pieces(fd, position, size, error)
