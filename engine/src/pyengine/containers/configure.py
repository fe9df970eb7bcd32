"""Merges an image's configuration and the user's options into a container's configuration."""

from __future__ import annotations

import os

from pyengine.containers.options import (
    MountOptions,
    NameOptions,
    ProcessOptions,
    ResourceOptions,
    SecurityOptions,
    SupervisionOptions,
)
from pyengine.errors import ConfigError
from pyengine.specgen import capabilities, options, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import (
        ContainerConfig,
        LifeConfig,
        MountsConfig,
        NamesConfig,
        ProcessConfig,
        SecurityConfig,
        SupervisionConfig,
    )

STREAMS = ("stdin", "stdout", "stderr")
MAX_HOSTNAME = 64
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
    _check(wanted)
    config: ContainerConfig = {
        "image": image_name,
        "image_id": image_id,
        **_process(wanted, image),
        **_names(wanted, image),
        **_mounts(wanted),
        "resources": {},
        **_security(wanted),
        **_supervision(),
        "log": {},
        **_life(wanted),
    }
    _add_what_few_ask_for(config, wanted, image)
    return config


def _check(wanted: ContainerOptions) -> None:
    if wanted.name and not options.is_name(wanted.name):
        raise ConfigError(
            f'invalid name "{wanted.name}": names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*:'
            " invalid argument"
        )
    if wanted.hostname and not _is_hostname(wanted.hostname):
        raise ConfigError(f"--hostname {wanted.hostname}: not a host name")
    # An unknown capability is this command's error, not the later start's.
    capabilities.allowed(
        list(wanted.cap_add), list(wanted.cap_drop), list(wanted.default_capabilities),
        privileged=wanted.privileged,
    )  # fmt: skip


def _process(wanted: ContainerOptions, image: dict[str, Any]) -> ProcessConfig:
    entrypoint, command = process.arguments(image, wanted.entrypoint, list(wanted.command))
    return {
        "process": {},
        "entrypoint": entrypoint,
        "command": command,
        "env": [*wanted.default_env, *(image.get("Env") or []), *wanted.env],
        "cwd": _cwd(wanted.workdir, image.get("WorkingDir") or ""),
        "cwd_given": bool(wanted.workdir),
        "user": wanted.user or image.get("User") or "",
        "terminal": wanted.terminal,
        "stdin": wanted.stdin,
        "no_keyring": not wanted.keyring,
        "stop_signal": _stop_signal(wanted.stop_signal or image.get("StopSignal") or ""),
        "stop_timeout_s": wanted.stop_timeout_s,
    }


def _names(wanted: ContainerOptions, image: dict[str, Any]) -> NamesConfig:
    config: NamesConfig = {
        "names": {},
        "hostname_given": wanted.hostname,
        "network": _network(wanted.network),
        "labels": {**(image.get("Labels") or {}), **_labels(wanted.labels)},
        # A later rm may be called elsewhere.
        "cidfile": os.path.abspath(wanted.cidfile) if wanted.cidfile else "",
    }
    if image.get("ExposedPorts"):
        config["exposed_ports"] = list(image["ExposedPorts"])
    return config


def _mounts(wanted: ContainerOptions) -> MountsConfig:
    return {
        "rootfs": wanted.image if wanted.rootfs else "",
        "read_only": wanted.read_only,
        "tmpfs": {},
        "volumes": [],
        "mounts": {},
    }


def _security(wanted: ContainerOptions) -> SecurityConfig:
    return {
        "security": {},
        "id_maps": [],
        "sysctls": {},
        "default_capabilities": list(wanted.default_capabilities),
        "namespaces": {},
        "privileged": wanted.privileged,
        "cap_add": list(wanted.cap_add),
        "cap_drop": list(wanted.cap_drop),
        "no_new_privileges": False,
        "seccomp": "",
    }


def _supervision() -> SupervisionConfig:
    return {
        "restart_policy": "no",
        "may_restart": False,
        "restart_by_monitor": False,
        "supervision": {},
    }


def _life(wanted: ContainerOptions) -> LifeConfig:
    return {
        "dependencies": [],
        "attach": _streams(wanted),
        "auto_remove": wanted.auto_remove or wanted.remove_image,
        "remove_image": wanted.remove_image,
        "runtime": wanted.runtime,
        "conmon": wanted.conmon,
        "create_command": list(wanted.create_command),
    }


def _add_what_few_ask_for(
    config: ContainerConfig, wanted: ContainerOptions, image: dict[str, Any]
) -> None:
    """What most containers do not ask for is loaded for the others alone."""
    if wanted.asks(NameOptions):
        from pyengine.containers.configuring import names

        names.configure(config, wanted)
    if wanted.asks(MountOptions):
        from pyengine.containers.configuring import mounts

        mounts.configure(config, wanted)
    if wanted.asks(ResourceOptions):
        from pyengine.containers.configuring import resources

        config["resources"] = resources.configure(wanted)
    if wanted.asks(SecurityOptions):
        from pyengine.containers.configuring import security

        security.configure(config, wanted, image)
    _default_sysctls(config, wanted)
    if wanted.asks(SupervisionOptions) or image.get("Healthcheck"):
        from pyengine.containers.configuring import supervision

        supervision.configure(config, wanted, image)
    if wanted.sdnotify != "container":
        config["sdnotify"] = _sdnotify(wanted.sdnotify, checked=bool(config["supervision"]))
    # Last, because it adds mounts where there are none yet.
    if wanted.asks(ProcessOptions) or process.is_systemd(config):
        from pyengine.containers.configuring import process as process_options

        process_options.configure(config, wanted, image)


def _streams(wanted: ContainerOptions) -> list[str]:
    names = [name.lower() for name in wanted.attach]
    for name in names:
        if name not in STREAMS:
            raise ConfigError(
                f'invalid stream "{name}" for --attach - must be one of stdin, stdout, or stderr'
            )
    if names and wanted.detach:
        raise ConfigError("--attach and --detach cannot be set together")
    return names


def _sdnotify(mode: str, *, checked: bool) -> str:
    if mode not in ("conmon", "healthy", "ignore"):
        raise ConfigError(
            f'invalid argument: invalid sdnotify value "{mode}": must be conmon, container, healthy'
            " or ignore"
        )
    if mode == "healthy" and not checked:
        raise ConfigError(
            'invalid argument: sdnotify policy "healthy" requires a healthcheck to be set: give'
            " --health-cmd"
        )
    return mode


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


def _default_sysctls(config: ContainerConfig, wanted: ContainerOptions) -> None:
    """Those of containers.conf that belong to a namespace of the container's own."""
    for text in wanted.default_sysctls:
        name, equals, value = text.partition("=")
        name = name.strip().replace("/", ".")
        if not (name and equals):
            raise ConfigError(f"containers.conf: default_sysctls: {text}: must be NAME=VALUE")
        mode = config["network"] if name.startswith("net.") else config["namespaces"].get("ipc", "")
        if mode in ("", "none", "private", "shareable"):
            config["sysctls"].setdefault(name, value.strip())


def _network(mode: str) -> str:
    if mode in ("", "none", "private"):  # what private means beyond loopback is not there yet
        return "none"
    kind, _, place = mode.partition(":")
    if mode != "host" and not (kind in ("container", "ns") and place):
        raise ConfigError(
            f"--network {mode}: no such network: this version knows none, private, host,"
            " container:NAME and ns:PATH"
        )
    return mode


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
