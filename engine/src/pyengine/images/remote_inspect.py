"""What ``skopeo inspect`` tells of an image that is not in the store."""

from __future__ import annotations

from pyengine.images import manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.images.manifests import Manifest
    from pyengine.images.transports.base import Source


def describe(
    source: Source, manifest: Manifest, digests: list[str], config: bytes, *, tags: bool
) -> dict[str, Any]:
    """Skopeo's keys.

    Args:
        source: where it is.
        manifest: of the image.
        digests: that led to it; the first is of what the source's name stands for.
        config: the image's.
        tags: whether to ask a registry for the repository's tags.

    Raises:
        RegistryError: the registry does not tell its tags.
        ArchiveError: the config is none.
    """
    fields = manifests.parse(config, f"{source.label}: config")
    checked = (
        manifests.check_config(config, f"{source.label}: config") if "rootfs" in fields else {}
    )
    inner = checked.get("config") or {}
    found: dict[str, Any] = {}
    if source.reference is not None:
        found["Name"] = source.reference.repository
        if source.reference.tag and not tags:
            found["Tag"] = source.reference.tag
    if source.tag_within:
        found["Tag"] = source.tag_within
    found |= {
        "Digest": digests[0],
        "RepoTags": source.tags() if tags else [],
        "Created": checked.get("created"),
        "DockerVersion": checked.get("docker_version", ""),
        "Labels": inner.get("Labels"),
        "Architecture": checked.get("architecture", ""),
        "Os": checked.get("os", ""),
        "Layers": [layer.digest for layer in manifest.layers],
        "LayersData": [
            {
                "MIMEType": layer.media_type,
                "Digest": layer.digest,
                "Size": layer.size,
                "Annotations": layer.annotations or None,
            }
            for layer in manifest.layers
        ],
        "Env": inner.get("Env"),
    }
    return found
