"""Looking for damage in the storage, and repairing it (``system check``)."""

from __future__ import annotations

import functools
import os
import time

from pyengine.errors import InUseError, NotFoundError, PyengineError
from pyengine.images.manifests import Manifest
from pyengine.storage import verifying

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from pyengine.images.store import Images
    from pyengine.storage.store import Storage

DAY_S = 86_400.0
_DIRECTORIES = ("blobs/sha256", "layers", "containers", "staging")


class Finding:
    """Something that is not as it should be.

    Attributes:
        kind: ``database``, ``blob``, ``layer``, ``image``, ``orphan`` (a file without a row) or
            ``unreferenced`` (a layer or part of one that a broken pull left long ago).
        object: a digest, an id, or a path below the root.
        problem: in words.
        images: ids of the images that are damaged by it.
        containers: ids of the containers that are.
    """

    __slots__ = ("containers", "images", "kind", "object", "problem")

    def __init__(
        self,
        kind: str,
        obj: str,
        problem: str,
        images: list[str] | None = None,
        containers: list[str] | None = None,
    ) -> None:
        self.kind, self.object, self.problem = kind, obj, problem
        self.images, self.containers = images or [], containers or []

    def __str__(self) -> str:
        """For a list of findings."""
        return f"{self.kind} {self.object}: {self.problem}"


def check(images: Images, *, quick: bool = False, max_age_s: float = DAY_S) -> list[Finding]:
    """Compare rows, directories, blobs and digests; nothing is changed.

    Args:
        images: the store.
        quick: read no contents: sizes and names only.
        max_age_s: how old what a broken pull left must be to count.

    Raises:
        DatabaseError: it cannot be read at all.
    """
    return [
        *_database(images, quick=quick),
        *_orphans(images),
        *_blobs(images, quick=quick),
        *_layers(images, quick=quick),
        *_unreferenced(images, max_age_s),
    ]


def repair(images: Images, findings: list[Finding]) -> tuple[list[str], list[Finding]]:
    """Remove damaged images and whatever belongs to nothing.

    Containers are the caller's to remove before, where the user allowed it.

    Returns:
        The ids of the removed images, and the findings that stay because containers need them.
    """
    removed: list[str] = []
    staying = []
    _remove_files(images, [one.object for one in findings if one.kind == "orphan"])
    for finding in findings:
        if finding.kind == "database":
            staying.append(finding)
        for image_id in finding.images:
            try:
                images.remove(image_id, force=True)
                removed.append(image_id)
            except NotFoundError:
                continue  # removed for another finding
            except InUseError:
                staying.append(finding)
    loose = [one.object for one in findings if one.kind in ("blob", "layer", "unreferenced")]
    images.forget(loose)
    images.storage.drop_partials([name for name in loose if name.startswith("partial/")])
    return removed, staying


def _database(images: Images, *, quick: bool) -> Iterator[Finding]:
    with images.database.read() as connection:
        pragma = "quick_check" if quick else "integrity_check"
        for (line,) in connection.execute(f"PRAGMA {pragma}"):
            if line != "ok":
                yield Finding("database", images.database.path, line)
        for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
            problem = f"row {row} of {table} names nothing in {parent}"
            yield Finding("database", images.database.path, problem)


def _orphans(images: Images) -> list[Finding]:
    """Under the lock, because layers and blobs come and go with their rows under it.

    Containers' and intents' directories are made after their row and go before it, without the
    lock: the rows are read after the names, and what has none must still be there then.
    """
    root = images.storage.root
    with images.database.locks.hold("storage"):
        paths = [
            f"{directory}/{name}"
            for directory in _DIRECTORIES
            for name in os.listdir(f"{root}/{directory}")
        ]
        with images.database.read() as connection:
            loose = [path for path in paths if not _is_accounted_for(connection, path)]
        return [
            Finding("orphan", path, "it belongs to nothing")
            for path in loose
            if os.path.lexists(f"{root}/{path}")
        ]


def _is_accounted_for(connection: sqlite3.Connection, path: str) -> bool:
    directory, _, name = path.rpartition("/")
    queries = {
        "blobs/sha256": ("SELECT 1 FROM blobs WHERE digest = ?", f"sha256:{name}"),
        "layers": ("SELECT 1 FROM layers WHERE diff_id = ?", f"sha256:{name}"),
        "containers": ("SELECT 1 FROM containers WHERE id = ?", name),
        "staging": ("SELECT 1 FROM intents WHERE id = ?", name),
    }
    if name.startswith("container-"):  # being removed, by an intent of its own
        query = ("SELECT 1 FROM intents WHERE object = ?", name.removeprefix("container-"))
    else:
        query = queries[directory]
    return connection.execute(query[0], (query[1],)).fetchone() is not None


def _blobs(images: Images, *, quick: bool) -> Iterator[Finding]:
    with images.database.read() as connection:
        rows = connection.execute("SELECT digest, size FROM blobs ORDER BY digest").fetchall()
    query = "SELECT image_id FROM image_blobs WHERE digest = ? ORDER BY 1"
    for digest, size in rows:
        path = images.storage.blob_path(digest)
        look = functools.partial(verifying.blob_problem, path, digest, size, quick=quick)
        if look():
            yield from _confirmed(images, "blob", digest, look, query)


def _layers(images: Images, *, quick: bool) -> Iterator[Finding]:
    with images.database.read() as connection:
        rows = connection.execute("SELECT diff_id FROM layers ORDER BY diff_id").fetchall()
    blobs = {} if quick else _layer_blobs(images)
    query = "SELECT DISTINCT image_id FROM image_layers WHERE diff_id = ? ORDER BY 1"
    for (diff_id,) in rows:
        look = functools.partial(_layer_problem, images.storage, diff_id, blobs.get(diff_id))
        if look():
            yield from _confirmed(images, "layer", diff_id, look, query)


def _layer_problem(storage: Storage, diff_id: str, blob: str | None) -> str:
    """Of a layer; its content is compared where there is a blob to compare it with."""
    directory = storage.layer_path(diff_id)
    if not os.path.isdir(directory):
        return "its directory is missing"
    if blob is None or not os.path.exists(storage.blob_path(blob)):
        return ""
    return verifying.layer_problem(directory, storage.blob_path(blob), diff_id)


def _confirmed(
    images: Images, kind: str, digest: str, look: Callable[[], str], query: str
) -> Iterator[Finding]:
    """What ``look`` finds and whom it concerns.

    It looks again under the lock: what others removed, or removed and brought back meanwhile,
    is not damaged.
    """
    table, column = ("layers", "diff_id") if kind == "layer" else ("blobs", "digest")
    with images.database.locks.hold("storage"), images.database.read() as connection:
        row = connection.execute(f"SELECT 1 FROM {table} WHERE {column} = ?", (digest,))
        problem = look() if row.fetchone() is not None else ""
        if not problem:
            return
        damaged = [one[0] for one in connection.execute(query, (digest,))]
        users = connection.execute(
            "SELECT container_id FROM container_layers WHERE diff_id = ? ORDER BY 1", (digest,)
        )
        containers = [one[0] for one in users] if kind == "layer" else []
        for image_id in damaged:
            found = connection.execute("SELECT id FROM containers WHERE image_id = ?", (image_id,))
            containers += [one[0] for one in found]
    yield Finding(kind, digest, problem, damaged, list(dict.fromkeys(containers)))


def _layer_blobs(images: Images) -> dict[str, str]:
    """By diff id, the digest of a blob that the layer can be compared with."""
    found = {}
    for image in images.list_images():
        try:
            with open(images.storage.blob_path(image.manifest_digest), "rb") as file:
                manifest = Manifest(file.read(), "", image.manifest_digest)
        except (OSError, PyengineError):
            continue  # a damaged blob is found as that
        for layer, diff_id in zip(manifest.layers, image.diff_ids, strict=False):
            found[diff_id] = layer.digest
    return found


def _unreferenced(images: Images, max_age_s: float) -> Iterator[Finding]:
    limit = time.time() - max_age_s
    with images.database.read() as connection:
        rows = connection.execute(_UNREFERENCED).fetchall()
    storage = images.storage
    candidates: list[tuple[str, Callable[[str], str]]] = [
        (digest, storage.layer_path if kind == "layer" else storage.blob_path)
        for kind, digest in rows
    ]
    for digest, place in candidates:
        if _changed_at(place(digest)) < limit:
            yield Finding("unreferenced", digest, "a pull that broke off left it")
    for name in storage.partials(older_than_s=max_age_s):
        yield Finding("unreferenced", name, "a pull that broke off left it")


def _changed_at(path: str) -> float:
    """A missing one has just been removed, or is found as missing."""
    try:
        return os.lstat(path).st_ctime
    except OSError:
        return time.time()


def _remove_files(images: Images, paths: list[str]) -> None:
    """Through an intent, so that a kill in between leaves no half of them."""
    if not paths:
        return
    intent = images.database.intents.begin("image-files", "orphans", {"paths": paths})
    staging = images.storage.staging_path(intent)
    os.makedirs(staging, mode=0o700, exist_ok=True)
    with images.database.locks.hold("storage"), images.database.read() as connection:
        for path in paths:
            if _is_accounted_for(connection, path):
                continue
            target = f"{staging}/{path.replace('/', '-')}"
            try:
                os.rename(f"{images.storage.root}/{path}", target)
            except FileNotFoundError:
                continue
    images.storage.empty_trash(intent)
    intent.finish()


_UNREFERENCED = """
SELECT 'layer', diff_id FROM layers
    WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)
    AND diff_id NOT IN (SELECT diff_id FROM container_layers)
    AND diff_id NOT IN (SELECT digest FROM holds)
UNION ALL SELECT 'blob', digest FROM blobs
    WHERE digest NOT IN (SELECT digest FROM image_blobs)
    AND digest NOT IN (SELECT digest FROM holds)
"""
