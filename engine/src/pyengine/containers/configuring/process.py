"""The options of the section ``process`` that an ordinary container does not have."""

from __future__ import annotations

import os

from pyengine.config import programs
from pyengine.errors import ConfigError
from pyengine.specgen import process
from pyengine.specgen.mount_options import SYSTEMD_TMPFS, tmpfs_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig, ProcessSettings

MAX_UMASK = 0o7777
SIGRTMIN_3 = 37  # asks systemd to halt
ZONES = "/usr/share/zoneinfo"
INIT_PATHS = ("/usr/libexec/podman/catatonit", "/usr/lib/podman/catatonit")
KEEP_GROUPS = "keep-groups"
FIRST_FD = 3  # after the standard streams


def configure(config: ContainerConfig, wanted: ContainerOptions, image: dict[str, Any]) -> None:
    """Write what the options mean into ``config``.

    Raises:
        ConfigError: an option has no meaning, or names what the host does not have.
    """
    found: ProcessSettings = {}
    if wanted.umask:
        found["umask"] = umask(wanted.umask)
    if wanted.timezone:
        found["timezone"] = _timezone(wanted.timezone)
    if wanted.init:
        found["init_path"] = _init(wanted.init_path)
    if wanted.timeout_s:
        found["timeout_s"] = wanted.timeout_s
    if wanted.preserve_fds or wanted.preserve_fd:
        chosen = descriptors(wanted.preserve_fds, wanted.preserve_fd, detach=wanted.detach)
        found["preserve_fds"], found["unwanted_fds"] = chosen
    if wanted.chrootdirs:
        found["chroot_dirs"] = [_directory(text) for text in wanted.chrootdirs]
    _environment(config, found, wanted, image)
    _groups(found, wanted.group_add)
    _accounts(config, found, wanted)
    if _systemd(config, wanted.systemd):
        found["systemd"] = True
        taken = {os.path.normpath(volume["destination"]) for volume in config["volumes"]}
        for path in SYSTEMD_TMPFS:
            if path not in taken:
                config["tmpfs"].setdefault(path, tmpfs_options([]))
        if not wanted.stop_signal:
            config["stop_signal"] = SIGRTMIN_3
    config["process"] = found


def umask(text: str) -> int:
    """``--umask`` as a number."""
    try:
        value = int(text, 8)
    except ValueError:
        value = -1
    if not 0 <= value <= MAX_UMASK or not text.isdecimal():
        raise ConfigError(f"invalid umask string {text}: invalid argument")
    return value


def _timezone(zone: str) -> str:
    """The file of ``--tz``."""
    if zone == "local":
        return os.path.realpath("/etc/localtime")
    path = os.path.normpath(f"{ZONES}/{zone}")
    if not path.startswith(f"{ZONES}/"):
        raise ConfigError(f"--tz {zone}: not the name of a time zone")
    if not os.path.isfile(path):
        raise ConfigError(f"--tz {zone}: stat {path}: no such file or directory")
    return path


def _init(path: str) -> str:
    """The program of ``--init``."""
    if path:
        if not os.path.exists(path):
            raise ConfigError(
                f"container-init binary not found on the host: stat {path}: no such file or"
                " directory"
            )
        return os.path.abspath(path)
    for place in INIT_PATHS:
        if os.access(place, os.X_OK):
            return place
    found = programs.search("catatonit", "")
    if found is None:
        raise ConfigError(
            "container-init binary not found on the host: no catatonit in"
            f" {' or '.join(INIT_PATHS)} or PATH: install it, or give --init-path"
        )
    return found


def descriptors(count: int, listed: Sequence[str], *, detach: bool) -> tuple[int, list[int]]:
    """How many of our descriptors from 3 on go to the container, and which of them are not wanted.

    A runtime knows only how many, and none of them may be missing.

    Args:
        count: of ``--preserve-fds``: all from 3 on.
        listed: the numbers of ``--preserve-fd``.
        detach: nobody stays who could hold them.

    Raises:
        ConfigError: our caller did not give us one of them.
    """
    option = f"--preserve-fd {','.join(listed)}" if listed else f"--preserve-fds {count}"
    if detach:
        raise ConfigError(f"{option.split()[0]}: cannot be used with --detach")
    if count and listed:
        raise ConfigError("--preserve-fds and --preserve-fd cannot be used together")
    for text in listed:
        if not (text.isascii() and text.isdecimal() and int(text) >= FIRST_FD):
            raise ConfigError(f"{option}: {text} is not the number of a descriptor from 3 on")
    wanted = {int(text) for text in listed} or set(range(FIRST_FD, FIRST_FD + count))
    for fd in sorted(wanted):
        try:
            if not os.get_inheritable(fd):  # one of our own files took its place
                raise OSError
        except OSError:
            raise ConfigError(
                f"{option}: file descriptor {fd} is not available - the preserve-fds"
                " option requires that file descriptors must be passed"
            ) from None
    end = max(wanted) + 1
    return end - FIRST_FD, [fd for fd in range(FIRST_FD, end) if fd not in wanted]


def _directory(path: str) -> str:
    if not path.startswith("/"):
        raise ConfigError(f"--chrootdirs {path}: must be an absolute path")
    return os.path.normpath(path)


def _environment(
    config: ContainerConfig, found: ProcessSettings, wanted: ContainerOptions, image: dict[str, Any]
) -> None:
    """Image variables are merged and taken away; what the user gave stays."""
    if not (wanted.env_merge or wanted.unsetenv or wanted.unsetenv_all):
        return
    defaults = process.entries([*wanted.default_env, *(image.get("Env") or [])])
    of_image = dict(defaults)
    for text in wanted.env_merge:
        name, separator, value = text.partition("=")
        if not (name and separator):
            raise ConfigError(f"--env-merge {text}: must be NAME=VALUE")
        defaults[name] = _expand(value, of_image)
    gone = set(defaults) if wanted.unsetenv_all else set(wanted.unsetenv)
    found["unset_env"] = [*process.DEFAULT_ENV] if wanted.unsetenv_all else list(wanted.unsetenv)
    kept = [f"{name}={value}" for name, value in defaults.items() if name not in gone]
    config["env"] = [*kept, *wanted.env]


def _expand(text: str, variables: dict[str, str]) -> str:
    """``$NAME`` and ``${NAME}``; what is not set is empty."""
    import re

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1] or match[2], "")

    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, text)


def _groups(found: ProcessSettings, groups: tuple[str, ...]) -> None:
    if KEEP_GROUPS in groups:
        if len(groups) > 1:
            raise ConfigError(
                "the '--group-add keep-groups' option is not allowed with any other --group-add"
                " options"
            )
        found["keep_groups"] = True
    elif groups:
        found["groups"] = list(groups)


def _accounts(config: ContainerConfig, found: ProcessSettings, wanted: ContainerOptions) -> None:
    if not wanted.passwd:
        found["no_passwd"] = True
    for name, entry in (("passwd", wanted.passwd_entry), ("group", wanted.group_entry)):
        if "\n" in entry:
            raise ConfigError(f"--{name}-entry: must be one line")
    if wanted.passwd_entry:
        found["passwd_entry"] = wanted.passwd_entry
    if wanted.group_entry:
        found["group_entry"] = wanted.group_entry
    if wanted.hostuser:
        found["host_users"] = [_host_user(config, name) for name in wanted.hostuser]


def _host_user(config: ContainerConfig, name: str) -> str:
    """The line of /etc/passwd for a user of the host, whose home counts where it is mounted."""
    import pwd

    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError) as error:
        raise ConfigError(f"--hostuser {name}: unknown user {name}") from error
    targets = [*config["tmpfs"], *(volume["destination"] for volume in config["volumes"])]
    homes = [os.path.normpath(path) for path in targets]
    is_mounted = any(f"{entry.pw_dir}/".startswith(f"{home}/") for home in homes)
    home = entry.pw_dir if is_mounted else config["cwd"] or "/"
    return f"{entry.pw_name}:*:{entry.pw_uid}:{entry.pw_gid}:{entry.pw_gecos}:{home}:/bin/sh"


def _systemd(config: ContainerConfig, mode: str) -> bool:
    if mode not in ("true", "false", "always"):
        raise ConfigError(f'--systemd {mode}: values must be one of "true, false, always"')
    return mode == "always" or (mode == "true" and process.is_systemd(config))
