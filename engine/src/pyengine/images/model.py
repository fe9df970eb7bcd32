"""What an image is to the rest of the engine."""

from __future__ import annotations

from pyengine import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Image:
    """One image of the store, with every name it has.

    Attributes:
        id: 64 hexadecimal digits, the sha256 of its config.
        names: ``registry/repository:tag``, sorted.
        repo_digests: ``registry/repository@sha256:...`` by which it was pulled.
        manifest_digest: ``sha256:...`` of the manifest kept as a blob.
        diff_ids: its layers, bottom first, as ``Storage`` takes them.
        created_at: by the image's own word, seconds since the epoch.
        size: bytes of the uncompressed layers and the config.
        is_list: it is a manifest list, which only looks like an image.
    """

    __slots__ = (
        "_config", "_config_text", "created_at", "diff_ids", "id", "is_list", "manifest_digest",
        "names", "repo_digests", "size",
    )  # fmt: skip

    def __init__(
        self,
        image_id: str,
        manifest_digest: str,
        config_text: str,
        created_at: float,
        size: int,
        names: list[str],
        repo_digests: list[str],
        diff_ids: list[str],
    ) -> None:
        self.id = image_id
        self.manifest_digest = manifest_digest
        self.created_at = created_at
        self.size = size
        self.names = names
        self.repo_digests = repo_digests
        self.diff_ids = diff_ids
        self.is_list = False
        self._config_text = config_text
        self._config: dict[str, Any] | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The whole image config (image-spec config.md): architecture, config, history, rootfs.

        What a container runs is below its key ``config``: Env, Cmd, Entrypoint, User ... Types
        were checked when the image was added.
        """
        if self._config is None:
            self._config = jsontext.loads(self._config_text)
        assert self._config is not None
        return self._config
