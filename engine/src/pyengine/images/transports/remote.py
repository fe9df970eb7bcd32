"""``docker://``: a registry."""

from __future__ import annotations

import os
import tempfile
import threading

from pyengine import log
from pyengine.errors import ConfigError, RegistryError
from pyengine.images import manifests, references
from pyengine.images.transports import files
from pyengine.images.transports.base import COMPRESSED, Destination, Source
from pyengine.registry import registries_conf, session, uploads
from pyengine.registry.client import Registry
from pyengine.registry.settings import Access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from pyengine.images.manifests import Descriptor
    from pyengine.images.references import Reference
    from pyengine.images.transports.base import Blob
    from pyengine.registry.registries_conf import Endpoint, Registries

    Answer = TypeVar("Answer")

PARALLEL_BLOBS = 3


class RemoteSource(Source):
    """An image in a registry, or in the first of its mirrors that has it."""

    def __init__(
        self, reference: Reference, access: Access, registries: Registries | None = None
    ) -> None:
        """Find out who has it.

        Raises:
            RegistryError: nobody; the last one's answer, and the others' before it.
            ConfigError: the registry is blocked.
        """
        self.reference = reference
        self.label = f"docker://{reference}"
        self.scope = ("docker", str(reference))
        self._registries_d = access.registries_d
        self._wanted = reference.digest or reference.tag or "latest"
        configured = registries or registries_conf.load()
        endpoints = configured.endpoints(reference.repository, by_digest=bool(reference.digest))
        self._foreign: dict[str, list[str]] = {}
        self._access, self._lock = access, threading.Lock()
        problems = []
        for number, endpoint in enumerate(endpoints):
            registry = connect(endpoint, access)
            try:
                self._top = registry.manifest(endpoint.path, self._wanted)
            except RegistryError as error:
                problems.append(error)
                log.debug(f"{endpoint}: {error}")
                continue
            self._connected, self._spare = [(registry, endpoint.path)], endpoints[number + 1 :]
            self._note_foreign(self._top[0])
            return
        raise _all_failed(f"initializing source {self.label}", problems)

    @property
    def registry(self) -> Registry:
        """Where the manifest came from."""
        return self._connected[0][0]

    @property
    def path(self) -> str:
        """The repository there."""
        return self._connected[0][1]

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """As in the base class."""
        if digest is None:
            return self._top
        found = self._anywhere(lambda registry, path: registry.manifest(path, digest))
        self._note_foreign(found[0])
        return found

    def blob(self, blob: Blob) -> Iterator[bytes]:
        """As in the base class."""
        return self.blob_from(blob, 0)

    def blob_from(self, blob: Blob, begin: int) -> Iterator[bytes]:
        """By a Range request; where one mirror breaks off, the next goes on."""
        if blob.digest in self._foreign:
            yield from self._elsewhere(blob, begin)
            return
        position, problems = begin, []
        for registry, path in self._places():
            try:
                for chunk in registry.blob(path, blob.digest, blob.size, position):
                    position += len(chunk)
                    yield chunk
            except RegistryError as error:
                problems.append(error)
                log.debug(f"{registry.host}/{path}: {error}")
                continue
            return
        raise _all_failed("", problems)

    def small_blob(self, blob: Blob) -> bytes:
        """As in the base class."""
        return self._anywhere(lambda registry, path: registry.small_blob(path, blob.digest))

    def size_of(self, digest: str) -> int:
        """As in the base class."""
        return self._anywhere(lambda registry, path: registry.blob_size(path, digest))

    def _anywhere(self, read: Callable[[Registry, str], Answer]) -> Answer:
        """What the first of the places answers that can."""
        problems = []
        for registry, path in self._places():
            try:
                return read(registry, path)
            except RegistryError as error:
                problems.append(error)
        raise _all_failed("", problems)

    def _places(self) -> Iterator[tuple[Registry, str]]:
        """Where the manifest came from, then those that come after it in the configuration."""
        index = 0
        while True:
            with self._lock:
                if index == len(self._connected):
                    if not self._spare:
                        return
                    endpoint = self._spare.pop(0)
                    self._connected.append((connect(endpoint, self._access), endpoint.path))
            yield self._connected[index]
            index += 1

    def _note_foreign(self, data: bytes) -> None:
        """Remember where layers come from that the registry may not keep."""
        if b'"urls"' not in data:
            return
        fields = manifests.parse(data, self.label)
        for index, layer in enumerate(fields.get("layers") or []):
            blob = manifests.Descriptor(layer, f"{self.label}: /layers/{index}")
            if blob.urls:
                self._foreign[blob.digest] = blob.urls

    def _elsewhere(self, blob: Blob, begin: int) -> Iterator[bytes]:
        """A foreign layer, from the first of its addresses that has it."""
        position, problems = 0, []
        for url in self._foreign[blob.digest]:
            what = f"reading foreign layer {blob.digest} from {url}"
            position = 0
            try:
                if not url.startswith(("https://", "http://")):
                    raise RegistryError(f"{what}: only http:// and https:// are read")
                for chunk in session.download(url, what):
                    position += len(chunk)
                    if position > begin:
                        yield chunk[max(0, len(chunk) - (position - begin)) :]
                        begin = position
            except RegistryError as error:
                problems.append(error)
                continue
            return
        raise _all_failed("", problems)

    def tags(self) -> list[str]:
        """As in the base class."""
        return self.registry.tags(self.path)

    def signatures(self, digest: str) -> list[bytes]:
        """From the lookaside storage that registries.d names, and from the registry itself."""
        from pyengine.registry import lookaside

        assert self.reference is not None
        repository = self.reference.repository
        found = lookaside.read(repository, digest, self._registries_d)
        if lookaside.uses_attachments(repository, self._registries_d):
            from pyengine.images.transports import attachments

            found += attachments.read(self.registry, self.path, digest)
        return found


class RemoteDestination(Destination):
    """A repository that is pushed to."""

    layers = COMPRESSED
    parallel = PARALLEL_BLOBS
    takes_foreign = True

    def __init__(self, reference: Reference, access: Access, *, spool: str | None = None) -> None:
        """``spool`` is where a layer that is made meanwhile waits until its digest is known."""
        self.reference = reference
        self.label = f"docker://{reference}"
        self._spool = spool
        if reference.digest and reference.tag:
            raise ConfigError(f"push to {self.label}: a tag or a digest, not both")
        endpoint = registries_conf.load().push_endpoint(reference.repository)
        self.registry, self.path = connect(endpoint, access), endpoint.path
        self._registries_d = access.registries_d

    def has_blob(self, blob: Descriptor, source: Source) -> bool:
        """There already, or taken over from the source's repository on the same registry."""
        if uploads.has_blob(self.registry, self.path, blob.digest):
            return True
        if isinstance(source, RemoteSource) and source.registry.host == self.registry.host:
            return uploads.mount_blob(self.registry, self.path, blob.digest, source.path)
        return False

    def put_blob(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """As in the base class."""
        uploads.put_blob(self.registry, self.path, blob.digest, blob.size, chunks)

    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """As in the base class."""
        if self._spool is None:
            return uploads.put_stream(self.registry, self.path, chunks)
        with tempfile.TemporaryDirectory(prefix="pyengine-layer-", dir=self._spool) as directory:
            digest, size = files.write_hashed(f"{directory}/layer", chunks, self.label)
            if not uploads.has_blob(self.registry, self.path, digest):
                written = files.Directory(directory, self.label).chunks("layer")
                uploads.put_blob(self.registry, self.path, digest, size, written)
        return digest, size

    def put_manifest(self, data: bytes, media_type: str, *, instance: bool) -> None:
        """Under its digest when an index follows or a digest was named, else under the tag."""
        digest = manifests.digest_of(data)
        if self.reference.digest and not instance and self.reference.digest != digest:
            raise ConfigError(
                f"push to {self.label}: the manifest's digest is {digest}; name a tag instead"
            )
        name = digest if instance or self.reference.digest else self.reference.tag or "latest"
        listed = uploads.put_manifest(self.registry, self.path, name, data, media_type)
        subject = manifests.parse(data, self.label).get("subject")
        if subject and not listed:
            self._list_referrer(manifests.Descriptor(subject, f"{self.label}: /subject"), data)

    def _list_referrer(self, subject: Descriptor, data: bytes) -> None:
        """What a registry without the referrers API leaves to clients: an index under a tag."""
        tag = subject.digest.replace(":", "-")
        found = self.registry.find_manifest(self.path, tag)
        index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": []}
        if found is not None:
            index = manifests.parse(found[0], f"{self.label}: {tag}")
        fields, digest = manifests.parse(data, self.label), manifests.digest_of(data)
        entry = {
            "mediaType": fields.get("mediaType") or manifests.OCI_MANIFEST,
            "digest": digest,
            "size": len(data),
            "artifactType": fields.get("artifactType")
            or (fields.get("config") or {}).get("mediaType"),
            "annotations": fields.get("annotations"),
        }
        listed = index["manifests"]
        if not isinstance(listed, list) or digest in (one.get("digest") for one in listed):
            return
        listed.append({key: value for key, value in entry.items() if value})
        data = manifests.encode_in_order(index)
        uploads.put_manifest(self.registry, self.path, tag, data, manifests.OCI_INDEX)

    def put_signatures(self, digest: str, signatures: list[bytes]) -> None:
        """Simple ones into the lookaside storage, sigstore's into the registry, as configured."""
        if not signatures:
            return
        from pyengine.images.transports import attachments
        from pyengine.images.trust import sigstore
        from pyengine.registry import lookaside

        repository = self.reference.repository
        simple = [one for one in signatures if not sigstore.is_sigstore(one)]
        attached = [one for one in signatures if sigstore.is_sigstore(one)]
        if attached and not lookaside.uses_attachments(repository, self._registries_d):
            raise ConfigError(
                f"write sigstore signatures to {self.label}: set use-sigstore-attachments to true "
                f"for {repository} in registries.d, or leave them out with --remove-signatures"
            )
        if simple:
            lookaside.write(repository, digest, simple, self._registries_d)
        if attached:
            attachments.write(self.registry, self.path, digest, attached)


def _all_failed(what: str, problems: list[RegistryError]) -> RegistryError:
    """One error of several; it may pass if one of them may."""
    said = "; ".join(dict.fromkeys(map(str, problems)))
    transient = any(problem.transient for problem in problems)
    return RegistryError(f"{what}: {said}" if what else said, transient=transient)


def connect(endpoint: Endpoint, access: Access) -> Registry:
    """The endpoint's registry; registries.conf may allow it to be insecure."""
    verify = False if access.tls_verify is None and endpoint.insecure else access.tls_verify
    own = Access(
        tls_verify=verify, cert_dir=access.cert_dir, login=access.login,
        auth_file=access.auth_file, anonymous=access.anonymous, bearer=access.bearer,
        registries_d=access.registries_d,
        agent=access.agent,
    )  # fmt: skip
    return Registry(endpoint.host, own, str(endpoint))


def registry_of(host: str, access: Access) -> Registry:
    """A whole registry, for search, login and lists."""
    insecure = registries_conf.load().is_insecure(host)
    return connect(registries_conf.Endpoint(host, insecure), access)


def candidates(text: str, registries: Registries) -> list[Reference]:
    """The full names that a name given to ``pull`` may stand for, in order.

    Raises:
        ConfigError: it is no name, or a short one that nothing resolves.
    """
    reference = references.parse(text)
    if reference.registry:
        return [reference]
    alias = registries.aliases.get(reference.path)
    if alias:
        full = references.parse(alias)
        return [references.Reference(full.registry, full.path, reference.tag, reference.digest)]
    search = registries.search
    if search is None:
        search = [references.DOCKER_HUB]
    if not search:
        raise ConfigError(
            f'short-name "{text}" did not resolve to an alias and no unqualified-search '
            f'registries are defined in "{registries.source}"'
        )
    found = [reference.at(host) for host in search]
    if len(found) > 1 and registries.mode != "disabled":
        return _chosen(text, reference.path, found, registries)
    return found


def _chosen(
    text: str, path: str, found: list[Reference], registries: Registries
) -> list[Reference]:
    """One that the user picks on a terminal; without one the mode decides."""
    if not (os.isatty(0) and os.isatty(2)):
        if registries.mode == "enforcing":
            raise ConfigError(
                f'short-name "{text}" fits {", ".join(map(str, found))} and short-name-mode is '
                "enforcing without a terminal to ask on: use a full name"
            )
        return found
    import click

    click.echo("? Please select an image:", err=True)
    for number, one in enumerate(found, 1):
        click.echo(f"  {number}. {one}", err=True)
    number = click.prompt("Number", type=click.IntRange(1, len(found)), default=1, err=True)
    pick = found[number - 1]
    registries.chosen = path, pick.repository
    return [pick]
