"""What inspect and history tell about an image, under podman's keys."""

from __future__ import annotations

from pyengine import jsontext
from pyengine.images import manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.images.model import Image
    from pyengine.storage.store import Storage


def inspect(image: Image, storage: Storage) -> dict[str, Any]:
    """Everything about an image."""
    config = image.config
    settings = config.get("config") or {}
    layers = [storage.layer_path(diff_id) for diff_id in image.diff_ids]
    data = {"UpperDir": layers[-1]} if layers else {}
    if layers[:-1]:
        data["LowerDir"] = ":".join(reversed(layers[:-1]))
    return {
        "Id": image.id,
        "Digest": image.manifest_digest,
        "RepoTags": image.names,
        "RepoDigests": image.repo_digests,
        "Parent": "",
        "Comment": next((step.get("comment", "") for step in reversed(_steps(image))), ""),
        "Created": config.get("created") or "0001-01-01T00:00:00Z",
        "Config": settings,
        "Version": config.get("docker_version", ""),
        "Author": config.get("author", ""),
        "Architecture": config.get("architecture", ""),
        "Os": config.get("os", ""),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": storage.driver, "Data": data},
        "RootFS": {"Type": "layers", "Layers": image.diff_ids},
        "Labels": settings.get("Labels"),
        "Annotations": _annotations(image, storage),
        "User": settings.get("User", ""),
        "History": _steps(image),
        "NamesHistory": image.names,
    }


def _annotations(image: Image, storage: Storage) -> dict[str, Any]:
    """Of the manifest that the image came with."""
    with open(storage.blob_path(image.manifest_digest), "rb") as file:
        found: dict[str, Any] = jsontext.loads(file.read()).get("annotations") or {}
    return found


class Step:
    """One line of history: what made a layer, or only changed the config.

    Attributes:
        image_id: of the whole image, for its last step only.
        created_at: seconds since the epoch.
        size: bytes of its layer's uncompressed tar.
    """

    __slots__ = ("comment", "created_at", "created_by", "image_id", "size")

    def __init__(
        self, image_id: str, created_at: float, created_by: str, size: int, comment: str
    ) -> None:
        self.image_id = image_id
        self.created_at = created_at
        self.created_by = created_by
        self.size = size
        self.comment = comment


def history(image: Image, layer_sizes: list[int]) -> list[Step]:
    """The steps that made an image, the last one first.

    Args:
        image: which.
        layer_sizes: bytes of each of its layers, bottom first.
    """
    sizes = iter(layer_sizes)
    steps = [
        Step(
            "",
            manifests.created_at(step),
            str(step.get("created_by", "")),
            0 if step.get("empty_layer") else next(sizes, 0),
            str(step.get("comment", "")),
        )
        for step in _steps(image)
    ]
    created_at = image.created_at
    steps += [Step("", created_at, "", size, "") for size in sizes]  # layers nobody tells of
    if steps:
        steps[-1].image_id = image.id
    return steps[::-1]


def _steps(image: Image) -> list[dict[str, Any]]:
    listed = image.config.get("history")
    if not isinstance(listed, list):
        return []
    return [step for step in listed if isinstance(step, dict)]
