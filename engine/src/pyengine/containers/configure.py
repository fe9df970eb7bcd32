"""Merges an image's configuration and the user's options into a container's configuration."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError
from pyengine.specgen import capabilities, options, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig

MAX_HOSTNAME = 64
NETWORKS = ("none", "host")
SIGTERM = 15


def configure(
    wanted: ContainerOptions, image_id: str, image_name: str, image: dict[str, Any]
) -> ContainerConfig:
    """The saved configuration.

    Args:
        wanted: what the user asked for.
        image_id: empty with ``--rootfs``.
        image_name: what ``ps`` shows.
        image: the ``config`` object of the image's configuration (image-spec config.md).

    Raises:
        ConfigError: an option has no meaning, names its value.
    """
    if wanted.name and not options.is_name(wanted.name):
        raise ConfigError(
            f'invalid name "{wanted.name}": names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*:'
            " invalid argument"
        )
    if wanted.hostname and not _is_hostname(wanted.hostname):
        raise ConfigError(f"--hostname {wanted.hostname}: not a host name")
    if wanted.network not in NETWORKS:
        raise ConfigError(
            f"--network {wanted.network}: no such network: this version knows"
            f" {' and '.join(NETWORKS)}"
        )
    entrypoint, command = process.arguments(image, wanted.entrypoint, list(wanted.command))
    seccomp, no_new_privileges = _security(wanted.security_opt)
    # An unknown capability is this command's error, not the later start's.
    capabilities.allowed(list(wanted.cap_add), list(wanted.cap_drop), privileged=wanted.privileged)
    return {
        "image": image_name,
        "image_id": image_id,
        "rootfs": _rootfs(wanted.image) if wanted.rootfs else "",
        "entrypoint": entrypoint,
        "command": command,
        "env": [*(image.get("Env") or []), *wanted.env],
        "hostname_given": wanted.hostname,
        "cwd": _cwd(wanted.workdir, image.get("WorkingDir") or ""),
        "cwd_given": bool(wanted.workdir),
        "user": wanted.user or image.get("User") or "",
        "terminal": wanted.terminal,
        "stdin": wanted.stdin,
        "network": wanted.network,
        "read_only": wanted.read_only,
        "privileged": wanted.privileged,
        "cap_add": list(wanted.cap_add),
        "cap_drop": list(wanted.cap_drop),
        "no_new_privileges": no_new_privileges,
        "seccomp": seccomp,
        "resources": options.resources(wanted.memory, wanted.cpus, wanted.pids_limit),
        "tmpfs": dict(options.tmpfs(text) for text in wanted.tmpfs),
        "volumes": _volumes(wanted.volumes),
        "labels": {**(image.get("Labels") or {}), **_labels(wanted.labels)},
        "stop_signal": _stop_signal(wanted.stop_signal or image.get("StopSignal") or ""),
        "stop_timeout_s": wanted.stop_timeout_s,
        "auto_remove": wanted.auto_remove,
        "runtime": wanted.runtime,
        "conmon": wanted.conmon,
        # A later rm may be called elsewhere.
        "cidfile": os.path.abspath(wanted.cidfile) if wanted.cidfile else "",
        "create_command": list(wanted.create_command),
    }


def _is_hostname(text: str) -> bool:
    inner = text.replace(".", "").replace("-", "")
    return (
        len(text) <= MAX_HOSTNAME
        and inner.isascii()
        and inner.isalnum()
        and (text[0].isalnum() and text[-1].isalnum())
    )


def _labels(texts: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def _rootfs(path: str) -> str:
    absolute = os.path.abspath(path)
    if not os.path.isdir(absolute):
        raise ConfigError(f"--rootfs {path}: no such directory")
    return absolute


def _stop_signal(text: str) -> int:
    if not text:
        return SIGTERM
    from pyengine.containers.signals import number  # only where one is named

    return number(text)


def _cwd(given: str, of_image: str) -> str:
    if not given:  # docker and podman take an image's relative one from /
        return os.path.normpath(f"/{of_image.lstrip('/')}") if of_image else ""
    if not given.startswith("/"):
        raise ConfigError(
            f'the working directory "{given}" is invalid, it needs to be an absolute path'
        )
    return os.path.normpath(given)


def _volumes(texts: tuple[str, ...]) -> list[Any]:
    volumes = [options.volume(text) for text in texts]
    seen = set()
    for volume in volumes:
        path = os.path.normpath(volume["destination"])
        if path in seen:
            raise ConfigError(f"{volume['destination']}: duplicate mount destination")
        seen.add(path)
    return volumes


def _security(security_opt: tuple[str, ...]) -> tuple[str, bool]:
    """The seccomp choice and no_new_privileges."""
    seccomp, no_new_privileges = "", False
    for option in security_opt:
        name, separator, value = option.replace(":", "=", 1).partition("=")
        if name == "seccomp" and value:
            seccomp = value if value == "unconfined" else os.path.abspath(value)
        elif name == "no-new-privileges" and value in ("", "true", "false"):
            no_new_privileges = not separator or value == "true"
        else:
            raise ConfigError(
                f"invalid --security-opt {option}: this version knows seccomp=FILE,"
                " seccomp=unconfined and no-new-privileges"
            )
    return seccomp, no_new_privileges
