"""What lies below the storage root, and containers' root file systems made of it (docs/adr/0005).

pyengine.db            the truth: a file that no row accounts for is an orphan
blobs/sha256/HEX       manifests, configs and layers as they came, as in an OCI image layout
layers/HEX             unpacked layers under their diff id, in overlay's form
containers/ID          diff, work and merged (overlay), or only merged (vfs)
                       mapped: its layers with the owners of a user namespace, where overlay cannot
mounts/ID              images' trees that image mount shows
partial/HEX            beginnings of layers' blobs that a broken pull left, not verified
staging/               what an intent is making or removing
locks/                 one file per object
"""

from __future__ import annotations

import os
import time

from pyengine import jsontext, log
from pyengine.errors import NotFoundError, StorageError
from pyengine.storage import overlay, trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from pyengine.database.connection import Database
    from pyengine.database.intents import Intent
    from pyengine.storage.image_mounts import ImageMounts
    from pyengine.storage.overlay import IdMaps

# In a container's directory, where it has a user namespace of its own: how the owners in its layers
# are mapped as they are mounted, or a copy of the layers with other owners.
ID_MAPS = "id-maps"
MAPPED = "mapped"

# How long the beginning of a blob waits for the pull that goes on with it.
PARTIAL_KEPT_S = 7 * 86_400.0


class Storage:
    """One storage root. A method that takes a container id creates no database row of it."""

    def __init__(
        self, root: str, database: Database, driver: str | None, mount_program: str = ""
    ) -> None:
        """Use a storage root.

        Args:
            root: its directory.
            database: its database.
            driver: ``overlay``, ``vfs`` or None for the best that works.
            mount_program: mounts overlays instead of the kernel; empty for what was used before.
        """
        self.root = root
        self.database = database
        self._driver = driver
        self._mount_program = mount_program
        for name in ("blobs/sha256", "layers", "containers", "staging"):
            os.makedirs(f"{root}/{name}", mode=0o711, exist_ok=True)

    # Containers

    def record_layers(
        self, connection: sqlite3.Connection, container_id: str, diff_ids: Sequence[str]
    ) -> None:
        """Keep an image's layers for a container, in the transaction that makes its row.

        From then on they cannot be removed, whatever happens to the image.
        """
        connection.executemany(
            "INSERT INTO container_layers VALUES (?, ?, ?)",
            [(container_id, position, diff_id) for position, diff_id in enumerate(diff_ids)],
        )

    def create_container(
        self, container_id: str, diff_ids: Sequence[str], id_maps: IdMaps | None = None
    ) -> None:
        """Make the directories of a new container; its intent and row are the caller's.

        With the vfs driver this copies the layers, and where overlay cannot map owners too.
        Running it again after a failure is fine.

        Args:
            container_id: becomes a file name.
            diff_ids: the image's layers, bottom first; may be empty.
            id_maps: of a container with a user namespace of its own.

        Raises:
            StorageError: a layer is missing, or the disk is full.
        """
        directory = self.container_directory(container_id)
        if self.is_kept(container_id):
            return
        try:
            os.makedirs(f"{directory}/merged", mode=0o755, exist_ok=True)
            os.chmod(directory, 0o711)
            if self.driver == "overlay" and diff_ids:
                for name in ("diff", "work"):
                    os.makedirs(f"{directory}/{name}", mode=0o755, exist_ok=True)
                self._copy_top_attributes(diff_ids[-1], f"{directory}/diff", id_maps)
                if id_maps is not None and self.maps_owners:
                    with open(f"{directory}/{ID_MAPS}", "w", encoding="ascii") as file:
                        file.write(jsontext.dumps(id_maps))
                elif id_maps is not None:
                    trees.remove_tree(f"{directory}/{MAPPED}")
                    layers = map(self.layer_path, diff_ids)
                    trees.stack_layers(layers, f"{directory}/{MAPPED}", id_maps)
            else:
                merged = f"{directory}/merged"
                trees.stack_layers(map(self.layer_path, diff_ids), merged, id_maps)
                if not diff_ids:
                    os.chown(merged, *_on_host((0, 0), id_maps))
        except OSError as error:
            raise StorageError(
                f"create root file system of container {container_id}: {_reason(error)}"
            ) from error

    def keep(self, container_id: str) -> None:
        """Say that there is something in a root file system that was never started.

        Neither ``create_container`` nor a start that fails takes it away then.
        """
        with open(f"{self.container_directory(container_id)}/kept", "wb"):
            pass

    def is_kept(self, container_id: str) -> bool:
        """Whether ``keep`` was called."""
        return os.path.exists(f"{self.container_directory(container_id)}/kept")

    def mount(
        self,
        container_id: str,
        diff_ids: Sequence[str] | None = None,
        *,
        volatile: bool = False,
        label: str = "",
    ) -> str:
        """Make the root file system visible and return its path; mounted already is fine.

        Args:
            container_id: one that ``create_container`` made.
            diff_ids: its layers, where the caller has them at hand; else the database is asked.
            volatile: for ``--rm``: unmounts quickly, and can never be mounted again.
            label: the SELinux context of all files, where the driver can.

        Raises:
            NotFoundError: it has no directory.
            StorageError: the mount failed.
        """
        directory = self.container_directory(container_id)
        merged = f"{directory}/merged"
        if not os.path.isdir(merged):
            raise NotFoundError(f"mount container {container_id}: it has no root file system here")
        if not os.path.isdir(f"{directory}/diff") or os.path.ismount(merged):
            return merged
        overlay.mount(
            self.lower_directories(container_id, diff_ids),
            f"{directory}/diff",
            f"{directory}/work",
            merged,
            volatile=volatile,
            program=self.mount_program,
            id_maps=_read_id_maps(f"{directory}/{ID_MAPS}"),
            label=label,
        )
        return merged

    def lower_directories(
        self, container_id: str, diff_ids: Sequence[str] | None = None
    ) -> list[str]:
        """What is stacked below a container's changes, bottom first."""
        copy = f"{self.container_directory(container_id)}/{MAPPED}"
        if os.path.isdir(copy):
            return [copy]
        if diff_ids is None:
            diff_ids = self.container_layers(container_id)
        return [self.layer_path(diff_id) for diff_id in diff_ids]

    def allow_remount(self, container_id: str) -> None:
        """Let what was mounted with ``volatile`` be mounted again, before the next reboot.

        What was not synced to the disk is in the kernel's memory still.
        """
        mark = f"{self.container_directory(container_id)}/work/work/incompat"
        trees.remove_tree(mark)

    def unmount(self, container_id: str) -> None:
        """Detach the root file system, busy or not; not mounted is fine. Hold no lock here.

        Raises:
            StorageError: the kernel refuses.
        """
        overlay.unmount(f"{self.container_directory(container_id)}/merged")

    def remove(self, container_id: str) -> None:
        """Unmount and remove a container's directory; a missing one is fine. Hold no lock here.

        Raises:
            StorageError: something cannot be removed; running it again goes on from there.
        """
        trash = f"{self.root}/staging/container-{container_id}"
        try:
            self.unmount(container_id)
            trees.remove_tree(trash)
            try:
                os.rename(self.container_directory(container_id), trash)
            except FileNotFoundError:
                return
            trees.remove_tree(trash)
        except OSError as error:
            raise StorageError(
                f"remove root file system of container {container_id}: {_reason(error)}"
            ) from error

    def container_directory(self, container_id: str) -> str:
        """The container's own directory; files beside diff, work and merged are the caller's."""
        return f"{self.root}/containers/{container_id}"

    @property
    def image_mounts(self) -> ImageMounts:
        """Images' trees on the host."""
        from pyengine.storage.image_mounts import ImageMounts

        return ImageMounts(self)

    @property
    def driver(self) -> str:
        """``overlay`` or ``vfs``; tried once per storage root and then remembered."""
        if self._driver is None:
            self._driver = self._fact("driver") or self._probe_driver()
        return self._driver

    @property
    def mount_program(self) -> str:
        """What mounts overlays where the kernel does not, such as fuse-overlayfs; or empty.

        It is remembered, because a monitor that starts a container again reads no storage.conf.
        """
        known = self._fact("mount_program")
        if self._mount_program and self._mount_program != known:
            self._remember(mount_program=self._mount_program)
        return self._mount_program or known

    def _probe_driver(self) -> str:
        """Overlay of the kernel, then of fuse-overlayfs, then copies."""
        intent = self.database.intents.begin("image-files", "driver", {"paths": []})
        driver = "vfs"
        try:
            directory = self.staging_path(intent)
            os.makedirs(directory, mode=0o700)
            for program in self._mount_programs():
                if overlay.works(directory, program):
                    driver, self._mount_program = "overlay", program
                    break
        finally:
            self.empty_trash(intent)
            intent.finish()
        self._remember(driver=driver, mount_program=self._mount_program)
        return driver

    def unmount_probe(self, intent: Intent) -> None:
        """Detach what a process left that was killed while it tried a mount."""
        overlay.unmount(f"{self.staging_path(intent)}/merged")

    @property
    def maps_owners(self) -> bool:
        """Whether overlays can show other owners than their layers have; tried once per kernel."""
        kernel = os.uname().release
        known, _, answer = self._fact("maps_owners").rpartition(" ")
        if known != kernel:
            directory = f"{self.root}/staging/probe-{os.getpid()}"
            os.makedirs(directory)
            try:
                ids = [[0, 1, 1]]
                works = not self.mount_program and overlay.works(directory, id_maps=(ids, ids))
            finally:
                os.rmdir(directory)
            answer = "yes" if works else "no"
            self._remember(maps_owners=f"{kernel} {answer}")
        return answer == "yes"

    def _mount_programs(self) -> Iterator[str]:
        """What may mount an overlay, the kernel (``""``) or what was asked for first."""
        yield self._mount_program
        import shutil  # the first is nearly always the last

        found = shutil.which("fuse-overlayfs")
        if found:
            yield found

    def _fact(self, key: str) -> str:
        with self.database.read() as connection:
            row = connection.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def _remember(self, **facts: str) -> None:
        with self.database.write() as connection:
            connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())

    def container_layers(self, container_id: str) -> list[str]:
        """The diff ids of a container's layers, bottom first."""
        with self.database.read() as connection:
            rows = connection.execute(
                "SELECT diff_id FROM container_layers WHERE container_id = ? ORDER BY position",
                (container_id,),
            ).fetchall()
        return [row[0] for row in rows]

    def _copy_top_attributes(
        self, diff_id: str, target: str, id_maps: IdMaps | None = None
    ) -> None:
        """Overlay shows the upper directory's own mode and owner as those of /."""
        status = os.stat(self.layer_path(diff_id))
        os.chown(target, *_on_host((status.st_uid, status.st_gid), id_maps))
        os.chmod(target, status.st_mode & 0o7777)

    # Layers and blobs

    def layer_path(self, diff_id: str) -> str:
        """The directory of a layer."""
        return f"{self.root}/layers/{diff_id.removeprefix('sha256:')}"

    def blob_path(self, digest: str) -> str:
        """The file of a blob."""
        return f"{self.root}/blobs/sha256/{digest.removeprefix('sha256:')}"

    def staging_path(self, intent: Intent) -> str:
        """The directory in which an intent makes or removes things."""
        return f"{self.root}/staging/{intent.id}"

    def forget_unneeded(self, connection: sqlite3.Connection, digests: Sequence[str]) -> list[str]:
        """Delete the rows of those layers and blobs that no image, container or intent needs.

        Call it in a durable transaction under the lock ``storage``; ``trash`` what it returns
        before freeing the lock.

        Returns:
            Paths below the root of the files that no row accounts for any more.
        """
        paths = []
        for digest in digests:
            name = digest.removeprefix("sha256:")
            # A layer that came uncompressed has one digest as a blob and as a layer.
            if connection.execute(_DELETE_LAYER, {"digest": digest}).rowcount:
                paths.append(f"layers/{name}")
            if connection.execute(_DELETE_BLOB, {"digest": digest}).rowcount:
                paths.append(f"blobs/sha256/{name}")
        return paths

    def trash(self, intent: Intent) -> None:
        """Move ``intent.data["paths"]`` away; under the lock ``storage``, so keep it short."""
        staging = self.staging_path(intent)
        os.makedirs(staging, mode=0o700, exist_ok=True)
        with self.database.read() as connection:
            orphans = [path for path in intent.data["paths"] if not _has_row(connection, path)]
        for path in orphans:
            target = f"{staging}/{path.replace('/', '-')}"
            try:
                os.rename(f"{self.root}/{path}", target)
            except FileNotFoundError:
                continue

    def empty_trash(self, intent: Intent) -> None:
        """Remove an intent's staging directory; hold no lock here.

        Raises:
            StorageError: something cannot be removed.
        """
        try:
            trees.remove_tree(self.staging_path(intent))
        except OSError as error:
            raise StorageError(f"remove {self.staging_path(intent)}: {_reason(error)}") from error

    def partials(self, older_than_s: float = 0.0) -> list[str]:
        """Paths below the root of what broken pulls left of single blobs."""
        limit = time.time() - older_than_s
        try:
            with os.scandir(f"{self.root}/partial") as entries:
                return [f"partial/{one.name}" for one in entries if one.stat().st_mtime <= limit]
        except FileNotFoundError:  # the directory, or a file that a pull has just taken
            return []

    def drop_partials(self, paths: Sequence[str]) -> None:
        """Remove some of ``partials``."""
        for path in paths:
            try:
                os.unlink(f"{self.root}/{path}")
            except FileNotFoundError:  # a pull has just taken it
                continue

    def _keep_partials(self, intent: Intent) -> None:
        """Move what came of blobs to where the next pull looks; the longest one stays."""
        staging = self.staging_path(intent)
        try:
            names = [name for name in os.listdir(staging) if name.startswith("blob-")]
        except FileNotFoundError:
            return
        os.makedirs(f"{self.root}/partial", mode=0o700, exist_ok=True)
        for name in names:
            staged, kept = f"{staging}/{name}", f"{self.root}/partial/{name.removeprefix('blob-')}"
            if os.path.getsize(staged) > (os.path.getsize(kept) if os.path.exists(kept) else 0):
                os.rename(staged, kept)

    def roll_back(self, intent: Intent, *, keep_finished: bool) -> None:
        """Undo an addition of blobs and layers (``storage/addition.py``).

        Args:
            intent: the addition's.
            keep_finished: keep blobs and layers that are complete, and the beginnings of blobs,
                for the next attempt.
        """
        if keep_finished:
            try:
                self._keep_partials(intent)
            except OSError as error:  # such as a full disk, which must be freed all the same
                log.debug(f"keep what was downloaded: {_reason(error)}")
        self.empty_trash(intent)  # first: on a full disk nothing can be written before this
        with self.database.locks.hold("storage"):
            with self.database.write(durable=True, frees_space=True) as connection:
                rows = connection.execute(
                    "DELETE FROM holds WHERE intent_id = ? RETURNING digest, fresh", (intent.id,)
                ).fetchall()
                fresh = [digest for digest, was_fresh in rows if was_fresh]
                if not keep_finished:
                    self.forget_unneeded(connection, fresh)
                # All of them: a process that died before writing a row may have left a file.
                names = [digest.removeprefix("sha256:") for digest in fresh]
                paths = [f"{kind}/{name}" for name in names for kind in ("layers", "blobs/sha256")]
                paths += intent.data.get("paths", [])
                intent.update({**intent.data, "paths": paths}, connection)
            self.trash(intent)
        self.empty_trash(intent)

    def sweep(self) -> None:
        """Remove files without a row, which only a power cut may leave; once per boot.

        Nobody has anything under way in a boot whose first command still waits here.
        """
        with self.database.locks.hold("storage"):
            if self.database.is_swept():
                return
            with self.database.read() as connection:
                known = {
                    *_names(connection, "SELECT substr(digest, 8) FROM blobs", "blobs/sha256"),
                    *_names(connection, "SELECT substr(diff_id, 8) FROM layers", "layers"),
                    *_names(connection, "SELECT id FROM containers", "containers"),
                    *_names(connection, "SELECT id FROM intents", "staging"),
                }
            for directory in ("blobs/sha256", "layers", "containers", "staging"):
                for name in os.listdir(f"{self.root}/{directory}"):
                    if f"{directory}/{name}" not in known:
                        trees.remove_tree(f"{self.root}/{directory}/{name}")
            self.drop_partials(self.partials(older_than_s=PARTIAL_KEPT_S))
            self.database.set_swept()


_DELETE_LAYER = """
DELETE FROM layers WHERE diff_id = :digest
    AND NOT EXISTS (SELECT 1 FROM image_layers WHERE diff_id = :digest)
    AND NOT EXISTS (SELECT 1 FROM container_layers WHERE diff_id = :digest)
    AND NOT EXISTS (SELECT 1 FROM holds WHERE digest = :digest)
"""
_DELETE_BLOB = """
DELETE FROM blobs WHERE digest = :digest
    AND NOT EXISTS (SELECT 1 FROM image_blobs WHERE digest = :digest)
    AND NOT EXISTS (SELECT 1 FROM holds WHERE digest = :digest)
"""


def _has_row(connection: sqlite3.Connection, path: str) -> bool:
    table, column = ("layers", "diff_id") if path.startswith("layers/") else ("blobs", "digest")
    digest = f"sha256:{path.rpartition('/')[2]}"
    query = f"SELECT 1 FROM {table} WHERE {column} = ?"
    return connection.execute(query, (digest,)).fetchone() is not None


def _names(connection: sqlite3.Connection, query: str, directory: str) -> set[str]:
    return {f"{directory}/{row[0]}" for row in connection.execute(query)}


def _reason(error: OSError) -> str:
    where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
    return f"{where}{error.strerror}"


def _on_host(owner: tuple[int, int], id_maps: IdMaps | None) -> tuple[int, int]:
    if id_maps is None:
        return owner
    from pyengine.storage import idmapped

    return idmapped.on_host(id_maps, *owner)


def _read_id_maps(path: str) -> IdMaps | None:
    """What ``create_container`` wrote, where it did."""
    if not os.path.exists(path):
        return None
    with open(path, encoding="ascii") as file:
        uid_map, gid_map = jsontext.loads(file.read())
    return uid_map, gid_map
