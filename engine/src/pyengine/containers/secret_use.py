"""The secrets of a container: a copy of each when it is made, files and variables when it starts.

The copies are the container's own, in a directory for root alone: a secret that is replaced or
removed later stays what it was for the containers that have it. A variable is read at each start.
"""

from __future__ import annotations

import contextlib
import os

from pyengine.containers import record
from pyengine.errors import StorageError
from pyengine.secrets.requests import Request
from pyengine.secrets.store import Secrets
from pyengine.storage import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyengine.containers.host import Host
    from pyengine.containers.record import Container
    from pyengine.database.intents import Intent
    from pyengine.specgen.generate import Place
    from pyengine.specgen.types import ContainerConfig, Secret

COPY_INTENT = "container-secrets"
DIRECTORY = "/run/secrets"


def request(host: Host, config: ContainerConfig, texts: tuple[str, ...]) -> None:
    """Write what ``--secret`` asks for into ``config``.

    Raises:
        ConfigError: an option is wrong.
        NotFoundError: a secret is not there.
    """
    known = Secrets(host.root, host.database)
    files: dict[str, Secret] = {}
    variables: dict[str, str] = {}
    for text in texts:
        wanted = Request(text)
        secret = known.find(wanted.source)
        if wanted.is_variable:
            variables[wanted.target or secret.name] = secret.id
            continue
        target = wanted.target or secret.name
        files[target] = {
            "id": secret.id, "name": secret.name, "target": target, "uid": wanted.uid,
            "gid": wanted.gid, "mode": wanted.mode,
        }  # fmt: skip
    if files:
        config["mounts"]["secrets"] = list(files.values())
    if variables:
        config["mounts"]["secret_env"] = variables


def directory(host: Host, id_: str) -> str:
    """Where a container's copies are."""
    return f"{host.root}/secrets/containers/{id_}"


@contextlib.contextmanager
def copied(host: Host, id_: str, config: ContainerConfig) -> Iterator[None]:
    """A block that makes a container's row, before which its secrets are copied.

    Raises:
        StorageError: a secret cannot be read, or the copy not be written.
    """
    known = Secrets(host.root, host.database)
    intent = host.database.intents.begin(COPY_INTENT, id_, {})
    try:
        os.makedirs(directory(host, id_), mode=0o700)
        for secret_id in {one["id"] for one in config["mounts"]["secrets"]}:
            _write(f"{directory(host, id_)}/{secret_id}", known.data(known.find(secret_id)))
        yield
    except BaseException:
        remove(host, id_)
        raise
    finally:
        intent.finish()


def remove(host: Host, id_: str) -> None:
    """Remove a container's copies; nothing where there are none."""
    trees.remove_tree(directory(host, id_))


def recover(host: Host, intent: Intent) -> None:
    """Remove the copies of a container that was not made."""
    with host.database.read() as connection:
        row = connection.execute("SELECT 1 FROM containers WHERE id = ?", (intent.object,))
        if row.fetchone():
            return
    remove(host, intent.object)


def lay_out(host: Host, container: Container, place: Place) -> None:
    """Write the files of one start into the run directory, and tell ``place`` of them.

    Those with a plain name are in one directory, which is mounted as a whole.

    Raises:
        StorageError: a copy cannot be read or written.
        NotFoundError: a secret that is to become a variable was removed.
    """
    settings = container.config["mounts"]
    if variables := settings.get("secret_env"):
        known = Secrets(host.root, host.database)
        for name, id_ in variables.items():
            data = known.data(known.find(id_))
            place.env.append(f"{name}={data.decode('utf-8', 'surrogateescape')}")
    if settings.get("secrets"):
        try:
            _lay_out_files(host, container, place)
        except OSError as error:
            raise StorageError(
                f"secrets of container {container.name}: {error.filename}: {error.strerror}"
            ) from error


def _lay_out_files(host: Host, container: Container, place: Place) -> None:
    shared, apart = f"{place.bundle}/secrets", f"{place.bundle}/secret-files"
    place.files[DIRECTORY] = shared
    for path in (shared, apart):
        os.mkdir(path, 0o755)
        os.chown(path, *record.on_host(container, 0, 0))
    for number, one in enumerate(container.config["mounts"]["secrets"]):
        with open(f"{directory(host, container.id)}/{one['id']}", "rb") as file:
            data = file.read()
        if one["target"].startswith("/"):
            path = f"{apart}/{number}"
            place.files[one["target"]] = path
        else:
            path = f"{shared}/{one['target']}"
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        _write(path, data)
        os.chown(path, *record.on_host(container, one["uid"], one["gid"]))
        os.chmod(path, one["mode"])  # after chown, which takes bits away


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
