"""Registries as a whole: copying places, many images at once, tags, removal. Needs no store."""

from __future__ import annotations

import os
import re

from pyengine import log
from pyengine.errors import ArchiveError, ConfigError, PyengineError
from pyengine.images import choosing, copying, manifests, references, versions
from pyengine.images.adding import NewImage, add_image, signatures_of
from pyengine.images.pulling import PullOptions, retrying
from pyengine.images.transports import names, opening, schema1
from pyengine.images.transports.names import Place
from pyengine.images.trust import policy as trust
from pyengine.images.trust.signing import signer
from pyengine.registry import credentials
from pyengine.registry.settings import Access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyengine.images.copying import CopyOptions
    from pyengine.images.transports.base import Destination, Source
    from pyengine.images.transports.opening import Settings
    from pyengine.images.trust.signing import Signing

    Report = Callable[[str], None]


def copy_place(
    here: Place,
    there: Place,
    reading: Settings,
    writing: Settings,
    options: CopyOptions,
    report: Report,
    change: Callable[[Destination], None] | None = None,
) -> bytes:
    """Copy from one place to another; the manifest as it was written.

    Raises:
        PyengineError: by what failed.
    """
    source = schema1.opened(opening.open_source(here, reading), reading.scratch_directory)
    try:
        if there.transport == "containers-storage":
            return _store(source, there, writing, options, report)
        destination = opening.open_destination(there, writing)
        if change is not None:
            change(destination)
        try:
            return copying.copy(source, destination, options, report)
        finally:
            destination.close()
    finally:
        source.close()


def _store(
    source: Source, there: Place, writing: Settings, options: CopyOptions, report: Report
) -> bytes:
    """Put an image into a store, which keeps manifests and layers as they come."""
    if options.multi != "system":
        raise ConfigError(f"copy {source.label} to {there}: a store takes one image of a list")
    if options.form or options.compression:
        raise ConfigError(
            f"copy {source.label} to {there}: a store keeps manifest and layers as they come: "
            "leave out --format and --dest-compress-format"
        )
    manifest, _ = choosing.choose(source, options.platform)
    report("Getting image source signatures")
    (options.policy or trust.load()).check(source, manifest.data)
    name = references.pull_name(there.path).name
    signatures = [] if options.remove_signatures else signatures_of(source, manifest)
    if options.sign is not None:
        signatures += options.sign(manifests.digest_of(manifest.data))
    new = NewImage(manifest, source.small_blob(manifest.config), [name], signatures=signatures)
    add_image(writing.store_of(there), new, source.blob_from, report)
    return manifest.data


def delete(place: Place, settings: Settings) -> str:
    """Remove an image from its registry, store or OCI layout; the digest of what was removed.

    Raises:
        ConfigError: the place is in none.
        RegistryError: it is not there, or the registry does not allow it.
        NotFoundError: or InUseError: by the store.
    """
    from pyengine.images.transports import remote
    from pyengine.registry import registries_conf, uploads

    if place.transport == "containers-storage":
        images = settings.store_of(place)
        image = images.resolve(place.path)
        images.remove(image.id, force=True)
        return image.manifest_digest
    if place.transport == "oci":
        from pyengine.images.transports import oci

        return oci.delete(place.path, place.name, str(place), settings.shared_blobs)
    if place.transport != "docker":
        raise ConfigError(
            f"delete {place}: only images in registries, stores and OCI layouts can be deleted"
        )
    access = settings.access or Access()
    reference = references.pull_name(place.path)
    endpoint = registries_conf.load().push_endpoint(reference.repository)
    registry = remote.connect(endpoint, access)
    digest = reference.digest
    if not digest:
        data, _ = registry.manifest(endpoint.path, reference.tag or "latest")
        digest = manifests.digest_of(data)
    uploads.delete_manifest(registry, endpoint.path, digest)
    return digest


def list_tags(place: Place, access: Access) -> tuple[str, list[str]]:
    """A repository and its tags, or the names in a docker-archive and no repository.

    Raises:
        ConfigError: the place has no tags.
        RegistryError: or ArchiveError: it cannot be read.
    """
    from pyengine.images.transports import docker_archive, remote
    from pyengine.registry import registries_conf

    if place.transport == "docker-archive":
        source = opening.open_source(Place(place.transport, place.path, "@0"), opening.Settings())
        try:
            archive = source.archive  # type: ignore[attr-defined]  # it is of this transport
            found = docker_archive.sources(archive, str(place))
            return "", [tag for image in found for tag in image.names]
        finally:
            source.close()
    if place.transport != "docker":
        raise ConfigError(f"list tags of {place}: only docker:// and docker-archive: have tags")
    reference = references.pull_name(place.path)
    if reference.tag or reference.digest:
        raise ConfigError(f"list tags of {place}: a repository has no tag or digest")
    endpoint = registries_conf.load().endpoints(reference.repository, by_digest=False)[-1]
    registry = remote.connect(endpoint, access)
    return reference.repository, registry.tags(endpoint.path)


class Item:
    """One image to be copied by ``sync``.

    Attributes:
        place: where it is.
        name: its name at the destination, below what was given there.
        scoped_name: the same with the whole path of its source.
        access: to its registry.
    """

    __slots__ = ("access", "name", "place", "scoped_name")

    def __init__(self, place: Place, name: str, scoped_name: str, access: Access) -> None:
        self.place, self.name, self.scoped_name, self.access = place, name, scoped_name, access


def sources(kind: str, given: str, access: Access) -> Iterator[Item]:
    """The images that a source of ``sync`` stands for.

    Args:
        kind: ``docker``, ``dir``, ``oci`` or ``yaml``.
        given: a repository or image, a directory, or a file.
        access: to the registry; a file has its own for each.

    Raises:
        ConfigError: the source makes no sense.
        ArchiveError: there is nothing in it.
        RegistryError: the registry does not tell its tags.
    """
    if kind == "docker":
        reference = references.pull_name(given)
        wanted = [reference.digest or reference.tag] if reference.digest or reference.tag else None
        yield from _repository_items(reference.repository, wanted, access)
    elif kind == "dir":
        yield from _directory_items(given)
    elif kind == "oci":
        yield from _layout_items(given)
    else:
        yield from _file_items(given, access)


def _repository_items(repository: str, wanted: list[str] | None, access: Access) -> Iterator[Item]:
    tags = list_tags(Place("docker", repository), access)[1] if wanted is None else wanted
    for tag in tags:
        mark = "@" if tag.startswith("sha256:") else ":"
        name = f"{repository.rpartition('/')[2]}{mark}{tag}"
        yield Item(
            Place("docker", f"{repository}{mark}{tag}"), name, f"{repository}{mark}{tag}", access
        )


def _directory_items(top: str) -> Iterator[Item]:
    found = False
    for path, directories, files in os.walk(top):
        directories.sort()
        if "manifest.json" in files:
            found = True
            directories.clear()
            name = os.path.relpath(path, top)
            name = os.path.basename(os.path.abspath(path)) if name == "." else name
            yield Item(Place("dir", path), name, os.path.abspath(path).lstrip("/"), Access())
    if not found:
        raise ArchiveError(f"sync {top}: no images to sync found in it")


def _layout_items(top: str) -> Iterator[Item]:
    """What a layout's index names; skopeo has no such source."""
    from pyengine.images.transports import files, oci

    label = f"sync oci:{top}"
    for entry in oci.entries(files.Directory(top, label)):
        name = entry.annotations.get(oci.REF_NAME)
        if not name:
            raise ArchiveError(f"{label}: image {entry.digest} has no name to copy it under")
        yield Item(Place("oci", top, name), name.rpartition("/")[2], name, Access())


def _file_items(path: str, access: Access) -> Iterator[Item]:
    """Skopeo's YAML: registries with their images, tags or regular expressions for tags."""
    import yaml

    try:
        with open(path, "rb") as file:
            registries = yaml.safe_load(file.read())
    except OSError as error:
        raise ConfigError(f"sync: read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"sync: {path}: not YAML: {error}") from error
    for host, table in _mapping(registries, path).items():
        fields = _mapping(table or {}, f"{path}: {host}")
        unknown = set(fields) - {
            "images", "images-by-semver", "images-by-tag-regex", "credentials", "tls-verify",
            "cert-dir",
        }  # fmt: skip
        if unknown:
            raise ConfigError(f"sync: {path}: {host}: {', '.join(sorted(unknown))}: unknown")
        own = _file_access(fields, access)
        for name, tags in _mapping(fields.get("images") or {}, f"{path}: {host}").items():
            yield from _repository_items(
                f"{host}/{name}", [str(tag) for tag in tags or []] or None, own
            )
        regexes = _mapping(fields.get("images-by-tag-regex") or {}, f"{path}: {host}")
        for name, regex in regexes.items():
            pattern = _compiled(str(regex), f"{path}: {host}/{name}")
            tags = _tags(f"{host}/{name}", own)
            wanted = [tag for tag in tags if pattern.search(tag)]
            yield from _repository_items(f"{host}/{name}", wanted, own)
        constraints = _mapping(fields.get("images-by-semver") or {}, f"{path}: {host}")
        for name, constraint in constraints.items():
            wanted = versions.matching(_tags(f"{host}/{name}", own), str(constraint))
            yield from _repository_items(f"{host}/{name}", wanted, own)


def _tags(repository: str, access: Access) -> list[str]:
    return list_tags(Place("docker", repository), access)[1]


def _compiled(regex: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(regex)
    except re.error as error:
        raise ConfigError(f"sync: {where}: {regex}: {error}") from error


def _file_access(fields: dict[str, Any], access: Access) -> Access:
    login = access.login
    if fields.get("credentials"):
        given = _mapping(fields["credentials"], "credentials")
        login = credentials.Login(str(given.get("username", "")), str(given.get("password", "")))
    verify = fields.get("tls-verify", access.tls_verify)
    if verify not in (True, False, None):
        raise ConfigError(f"sync: tls-verify: {verify!r} is neither true nor false")
    return Access(
        tls_verify=verify,
        cert_dir=fields.get("cert-dir") or access.cert_dir,
        login=login,
        auth_file=access.auth_file,
        anonymous=access.anonymous,
        bearer=access.bearer,
        registries_d=access.registries_d,
        agent=access.agent,
    )


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"sync: {where}: not a mapping")
    return value


class Sync:
    """Copies items below one destination."""

    def __init__(
        self,
        kind: str,
        destination: str,
        access: Access,
        options: CopyOptions,
        report: Report,
        *,
        scoped: bool,
        dry_run: bool,
        keep_going: bool,
        retries: PullOptions,
        signing: Signing,
        suffix: str = "",
    ) -> None:
        """``suffix`` is appended to each tag."""
        self._kind, self._destination, self._access = kind, destination.rstrip("/"), access
        self._options, self._report = options, report
        self._scoped, self._dry_run = scoped, dry_run
        self._keep_going, self._retries, self._signing = keep_going, retries, signing
        self._suffix = suffix

    def run(self, items: Iterator[Item]) -> list[str]:
        """Copy each; a line for each that was copied, with its digest and where it is now.

        Raises:
            PyengineError: an image failed; with ``keep_going`` after all others were tried.
        """
        failures: list[str] = []
        done: list[str] = []
        for item in items:
            there = self._place(item)
            if self._dry_run:
                self._report(f"Would have copied image {item.place} to {there}")
                continue
            self._report(f"Copying image {item.place} to {there}")
            try:
                done.append(f"{self._copy(item, there)} {there}")
            except PyengineError as error:
                if not self._keep_going:
                    raise
                log.warning(f"sync {item.place}: {error}")
                failures.append(str(item.place))
        if failures:
            raise ConfigError(f"sync: {len(failures)} images failed: {', '.join(failures)}")
        return done

    def _place(self, item: Item) -> Place:
        name = f"{item.scoped_name if self._scoped else item.name}{self._suffix}"
        path = f"{self._destination}/{name}"
        if self._kind == "docker":
            # A registry's port is no tag of the path that it becomes.
            head, slash, last = path.rpartition("/")
            if self._scoped:
                host, _, rest = head.partition("/")
                head = f"{host}/{rest.replace(':', '-')}"
            return names.parse(f"docker://{head}{slash}{last}")
        if self._kind == "oci":  # one layout, in which images share what they have in common
            return Place("oci", self._destination, name)
        return Place("dir", path)

    def _copy(self, item: Item, there: Place) -> str:
        reading = opening.Settings(access=item.access)
        writing = opening.Settings(access=self._access)
        self._options.sign = signer(there, self._signing)

        def once() -> str:
            return manifests.digest_of(
                copy_place(item.place, there, reading, writing, self._options, self._report)
            )

        return retrying(self._retries, once, self._report)
