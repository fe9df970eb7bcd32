"""A registry (OCI distribution-spec 1.1): what is read from it."""

from __future__ import annotations

import hashlib

from pyengine.errors import RegistryError
from pyengine.registry import credentials, schema1
from pyengine.registry.session import Session, discard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    import urllib3

    from pyengine.registry.settings import Access

MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    *schema1.TYPES,
)
CHUNK_BYTES = 1 << 18
# How often one blob may break off; every resumption goes on where the last one ended.
_RESUMPTIONS = 5
_PAGES = 1000


class Registry:
    """One registry; any number of threads may read at once."""

    def __init__(self, host: str, access: Access, repository: str = "") -> None:
        """Prepare; nothing is sent yet.

        Args:
            host: as in an image's name, with the port if there is one.
            access: what the command line says.
            repository: ``host/path`` whose credentials are used.

        Raises:
            ConfigError: auth.json or a certificate cannot be used.
        """
        self.host = host
        login = access.login
        if login is None and not access.anonymous and not access.bearer:
            login = credentials.find(repository or host, access.auth_file)
        self.session = Session(host, access, login)

    def manifest(self, path: str, reference: str) -> tuple[bytes, str]:
        """A manifest or index and its media type.

        Args:
            path: the repository below the registry.
            reference: a tag or a digest, which is verified.

        Raises:
            RegistryError: it is not there, may not be read, or is not what its digest says.
        """
        response = self._ask_manifest(path, reference, ())
        return self._manifest_of(response, path, reference)

    def find_manifest(self, path: str, reference: str) -> tuple[bytes, str] | None:
        """The same; None where the registry has none of this name."""
        response = self._ask_manifest(path, reference, (404,))
        if response.status == 404:
            discard(response)
            return None
        return self._manifest_of(response, path, reference)

    def _ask_manifest(
        self, path: str, reference: str, accept: tuple[int, ...]
    ) -> urllib3.BaseHTTPResponse:
        return self.session.request(
            "GET", f"/v2/{path}/manifests/{reference}", self._reading(path, reference),
            pulling(path), headers={"Accept": ", ".join(MANIFEST_TYPES)}, accept=accept,
        )  # fmt: skip

    def _reading(self, path: str, reference: str) -> str:
        return f"reading manifest {reference} in {self.host}/{path}"

    def _manifest_of(
        self, response: urllib3.BaseHTTPResponse, path: str, reference: str
    ) -> tuple[bytes, str]:
        what = self._reading(path, reference)
        data = self.session.small_body(response, what)
        expected = reference if reference.startswith("sha256:") else None
        expected = expected or response.headers.get("Docker-Content-Digest")
        media_type = (response.headers.get("Content-Type") or "").partition(";")[0].strip()
        signed = schema1.payload(data, what) if media_type in schema1.TYPES else data
        _verify(signed, expected, what)
        return data, media_type

    def blob_size(self, path: str, digest: str) -> int:
        """Bytes of a blob.

        Raises:
            RegistryError: it is not there, or the registry does not say.
        """
        what = f"reading blob {digest} in {self.host}/{path}"
        response = self.session.request("HEAD", f"/v2/{path}/blobs/{digest}", what, pulling(path))
        discard(response)
        length = response.headers.get("Content-Length", "")
        if not length.isdigit():
            raise RegistryError(f"{what}: the registry does not say how long it is")
        return int(length)

    def small_blob(self, path: str, digest: str) -> bytes:
        """A config.

        Raises:
            RegistryError: it is not there, too long, or is not what its digest says.
        """
        what = f"reading blob {digest} in {self.host}/{path}"
        response = self.session.request("GET", f"/v2/{path}/blobs/{digest}", what, pulling(path))
        data = self.session.small_body(response, what)
        _verify(data, digest, what)
        return data

    def blob(self, path: str, digest: str, size: int, begin: int = 0) -> Iterator[bytes]:
        """A layer's bytes as they arrive; a broken transfer is taken up where it ended.

        Digest and size are the caller's to verify, but no more than ``size`` bytes come.

        Args:
            path: the repository below the registry.
            digest: of the blob.
            size: of the whole blob.
            begin: how many bytes are at hand already; a registry that cannot go on from there
                sends them again, and they are skipped.

        Raises:
            RegistryError: it is not there, or the transfer breaks off again and again.
        """
        what = f"reading blob {digest} in {self.host}/{path}"
        position = begin
        for attempt in range(_RESUMPTIONS + 1):
            headers = {"Range": f"bytes={position}-"} if position else {}
            response = self.session.request(
                "GET", f"/v2/{path}/blobs/{digest}", what, pulling(path), headers=headers
            )
            offset = _first_byte(response, position, what)
            broken = "the registry closed the connection"
            try:
                for chunk in self.session.stream(response, CHUNK_BYTES):
                    fresh = chunk[max(0, position - offset) :]
                    offset += len(chunk)
                    position += len(fresh)
                    if position > size:
                        raise RegistryError(f"{what}: longer than the {size} bytes it should have")
                    if fresh:
                        yield fresh
            except RegistryError as error:
                if not error.transient:
                    raise
                broken = str(error)
            if position == size:
                return
            if attempt == _RESUMPTIONS:
                raise RegistryError(
                    f"{what}: broke off after {position} of {size} bytes: {broken}", transient=True
                )

    def tags(self, path: str) -> list[str]:
        """Every tag of a repository, in the registry's order.

        Raises:
            RegistryError: it has no such repository, or refuses.
        """
        what = f"fetching tags list of {self.host}/{path}"
        tags: list[str] = []
        for page in self._pages(f"/v2/{path}/tags/list", what, pulling(path)):
            tags += _names(page, "tags", what)
        return tags

    def catalog(self) -> list[str]:
        """Every repository, if the registry tells."""
        what = f"listing the repositories of {self.host}"
        names: list[str] = []
        for page in self._pages("/v2/_catalog", what, "registry:catalog:*"):
            names += _names(page, "repositories", what)
        return names

    def search(self, term: str, limit: int) -> list[dict[str, object]] | None:
        """Docker's old search; None where the registry has none."""
        import json
        from urllib.parse import urlencode

        what = f"searching {self.host} for {term}"
        query = urlencode({"q": term, "n": limit})
        response = self.session.request(
            "GET", f"/v1/search?{query}", what, "", accept=(400, 401, 403, 404, 405)
        )
        data = self.session.small_body(response, what)
        if response.status != 200:
            return None
        try:
            results = json.loads(data)["results"]
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryError(f"{what}: its answer is not a search result") from error
        return [one for one in results if isinstance(one, dict)][:limit]

    def _pages(self, url: str, what: str, scope: str) -> Iterator[object]:
        """JSON answers, following the links to the next page (distribution-spec)."""
        import json
        from urllib.parse import urljoin

        for _ in range(_PAGES):
            response = self.session.request("GET", url, what, scope)
            data = self.session.small_body(response, what)
            try:
                yield json.loads(data)
            except ValueError as error:
                raise RegistryError(f"{what}: its answer is not JSON") from error
            link = response.headers.get("Link", "")
            if 'rel="next"' not in link or not link.startswith("<"):
                return
            base = f"{self.session.base()}/"
            following = urljoin(f"{base.rstrip('/')}{url}", link[1:].partition(">")[0])
            if not following.startswith(base):
                raise RegistryError(f"{what}: the next page is on another host: {following}")
            url = following.removeprefix(base.rstrip("/"))
        raise RegistryError(f"{what}: more than {_PAGES} pages")


def _first_byte(response: urllib3.BaseHTTPResponse, wanted: int, what: str) -> int:
    """Where the answer to a Range request begins: there, or at the beginning (RFC 9110, 14.4)."""
    if response.status != 206:
        return 0
    unit, _, place = response.headers.get("Content-Range", f"bytes {wanted}-").partition(" ")
    first = place.partition("-")[0]
    if unit != "bytes" or not first.isdigit() or int(first) > wanted:
        discard(response)
        raise RegistryError(f"{what}: asked for byte {wanted}, the registry sends {unit} {place}")
    return int(first)


def pulling(path: str) -> str:
    """The scope of reading a repository."""
    return f"repository:{path}:pull"


def _names(page: object, key: str, what: str) -> list[str]:
    found = page.get(key) if isinstance(page, dict) else None
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise RegistryError(f"{what}: {key} in its answer is not a list of strings")
    return found


def _verify(data: bytes, digest: str | None, what: str) -> None:
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if digest is not None and found != digest:
        raise RegistryError(f"{what}: the digest of what came is {found}, not {digest}")
