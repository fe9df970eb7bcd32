"""The object that the command line and the REST API call: roots, configuration, nouns, drivers.

Everything is made when first asked for, so a command pays only for what it uses.
"""

from __future__ import annotations

import os
import sys

from pyengine import log
from pyengine.config import roots
from pyengine.errors import ConfigError, PyengineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.database.connection import Database
    from pyengine.images.store import Images
    from pyengine.storage.store import Storage

# Who finishes or rolls back what a dead process left half done, by intent kind: the engine's
# property and its method, called with the intent. It is called without locks, takes the object's
# own lock where it needs it, and can itself be killed at any point and be run again.
RECOVERY = {
    "image-add": ("images", "recover_addition"),
    "image-files": ("images", "recover_removal"),
}


class Options:
    """The global options as given; None where the user said nothing."""

    __slots__ = (
        "cgroup_manager", "conmon", "root", "runroot", "runtime", "runtime_flag", "storage_driver",
    )  # fmt: skip

    def __init__(
        self,
        root: str | None = None,
        runroot: str | None = None,
        runtime: str | None = None,
        runtime_flag: tuple[str, ...] = (),
        conmon: str | None = None,
        cgroup_manager: str | None = None,
        storage_driver: str | None = None,
    ) -> None:
        self.root = root
        self.runroot = runroot
        self.runtime = runtime
        self.runtime_flag = runtime_flag
        self.conmon = conmon
        self.cgroup_manager = cgroup_manager
        self.storage_driver = storage_driver


class Engine:
    """One storage root and everything that works on it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.root = os.path.abspath(options.root or roots.default_root())
        self.runroot = os.path.abspath(options.runroot or roots.default_runroot())
        self._config: dict[str, dict[str, Any]] | None = None
        self._database: Database | None = None
        self._storage: Storage | None = None
        self._images: Images | None = None

    @property
    def config(self) -> dict[str, dict[str, Any]]:
        """containers.conf, all files merged, table by table."""
        if self._config is None:
            from pyengine.config import containers_conf

            self._config = containers_conf.load()
        return self._config

    @property
    def runtime_path(self) -> str:
        """The OCI runtime to call (``--runtime``, containers.conf, pyrun, crun, runc)."""
        from pyengine.config import programs

        return programs.find_runtime(
            self.options.runtime, self.config.get("engine", {}), _beside_executable()
        )

    @property
    def monitor_path(self) -> str:
        """The monitor to start (``--conmon``, containers.conf, pyconmon, conmon)."""
        from pyengine.config import programs

        return programs.find_monitor(
            self.options.conmon, self.config.get("engine", {}), _beside_executable()
        )

    @property
    def database(self) -> Database:
        """The database, opened, and cleared of what dead processes left half done."""
        if self._database is None:
            from pyengine.database.connection import Database

            for directory in (self.root, self.runroot):
                _make_directory(directory)
            self._database = Database(self.root)
            self.recover()
        return self._database

    @property
    def storage(self) -> Storage:
        """Layers, blobs and containers' root file systems."""
        if self._storage is None:
            from pyengine.storage.store import Storage

            self._storage = Storage(self.root, self.database, self.options.storage_driver)
        return self._storage

    @property
    def images(self) -> Images:
        """Images by name."""
        if self._images is None:
            from pyengine.images.store import Images

            self._images = Images(self.database, self.storage)
        return self._images

    def recover(self) -> None:
        """Finish or roll back the intents of dead owners; one indexed SELECT when there are none.

        The first database access of each command does this.
        """
        for intent in self.database.intents.take_dead():
            noun, method = RECOVERY[intent.kind]
            try:
                getattr(getattr(self, noun), method)(intent)
                intent.finish()
            except (PyengineError, OSError) as error:
                log.warning(f"recover {intent.kind} of {intent.object}, will try again: {error}")

    def close(self) -> None:
        """Say that this process has nothing under way any more."""
        if self._database is not None:
            self._database.intents.close()


def _beside_executable() -> str:
    """The bin directory our programs were installed in together."""
    return os.path.dirname(sys.executable)


def _make_directory(path: str) -> None:
    try:
        os.makedirs(path, mode=0o711, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"make directory {path}: {error.strerror}; choose another with --root and --runroot"
        ) from error
