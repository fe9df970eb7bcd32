"""A registry (OCI distribution-spec 1.1): what is written to it, and removed from it."""

from __future__ import annotations

import hashlib

from pyengine.errors import RegistryError
from pyengine.registry.session import discard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import urllib3

    from pyengine.registry.client import Registry

# One PATCH carries this much where neither digest nor size is known before all was read.
UPLOAD_BYTES = 8 << 20


def pushing(path: str) -> str:
    """The scope of writing a repository."""
    return f"repository:{path}:pull,push"


def has_blob(registry: Registry, path: str, digest: str) -> bool:
    """Whether the repository has a blob.

    Raises:
        RegistryError: it does not say.
    """
    what = f"checking whether blob {digest} exists in {registry.host}/{path}"
    response = registry.session.request(
        "HEAD", f"/v2/{path}/blobs/{digest}", what, pushing(path), accept=(404,)
    )
    discard(response)
    return response.status == 200


def mount_blob(registry: Registry, path: str, digest: str, source_path: str) -> bool:
    """Let the registry take a blob over from another of its repositories; whether it did."""
    what = f"mounting blob {digest} from {source_path} in {registry.host}/{path}"
    query = f"mount={digest}&from={source_path}"
    scope = f"{pushing(path)} repository:{source_path}:pull"
    response = registry.session.request(
        "POST", f"/v2/{path}/blobs/uploads/?{query}", what, scope, headers={"Content-Length": "0"}
    )
    discard(response)
    if response.status == 201:
        return True
    _cancel(registry, response, what, path)
    return False


def put_blob(
    registry: Registry, path: str, digest: str, size: int, chunks: Iterable[bytes]
) -> None:
    """Upload a blob whose digest and size are known, in one request.

    Raises:
        RegistryError: the registry refuses, or the transfer breaks off.
    """
    what = f"writing blob {digest} to {registry.host}/{path}"
    location = _begin(registry, path, what)
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    discard(
        registry.session.request(
            "PUT", _with_digest(location, digest), what, pushing(path), headers=headers,
            body=chunks if size else b"",
        )
    )  # fmt: skip


def put_stream(registry: Registry, path: str, chunks: Iterable[bytes]) -> tuple[str, int]:
    """Upload a blob that is made while it is sent, in chunks.

    Returns:
        Its digest and size.

    Raises:
        RegistryError: the registry refuses, or the transfer breaks off.
    """
    what = f"writing a blob to {registry.host}/{path}"
    location = _begin(registry, path, what)
    digest, position = hashlib.sha256(), 0
    for piece in _gathered(chunks):
        digest.update(piece)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(piece)),
            "Content-Range": f"{position}-{position + len(piece) - 1}",
        }
        response = registry.session.request(
            "PATCH", location, what, pushing(path), headers=headers, body=piece
        )
        discard(response)
        location = _location(registry, response, what)
        position += len(piece)
    name = f"sha256:{digest.hexdigest()}"
    discard(
        registry.session.request(
            "PUT", _with_digest(location, name), what, pushing(path), body=b"",
            headers={"Content-Length": "0"},
        )
    )  # fmt: skip
    return name, position


def put_manifest(
    registry: Registry, path: str, reference: str, data: bytes, media_type: str
) -> bool:
    """Write a manifest or index under a tag or its digest.

    Returns:
        Whether the registry itself lists it among what refers to its subject.

    Raises:
        RegistryError: the registry refuses it.
    """
    what = f"writing manifest {reference} to {registry.host}/{path}"
    url = f"/v2/{path}/manifests/{reference}"
    headers = {"Content-Type": media_type}
    response = registry.session.request("PUT", url, what, pushing(path), headers=headers, body=data)
    discard(response)
    return "OCI-Subject" in response.headers


def delete_manifest(registry: Registry, path: str, digest: str) -> None:
    """Remove a manifest and its tags.

    Raises:
        RegistryError: it is not there, or the registry does not allow it.
    """
    what = f"deleting {registry.host}/{path}@{digest}"
    scope = f"repository:{path}:delete,pull,push"
    discard(registry.session.request("DELETE", f"/v2/{path}/manifests/{digest}", what, scope))


def _begin(registry: Registry, path: str, what: str) -> str:
    response = registry.session.request(
        "POST", f"/v2/{path}/blobs/uploads/", what, pushing(path),
        headers={"Content-Length": "0"}, body=b"",
    )  # fmt: skip
    discard(response)
    return _location(registry, response, what)


def _location(registry: Registry, response: urllib3.BaseHTTPResponse, what: str) -> str:
    """Where the upload goes on: on the registry, or on a storage that it names."""
    from urllib.parse import urljoin

    location = response.headers.get("Location")
    if not location:
        raise RegistryError(f"{what}: the registry does not say where the upload goes")
    url = urljoin(f"{registry.session.base()}/", location)
    if not url.startswith(("https://", f"{registry.session.base()}/")):
        raise RegistryError(f"{what}: the registry sends the upload to {url}, without TLS")
    return url


def _cancel(registry: Registry, response: urllib3.BaseHTTPResponse, what: str, path: str) -> None:
    """A refused mount has begun an upload, which nobody will end."""
    if response.headers.get("Location"):
        location = _location(registry, response, what)
        discard(
            registry.session.request(
                "DELETE", location, what, pushing(path), accept=(400, 401, 403, 404, 405)
            )
        )


def _with_digest(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={digest.replace(':', '%3A')}"


def _gathered(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of ``UPLOAD_BYTES``, the last one shorter."""
    pieces: list[bytes] = []
    size = 0
    for chunk in chunks:
        pieces.append(bytes(chunk))
        size += len(chunk)
        if size >= UPLOAD_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)
