"""``docker-archive:``: what ``docker save`` writes."""

from __future__ import annotations

import os

from pyengine.errors import ArchiveError, ConfigError
from pyengine.images import manifests, references
from pyengine.images.transports import files
from pyengine.images.transports.base import UNCOMPRESSED, Destination, WrittenSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyengine.images.manifests import Descriptor
    from pyengine.images.transports.base import Blob
    from pyengine.images.transports.files import Files


class DockerArchiveSource(WrittenSource):
    """One image of an archive, which has no manifest that a registry would know: one is written."""

    def __init__(self, archive: Files, entry: object, where: str, label: str) -> None:
        """Check an entry of manifest.json, found at ``where``.

        Raises:
            ArchiveError: something is missing or of the wrong type.
        """
        self.label = label
        self.archive = archive
        if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
            raise ArchiveError(f"{where}/Config: not a string")
        self.names, names = entry.get("RepoTags") or [], entry.get("Layers") or []
        for key, value in (("RepoTags", self.names), ("Layers", names)):
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ArchiveError(f"{where}/{key}: not a list of strings")
        config = archive.read(entry["Config"])
        checked = manifests.check_config(config, f"{archive.label}: {entry['Config']}")
        diff_ids = checked["rootfs"].get("diff_ids") or []
        if len(diff_ids) != len(names):
            raise ArchiveError(f"{where}/Layers: {len(names)} for {len(diff_ids)} diff_ids")
        digest = manifests.digest_of(config)
        self._paths = {digest: entry["Config"]}
        layers = []
        for diff_id, name in zip(diff_ids, names, strict=True):
            layers.append(self._describe(diff_id, name))
            self._paths[str(layers[-1]["digest"])] = name
        self.write_manifest(config, layers)

    def blob(self, blob: Blob) -> Iterator[bytes]:
        """As in the base class."""
        if blob.digest not in self._paths:
            raise ArchiveError(f"{self.label}: it has no blob {blob.digest}")
        return self.archive.chunks(self._paths[blob.digest])

    def close(self) -> None:
        """As in the base class."""
        self.archive.close()

    def _describe(self, diff_id: str, name: str) -> dict[str, object]:
        """A layer's descriptor; a compressed one is read for its digest."""
        compressed = next(self.archive.chunks(name), b"").startswith(b"\x1f\x8b")
        digest = manifests.digest_of_chunks(self.archive.chunks(name)) if compressed else diff_id
        media_type = manifests.DOCKER_LAYER_GZIP if compressed else manifests.DOCKER_LAYER
        return {"mediaType": media_type, "size": self.archive.size(name), "digest": digest}


def sources(archive: Files, label: str) -> Iterator[DockerArchiveSource]:
    """Every image of an archive.

    Raises:
        ArchiveError: it is broken.
    """
    where = f"{archive.label}: manifest.json"
    entries = manifests.parse(archive.read("manifest.json"), where)
    if not isinstance(entries, list) or not entries:
        raise ArchiveError(f"{where}: not a list of images")
    for index, entry in enumerate(entries):
        yield DockerArchiveSource(archive, entry, f"{where}: /{index}", label)


def open_source(archive: Files, name: str, label: str) -> DockerArchiveSource:
    """The image of this name or number (``@1``), or the only one.

    Raises:
        ArchiveError: there is none, or a name is needed.
    """
    found = list(sources(archive, label))
    if name.startswith("@"):
        if not name[1:].isdigit() or int(name[1:]) >= len(found):
            raise ArchiveError(f"{label}: it has no image {name}, only @0 to @{len(found) - 1}")
        return found[int(name[1:])]
    if not name:
        if len(found) > 1:
            every = ", ".join(tag for one in found for tag in one.names)
            raise ArchiveError(f"{label}: more than one image in it: name one of {every} or @0 ...")
        return found[0]
    wanted = references.pull_name(name).name
    for one in found:
        if wanted in (references.pull_name(tag).name for tag in one.names) or name in one.names:
            return one
    raise ArchiveError(f"{label}: tag {name!r} not found in it")


class DockerArchiveDestination(Destination):
    """An archive of one image, written when it is complete."""

    layers = UNCOMPRESSED
    manifest_types = (manifests.DOCKER_MANIFEST,)
    takes_index = False

    def __init__(self, path: str, names: list[str], label: str) -> None:
        if os.path.exists(path) and os.path.getsize(path):
            raise ConfigError(
                f"{label}: docker-archive doesn't support modifying existing images: {path} exists"
            )
        self.label = label
        self._path, self._names = os.path.abspath(path), names
        self._directory = files.staging_beside(self._path, label)
        self._entry: dict[str, object] = {}
        self._members: list[tuple[str, str]] = []

    def put_blob(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """As in the base class; only a config comes this way."""
        files.write(f"{self._directory}/{blob.digest[7:]}", chunks, self.label)

    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """As in the base class."""
        return files.write_by_digest(self._directory, chunks, self.label)

    def put_manifest(self, data: bytes, media_type: str, *, instance: bool) -> None:
        """As in the base class."""
        assert not instance
        manifest = manifests.Manifest(data, media_type, self.label)
        layers = [f"{layer.digest[7:]}.tar" for layer in manifest.layers]
        config = f"{manifest.config.digest[7:]}.json"
        self._entry = {"Config": config, "RepoTags": self._names, "Layers": layers}
        self._members = [(name, name.removesuffix(".tar")) for name in dict.fromkeys(layers)]
        self._members.append((config, manifest.config.digest[7:]))

    def commit(self) -> None:
        """Write the tar."""
        files.write(f"{self._directory}/index", [manifests.encode([self._entry])], self.label)
        members = [*self._members, ("manifest.json", "index")]
        files.write_tar(self._path, self._directory, members, self.label)

    def close(self) -> None:
        """Remove what was staged."""
        files.remove_staged(self._directory)
