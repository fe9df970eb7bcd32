"""Adding an image whose manifest and config are at hand and whose layers are on their way."""

from __future__ import annotations

import concurrent.futures
import contextlib
import time

from pyengine.errors import ArchiveError, RegistryError
from pyengine.images import manifests, reporting
from pyengine.storage.addition import Addition, LayerSource
from pyengine.storage.store import PARTIAL_KEPT_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from pyengine.database.intents import Intent
    from pyengine.images.manifests import Manifest
    from pyengine.images.store import Images
    from pyengine.images.transports.base import Source
    from pyengine.storage.addition import Fetch

# More only helps where the network is slow: decompressing and unpacking use the processors.
PARALLEL_LAYERS = 3
_SIGNATURE = "application/octet-stream"
_FIRST_COMPLETED = concurrent.futures.FIRST_COMPLETED


class NewImage:
    """What is to be added.

    Attributes:
        manifest: the image's own, checked.
        config: its config's bytes, of the digest that the manifest names.
        names: full names it gets.
        repository: where it was pulled from (``registry/path``), or empty.
        repo_digests: digests under which that repository knows it: its manifest's and its index's.
        resumable: whether layers that came completely are kept when the rest fails.
        signatures: of the manifest, kept to go on with it.
    """

    __slots__ = (
        "config", "manifest", "names", "repo_digests", "repository", "resumable", "signatures",
    )  # fmt: skip

    def __init__(
        self,
        manifest: Manifest,
        config: bytes,
        names: list[str],
        *,
        repository: str = "",
        repo_digests: tuple[str, ...] = (),
        resumable: bool = False,
        signatures: list[bytes] | None = None,
    ) -> None:
        self.manifest = manifest
        self.config = config
        self.names = names
        self.repository = repository
        self.repo_digests = repo_digests
        self.resumable = resumable
        self.signatures = signatures or []

    @property
    def id(self) -> str:
        """The image's id."""
        return self.manifest.config.digest.removeprefix("sha256:")


def signatures_of(source: Source, manifest: Manifest) -> list[bytes]:
    """The signatures of what the store will keep, which a manifest of schema 1 is not.

    Raises:
        RegistryError: or another error of the transport: they cannot be read.
    """
    digest = manifests.digest_of(manifest.data)
    return source.signatures(digest) if source.digest_of(manifest.data) == digest else []


def add_image(images: Images, new: NewImage, fetch: Fetch, report: Callable[[str], None]) -> str:
    """Put an image into the store, its layers in parallel; all of it becomes visible at once.

    Args:
        images: the store.
        new: what to add.
        fetch: gives a layer's bytes as they come, from a position on; called in other threads.
        report: takes podman's progress lines.

    Returns:
        The image's id.

    Raises:
        ArchiveError: something does not match its digest, or is not allowed.
        StorageError: something cannot be written.
        RegistryError: from ``fetch``.
    """
    new.manifest.check_is_image(f"image {new.names[0] if new.names else new.id[:12]}")
    where = f"image {new.id[:12]}: config"
    if manifests.digest_of(new.config) != new.manifest.config.digest:
        raise ArchiveError(f"{where}: its digest is {manifests.digest_of(new.config)}")
    config = manifests.check_config(new.config, where)
    diff_ids = config["rootfs"].get("diff_ids") or []
    if len(diff_ids) != len(new.manifest.layers):
        raise ArchiveError(
            f"{where}: {len(diff_ids)} diff_ids for {len(new.manifest.layers)} layers"
        )
    layers = [
        LayerSource(blob.digest, diff_id, blob.size, blob.media_type)
        for blob, diff_id in zip(new.manifest.layers, diff_ids, strict=True)
    ]
    data = {"resumable": new.resumable}
    undo = images.recover_addition
    with (
        images.database.intents.running("image-add", new.id, data, undo) as intent,
        _deciding_what_stays(intent),
    ):
        images.database.keep_reserve()
        images.storage.drop_partials(images.storage.partials(older_than_s=PARTIAL_KEPT_S))
        addition = Addition(images.storage, intent)
        small = {
            new.manifest.config.digest: (new.config, new.manifest.config.media_type),
            manifests.digest_of(new.manifest.data): (new.manifest.data, new.manifest.media_type),
        }
        signatures = {manifests.digest_of(one): (one, _SIGNATURE) for one in new.signatures}
        small |= signatures
        missing = addition.plan(layers, small)
        _add_layers(addition, layers, missing, fetch, report)
        report(f"Copying config {new.manifest.config.digest}")
        for digest, (blob, media_type) in small.items():
            addition.keep_blob(digest, blob, media_type)
        report("Writing manifest to image destination")
        images.storage.empty_trash(intent)
        with images.database.write(durable=True) as connection:
            _write_rows(connection, new, manifests.created_at(config), layers, list(small))
            connection.executemany(
                "INSERT OR IGNORE INTO image_signatures VALUES (?, ?, ?)",
                [(new.id, manifests.digest_of(new.manifest.data), one) for one in signatures],
            )
            images.put_names(connection, new.id, new.names)
            intent.finish(connection)
    return new.id


@contextlib.contextmanager
def _deciding_what_stays(intent: Intent) -> Iterator[None]:
    """Complete layers serve the next attempt only when the network or the user ended this one."""
    try:
        yield
    except RegistryError as error:
        intent.data["resumable"] = intent.data["resumable"] and error.transient
        raise
    except Exception:
        intent.data["resumable"] = False
        raise


def _add_layers(
    addition: Addition,
    layers: list[LayerSource],
    missing: list[LayerSource],
    fetch: Fetch,
    report: Callable[[str], None],
) -> None:
    wanted = {layer.digest for layer in missing}
    for layer in layers:
        state = "" if layer.digest in wanted else " skipped: already exists"
        report(f"Copying blob {layer.digest}{state}")
    if not missing:
        return

    def counted(layer: LayerSource, begin: int) -> Iterator[bytes]:
        chunks = fetch(layer, begin)
        return reporting.counted(report, layer.digest, layer.size, chunks, begin)

    pool = concurrent.futures.ThreadPoolExecutor(PARALLEL_LAYERS)
    try:
        staged = {pool.submit(addition.stage_layer, layer, counted): layer for layer in missing}
        pending = set(staged)
        while pending:
            done, pending = concurrent.futures.wait(pending, return_when=_FIRST_COMPLETED)
            addition.keep_layers({staged[one]: one.result() for one in done if not one.exception()})
            for future in done:
                future.result()
                reporting.finished(report, staged[future].digest)
    except BaseException as error:
        addition.stop()
        # A user who interrupts does not wait for a registry that may never answer: a thread that
        # does can make nothing once the staging directory is gone, and ends with the process.
        pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        raise
    pool.shutdown()


def _write_rows(
    connection: sqlite3.Connection,
    new: NewImage,
    created_at: float,
    layers: list[LayerSource],
    small_blobs: list[str],
) -> None:
    size = len(new.config)
    for layer in layers:
        query = "SELECT size FROM layers WHERE diff_id = ?"
        size += connection.execute(query, (layer.diff_id,)).fetchone()[0]
    manifest_digest = manifests.digest_of(new.manifest.data)
    exists = connection.execute("SELECT 1 FROM images WHERE id = ?", (new.id,)).fetchone()
    if exists is None:
        connection.execute(
            "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?)",
            (new.id, manifest_digest, new.config.decode(), created_at, time.time(), size),
        )
        connection.executemany(
            "INSERT INTO image_layers VALUES (?, ?, ?)",
            [(new.id, position, layer.diff_id) for position, layer in enumerate(layers)],
        )
    connection.executemany(
        "INSERT OR IGNORE INTO image_blobs VALUES (?, ?)",
        [(new.id, digest) for digest in (*small_blobs, *(layer.digest for layer in layers))],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO digests VALUES (?, ?, ?)",
        [(new.repository, digest, new.id) for digest in new.repo_digests],
    )
