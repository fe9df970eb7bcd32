"""Manifest lists (indexes) made here: images of several platforms under one name."""

from __future__ import annotations

import contextlib
import json
import time

from pyengine import jsontext
from pyengine.errors import ArchiveError, ConfigError, ConflictError, NotFoundError
from pyengine.images import artifacts, choosing, copying, manifests, platforms, references
from pyengine.images.manifests import Manifest
from pyengine.images.model import Image
from pyengine.images.transports import names, opening
from pyengine.images.transports.base import Source
from pyengine.images.transports.names import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from pyengine.images.artifacts import ArtifactOptions
    from pyengine.images.copying import CopyOptions
    from pyengine.images.store import Images
    from pyengine.images.transports.base import Blob
    from pyengine.registry.settings import Access

    # By digest where an image is, or what ``artifacts.make`` said.
    Places = dict[str, str | dict[str, Any]]

_MIN_ID = 3  # letters of an id's beginning
_EMPTY = {"schemaVersion": 2, "mediaType": manifests.DOCKER_LIST, "manifests": []}


class Lists:
    """The manifest lists of one storage root.

    A list holds the index, and for each of its images the place that it came from.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._database = images.database

    def create(self, text: str, *, amend: bool) -> str:
        """Make an empty list; its full name.

        Raises:
            ConflictError: a list or an image has the name.
        """
        name = references.local_name(text).name
        with self._database.write(durable=True) as connection:
            if _row(connection, name) is not None:
                if amend:
                    return name
                raise ConflictError(f"manifest list {name}: that name is already in use")
            taken = connection.execute("SELECT 1 FROM names WHERE name = ?", (name,)).fetchone()
            if taken:
                raise ConflictError(f"manifest list {name}: an image has that name")
            self._write(connection, name, dict(_EMPTY), {})
        return name

    def find(self, text: str) -> str:
        """The full name of a list.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as connection:
            for reference in references.local_candidates(text):
                if _row(connection, reference.name) is not None:
                    return reference.name
        raise NotFoundError(f"{text}: manifest list not known")

    def find_by_id(self, text: str) -> str:
        """The full name of a list by its name or (the beginning of) its id.

        Raises:
            NotFoundError: there is none.
        """
        name = self.find_or_none(text)
        if name is not None:
            return name
        prefix = text.removeprefix("sha256:")
        for one in self.every():
            if len(prefix) >= _MIN_ID and one.id.startswith(prefix):
                return one.names[0]
        raise NotFoundError(f"{text}: image not known")

    def every(self) -> list[Image]:
        """All lists, as rows among images."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT name, content, created_at FROM manifest_lists")
            found = rows.fetchall()
        listed = []
        for name, content, created_at in found:
            data = manifests.encode_in_order(jsontext.loads(content))
            digest = manifests.digest_of(data)
            repository = name.rpartition(":")[0]
            one = Image(
                image_id=self.id_of(name), manifest_digest=digest, config_text="{}",
                created_at=created_at, size=len(data), names=[name],
                repo_digests=[f"{repository}@{digest}"], diff_ids=[],
            )  # fmt: skip
            one.is_list = True
            listed.append(one)
        return listed

    def image_for(self, text: str, platform: str | None) -> Image | None:
        """The image that a list has for a platform; None where there is no such list.

        Raises:
            NotFoundError: the image is not in this store.
            ArchiveError: the list has none for this platform.
        """
        name = self.find_or_none(text)
        if name is None:
            return None
        data = manifests.encode_in_order(self.index(name))
        entries = manifests.index_entries(data, name)
        wanted = platform or platforms.host()
        digest = manifests.choose_platform(entries, wanted, name).digest
        for image in self._images.list_images():
            if image.manifest_digest == digest:
                return image
        place = self._read(name)[1].get(digest, "")
        raise NotFoundError(
            f"{text}: the list's image for {wanted}, {digest}, is not in this store; pull {place}"
        )

    def find_or_none(self, text: str) -> str | None:
        """The full name of a list, if there is one."""
        try:
            return self.find(text)
        except NotFoundError:
            return None

    def index(self, name: str) -> dict[str, Any]:
        """The index as it is now."""
        return self._read(name)[0]

    def add(
        self, name: str, text: str, access: Access, changes: dict[str, Any], *, everything: bool
    ) -> list[str]:
        """Add an image, or all of a list; the digests of what was added.

        Args:
            name: of the list.
            text: an image of the store, a name in a registry, or a transport and what it takes.
            access: to registries.
            changes: of platform and annotations, as ``annotate`` takes them.
            everything: all images of a list, rather than the one for this machine.

        Raises:
            NotFoundError: there is no such image; or another error of its transport.
        """
        place = self._place(text)
        source = opening.open_source(place, opening.Settings(access=access, images=self._images))
        try:
            entries = list(_entries(source, everything=everything))
        finally:
            source.close()
        for entry in entries:
            _change(entry, changes)
        return self._put(name, entries, str(place))

    def add_artifact(
        self,
        name: str,
        paths: tuple[str, ...],
        options: ArtifactOptions,
        subject: str | None,
        access: Access,
        changes: dict[str, Any],
    ) -> list[str]:
        """Add an artifact made of files, which must still be there when the list is pushed.

        Args:
            name: of the list.
            paths: of the files.
            options: what it says of itself.
            subject: the image that it belongs to, as ``add`` takes one; or None.
            access: to registries.
            changes: as ``annotate`` takes them.

        Raises:
            ConfigError: a file cannot be read.
            NotFoundError: there is no such subject; or another error of its transport.
        """
        if subject is not None:
            options.subject = self._descriptor(subject, access)
        place = artifacts.make(paths, options)
        entry = artifacts.entry(place)
        _change(entry, changes)
        if not entry["platform"]:
            del entry["platform"]
        return self._put(name, [entry], place)

    def _put(
        self, name: str, entries: list[dict[str, Any]], place: str | dict[str, Any]
    ) -> list[str]:
        with self._changing(name) as (index, places):
            for entry in entries:
                kept = [one for one in index["manifests"] if one["digest"] != entry["digest"]]
                index["manifests"] = [*kept, entry]
                places[entry["digest"]] = place
            if any("oci" in entry["mediaType"] for entry in index["manifests"]):
                index["mediaType"] = manifests.OCI_INDEX
        return [str(entry["digest"]) for entry in entries]

    def annotate(self, name: str, text: str, changes: dict[str, Any]) -> str:
        """Change what the list says of an image; its digest.

        Raises:
            NotFoundError: the list has no such image.
        """
        place = "" if text.startswith("sha256:") else str(self._place(text))
        with self._changing(name) as (index, places):
            entry = _entry(index, places, name, text, place)
            _change(entry, changes)
        return str(entry["digest"])

    def annotate_list(
        self, name: str, annotations: Iterable[str], subject: str | None = None
    ) -> None:
        """Annotate the list itself, and say to which image it refers.

        Raises:
            ConfigError: an annotation is none.
            NotFoundError: there is no such image; or another error of its transport.
        """
        entry = None if subject is None else self._descriptor(subject)
        with self._changing(name) as (index, _):
            _annotate(index, annotations)
            if entry is not None:
                index["subject"] = entry
            index["mediaType"] = manifests.OCI_INDEX  # Docker's lists have neither

    def _descriptor(self, text: str, access: Access | None = None) -> dict[str, Any]:
        """Of the manifest of what ``add`` would take."""
        settings = opening.Settings(access=access, images=self._images)
        source = opening.open_source(self._place(text), settings)
        try:
            data, media_type = source.manifest()
        finally:
            source.close()
        media_type = media_type or str(manifests.parse(data, text).get("mediaType") or "")
        return {
            "mediaType": media_type or manifests.OCI_MANIFEST,
            "digest": manifests.digest_of(data),
            "size": len(data),
        }

    def take_out(self, name: str, text: str) -> str:
        """Take an image from a list; its digest.

        Raises:
            NotFoundError: the list has no such image.
        """
        place = "" if text.startswith("sha256:") else str(self._place(text))
        with self._changing(name) as (index, places):
            entry = _entry(index, places, name, text, place)
            index["manifests"].remove(entry)
            places.pop(entry["digest"], None)
        return str(entry["digest"])

    def remove(self, name: str) -> str:
        """Remove a list; the id it had."""
        list_id = self.id_of(name)
        with self._database.write(durable=True) as connection:
            connection.execute("DELETE FROM manifest_lists WHERE name = ?", (name,))
        return list_id

    def id_of(self, name: str) -> str:
        """What ``create`` and ``add`` print: the digest of the name, which never changes."""
        return manifests.digest_of(name.encode()).removeprefix("sha256:")

    def push(
        self,
        name: str,
        target: Place,
        options: CopyOptions,
        access: Access,
        report: Callable[[str], None],
    ) -> str:
        """Push the list, with its images unless ``options.multi`` says ``index-only``.

        Returns:
            The index' digest at the destination.

        Raises:
            PyengineError: by what failed.
        """
        index, places = self._read(name)
        source = _ListSource(self._images, name, index, places, access)
        destination = opening.open_destination(target, opening.Settings(access=access))
        try:
            return manifests.digest_of(copying.copy(source, destination, options, report))
        finally:
            destination.close()
            source.close()

    def _place(self, text: str) -> Place:
        if names.is_place(text):
            return names.parse(text)
        try:
            return Place("containers-storage", self._images.resolve(text).id)
        except NotFoundError:
            return Place("docker", str(references.pull_name(text)))

    def _read(self, name: str) -> tuple[dict[str, Any], Places]:
        with self._database.read() as connection:
            return self._parse(_row(connection, name), name)

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[tuple[dict[str, Any], Places]]:
        """A block that changes a list, which is written at its end."""
        with self._database.write(durable=True) as connection:
            index, places = self._parse(_row(connection, name), name)
            yield index, places
            self._write(connection, name, index, places)

    def _parse(self, row: Any, name: str) -> tuple[dict[str, Any], Places]:
        if row is None:
            raise NotFoundError(f"{name}: manifest list not known")
        return jsontext.loads(row[0]), jsontext.loads(row[1])

    def _write(self, connection: Any, name: str, index: dict[str, Any], places: Places) -> None:
        connection.execute(
            "INSERT INTO manifest_lists VALUES (:name, :content, :places, :now)"
            " ON CONFLICT (name) DO UPDATE SET content = :content, places = :places",
            {
                "name": name,
                "content": json.dumps(index),
                "places": json.dumps(places),
                "now": time.time(),
            },
        )


def _row(connection: Any, name: str) -> Any:
    query = "SELECT content, places FROM manifest_lists WHERE name = ?"
    return connection.execute(query, (name,)).fetchone()


def _entry(
    index: dict[str, Any], places: Places, name: str, text: str, place: str
) -> dict[str, Any]:
    """The image with a digest, or that was added from a place."""
    for entry in index["manifests"]:
        if entry["digest"] == text or (place and places.get(entry["digest"]) == place):
            found: dict[str, Any] = entry
            return found
    raise NotFoundError(f"manifest list {name}: it has no image {text}")


def _entries(source: Source, *, everything: bool) -> Iterator[dict[str, Any]]:
    """Descriptors of a source's images, with the platforms that their configs tell."""
    data, media_type = source.manifest()
    if everything and manifests.is_index(data, media_type, source.label):
        yield from manifests.parse(data, source.label)["manifests"]
        return
    manifest, digests = choosing.choose(source)
    config = manifests.check_config(source.small_blob(manifest.config), source.label)
    platform = {"architecture": config.get("architecture", ""), "os": config.get("os", "")}
    if config.get("variant"):
        platform["variant"] = str(config["variant"])
    yield {
        "mediaType": manifest.media_type,
        "size": len(manifest.data),
        "digest": digests[-1],
        "platform": platform,
    }


def _change(entry: dict[str, Any], changes: dict[str, Any]) -> None:
    """Apply platform keys and annotations that were given."""
    platform = entry.setdefault("platform", {})
    for key in ("architecture", "os", "os.version", "variant"):
        if changes.get(key):
            platform[key] = changes[key]
    for key in ("features", "os.features"):
        if changes.get(key):
            platform[key] = list(changes[key])
    _annotate(entry, changes.get("annotations") or ())


def _annotate(fields: dict[str, Any], annotations: Iterable[str]) -> None:
    for text in annotations:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--annotation {text}: not KEY=VALUE")
        fields.setdefault("annotations", {})[key] = value


class _ListSource(Source):
    """A list, whose images are wherever they were added from."""

    def __init__(
        self,
        images: Images,
        name: str,
        index: dict[str, Any],
        places: Places,
        access: Access,
    ) -> None:
        self.label = name
        self.scope = ("containers-storage", name)
        self._data = manifests.encode_in_order(index)
        self._media_type = str(index["mediaType"])
        self._places = places
        self._settings = opening.Settings(access=access, images=images)
        self._opened: dict[str, Source] = {}
        self._owners: dict[str, Source] = {}

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """As in the base class; afterwards the image's blobs can be read."""
        if digest is None:
            return self._data, self._media_type
        place = self._places.get(digest)
        if place is None:
            raise ArchiveError(f"{self.label}: it does not know where image {digest} is")
        if isinstance(place, dict):
            source: Source = artifacts.ArtifactSource(place, f"{self.label}: artifact {digest}")
        else:
            if place not in self._opened:
                self._opened[place] = opening.open_source(names.parse(place), self._settings)
            source = self._opened[place]
        top, media_type = source.manifest()
        if manifests.digest_of(top) != digest:
            top, media_type = source.manifest(digest)
        manifest = Manifest(top, media_type, f"{self.label}: manifest {digest}")
        for blob in (manifest.config, *manifest.layers):
            self._owners[blob.digest] = source
        return top, manifest.media_type

    def blob(self, blob: Blob) -> Iterator[bytes]:
        """As in the base class."""
        return self._owners[blob.digest].blob(blob)

    def close(self) -> None:
        """Close what was opened."""
        for source in self._opened.values():
            source.close()
