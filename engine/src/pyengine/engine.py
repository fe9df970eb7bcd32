"""The object that the command line and the REST API call: roots, configuration, nouns, drivers.

Everything is made when first asked for, so a command pays only for what it uses.
"""

from __future__ import annotations

import os
import sys

from pyengine import log
from pyengine.config import roots, user
from pyengine.errors import ConfigError, InUseError, NotFoundError, PyengineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.containers.checkpointing import Checkpoints
    from pyengine.containers.create import Source
    from pyengine.containers.observing import Observing
    from pyengine.containers.options import ContainerOptions
    from pyengine.containers.record import Container
    from pyengine.containers.service import Containers
    from pyengine.database.connection import Database
    from pyengine.events.log import Events
    from pyengine.images.model import Image
    from pyengine.images.store import Images
    from pyengine.secrets.store import Secrets
    from pyengine.storage.store import Storage
    from pyengine.volumes.service import Volumes

    MakeReport = Callable[[], Callable[[str], None]]

# Who finishes or rolls back what a dead process left half done, by intent kind: the engine's
# property and its method, called with the intent. It is called without locks, takes the object's
# own lock where it needs it, and can itself be killed at any point and be run again.
RECOVERY = {
    "checkpoint-import": ("checkpoints", "recover"),
    "container-pause": ("containers", "recover"),
    "container-remove": ("containers", "recover"),
    "container-start": ("containers", "recover"),
    "image-add": ("images", "recover_addition"),
    "image-files": ("images", "recover_removal"),
    "container-secrets": ("containers", "recover_secrets"),
    "secret-data": ("secrets", "recover"),
    "volume-copy-up": ("volumes", "recover_copy"),
    "volume-remove": ("volumes", "finish_removal"),
}


class Options:
    """The global options as given; None where the user said nothing."""

    __slots__ = (
        "cdi_spec_dir", "cgroup_manager", "conmon", "events_backend", "module",
        "notify_socket", "root", "runroot", "runtime", "runtime_flag", "storage_driver", "tmpdir",
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
        events_backend: str | None = None,
        tmpdir: str | None = None,
        notify_socket: str = "",
        cdi_spec_dir: tuple[str, ...] = (),
        module: tuple[str, ...] = (),
    ) -> None:
        """``notify_socket`` is the service manager's, where one has started us."""
        self.root = root
        self.runroot = runroot
        self.runtime = runtime
        self.runtime_flag = runtime_flag
        self.conmon = conmon
        self.cgroup_manager = cgroup_manager
        self.storage_driver = storage_driver
        self.events_backend = events_backend
        self.tmpdir = tmpdir
        self.notify_socket = notify_socket
        self.cdi_spec_dir = cdi_spec_dir
        self.module = module


class Engine:
    """One storage root and everything that works on it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        root, runroot, self._mount_program = options.root, options.runroot, ""
        # As for podman, whoever names a root means nothing of what storage.conf says.
        if not root and (where := roots.storage_conf()):
            from pyengine.config import storage_conf

            said = storage_conf.load(where, f"{roots.default_runroot()}/storage.conf.json")
            root, runroot = said.root, runroot or said.runroot
            options.storage_driver = options.storage_driver or said.driver or None
            self._mount_program = said.mount_program
        self.root = os.path.abspath(root or roots.default_root())
        self.runroot = os.path.abspath(runroot or roots.default_runroot())
        self._config: dict[str, dict[str, Any]] | None = None
        self._containers: Containers | None = None
        self._database: Database | None = None
        self._events: Events | None = None
        self._storage: Storage | None = None
        self._images: Images | None = None
        self._volumes: Volumes | None = None
        self._others: list[Engine] = []

    @property
    def config(self) -> dict[str, dict[str, Any]]:
        """containers.conf, all files merged, table by table."""
        if self._config is None:
            from pyengine.config import containers_conf

            _make_directory(self.runroot)
            self._config = containers_conf.load(
                f"{self.runroot}/containers.conf.json", self.options.module
            )
        return self._config

    def runtime_path(self, wanted: str = "") -> str:
        """The OCI runtime to call: ``wanted``, --runtime, containers.conf, pyrun, crun, runc."""
        from pyengine.config import programs

        return programs.find_runtime(
            wanted or self.options.runtime, self.config.get("engine", {}), _beside_executable()
        )

    def monitor_path(self, wanted: str = "") -> str:
        """The monitor to start: ``wanted``, --conmon, containers.conf, pyconmon, conmon."""
        from pyengine.config import programs

        return programs.find_monitor(
            wanted or self.options.conmon, self.config.get("engine", {}), _beside_executable()
        )

    @property
    def cgroup_manager(self) -> str:
        """``cgroupfs`` or ``systemd`` (--cgroup-manager, containers.conf).

        An ordinary user has cgroups from his systemd, where there is one, or none.
        """
        configured = self.config.get("engine", {}).get("cgroup_manager")
        chosen = self.options.cgroup_manager or configured
        if not chosen and user.is_rootless():
            from pyengine.specgen import cgroups

            chosen = "systemd" if cgroups.is_v2() and user.has_manager() else ""
        return chosen or "cgroupfs"

    @property
    def events(self) -> Events:
        """Where events are kept (--events-backend, ``events_logger`` and its like)."""
        if self._events is None:
            from pyengine.config import events

            self._events = events.make(
                self.options.events_backend,
                self.config.get("engine", {}),
                self.options.tmpdir or self.root,
            )
        return self._events

    @property
    def container_defaults(self) -> dict[str, Any]:
        """``[containers]`` of containers.conf."""
        return self.config.get("containers", {})

    def detach_keys(self, wanted: str | None) -> bytes:
        """What a terminal sends when a user leaves: --detach-keys, containers.conf, podman's.

        Raises:
            ConfigError: there is no such key.
        """
        from pyengine.monitor import keys

        text = self.config.get("engine", {}).get("detach_keys") if wanted is None else wanted
        return keys.parse(keys.DEFAULT if text is None else str(text))

    @property
    def containers(self) -> Containers:
        """The containers of this storage root."""
        if self._containers is None:
            from pyengine.containers.host import Host
            from pyengine.containers.service import Containers

            self._containers = Containers(
                Host(
                    self.root,
                    self.runroot,
                    database=lambda: self.database,
                    storage=lambda: self.storage,
                    events=lambda: self.events,
                    defaults=lambda: self.config.get("containers", {}),
                    runtime_path=self.runtime_path,
                    monitor_path=self.monitor_path,
                    runtime_flags=[f"--{flag}" for flag in self.options.runtime_flag],
                    systemd=self.cgroup_manager == "systemd",
                    self_command=self.self_command,
                    notify_socket=self.options.notify_socket,
                )
            )
        return self._containers

    @property
    def observing(self) -> Observing:
        """What can be seen of the containers."""
        from pyengine.containers.observing import Observing

        return Observing(self.containers)

    @property
    def checkpoints(self) -> Checkpoints:
        """What is saved of containers, and elsewhere."""
        from pyengine.containers.checkpointing import Checkpoints

        def obtain(options: ContainerOptions) -> Source:
            return self.container_source(options, lambda: _say_nothing)

        return Checkpoints(self.containers, self.images, self.volumes, obtain)

    def container_source(self, options: ContainerOptions, report: MakeReport) -> Source:
        """The image a container is made from, pulled if need be, or nothing with ``--rootfs``.

        ``report`` makes what takes the progress lines of a pull.
        """
        from pyengine.containers.create import Source
        from pyengine.images import references

        settings = self.config.get("engine", {})
        if directories := self.options.cdi_spec_dir or settings.get("cdi_spec_dirs"):
            options.set("cdi_spec_dirs", tuple(directories))
        if options.rootfs:
            if user.is_rootless():
                self.enter_namespace()  # before anybody asks for the ids in it
            return Source("", "", [], {})
        image = self._obtain_image(options, report)
        if (image.config.get("config") or {}).get("Volumes") and not options.image_volume:
            options.image_volume = settings.get("image_volume_mode", "")
        wanted = {reference.name for reference in references.local_candidates(options.image)}
        named = [name for name in image.names if name in wanted] or image.names or [image.id]
        return Source(image.id, named[0], image.diff_ids, image.config.get("config") or {})

    def _image_of_list(self, options: ContainerOptions) -> Image | None:
        """What a manifest list of this name has for the platform, if it is in the store."""
        from pyengine.images.lists import Lists

        return Lists(self.images).image_for(options.image, options.platform)

    def _obtain_image(self, options: ContainerOptions, report: MakeReport) -> Image:
        name, pull = options.image, options.pull
        if pull in ("missing", "never"):
            try:
                image = self.images.resolve(name)
                if options.platform is None:
                    from pyengine.images import platforms

                    platforms.warn_unless_fits(image.config, None)
                    return image
                if _is_for(image, options.platform):
                    return image
                if pull == "never":
                    raise NotFoundError(f"{name}: image not known for {options.platform}")
            except NotFoundError:
                listed = self._image_of_list(options)
                if listed is not None:
                    return listed
                if pull == "never":
                    raise
        from pyengine.images import pulling
        from pyengine.registry import credentials
        from pyengine.registry.settings import Access

        if options.decryption_key:
            raise ConfigError(
                f"--decryption-key: {name}: encrypted layers cannot be read: decrypt the image"
                " first, with skopeo copy --decryption-key"
            )
        how = pulling.PullOptions(
            platform=options.platform,
            access=Access(
                tls_verify=options.tls_verify,
                cert_dir=options.cert_dir,
                login=credentials.parse(options.creds) if options.creds else None,
                auth_file=options.auth_file,
            ),
            policy=pull if pull == "newer" else "always",
            retry=options.retry,
            retry_delay_s=options.retry_delay_s,
        )
        tell = _say_nothing if options.quiet else report()
        return self.images.resolve(pulling.pull(self.images, name, how, tell))

    def clean_up(self, id_: str, *, life: str, restart: bool) -> None:
        """What a monitor calls when its container has ended."""
        from pyengine.containers import record

        container = record.by_id(self.containers.host, id_)
        self.containers.clean_up(id_, life=life, restart=restart)
        if container is not None and container.config["remove_image"]:
            self.remove_image_of(container)

    def remove_image_of(self, container: Container) -> None:
        """Remove the image of a container that has removed itself, unless somebody uses it."""
        try:
            self.images.remove(container.image_name, force=False)
        except (InUseError, NotFoundError) as error:
            log.debug(f"--rmi: {error}")

    @property
    def self_command(self) -> list[str]:
        """This program with the same global options, for a monitor's exit command."""
        main = os.path.join(os.path.dirname(__file__), "__main__.py")
        command = [sys.executable, "-I", "-S", main, "--root", self.root, "--runroot", self.runroot]
        command += ["--cgroup-manager", self.cgroup_manager]
        for module in self.options.module:
            command += ["--module", module]
        for flag in self.options.runtime_flag:
            command += ["--runtime-flag", flag]
        if self.options.storage_driver:
            command += ["--storage-driver", self.options.storage_driver]
        if self.options.events_backend:
            command += ["--events-backend", self.options.events_backend]
        if self.options.tmpdir:
            command += ["--tmpdir", os.path.abspath(self.options.tmpdir)]
        return command

    @property
    def database(self) -> Database:
        """The database, opened, and cleared of what dead processes left half done."""
        if self._database is None:
            from pyengine.database.connection import Database

            if os.geteuid() != 0:
                self.enter_namespace()
            for directory in (self.root, self.runroot):
                _make_directory(directory)
            self._database = Database(self.root)
            self.recover()
        return self._database

    def enter_namespace(self) -> None:
        """Go on as root of an ordinary user's namespace; root stays what it is."""
        from pyengine.storage import user_namespace

        _make_directory(self.runroot)
        user_namespace.enter(self.runroot)

    def end_namespace(self) -> None:
        """End the process that holds an ordinary user's namespaces; the next command makes new."""
        if user.is_rootless():
            from pyengine.storage import pause

            pause.end(self.runroot)

    @property
    def storage(self) -> Storage:
        """Layers, blobs and containers' root file systems."""
        if self._storage is None:
            from pyengine.storage.store import Storage

            self._storage = Storage(
                self.root, self.database, self.options.storage_driver, self._mount_program
            )
        return self._storage

    @property
    def images(self) -> Images:
        """Images by name."""
        if self._images is None:
            from pyengine.images.store import Images

            self._images = Images(self.database, self.storage, self.events)
        return self._images

    @property
    def secrets(self) -> Secrets:
        """What containers are told in confidence."""
        from pyengine.secrets.store import Secrets

        return Secrets(self.root, self.database, self.events)

    @property
    def volumes(self) -> Volumes:
        """Named volumes."""
        if self._volumes is None:
            from pyengine.volumes.service import Volumes

            def remove_container(id_: str, timeout_s: int | None) -> None:
                self.containers.remove(id_, force=True, timeout_s=timeout_s)

            self._volumes = Volumes(
                self.root,
                self.database,
                self.containers.host.boot_id,
                remove_container,
                self.events,
            )
        return self._volumes

    def images_at(self, place: str) -> Images:
        """The images of another storage root, ``[DRIVER@]ROOT[+RUNROOT]``, or of this one.

        Raises:
            ConfigError: it is no such place.
        """
        if not place:
            return self.images
        driver, at, rest = place.partition("@")
        if not at:
            driver, rest = "", place
        paths, colon, _ = rest.partition(":")
        root, plus, runroot = paths.partition("+")
        if not root.startswith("/") or (plus and not runroot.startswith("/")) or colon:
            raise ConfigError(
                f"containers-storage:[{place}]: not [DRIVER@]ROOT[+RUNROOT] with absolute paths "
                "and no driver options"
            )
        options = Options(root=root, runroot=runroot or self.runroot, storage_driver=driver or None)
        self._others.append(Engine(options))
        return self._others[-1].images

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
        if not self.database.is_swept():
            self.storage.sweep()

    def close(self) -> None:
        """Say that this process has nothing under way any more."""
        for other in self._others:
            other.close()
        if self._database is not None:
            self._database.intents.close()


def _say_nothing(line: str) -> None:
    log.debug(line)


def _is_for(image: Image, platform: str) -> bool:
    """Whether an image is for ``os/architecture[/variant]``, the last as far as it says one."""
    config, words = image.config, platform.split("/")
    own = [config.get("os"), config.get("architecture")]
    if config.get("variant"):
        own.append(config["variant"])
    return all(one == word for one, word in zip(own, words, strict=False))


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
