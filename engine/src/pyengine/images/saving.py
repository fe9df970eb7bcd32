"""Writing images as archives: the same image gives the same bytes."""

from __future__ import annotations

import io
import json
import tarfile

from pyengine.errors import ArchiveError, ConfigError, NotFoundError, StorageError
from pyengine.images import manifests, reporting
from pyengine.images.manifests import Manifest
from pyengine.storage.layer_stream import LayerStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from pyengine.images.model import Image
    from pyengine.images.store import Images

FORMATS = ("docker-archive", "oci-archive")
_OCI_TYPES = {
    manifests.DOCKER_CONFIG: "application/vnd.oci.image.config.v1+json",
    manifests.DOCKER_LAYER: "application/vnd.oci.image.layer.v1.tar",
    manifests.DOCKER_LAYER_GZIP: "application/vnd.oci.image.layer.v1.tar+gzip",
}


def save(
    images: Images,
    names: list[str],
    form: str,
    output: IO[bytes],
    report: Callable[[str], None],
) -> None:
    """Write images to a file or pipe.

    Args:
        images: the store.
        names: names, which go into the archive, or ids, which do not.
        form: one of ``FORMATS``; an oci-archive takes one image.
        output: where to.
        report: takes podman's progress lines.

    Raises:
        NotFoundError: there is no such image.
        ConfigError: several images for an oci-archive.
        StorageError: a blob cannot be read or the archive cannot be written.
    """
    found: dict[str, tuple[Image, list[str]]] = {}
    for name in names:
        image = images.resolve(name)
        _, own = found.setdefault(image.id, (image, []))
        own += [full for full in image.names if images.is_name_of(name, full)]
    if form == "oci-archive" and len(found) > 1:
        raise ConfigError("save: an oci-archive holds one image; use --format docker-archive")
    writer = _Writer(images, output, report)
    try:
        if form == "oci-archive":
            for image, own in found.values():
                writer.write_oci(image, own)
        else:
            writer.write_docker(list(found.values()))
        writer.close()
    except FileNotFoundError as error:
        raise NotFoundError(
            f"save {' '.join(names)}: {error.filename} was removed meanwhile"
        ) from error
    except OSError as error:
        place = getattr(output, "name", "")
        raise StorageError(f"save {' '.join(names)} to {place}: {error.strerror}") from error
    for image_id in found:
        images.events.tell("image", "save", id_=image_id, name=str(getattr(output, "name", "")))


class _Writer:
    """One archive on its way out."""

    def __init__(self, images: Images, output: IO[bytes], report: Callable[[str], None]) -> None:
        self._images = images
        self._report = report
        file: Any = _Output(
            output
        )  # not mode "w|", whose destructor complains of a full disk again
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
        self._written: set[str] = set()

    def close(self) -> None:
        self._tar.close()

    def write_oci(self, image: Image, names: list[str]) -> None:
        """The manifest as it came; one in Docker's words is put into OCI's."""
        manifest = self._manifest(image)
        data = manifest.data
        if manifest.media_type == manifests.DOCKER_MANIFEST:
            data = _in_oci_words(data)
        entry: dict[str, Any] = {
            "mediaType": manifests.OCI_MANIFEST,
            "digest": manifests.digest_of(data),
            "size": len(data),
        }  # fmt: skip
        named = [{"annotations": {"org.opencontainers.image.ref.name": name}} for name in names]
        index = {"schemaVersion": 2, "manifests": [{**entry, **extra} for extra in named or [{}]]}
        self._add("oci-layout", manifests.encode({"imageLayoutVersion": "1.0.0"}))
        self._add("index.json", manifests.encode(index))
        self._add(_oci_name(manifests.digest_of(data)), data)
        for blob in (*manifest.layers, manifest.config):
            kind = "config" if blob is manifest.config else "blob"
            self._report(f"Copying {kind} {blob.digest}")
            self._add_file(_oci_name(blob.digest), self._blob_path(blob.digest), blob.size)
            reporting.finished(self._report, blob.digest)

    def write_docker(self, found: list[tuple[Image, list[str]]]) -> None:
        """Layers uncompressed, under their diff ids."""
        entries = []
        for image, names in found:
            manifest = self._manifest(image)
            for blob, diff_id in zip(manifest.layers, image.diff_ids, strict=True):
                self._add_layer(blob.digest, diff_id)
            self._report(f"Copying config {manifest.config.digest}")
            with open(self._blob_path(manifest.config.digest), "rb") as file:
                self._add(f"{image.id}.json", file.read())
            layers = [_docker_name(diff_id) for diff_id in image.diff_ids]
            entries.append({"Config": f"{image.id}.json", "RepoTags": names, "Layers": layers})
        self._add("manifest.json", manifests.encode(entries))

    def _manifest(self, image: Image) -> Manifest:
        where = f"manifest {image.manifest_digest}"
        try:
            with open(self._blob_path(image.manifest_digest), "rb") as file:
                return Manifest(file.read(), "", where)
        except FileNotFoundError as error:
            raise NotFoundError(f"save {image.id}: its {where} was removed meanwhile") from error

    def _add(self, name: str, data: bytes) -> None:
        if name not in self._written:
            self._written.add(name)
            self._tar.addfile(_member(name, len(data)), io.BytesIO(data))

    def _add_file(self, name: str, path: str, size: int) -> None:
        if name in self._written:
            return
        self._written.add(name)
        with open(path, "rb") as file:
            self._tar.addfile(_member(name, size), file)

    def _add_layer(self, digest: str, diff_id: str) -> None:
        name = _docker_name(diff_id)
        if name in self._written:
            return
        self._written.add(name)
        self._report(f"Copying blob {digest}")
        with self._images.database.read() as connection:
            query = "SELECT size FROM layers WHERE diff_id = ?"
            row = connection.execute(query, (diff_id,)).fetchone()
        if row is None:
            raise NotFoundError(f"save layer {diff_id}: it was removed meanwhile")
        with open(self._blob_path(digest), "rb", buffering=0) as file:
            stream = LayerStream(file.fileno())
            stream.read_ahead()
            self._tar.addfile(_member(name, row[0]), _Reader(stream))
            if stream.digest() != diff_id:
                raise ArchiveError(f"save layer {digest}: its blob is damaged in the store")
        reporting.finished(self._report, digest)

    def _blob_path(self, digest: str) -> str:
        return self._images.storage.blob_path(digest)


class _Output:
    """A file or pipe, for tarfile, which wants to know where it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._position = file, 0

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position


class _Reader(io.RawIOBase):
    """A layer's uncompressed bytes, for tarfile, which wants as many as it asks for."""

    def __init__(self, stream: LayerStream) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)


def _in_oci_words(data: bytes) -> bytes:
    fields = json.loads(data)
    fields["mediaType"] = manifests.OCI_MANIFEST
    for blob in (fields["config"], *fields["layers"]):
        blob["mediaType"] = _OCI_TYPES.get(blob["mediaType"], blob["mediaType"])
    return manifests.encode(fields)


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def _oci_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _docker_name(diff_id: str) -> str:
    return f"{diff_id.removeprefix('sha256:')}.tar"
