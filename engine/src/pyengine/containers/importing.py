"""Makes a container of a checkpoint's archive, or image, of ours or podman's, and restores it.

The archive is unpacked by a confined child into a directory that goes with its intent, so that a
killed pyengine leaves nothing of it. ``exporting`` says what is in it.
"""

from __future__ import annotations

import json
import os

from pyengine import log, syscalls
from pyengine.containers import checkpointing, criu_images, ending, exporting, record
from pyengine.containers.create import Source, add, create
from pyengine.containers.options import ContainerOptions
from pyengine.errors import ArchiveError, ConfigError, ConflictError, NotFoundError, StorageError
from pyengine.specgen import capabilities
from pyengine.storage import trees
from pyengine.storage.packing import pack_tree
from pyengine.storage.unpacking import Extract, Unpacking
from pyengine.volumes import contents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from pyengine.containers.checkpointing import Checkpoints, Report
    from pyengine.containers.host import Host
    from pyengine.containers.record import Container
    from pyengine.images.model import Image

INTENT = "checkpoint-import"
MOST_DUMP_BYTES = 1 << 24
SHARED_MEMORY = "devshm-checkpoint.tar"  # of podman, whose /dev/shm is the host's
# What podman mounts for the container itself, besides its user's volumes.
OF_THE_ENGINE = (
    "/dev/shm", "/etc/hostname", "/etc/hosts", "/etc/passwd", "/etc/group", "/etc/resolv.conf",
    "/run/.containerenv", "/run/notify", "/run/secrets", "/var/run/.containerenv",
)  # fmt: skip
_CHUNK_BYTES = 1 << 20


class Wanted:
    """What is to be restored.

    Attributes:
        archive, previous: paths of archives of a checkpoint and a pre-checkpoint.
        image: a checkpoint image instead of the first.
        name: of the container, which then gets another id, too; empty for the old ones.
        flags: for the runtime.
        keep: the checkpoint stays among the container's files.
        without_root, without_volumes: what is left out.
    """

    __slots__ = (
        "archive", "flags", "image", "keep", "name", "previous", "without_root", "without_volumes"
    )  # fmt: skip

    def __init__(
        self, flags: Sequence[str], *, archive: str = "", previous: str = "",
        image: Image | None = None, name: str = "", keep: bool = False, without_root: bool = False,
        without_volumes: bool = False,
    ) -> None:  # fmt: skip
        self.flags, self.archive, self.previous, self.image = flags, archive, previous, image
        self.name, self.keep = name, keep
        self.without_root, self.without_volumes = without_root, without_volumes


def bring_in(checkpoints: Checkpoints, wanted: Wanted) -> Report:
    """Make the container and let it go on; what fails leaves neither it nor its volumes.

    Raises:
        ArchiveError: it is no checkpoint, or a damaged one.
        ConfigError: the container had what there is none of here.
        ConflictError: its name, its id or one of its volumes is taken.
        PyengineError: its image is not to be had, or the restore failed.
    """
    host = checkpoints.host
    intents = host.database.intents
    with intents.running(INTENT, wanted.name, {}, host.storage.empty_trash) as intent:
        directory = host.storage.staging_path(intent)
        os.makedirs(directory, mode=0o700)
        where = wanted.archive
        if wanted.image is None:
            Unpacking(directory, where, Extract()).take(_of_file(where))
        else:
            where = f"image {wanted.image.names[0] if wanted.image.names else wanted.image.id}"
            for layer in wanted.image.diff_ids:
                tree = pack_tree(host.storage.layer_path(layer), where)
                Unpacking(directory, where, Extract()).take(tree)
        if wanted.previous:
            previous = Unpacking(directory, wanted.previous, Extract())
            previous.take(_of_file(wanted.previous))
        dump, spec = (_read(directory, name, where) for name in (exporting.CONFIG, exporting.SPEC))
        if not os.path.isdir(f"{directory}/checkpoint"):
            raise ArchiveError(f"{where}: it has no complete checkpoint: was it a pre-checkpoint?")
        try:
            container, volumes = _Maker(checkpoints, wanted, dump, spec).make()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArchiveError(
                f"{where}: {exporting.CONFIG} or {exporting.SPEC}: {error!r}: damaged, or of"
                " another version"
            ) from error
        try:
            with host.locked(container.id):
                _lay_out(checkpoints, container, directory, wanted, volumes)
                report = checkpointing.restore_locked(host, container, wanted.flags,
                                                      keep=wanted.keep)  # fmt: skip
        except BaseException:
            _take_back(checkpoints, container, volumes)
            raise
        host.storage.empty_trash(intent)
        intent.finish()
    return report


def _of_file(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb", buffering=0) as file:
            while data := file.read(_CHUNK_BYTES):
                yield data
    except OSError as error:
        raise StorageError(
            f"failed to open checkpoint archive {path} for import: {error.strerror}"
        ) from error


def _read(directory: str, name: str, where: str) -> Any:
    """A dump; what the archive has there may be anything, but leads nowhere."""
    try:
        fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, encoding="utf-8") as file:
            found = json.loads(file.read(MOST_DUMP_BYTES))
    except FileNotFoundError as error:
        raise ArchiveError(f"{where}: it is no checkpoint: it has no {name}") from error
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{where}: {name}: {error}") from error
    if not isinstance(found, dict):
        raise ArchiveError(f"{where}: {name}: it is no JSON object")
    return found


class _Maker:
    """Adds the container's row, as it was where it was saved."""

    def __init__(
        self, checkpoints: Checkpoints, wanted: Wanted, dump: dict[str, Any], spec: dict[str, Any]
    ) -> None:
        self._checkpoints, self._host = checkpoints, checkpoints.host
        self._wanted, self._dump, self._spec = wanted, dump, spec

    def make(self) -> tuple[Container, list[str]]:
        """The container, and the names of the volumes that are new."""
        ours = self._dump.get("pyengine")
        if ours and ours["format"] != exporting.FORMAT:
            raise ConfigError(f"the checkpoint is of format {ours['format']}: a newer pyengine's")
        config = ours["config"] if ours else None
        image = self._dump.get("rootfsImageName") or self._dump.get("rootfsImageID") or ""
        options = ContainerOptions(image) if config else self._options(image)
        if self._dump.get("rootfs"):
            if config is None:
                raise ConfigError("the container has --rootfs: podman's archives name no image")
            source = Source("", "", [], {})
        else:
            source = self._source(options)
        name, id_ = self._dump["name"], self._dump["id"]
        if self._wanted.name:
            name, id_ = self._wanted.name, os.urandom(32).hex()
        if len(id_) != 64 or set(id_) - set("0123456789abcdef"):
            raise ValueError(f"id {id_!r}")
        if record.by_id(self._host, id_) is not None:
            raise ConflictError(
                f"container ID {id_} is already in use: restore it with another --name: container"
                " already exists"
            )
        if config is None:
            options.set("name", name)
            volumes = self._claim(options.volumes)
            container, _ = create(self._host, options, source, id_=id_)
            return container, volumes
        volumes = self._claim(one["name"] for one in config["volumes"] if one["name"])
        config.update(
            image=source.name, image_id=source.id, runtime=self._host.runtime_path(""), conmon="",
            cidfile="",
        )  # fmt: skip
        if config["supervision"] or config["may_restart"]:
            from pyengine.containers import supervising

            supervising.choose_monitor(config, options, self._host.monitor_path(""))
        return add(self._host, name, id_, config, source)[0], volumes

    def _source(self, options: ContainerOptions) -> Source:
        """The image, by its id if it is here."""
        wanted_id, named = self._dump.get("rootfsImageID") or "", options.image
        try:
            options.image = wanted_id or named
            options.set("pull", "never" if wanted_id else "missing")
            return self._checkpoints.obtain(options)
        except NotFoundError:
            if not (wanted_id and named):
                raise
        options.image = named
        options.set("pull", "missing")
        source = self._checkpoints.obtain(options)
        log.warning(
            f"the container was made from another {named}, of id {wanted_id[:12]}: its files may"
            " differ from what its processes know"
        )
        return source

    def _claim(self, names: Any) -> list[str]:
        """See that no volume is there that would be filled; the names of those to come."""
        found = [one.partition(":")[0] for one in names]
        new = [one for one in dict.fromkeys(found) if not one.startswith("/")]
        there = [one for one in new if self._checkpoints.volumes.exists(one)]
        if there and not self._wanted.without_volumes:
            raise ConflictError(
                f"volume with name {there[0]} already exists. Use --ignore-volumes to not restore"
                " content of volumes"
            )
        return [one for one in new if one not in there]

    def _options(self, image: str) -> ContainerOptions:
        """What podman's words come to; most of it counts for later starts only."""
        dump, spec = self._dump, self._spec
        process, linux = spec["process"], spec["linux"]
        kinds = {one["type"]: one.get("path", "") for one in linux["namespaces"]}
        if kinds.get("network"):
            raise ConfigError(
                "the container has a bridged network, and this version has none: save one with"
                " --network none or host"
            )
        if dump.get("dependencies") or dump.get("pod"):
            raise ConfigError("cannot import checkpoints of containers with dependencies")
        bounding = {one.removeprefix("CAP_") for one in process["capabilities"]["bounding"]}
        default = set(capabilities.DEFAULT)
        named = dump.get("namedVolumes") or []
        volumes = [_volume(one["volumeName"], one["dest"], one.get("options") or [])
                   for one in named]  # fmt: skip
        left = {one["dest"] for one in named} | set(OF_THE_ENGINE)
        volumes += [
            _volume(one["source"], one["destination"], one.get("options") or [])
            for one in spec["mounts"]
            if one.get("type") == "bind" and one["destination"] not in left
        ]
        privileged = bool(dump.get("privileged"))
        return ContainerOptions(
            image, entrypoint="", command=tuple(process["args"]), env=tuple(process["env"]),
            workdir=process["cwd"], user=dump.get("user") or "", hostname=spec.get("hostname", ""),
            terminal=bool(process.get("terminal")), stdin=bool(dump.get("stdin")),
            stop_signal=str(dump.get("stopSignal") or 15),
            stop_timeout_s=int(dump.get("stopTimeout") or 10),
            labels=tuple(f"{key}={text}" for key, text in (dump.get("labels") or {}).items()),
            network="none" if "network" in kinds else "host", volumes=tuple(volumes),
            read_only=bool(spec["root"].get("readonly")), privileged=privileged,
            cap_add=() if privileged else tuple(sorted(bounding - default)),
            cap_drop=() if privileged else tuple(sorted(default - bounding)),
            no_healthcheck=True, image_volume="ignore",
            create_command=tuple(dump.get("CreateCommand") or ()),
        )  # fmt: skip


def _volume(source: str, destination: str, options: Sequence[str]) -> str:
    access = [one for one in options if one in ("ro", "rw")]
    return ":".join([source, destination, *access[:1]])


def take_mounts(spec: dict[str, Any], images: str, bundle: str) -> None:
    """Let a restored container have the mounts that it was saved with by podman.

    CRIU wants those that come from the host to be the same ones. What podman made for the
    container is replaced by ours, or is empty.
    """
    dumped = _read(images, exporting.SPEC, "checkpoint")["mounts"]
    memory = f"{images}/{SHARED_MEMORY}"
    ours = {mount["destination"]: mount for mount in spec["mounts"]}
    for number, mount in enumerate(dumped):
        if mount.get("type") != "bind":
            continue
        own = ours.get(mount["destination"], {})
        if own.get("type") == "bind":
            mount["source"] = own["source"]
        elif mount["destination"] in OF_THE_ENGINE:
            mount["source"] = f"{bundle}/restored-{number}"
            os.mkdir(mount["source"])
            if mount["destination"] == "/dev/shm":
                os.chmod(mount["source"], 0o1777)
                if os.path.isfile(memory):
                    unpacking = Unpacking(mount["source"], SHARED_MEMORY, Extract())
                    unpacking.take(_of_file(memory))
    spec["mounts"] = dumped


def _lay_out(
    checkpoints: Checkpoints,
    container: Container,
    directory: str,
    wanted: Wanted,
    new_volumes: Sequence[str],
) -> None:
    """Put what was unpacked in its places, under the container's lock."""
    host = checkpoints.host
    if not container.config["rootfs"]:
        layers, id_maps = host.storage.container_layers(container.id), record.id_maps(container)
        host.storage.create_container(container.id, layers, id_maps)
        host.storage.keep(container.id)
        if not wanted.without_root:
            root = host.storage.mount(container.id, label=record.mount_label(container))
            changes = f"{directory}/{exporting.CHANGES}"
            if os.path.isfile(changes):
                how = Extract(overwrite=True, id_maps=id_maps)
                Unpacking(root, exporting.CHANGES, how).take(_of_file(changes))
            _delete(root, f"{directory}/{exporting.DELETED}")
        mode = criu_images.root_mode(f"{directory}/checkpoint")
        if mode is not None:
            root = host.storage.mount(container.id, label=record.mount_label(container))
            os.chmod(root, mode)
    os.makedirs(os.path.dirname(host.checkpoint_dir(container.id)), exist_ok=True)
    os.rename(f"{directory}/checkpoint", host.checkpoint_dir(container.id))
    if os.path.isdir(f"{directory}/pre-checkpoint"):
        os.rename(f"{directory}/pre-checkpoint", host.pre_checkpoint_dir(container.id))
    if "pyengine" not in _read(directory, exporting.CONFIG, "checkpoint"):
        for name in (exporting.SPEC, SHARED_MEMORY):
            if os.path.isfile(f"{directory}/{name}"):
                os.rename(f"{directory}/{name}", f"{host.checkpoint_dir(container.id)}/{name}")
    log_path = f"{host.root}/containers/{container.id}/{exporting.LOG}"
    if os.path.isfile(f"{directory}/{exporting.LOG}") and host.log_path(container) == log_path:
        os.rename(f"{directory}/{exporting.LOG}", log_path)
    if not wanted.without_volumes:
        for name in new_volumes:
            _fill(checkpoints, name, f"{directory}/{exporting.VOLUMES}/{name}.tar")


def _fill(checkpoints: Checkpoints, name: str, path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ArchiveError(
            f"the checkpoint has no content of volume {name}: give --ignore-volumes"
        ) from error
    try:
        contents.import_(checkpoints.volumes, checkpoints.volumes.find(name), fd)
    finally:
        os.close(fd)


def _delete(root: str, list_path: str) -> None:
    """Remove what the container had removed of its image; a link leads nowhere else."""
    if not os.path.isfile(list_path):
        return
    with open(list_path, encoding="utf-8") as file:
        paths = json.loads(file.read(MOST_DUMP_BYTES))
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ArchiveError(f"{exporting.DELETED}: it is no list of paths")
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in paths:
            above, _, name = path.strip("/").rpartition("/")
            if name in ("", ".", ".."):
                raise ArchiveError(f"{exporting.DELETED}: {path}: it is no path of a file")
            flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
            try:
                above_fd = syscalls.openat2(
                    root_fd, above or ".", flags, resolve=syscalls.RESOLVE_CONFINED
                )
            except FileNotFoundError:
                continue
            try:
                trees.remove_tree(f"/proc/self/fd/{above_fd}/{name}")
            finally:
                os.close(above_fd)
    except OSError as error:
        raise StorageError(f"{exporting.DELETED}: {path}: {error.strerror}") from error
    finally:
        os.close(root_fd)


def _take_back(checkpoints: Checkpoints, container: Container, volumes: Sequence[str]) -> None:
    """Nothing is left of a restore that failed; the archive is still there."""
    host: Host = checkpoints.host
    with host.locked(container.id) as lock:
        current = record.by_id(host, container.id)
        lock.gone = True
        if current is not None:
            ending.remove_locked(host, current)
    for name in volumes:
        if checkpoints.volumes.exists(name):  # --rm takes its anonymous ones along
            checkpoints.volumes.remove(name)
