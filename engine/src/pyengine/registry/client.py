"""Reads from one registry (OCI distribution-spec 1.1): manifests, and blobs as they arrive.

This is the only module that imports urllib3.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import threading

import urllib3

from pyengine.errors import RegistryError
from pyengine.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
MAX_MANIFEST_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 18
_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S = 15.0, 60.0
# How often one blob may break off; every resumption goes on where the last one ended.
_RESUMPTIONS = 5
_HUB_HOST = "registry-1.docker.io"
_CHALLENGE = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Registry:
    """One registry; any number of threads may read at once."""

    def __init__(
        self, host: str, *, tls_verify: bool | None, credentials: tuple[str, str] | None
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            host: as in an image's name, with the port if there is one.
            tls_verify: False accepts any certificate and plain HTTP; None is True, except that
                plain HTTP is fine on this machine's own addresses.
            credentials: user and password, sent only when asked for.
        """
        self.host = host
        self._address = _HUB_HOST if host == "docker.io" else host
        self._plain_allowed = tls_verify is False or (tls_verify is None and _is_loopback(host))
        self._credentials = credentials
        self._authorization: dict[str, str] = {}
        self._base: str | None = None
        self._lock = threading.Lock()
        retries = urllib3.Retry(
            total=4, connect=0, read=1, other=0, redirect=5, status=3, backoff_factor=0.2,
            status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False,
        )  # fmt: skip
        self._pool = urllib3.PoolManager(
            maxsize=8,
            retries=retries,
            timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S),
            cert_reqs="CERT_NONE" if tls_verify is False else "CERT_REQUIRED",
            headers={"User-Agent": f"pyengine/{VERSION}"},
        )

    def manifest(self, path: str, reference: str) -> tuple[bytes, str]:
        """A manifest or index and its media type.

        Args:
            path: the repository below the registry.
            reference: a tag or a digest, which is verified.

        Raises:
            RegistryError: it is not there, may not be read, or is not what its digest says.
        """
        what = f"reading manifest {reference} in {self.host}/{path}"
        response = self._get(
            f"/v2/{path}/manifests/{reference}", what, path, {"Accept": ", ".join(MANIFEST_TYPES)}
        )
        data = self._small_body(response, what)
        expected = reference if reference.startswith("sha256:") else None
        expected = expected or response.headers.get("Docker-Content-Digest")
        _verify(data, expected, what)
        return data, (response.headers.get("Content-Type") or "").partition(";")[0].strip()

    def small_blob(self, path: str, digest: str) -> bytes:
        """A config.

        Raises:
            RegistryError: it is not there, too long, or is not what its digest says.
        """
        what = f"reading blob {digest} in {self.host}/{path}"
        data = self._small_body(self._get(f"/v2/{path}/blobs/{digest}", what, path, {}), what)
        _verify(data, digest, what)
        return data

    def blob(self, path: str, digest: str, size: int) -> Iterator[bytes]:
        """A layer's bytes as they arrive; a broken transfer is taken up where it ended.

        Digest and size are the caller's to verify, but no more than ``size`` bytes come.

        Raises:
            RegistryError: it is not there, or the transfer breaks off again and again.
        """
        what = f"reading blob {digest} in {self.host}/{path}"
        position = 0
        for attempt in range(_RESUMPTIONS + 1):
            headers = {"Range": f"bytes={position}-"} if position else {}
            response = self._get(f"/v2/{path}/blobs/{digest}", what, path, headers)
            if position and response.status != 206:
                raise RegistryError(
                    f"{what}: broke off after {position} bytes and cannot be resumed",
                    transient=True,
                )
            broken = "the registry closed the connection"
            try:
                for chunk in response.stream(_CHUNK_BYTES, decode_content=False):
                    position += len(chunk)
                    if position > size:
                        raise RegistryError(f"{what}: longer than the {size} bytes it should have")
                    yield chunk
            except urllib3.exceptions.HTTPError as error:
                broken = _cause(error)
            finally:
                response.release_conn()
            if position == size:
                return
            if attempt == _RESUMPTIONS:
                raise RegistryError(
                    f"{what}: broke off after {position} of {size} bytes: {broken}", transient=True
                )

    def _get(
        self, url_path: str, what: str, repository: str, headers: dict[str, str]
    ) -> urllib3.BaseHTTPResponse:
        """An answer with status 2xx whose body is not read yet."""
        base = self._ping()
        response = self._request(f"{base}{url_path}", what, {**headers, **self._authorization})
        if response.status == 401:
            challenge = response.headers.get("WWW-Authenticate", "")
            response.drain_conn()
            response.release_conn()
            authorization = self._authorize(challenge, what, repository)
            response = self._request(f"{base}{url_path}", what, {**headers, **authorization})
        if response.status >= 300:
            data = response.read(1 << 16)
            response.release_conn()
            raise RegistryError(
                f"{what}: {_refusal(response.status, data)}",
                transient=response.status == 429 or response.status >= 500,
            )
        return response

    def _request(self, url: str, what: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request("GET", url, headers=headers, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise RegistryError(f"{what}: {_cause(error)}", transient=True) from error

    def _ping(self) -> str:
        """The base address: https, or http where that is allowed and https does not answer."""
        with self._lock:
            if self._base is None:
                self._base = self._find_base()
            return self._base

    def _find_base(self) -> str:
        schemes = ["https", "http"] if self._plain_allowed else ["https"]
        causes = []
        for scheme in schemes:
            url = f"{scheme}://{self._address}"
            try:
                response = self._pool.request(
                    "GET", f"{url}/v2/", preload_content=False, retries=False, redirect=False
                )
            except urllib3.exceptions.HTTPError as error:
                causes.append(f"{scheme}: {_cause(error)}")
                continue
            response.drain_conn()
            response.release_conn()
            return url
        raise RegistryError(
            f"pinging container registry {self.host}: {'; '.join(dict.fromkeys(causes))}",
            transient=True,
        )

    def _authorize(self, challenge: str, what: str, repository: str) -> dict[str, str]:
        """Answer a 401: with a token from where the registry says, or with the credentials."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._credentials:
            headers = _basic(self._credentials)
        elif scheme.lower() == "bearer":
            headers = self._fetch_token(dict(_CHALLENGE.findall(rest)), what, repository)
        else:
            raise RegistryError(f"{what}: unauthorized: authentication required")
        self._authorization = headers
        return headers

    def _fetch_token(self, challenge: dict[str, str], what: str, repository: str) -> dict[str, str]:
        import json
        from urllib.parse import urlencode

        realm = challenge.get("realm", "")
        if not realm.startswith(("https://", "http://" if self._plain_allowed else "https://")):
            raise RegistryError(f"{what}: the registry names no usable token server: {realm!r}")
        query = {"scope": challenge.get("scope") or f"repository:{repository}:pull"}
        if challenge.get("service"):
            query["service"] = challenge["service"]
        headers = _basic(self._credentials) if self._credentials else {}
        response = self._request(
            f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}", what, headers
        )
        data = self._small_body(response, what)
        if response.status != 200:
            raise RegistryError(f"{what}: token: {_refusal(response.status, data)}")
        try:
            answer = json.loads(data)
            token = answer.get("token") or answer["access_token"]
        except (ValueError, KeyError, AttributeError) as error:
            raise RegistryError(f"{what}: {realm} sent no token") from error
        return {"Authorization": f"Bearer {token}"}

    def _small_body(self, response: urllib3.BaseHTTPResponse, what: str) -> bytes:
        try:
            data = response.read(MAX_MANIFEST_BYTES + 1)
        except urllib3.exceptions.HTTPError as error:
            raise RegistryError(f"{what}: {_cause(error)}", transient=True) from error
        finally:
            response.release_conn()
        if len(data) > MAX_MANIFEST_BYTES:
            raise RegistryError(f"{what}: longer than {MAX_MANIFEST_BYTES} bytes")
        return data


def _basic(credentials: tuple[str, str]) -> dict[str, str]:
    headers = urllib3.make_headers(basic_auth=":".join(credentials))
    return {"Authorization": headers["authorization"]}


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":\d+\Z", host) else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _verify(data: bytes, digest: str | None, what: str) -> None:
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if digest is not None and found != digest:
        raise RegistryError(f"{what}: the digest of what came is {found}, not {digest}")


def _refusal(status: int, body: bytes) -> str:
    """The registry's own words (distribution-spec, "Error codes"), or the status'."""
    import json

    words = {
        401: "unauthorized: authentication required",
        403: "denied: requested access to the resource is denied",
        404: "manifest unknown",
        429: "too many requests",
    }
    try:
        first = json.loads(body)["errors"][0]
        text = f"{str(first['code']).lower().replace('_', ' ')}: {first.get('message', '')}"
    except (ValueError, KeyError, IndexError, TypeError):
        text = words.get(status, "the registry failed")
    return f"{text.rstrip(': ')} (HTTP status {status})"


def _cause(error: BaseException) -> str:
    """The innermost reason of urllib3's nested errors, without its objects' addresses."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _cause(reason)
    inner = error.__cause__ or error.__context__
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(error) or type(error).__name__
