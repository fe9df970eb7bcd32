"""config.json's ``process``: what runs, as whom, where and with which limits."""

from __future__ import annotations

import errno
import os
import resource

from pyengine import syscalls
from pyengine.errors import CommandNotExecutableError, ConfigError
from pyengine.specgen import capabilities, users
from pyengine.storage import overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyengine.specgen.types import ContainerConfig, Resources

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UMASK = 0o022
INIT = "/run/podman-init"
UNLIMITED = 2**64  # config.json has -1 as the largest unsigned number
LIMIT = 1048576  # podman's default for nofile and nproc


DEFAULT_ENV = {"PATH": DEFAULT_PATH, "TERM": "xterm", "container": "podman"}
INITS = ("/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init")


def build(
    config: ContainerConfig, root_fd: int, hostname: str
) -> tuple[dict[str, Any], users.User]:
    """The whole ``process`` object for a container whose root is open as ``root_fd``."""
    settings = config["process"]
    user = users.look_up(root_fd, config["user"], settings.get("host_users", []))
    cwd = config["cwd"] or "/"
    if not user.known and user.uid:
        user.home = cwd  # as in the line that is added to /etc/passwd
    if config["cwd_given"] and not _is_mounted(cwd, config):
        _check_cwd(root_fd, cwd)
    bounding = capabilities.allowed(
        config["cap_add"],
        config["cap_drop"],
        config["default_capabilities"],
        privileged=config["privileged"],
    )
    process: dict[str, Any] = {
        "user": user_object(user, settings.get("umask", UMASK)),
        "args": [*config["entrypoint"], *config["command"]],
        "env": environment(config["env"], user.home, hostname, settings.get("unset_env", [])),
        "cwd": cwd,
        "capabilities": capability_sets(config, bounding),
        "rlimits": rlimits(config["resources"]),
    }
    if config["terminal"]:
        process["terminal"] = True
    if config["no_new_privileges"]:
        process["noNewPrivileges"] = True
    if settings.get("groups"):
        gids = [users.group_id(root_fd, name) for name in settings["groups"]]
        known = process["user"].get("additionalGids", [])
        process["user"]["additionalGids"] = list(dict.fromkeys([*known, *gids]))
    if "oom_score_adj" in config["resources"]:
        process["oomScoreAdj"] = config["resources"]["oom_score_adj"]
    if "init_path" in settings:
        process["args"] = [INIT, "--", *process["args"]]
    return process, user


def is_systemd(config: ContainerConfig) -> bool:
    """Whether the command is an init that is taken for systemd."""
    words = config["entrypoint"] or config["command"]
    return words[0] in INITS or words[0].rpartition("/")[2] == "systemd"


def user_object(user: users.User, umask: int) -> dict[str, Any]:
    """config.json's ``process.user``."""
    found: dict[str, Any] = {"uid": user.uid, "gid": user.gid, "umask": umask}
    if user.additional_gids:
        found["additionalGids"] = user.additional_gids
    return found


def environment(env: list[str], home: str, hostname: str, unset: Iterable[str] = ()) -> list[str]:
    """Podman's defaults, then the image's and the user's; a later entry replaces an earlier one.

    ``unset`` names defaults that are left out.
    """
    found = {name: value for name, value in DEFAULT_ENV.items() if name not in unset}
    found.update(entries(env))
    found.setdefault("HOME", home)
    found.setdefault("HOSTNAME", hostname)
    return [f"{name}={value}" for name, value in found.items()]


def entries(env: list[str]) -> dict[str, str]:
    """Values by name; the last one counts."""
    found = dict(entry.partition("=")[::2] for entry in env)
    found.pop("", None)  # an image may say "=value", which no program could ask for
    return found


def capability_sets(config: ContainerConfig, bounding: list[str]) -> dict[str, list[str]]:
    """Root holds the bounding set; another user only what ``--cap-add`` names (as podman)."""
    if users.is_root(config["user"]):
        return {"bounding": bounding, "effective": bounding, "permitted": bounding}
    held = capabilities.added_only(config["cap_add"], bounding)
    if not held:
        return {"bounding": bounding}
    return {
        "bounding": bounding,
        "effective": held,
        "inheritable": held,
        "permitted": held,
        "ambient": held,
    }


def rlimits(limits: Resources) -> list[dict[str, Any]]:
    """What ``--ulimit`` asks for, and podman's limits for the rest, or what may be set here.

    Raises:
        ConfigError: only CAP_SYS_RESOURCE raises a hard limit, and this process does not hold it.
    """
    may_raise = _may_raise_limits()
    found = {}
    for name in () if limits.get("ulimits_of_host") else ("NOFILE", "NPROC"):
        hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
        value = LIMIT if may_raise or hard == resource.RLIM_INFINITY else min(LIMIT, hard)
        found[f"RLIMIT_{name}"] = (value, value)
    for name, (soft, high) in limits.get("ulimits", {}).items():
        if not may_raise:
            _check_hard_limit(name, high)
        found[name] = (soft, high)
    return [
        {"type": name, "hard": high % UNLIMITED, "soft": soft % UNLIMITED}
        for name, (soft, high) in found.items()
    ]


def _may_raise_limits() -> bool:
    """The kernel asks for the capability in its first user namespace."""
    return "SYS_RESOURCE" in capabilities.bounding_set() and not overlay.in_user_namespace()


def _check_hard_limit(name: str, wanted: int) -> None:
    number = getattr(resource, name, None)
    hard = -1 if number is None else resource.getrlimit(number)[1]
    if hard != -1 and (wanted == -1 or wanted > hard):
        raise ConfigError(
            f"--ulimit {name[len('RLIMIT_') :].lower()}: the hard limit of this process is {hard},"
            " and it lacks CAP_SYS_RESOURCE to raise it: ask for less"
        )


def _is_mounted(cwd: str, config: ContainerConfig) -> bool:
    """Whether it lies in one of the user's mounts, which are not there yet."""
    mounts = [*config["tmpfs"], *(volume["destination"] for volume in config["volumes"])]
    return any(f"{cwd}/".startswith(f"{os.path.normpath(path)}/") for path in mounts)


def _check_cwd(root_fd: int, cwd: str) -> None:
    """A directory asked for by ``--workdir`` must exist; an image's own is made by the runtime."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        os.close(
            syscalls.openat2(
                root_fd, cwd.lstrip("/") or ".", flags, resolve=syscalls.RESOLVE_CONFINED
            )
        )
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise CommandNotExecutableError(
                f'workdir "{cwd}" does not exist in the container'
            ) from error
        raise CommandNotExecutableError(f'workdir "{cwd}": {error.strerror}') from error


def arguments(
    image: dict[str, Any], entrypoint: str | None, command: list[str]
) -> tuple[list[str], list[str]]:
    """Entry point and command, by docker's rules.

    Args:
        image: the ``config`` object of the image; either may be missing or null in it.
        entrypoint: ``--entrypoint``: a JSON list, one word, or empty to clear the image's.
        command: what follows the image's name.

    Raises:
        ConfigError: there is nothing to run.
    """
    if entrypoint is None:
        entry = _words(image.get("Entrypoint"))
        chosen = command or _words(image.get("Cmd"))
    else:
        entry = _entrypoint(entrypoint)
        chosen = command
    if not entry and not chosen:
        raise ConfigError("no command or entrypoint provided, and no CMD or ENTRYPOINT from image")
    return entry, chosen


def _words(value: object) -> list[str]:
    """An image's Entrypoint or Cmd; a plain string (an old image's shell form) goes to a shell."""
    if isinstance(value, str):
        return ["/bin/sh", "-c", value] if value else []
    return [str(word) for word in value] if isinstance(value, list) else []


def _entrypoint(text: str) -> list[str]:
    if not text:
        return []
    if text.startswith("["):
        import json

        try:
            words = json.loads(text)
        except ValueError:
            return [text]
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    return [text]
