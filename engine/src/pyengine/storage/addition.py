"""Adding blobs and layers: made in an intent's staging directory, synced, renamed, one row each."""

from __future__ import annotations

import hashlib
import os
import threading

from pyengine import log, syscalls
from pyengine.errors import ArchiveError, StorageError
from pyengine.storage import trees
from pyengine.storage.unpacking import Unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from pyengine.database.intents import Intent
    from pyengine.storage.store import Storage

    # Gives a layer's bytes as they come, from a position on; called in other threads.
    Fetch = Callable[["LayerSource", int], Iterable[bytes]]

_CHUNK_BYTES = 1 << 20


class LayerSource:
    """A layer to be added.

    Attributes:
        digest: of the bytes as they come, compressed or not.
        diff_id: of the uncompressed tar.
        size: bytes as they come.
        media_type: kept with the blob.
    """

    __slots__ = ("diff_id", "digest", "media_type", "size")

    def __init__(self, digest: str, diff_id: str, size: int, media_type: str) -> None:
        self.digest = digest
        self.diff_id = diff_id
        self.size = size
        self.media_type = media_type


class Addition:
    """The files of one intent. ``stage_layer`` may run in any thread, the rest in the main one."""

    def __init__(self, storage: Storage, intent: Intent) -> None:
        self._storage = storage
        self._database = storage.database
        self._intent = intent
        self.directory = storage.staging_path(intent)
        self._stop = threading.Event()
        self._running: set[Unpacking] = set()
        os.makedirs(self.directory, mode=0o700, exist_ok=True)

    def plan(self, layers: Iterable[LayerSource], digests: Iterable[str]) -> list[LayerSource]:
        """Hold everything the image needs, so that nobody removes it meanwhile.

        Args:
            layers: the image's layers, bottom first.
            digests: of its manifests and its config.

        Returns:
            The layers that must be fetched, each once.
        """
        missing: dict[str, LayerSource] = {}
        with self._database.write() as connection:

            def lacks(table: str, column: str, digest: str) -> bool:
                query = f"SELECT 1 FROM {table} WHERE {column} = ?"
                return connection.execute(query, (digest,)).fetchone() is None

            fresh = {digest: lacks("blobs", "digest", digest) for digest in digests}
            for layer in layers:
                blob = lacks("blobs", "digest", layer.digest)
                unpacked = lacks("layers", "diff_id", layer.diff_id)
                fresh[layer.digest] = fresh.get(layer.digest, False) or blob
                fresh[layer.diff_id] = fresh.get(layer.diff_id, False) or unpacked
                if blob or unpacked:
                    missing[layer.digest] = layer
            connection.executemany(
                "INSERT OR REPLACE INTO holds VALUES (?, ?, ?)",
                [(self._intent.id, digest, int(is_fresh)) for digest, is_fresh in fresh.items()],
            )
        return list(missing.values())

    def stage_layer(self, layer: LayerSource, fetch: Fetch) -> int:
        """Write, verify and unpack a layer while its bytes arrive.

        What an earlier attempt left of it is read first, and only the rest is fetched. A beginning
        that turns out to be wrong, as after a power cut, is forgotten and all of it fetched.

        Returns:
            Bytes of the uncompressed tar.

        Raises:
            ArchiveError: a digest or a size is wrong, or the tar is broken or not allowed.
            StorageError: it could not be written.
        """
        begin = self._claim_partial(layer)
        if not begin:
            return self._stage(layer, fetch, 0)
        try:
            return self._stage(layer, fetch, begin)
        except ArchiveError as error:
            log.warning(f"{error}; fetching it again from its beginning")
            trees.remove_tree(self._staged(layer.digest, "layer"))
            os.unlink(self._staged(layer.digest, "blob"))
        return self._stage(layer, fetch, 0)

    def _claim_partial(self, layer: LayerSource) -> int:
        """Take what is there of the blob, if anything; whoever renames it first has it."""
        partial = f"{self._storage.root}/partial/{layer.digest.removeprefix('sha256:')}"
        staged = self._staged(layer.digest, "blob")
        try:
            os.rename(partial, staged)
        except FileNotFoundError:
            return 0
        size = os.path.getsize(staged)
        if size > layer.size:
            os.unlink(staged)
            return 0
        return size

    def _stage(self, layer: LayerSource, fetch: Fetch, begin: int) -> int:
        directory = self._staged(layer.digest, "layer")
        os.mkdir(directory, 0o755)
        unpacking = Unpacking(directory, f"layer {layer.digest}")
        self._running.add(unpacking)
        try:
            self._write_blob(layer, fetch, begin, unpacking)
            unpacked = unpacking.finish()
        except BaseException:
            unpacking.abort()
            raise
        finally:
            self._running.discard(unpacking)
        if unpacked.diff_id != layer.diff_id:
            raise ArchiveError(
                f"verify layer {layer.digest}: its uncompressed digest is {unpacked.diff_id}, "
                f"the image's config says {layer.diff_id}"
            )
        if unpacked.skipped_attributes:
            log.warning(
                f"layer {layer.digest}: this file system took {unpacked.skipped_attributes} "
                "extended attributes not"
            )
        return unpacked.size

    def stop(self) -> None:
        """Let every ``stage_layer`` end with an error, at its next bytes at the latest."""
        self._stop.set()
        for unpacking in list(self._running):
            unpacking.kill()

    def keep_layers(self, sizes: dict[LayerSource, int]) -> None:
        """Make staged layers and their blobs part of the store: synced once, renamed, their rows.

        Args:
            sizes: what ``stage_layer`` answered for each.
        """
        if not sizes:
            return
        self._sync()
        with self._database.locks.hold("storage"), self._database.write() as connection:
            for layer, size in sizes.items():
                self._keep_layer(connection, layer, size)

    def _keep_layer(self, connection: sqlite3.Connection, layer: LayerSource, size: int) -> None:
        known = "SELECT 1 FROM layers WHERE diff_id = ?"
        if connection.execute(known, (layer.diff_id,)).fetchone() is None:
            self._move(self._staged(layer.digest, "layer"), self._storage.layer_path(layer.diff_id))
            connection.execute("INSERT INTO layers VALUES (?, ?)", (layer.diff_id, size))
        self._move(self._staged(layer.digest, "blob"), self._storage.blob_path(layer.digest))
        connection.execute(
            "INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)",
            (layer.digest, layer.size, layer.media_type),
        )

    def keep_blob(self, digest: str, data: bytes, media_type: str) -> None:
        """Make a small blob, such as a manifest, part of the store."""
        staged = self._staged(digest, "blob")
        try:
            with open(staged, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(f"write blob {digest}: {error.strerror}") from error
        with self._database.locks.hold("storage"), self._database.write() as connection:
            os.rename(staged, self._storage.blob_path(digest))
            connection.execute(
                "INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)", (digest, len(data), media_type)
            )

    def _write_blob(
        self, layer: LayerSource, fetch: Fetch, begin: int, unpacking: Unpacking
    ) -> None:
        digest, size = hashlib.sha256(), 0
        path = self._staged(layer.digest, "blob")
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                while size < begin and (chunk := os.read(fd, min(_CHUNK_BYTES, begin - size))):
                    self._check_stop(layer)
                    digest.update(chunk)
                    size += len(chunk)
                    unpacking.feed(chunk)
                for chunk in fetch(layer, size) if size < layer.size or not begin else ():
                    self._check_stop(layer)
                    digest.update(chunk)
                    size += len(chunk)
                    view = memoryview(chunk)
                    while view:
                        view = view[os.write(fd, view) :]
                    unpacking.feed(chunk)
            finally:
                os.close(fd)
        except OSError as error:
            raise StorageError(f"write layer {layer.digest}: {error.strerror}") from error
        if size != layer.size:
            raise ArchiveError(
                f"verify layer {layer.digest}: {size} bytes came, its manifest says {layer.size}"
            )
        if f"sha256:{digest.hexdigest()}" != layer.digest:
            raise ArchiveError(
                f"verify layer {layer.digest}: the digest of what came is "
                f"sha256:{digest.hexdigest()}"
            )

    def _check_stop(self, layer: LayerSource) -> None:
        if self._stop.is_set():
            raise StorageError(f"add layer {layer.digest}: another layer failed")

    def _move(self, staged: str, target: str) -> None:
        """Rename into place; what no row accounted for there goes first."""
        if os.path.isdir(target):
            os.rename(target, f"{staged}.orphan")
        os.rename(staged, target)

    def _sync(self) -> None:
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syscalls.syncfs(fd)
        except OSError as error:
            raise StorageError(f"sync {self.directory}: {error.strerror}") from error
        finally:
            os.close(fd)

    def _staged(self, digest: str, kind: str) -> str:
        return f"{self.directory}/{kind}-{digest.removeprefix('sha256:')}"
