"""Sigstore signatures in a registry: an image of their own, tagged after the one that they sign."""

from __future__ import annotations

from pyengine.errors import ArchiveError
from pyengine.images import manifests
from pyengine.images.manifests import Manifest
from pyengine.images.trust.sigstore import Attachment
from pyengine.registry import uploads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.registry.client import Registry

_MAX_SIGNATURES = 128
_EMPTY_CONFIG: dict[str, Any] = {
    "architecture": "", "config": {}, "os": "", "rootfs": {"type": "layers", "diff_ids": []},
}  # fmt: skip


def read(registry: Registry, path: str, digest: str) -> list[bytes]:
    """The signatures of a manifest; none where the registry has none.

    Raises:
        RegistryError: or ArchiveError: they cannot be read, or are damaged.
    """
    found = registry.find_manifest(path, _tag(digest))
    if found is None:
        return []
    manifest = Manifest(*found, f"{registry.host}/{path}:{_tag(digest)}")
    if len(manifest.layers) > _MAX_SIGNATURES:
        raise ArchiveError(f"{registry.host}/{path}:{_tag(digest)}: too many signatures")
    return [
        Attachment(
            registry.small_blob(path, layer.digest),
            layer.media_type,
            {str(key): str(value) for key, value in layer.annotations.items()},
        ).to_bytes()
        for layer in manifest.layers
    ]


def write(registry: Registry, path: str, digest: str, signatures: list[bytes]) -> None:
    """Add signatures to those of a manifest.

    Raises:
        RegistryError: the registry refuses them.
    """
    found = registry.find_manifest(path, _tag(digest))
    where = f"{registry.host}/{path}:{_tag(digest)}"
    layers: list[dict[str, Any]] = []
    config = dict(_EMPTY_CONFIG)
    if found is not None:
        fields = manifests.parse(found[0], where)
        known = Manifest(*found, where)
        layers = fields["layers"]
        config = manifests.check_config(registry.small_blob(path, known.config.digest), where)
    diff_ids = list(config["rootfs"].get("diff_ids") or [])
    for signature in signatures:
        one = Attachment.from_bytes(signature)
        payload = manifests.digest_of(one.payload)
        entry = {
            "mediaType": one.media_type, "digest": payload, "size": len(one.payload),
            "annotations": one.annotations,
        }  # fmt: skip
        if entry not in layers:
            _put_blob(registry, path, one.payload)
            layers.append(entry)
            diff_ids.append(payload)
    config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    data = manifests.encode_in_order(config)
    _put_blob(registry, path, data)
    manifest = manifests.of_image(data, layers, manifests.OCI_MANIFEST)
    uploads.put_manifest(registry, path, _tag(digest), manifest, manifests.OCI_MANIFEST)


def _tag(digest: str) -> str:
    return f"{digest.replace(':', '-')}.sig"


def _put_blob(registry: Registry, path: str, data: bytes) -> None:
    digest = manifests.digest_of(data)
    if not uploads.has_blob(registry, path, digest):
        uploads.put_blob(registry, path, digest, len(data), [data])
