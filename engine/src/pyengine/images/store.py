"""Images by name: finding, listing, naming and removing them."""

from __future__ import annotations

from pyengine.errors import ConflictError, InUseError, NotFoundError
from pyengine.images import references
from pyengine.images.model import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from pyengine.database.connection import Database
    from pyengine.database.intents import Intent
    from pyengine.events.log import Events
    from pyengine.storage.store import Storage

_HEX = set("0123456789abcdef")
_COLUMNS = "id, manifest_digest, config, created_at, size"


class Removal:
    """What ``remove`` did: the names taken away and, if the image is gone, its id."""

    __slots__ = ("deleted_id", "untagged")

    def __init__(self, untagged: list[str], deleted_id: str | None) -> None:
        self.untagged = untagged
        self.deleted_id = deleted_id


class Images:
    """The images of one storage root."""

    def __init__(self, database: Database, storage: Storage, events: Events) -> None:
        self.database = database
        self.storage = storage
        self.events = events

    def resolve(self, text: str) -> Image:
        """The image with this name, ``name@digest``, or (beginning of an) id.

        A short name stands for ``localhost/NAME`` and then ``docker.io/library/NAME``.

        Raises:
            NotFoundError: ``NAME: image not known``, as podman says it.
            ConflictError: an id's beginning fits several images.
        """
        with self.database.read() as connection:
            return self._read(connection, self._find(connection, text)[0])

    def list_images(self) -> list[Image]:
        """Every image, the newest first."""
        with self.database.read() as connection:
            names = _grouped(connection, "SELECT image_id, name FROM names ORDER BY name")
            digests = _grouped(
                connection, "SELECT image_id, repository || '@' || digest FROM digests ORDER BY 2"
            )
            layers = _grouped(
                connection, "SELECT image_id, diff_id FROM image_layers ORDER BY image_id, position"
            )
            rows = connection.execute(f"SELECT {_COLUMNS} FROM images ORDER BY created_at DESC, id")
            return [
                Image(
                    image_id, manifest_digest, config, created_at, size,
                    names.get(image_id, []), digests.get(image_id, []), layers.get(image_id, []),
                )
                for image_id, manifest_digest, config, created_at, size in rows
            ]  # fmt: skip

    def tag(self, text: str, *names: str) -> None:
        """Give an image further names, taking them from the images that had them.

        Raises:
            NotFoundError: there is no such image.
            ConfigError: a name is not one.
        """
        full_names = [references.local_name(name).name for name in names]
        with self.database.write(durable=True) as connection:
            image_id, _ = self._find(connection, text)
            self.put_names(connection, image_id, full_names)
        for name in full_names:
            self.events.tell("image", "tag", id_=image_id, name=name)

    def untag(self, text: str, *names: str) -> None:
        """Take names, or all of them, from an image; it stays even without any.

        Raises:
            NotFoundError: there is no such image, or it has no such name.
        """
        with self.database.write(durable=True) as connection:
            image_id, _ = self._find(connection, text)
            had = self._names(connection, image_id)
            wanted = [self._own_name(name, had, text) for name in names] or had
            connection.executemany("DELETE FROM names WHERE name = ?", [(one,) for one in wanted])
        for name in wanted:
            self.events.tell("image", "untag", id_=image_id, name=name)

    def put_names(
        self, connection: sqlite3.Connection, image_id: str, full_names: list[str]
    ) -> None:
        """Write full names of an image in the caller's transaction."""
        connection.executemany(
            "INSERT OR REPLACE INTO names VALUES (?, ?)", [(name, image_id) for name in full_names]
        )

    def is_name_of(self, text: str, full_name: str) -> bool:
        """Whether what the user wrote stands for this full name rather than for an id."""
        return any(one.name == full_name for one in references.local_candidates(text))

    def layer_sizes(self, image: Image) -> list[int]:
        """Bytes of each layer's uncompressed tar, bottom first."""
        with self.database.read() as connection:
            rows = connection.execute(
                "SELECT size FROM image_layers JOIN layers USING (diff_id)"
                " WHERE image_id = ? ORDER BY position",
                (image.id,),
            )
            return [row[0] for row in rows]

    def last_users(self, text: str) -> list[str]:
        """The containers in the way of ``remove``; none while another name keeps the image.

        Raises:
            NotFoundError: there is no such image.
        """
        with self.database.read() as connection:
            image_id, name = self._find(connection, text)
            if name and len(self._names(connection, image_id)) > 1:
                return []
            return self._containers(connection, image_id)

    def remove(self, text: str, *, force: bool = False) -> Removal:
        """Take a name from an image, and remove the image with its last name.

        Args:
            text: a name, which is untagged, or an id.
            force: an id removes the image whatever names it has.

        Raises:
            NotFoundError: there is no such image.
            InUseError: a container needs it; the caller may remove ``last_users`` first.
            ConflictError: an id was given, it has several names, and ``force`` was not.
        """
        with self.database.locks.hold("storage"):
            with self.database.write(durable=True, frees_space=True) as connection:
                image_id, name = self._find(connection, text)
                names = self._names(connection, image_id)
                if name and len(names) > 1:
                    connection.execute("DELETE FROM names WHERE name = ?", (name,))
                    self.events.tell("image", "untag", id_=image_id, name=name)
                    return Removal([name], None)
                if len(names) > 1 and not force:
                    raise ConflictError(
                        f'unable to delete image "{image_id}" by ID with more than one tag '
                        f"([{' '.join(names)}]): please force removal"
                    )
                users = self._containers(connection, image_id)
                if users:
                    raise InUseError(
                        f"image used by {users[0]}: image is in use by a container: consider "
                        "removing the container before the image, or force removal with --force"
                    )
                if self.storage.image_mounts.is_mounted(image_id) and not force:
                    raise InUseError(
                        f"image {image_id[:12]} is mounted: unmount it with `image unmount`, or "
                        "force removal with --force"
                    )
                intent = self._delete(connection, image_id)
            if self.storage.image_mounts.is_mounted(image_id):
                self.storage.image_mounts.unmount_locked(image_id)
            self.storage.trash(intent)
        self._tell_removed(image_id, names)
        self.storage.empty_trash(intent)
        intent.finish()
        return Removal(names, image_id)

    def prune(self, *, everything: bool = False, only: set[str] | None = None) -> list[str]:
        """Remove images without a name, layers of interrupted pulls and unneeded blobs.

        Args:
            everything: also images with names, unless a container needs them.
            only: ids of the images that may be removed; None for all.

        Returns:
            The ids of the removed images.
        """
        removed: dict[str, list[str]] = {}
        with self.database.locks.hold("storage"):
            with self.database.write(durable=True, frees_space=True) as connection:
                for (image_id,) in connection.execute("SELECT id FROM images").fetchall():
                    if only is not None and image_id not in only:
                        continue
                    names = self._names(connection, image_id)
                    named = names and not everything
                    used = self._containers(connection, image_id)
                    if not (named or used or self.storage.image_mounts.is_mounted(image_id)):
                        connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
                        removed[image_id] = names
                digests = connection.execute(
                    "SELECT diff_id FROM layers UNION SELECT digest FROM blobs"
                )
                paths = self.storage.forget_unneeded(connection, [row[0] for row in digests])
                intent = self.database.intents.begin(
                    "image-files", "unneeded", {"paths": paths}, connection
                )
            self.storage.trash(intent)
        for image_id, names in removed.items():
            self._tell_removed(image_id, names)
        self.storage.empty_trash(intent)
        self.storage.drop_partials(self.storage.partials())
        intent.finish()
        return list(removed)

    def _tell_removed(self, image_id: str, names: list[str]) -> None:
        for name in names:
            self.events.tell("image", "untag", id_=image_id, name=name)
        self.events.tell("image", "remove", id_=image_id, name=names[0] if names else "")

    def forget(self, digests: list[str]) -> None:
        """Remove those of some layers and blobs that nothing needs."""
        with self.database.locks.hold("storage"):
            with self.database.write(durable=True, frees_space=True) as connection:
                paths = self.storage.forget_unneeded(connection, digests)
                intent = self.database.intents.begin(
                    "image-files", "unneeded", {"paths": paths}, connection
                )
            self.storage.trash(intent)
        self.storage.empty_trash(intent)
        intent.finish()

    def recover_removal(self, intent: Intent) -> None:
        """Go on removing the files of images whose rows are gone, and what a probe left."""
        self.storage.unmount_probe(intent)
        with self.database.locks.hold("storage"):
            self.storage.trash(intent)
        self.storage.empty_trash(intent)

    def recover_addition(self, intent: Intent) -> None:
        """Roll back a load or pull whose process died; a pull's finished layers stay."""
        self.storage.roll_back(intent, keep_finished=bool(intent.data["resumable"]))

    def _delete(self, connection: sqlite3.Connection, image_id: str) -> Intent:
        """Remove the image's rows and what only it needed; the intent is to remove the files."""
        digests = [
            row[0]
            for row in connection.execute(
                "SELECT diff_id FROM image_layers WHERE image_id = :id"
                " UNION SELECT digest FROM image_blobs WHERE image_id = :id",
                {"id": image_id},
            )
        ]
        connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
        paths = self.storage.forget_unneeded(connection, digests)
        return self.database.intents.begin("image-files", image_id, {"paths": paths}, connection)

    def _find(self, connection: sqlite3.Connection, text: str) -> tuple[str, str]:
        """The id, and the full name that led to it (empty for an id or a digest)."""
        for reference in references.local_candidates(text):
            if reference.digest:
                row = connection.execute(
                    "SELECT image_id, '' FROM digests WHERE repository = ? AND digest = ?",
                    (reference.repository, reference.digest),
                ).fetchone()
            else:
                row = connection.execute(
                    "SELECT image_id, name FROM names WHERE name = ?", (reference.name,)
                ).fetchone()
            if row:
                return str(row[0]), str(row[1])
        elsewhere = self._find_elsewhere(connection, text)
        if elsewhere is not None:
            return elsewhere
        prefix = text.removeprefix("sha256:")
        if 0 < len(prefix) <= 64 and not set(prefix) - _HEX:
            rows = connection.execute(
                "SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2", (prefix, prefix + "g")
            ).fetchall()
            if len(rows) > 1:
                raise ConflictError(f"{text}: this beginning of an image id fits several images")
            if rows:
                return str(rows[0][0]), ""
        raise NotFoundError(f"{text}: image not known")

    def _find_elsewhere(self, connection: sqlite3.Connection, text: str) -> tuple[str, str] | None:
        """A short name also stands for an image of any other registry that has it."""
        found = references.local_candidates(text)
        if not found or references.parse(text).registry or found[0].digest:
            return None
        # GLOB's wildcards cannot be in a name; the first in the alphabet is as good as any.
        row = connection.execute(
            "SELECT image_id, name FROM names WHERE name GLOB ? ORDER BY name LIMIT 1",
            (f"*/{references.parse(text).name}",),
        ).fetchone()
        return (str(row[0]), str(row[1])) if row else None

    def _own_name(self, name: str, had: list[str], text: str) -> str:
        for reference in references.local_candidates(name):
            if reference.name in had:
                return reference.name
        raise NotFoundError(f"untag {text}: it has no name {name}: tag not known")

    def _names(self, connection: sqlite3.Connection, image_id: str) -> list[str]:
        rows = connection.execute(
            "SELECT name FROM names WHERE image_id = ? ORDER BY name", (image_id,)
        )
        return [row[0] for row in rows]

    def _containers(self, connection: sqlite3.Connection, image_id: str) -> list[str]:
        rows = connection.execute(
            "SELECT id FROM containers WHERE image_id = ? ORDER BY created_at", (image_id,)
        )
        return [row[0] for row in rows]

    def _read(self, connection: sqlite3.Connection, image_id: str) -> Image:
        query = f"SELECT {_COLUMNS} FROM images WHERE id = ?"
        found_id, manifest_digest, config, created_at, size = connection.execute(
            query, (image_id,)
        ).fetchone()
        digests = connection.execute(
            "SELECT repository || '@' || digest FROM digests WHERE image_id = ? ORDER BY 1",
            (image_id,),
        )
        repo_digests = [found[0] for found in digests]
        layers = connection.execute(
            "SELECT diff_id FROM image_layers WHERE image_id = ? ORDER BY position", (image_id,)
        )
        diff_ids = [found[0] for found in layers]
        return Image(
            image_id=found_id,
            manifest_digest=manifest_digest,
            config_text=config,
            created_at=created_at,
            size=size,
            names=self._names(connection, image_id),
            repo_digests=repo_digests,
            diff_ids=diff_ids,
        )


def _grouped(connection: sqlite3.Connection, query: str) -> dict[str, list[str]]:
    """The second column's values by the first's."""
    found: dict[str, list[str]] = {}
    for key, value in connection.execute(query):
        found.setdefault(key, []).append(value)
    return found
