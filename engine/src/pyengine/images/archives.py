"""Loading images from archives and directories: docker-archive, oci-archive, oci layout, dir."""

from __future__ import annotations

import os

from pyengine.errors import ArchiveError
from pyengine.images import choosing, references
from pyengine.images.adding import NewImage, add_image, signatures_of
from pyengine.images.transports import docker_archive, files, oci
from pyengine.images.transports.directory import DirectorySource
from pyengine.images.trust import policy as trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyengine.images.store import Images
    from pyengine.images.transports.base import Source
    from pyengine.images.transports.files import Files
    from pyengine.images.transports.tarfiles import Archive


def load(
    images: Images, archive: Archive, report: Callable[[str], None]
) -> Iterator[tuple[list[str], str]]:
    """Add every image of an archive: yields the names (or none) and the id of each.

    Raises:
        ArchiveError: it is no archive of images, or a part is broken.
        StorageError: something cannot be written.
    """
    return _add_all(images, _sources(archive), archive.label, report)


def load_directory(
    images: Images, path: str, report: Callable[[str], None]
) -> Iterator[tuple[list[str], str]]:
    """The same for a directory: an OCI layout, or one that ``save --format docker-dir`` wrote."""
    label = f"load {path}"
    if os.path.exists(f"{path}/manifest.json"):
        return _add_all(images, iter([(DirectorySource(path, label), [])]), label, report)
    return _add_all(images, _sources(files.Directory(path, label)), label, report)


def _add_all(
    images: Images,
    found: Iterator[tuple[Source, list[str]]],
    label: str,
    report: Callable[[str], None],
) -> Iterator[tuple[list[str], str]]:
    for source, names in found:
        report("Getting image source signatures")
        full_names = [references.local_name(name).name for name in names]
        manifest, _ = choosing.choose(source)
        trust.load().check(source, manifest.data)
        config, signatures = source.small_blob(manifest.config), signatures_of(source, manifest)
        new = NewImage(manifest, config, full_names, signatures=signatures)
        image_id = add_image(images, new, source.blob_from, report)
        images.events.tell(
            "image", "loadfromarchive", id_=image_id, name=label.removeprefix("load ")
        )
        yield full_names, image_id


def _sources(archive: Files) -> Iterator[tuple[Source, list[str]]]:
    if "manifest.json" in archive:
        for image in docker_archive.sources(archive, archive.label):
            yield image, image.names
    elif "index.json" in archive:
        for entry in oci.entries(archive):
            source = oci.OciSource(archive, entry, archive.label)
            yield source, source.names[:1]
    else:
        raise ArchiveError(
            f"{archive.label}: payload does not match any of the supported image formats: "
            "neither manifest.json (docker-archive) nor index.json (oci-archive) is in it"
        )
