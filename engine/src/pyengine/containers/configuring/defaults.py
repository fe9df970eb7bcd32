"""``[containers]`` of containers.conf(5): options that the user did not give.

A key that cannot be honoured is a warning, as is one that nobody knows.
"""

from __future__ import annotations

from pyengine import log
from pyengine.errors import ConfigError
from pyengine.specgen import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.options import ContainerOptions

# Keys and the fields they stand for; the text of a key is that of its option.
TEXTS = {
    "base_hosts_file": "hosts_file", "cgroupns": "cgroupns", "cgroups": "cgroups",
    "host_containers_internal_ip": "host_ip", "init_path": "init_path", "ipcns": "ipc",
    "netns": "network", "pidns": "pid", "shm_size": "shm_size", "tz": "timezone", "umask": "umask",
    "utsns": "uts",
}  # fmt: skip
FLAGS = ("init", "keyring", "no_hosts", "privileged", "read_only")
NUMBERS = ("oom_score_adj", "pids_limit")
# Lists that come before what the user gave, and lists that count only where he gave nothing.
LISTS = {
    "annotations": "annotation", "cgroup_conf": "cgroup_conf", "default_sysctls": "default_sysctls",
    "default_ulimits": "ulimit", "devices": "device", "env": "default_env", "mounts": "mounts",
    "volumes": "volumes",
}  # fmt: skip
INSTEAD = {"dns_options": "dns_option", "dns_searches": "dns_search", "dns_servers": "dns"}
# Read by the command line and for log files; labels matter to SELinux alone.
ELSEWHERE = {
    "env_host", "http_proxy", "label", "label_users", "log_driver", "log_size_max", "log_tag",
}  # fmt: skip
OF_NETWORKS = {"interface_name", "rootless_networking"}


def apply(wanted: ContainerOptions, table: dict[str, Any]) -> None:
    """Complete what the user asked for.

    Raises:
        ConfigError: the value of a key has the wrong type.
    """
    for key, value in table.items():
        if key in TEXTS:
            _set(wanted, TEXTS[key], _typed(key, value, str))
        elif key in FLAGS:
            _set(wanted, key, _typed(key, value, bool))
        elif key in NUMBERS:
            _set(wanted, key, _typed(key, value, int))
        elif key in LISTS:
            given = getattr(wanted, LISTS[key])
            wanted.set(LISTS[key], (*_strings(key, value), *given))
        elif key in INSTEAD:
            _resolver(wanted, INSTEAD[key], _strings(key, value))
        elif key == "default_capabilities":
            _capabilities(wanted, _strings(key, value))
        elif key in ("apparmor_profile", "seccomp_profile"):
            _profile(wanted, key, _typed(key, value, str))
        elif key == "userns":
            _user_namespace(wanted, _typed(key, value, str))
        elif key == "userns_size":
            wanted.set("userns_size", _typed(key, value, int))
        elif key in OF_NETWORKS:
            _warn(key, "there are no bridged networks yet")
        elif key == "prepare_volume_on_create":
            if _typed(key, value, bool):
                _warn(key, "a volume is filled when it is used for the first time")
        elif key not in ELSEWHERE:
            _warn(key, "no such key")


def _user_namespace(wanted: ContainerOptions, mode: str) -> None:
    """The command line may say it in other options too."""
    others = (wanted.uidmap, wanted.gidmap, wanted.subuidname, wanted.subgidname)
    if mode != "private" and not any(others):  # private is what a map makes of it
        _set(wanted, "userns", mode)


def _set(wanted: ContainerOptions, field: str, value: object) -> None:
    if not wanted.says(field):
        wanted.set(field, value)


def _typed(key: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"containers.conf: containers.{key}: {value!r} is no value for it")
    return value


def _strings(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ConfigError(f"containers.conf: containers.{key}: {value!r} is no value for it")
    return tuple(value)


def _resolver(wanted: ContainerOptions, field: str, values: tuple[str, ...]) -> None:
    """Podman: not where the container has no network of its own to ask through."""
    if wanted.network == "host":
        _set(wanted, field, values)


def _capabilities(wanted: ContainerOptions, names: tuple[str, ...]) -> None:
    plain = [name.upper().removeprefix("CAP_") for name in names]
    unknown = sorted(set(plain) - set(capabilities.NAMES))
    if unknown:
        raise ConfigError(
            f"containers.conf: containers.default_capabilities: unknown capability {unknown[0]}"
        )
    if plain and set(plain) != set(capabilities.DEFAULT):
        wanted.set("default_capabilities", tuple(plain))


def _profile(wanted: ContainerOptions, key: str, path: str) -> None:
    name = key.removesuffix("_profile")
    given = any(text.startswith((f"{name}=", f"{name}:")) for text in wanted.security_opt)
    if not path or given or wanted.privileged:
        return
    if name == "apparmor":
        from pyengine.containers.configuring.security import apparmor

        try:
            apparmor(path)
        except ConfigError:
            _warn(key, "AppArmor is not enabled on this system")
            return
    wanted.set("security_opt", (*wanted.security_opt, f"{name}={path}"))


def _warn(key: str, why: str) -> None:
    log.warning(f"containers.conf: containers.{key} is not honoured: {why}")
