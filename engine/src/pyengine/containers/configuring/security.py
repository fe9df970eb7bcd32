"""The options of the section ``security``: confinement, and what is shared with the host."""

from __future__ import annotations

import os
import stat

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig, DeviceWish, SecuritySettings

MODES = ("host", "private", "container:", "ns:")
IPC_MODES = (*MODES, "none", "shareable")
# The parameters that belong to the IPC namespace (docker's and podman's list), and of network.
IPC_SYSCTLS = {
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
    "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
}  # fmt: skip
IPC_PREFIX, NETWORK_PREFIX = "fs.mqueue.", "net."
SECCOMP_LABEL = "io.containers.seccomp.profile"
GPU_KIND = "nvidia.com/gpu"


def configure(config: ContainerConfig, wanted: ContainerOptions, image: dict[str, Any]) -> None:
    """Write what the options mean into ``config``.

    Raises:
        ConfigError: an option has no meaning, or this host cannot honour it.
    """
    found: SecuritySettings = {}
    _namespaces(config, wanted)
    for option in wanted.security_opt:
        _security_option(config, found, option)
    if wanted.seccomp_policy == "image":
        profile = (image.get("Labels") or {}).get(SECCOMP_LABEL)
        if profile and config["seccomp"] != "unconfined":
            from pyengine.specgen import seccomp

            seccomp.from_text(profile, f"the image's label {SECCOMP_LABEL}", [])
            found["seccomp_profile"] = profile
    elif wanted.seccomp_policy != "default":
        raise ConfigError(
            f'invalid seccomp policy "{wanted.seccomp_policy}": valid policies are'
            ' ["default" "image"]'
        )
    config["sysctls"] = dict(_sysctl(text, config) for text in wanted.sysctl)
    if wanted.personality:
        if wanted.personality not in ("LINUX", "LINUX32"):
            raise ConfigError(f"--personality {wanted.personality}: must be LINUX or LINUX32")
        found["personality"] = wanted.personality
    cdi = [text for text in wanted.device if _is_cdi(text)]
    cdi += [gpu if _is_cdi(gpu) else f"{GPU_KIND}={gpu}" for gpu in wanted.gpus]
    if cdi:
        from pyengine.specgen import cdi as specifications

        directories = wanted.cdi_spec_dirs or specifications.DIRECTORIES
        found["cdi_devices"] = cdi
        found["cdi_directories"] = [os.path.abspath(path) for path in directories]
        # What is missing is this command's error.
        specifications.find(cdi, found["cdi_directories"])
    devices = [_device(text) for text in wanted.device if not _is_cdi(text)]
    if devices:
        found["devices"] = devices
    if wanted.device_cgroup_rule:
        found["device_rules"] = [_device_rule(text) for text in wanted.device_cgroup_rule]
    config["security"] = found


def _namespaces(config: ContainerConfig, wanted: ContainerOptions) -> None:
    given = {"pid": wanted.pid, "ipc": wanted.ipc, "uts": wanted.uts, "cgroup": wanted.cgroupns}
    for kind, mode in given.items():
        if not mode:
            continue
        known = IPC_MODES if kind == "ipc" else MODES
        word, colon, place = mode.partition(":")
        if f"{word}{colon}" not in known or (colon and not place):
            raise ConfigError(f"--{kind}: unrecognized namespace mode {mode} passed")
        config["namespaces"][kind] = mode
    modes = config["namespaces"]
    if modes.get("uts", "private") != "private" and wanted.hostname:
        raise ConfigError(
            "cannot set hostname when running in the host UTS namespace, or in another's: invalid"
            " configuration"
        )
    if modes.get("pid", "private") != "private" and wanted.init:
        raise ConfigError("cannot add init binary as PID 1 (PID namespace isn't private)")
    if wanted.cgroups == "disabled" and "cgroup" in modes:
        raise ConfigError("--cgroupns cannot be set with --cgroups=disabled")


def _security_option(config: ContainerConfig, found: SecuritySettings, option: str) -> None:
    name, separator, value = option.partition("=")
    if not separator:
        name, separator, value = option.partition(":")
    if name == "seccomp" and value:
        config["seccomp"] = value if value == "unconfined" else os.path.abspath(value)
    elif name == "no-new-privileges" and value in ("", "true", "false"):
        config["no_new_privileges"] = not separator or value == "true"
    elif name == "apparmor" and value:
        found["apparmor"] = apparmor(value)
    elif name == "label" and value:
        from pyengine.specgen import selinux

        found.setdefault("label", []).append(selinux.check(value))
        if value == "nested":
            found.setdefault("unmasked", []).append(selinux.FILESYSTEM)
    elif name in ("mask", "unmask") and value:
        paths = value.split(":")
        for path in paths:
            if not path.startswith("/") and not (name == "unmask" and path == "ALL"):
                raise ConfigError(f"--security-opt {option}: {path} is no absolute path")
        key = "masked" if name == "mask" else "unmasked"
        found.setdefault(key, []).extend(paths)  # type: ignore[misc]  # both are keys
    elif option == "systempaths=unconfined":
        found.setdefault("unmasked", []).append("ALL")
    elif name == "proc-opts" and value:
        found["proc_options"] = value.split(",")
    else:
        raise ConfigError(
            f'invalid --security-opt: "{option}": give seccomp=, apparmor=, label=, mask=, unmask=,'
            " proc-opts=, systempaths=unconfined or no-new-privileges"
        )


def apparmor(profile: str) -> str:
    """A profile that this host can apply."""
    if profile == "unconfined":
        return profile
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            enabled = file.read().startswith("Y")
    except FileNotFoundError:
        enabled = False
    if not enabled:
        raise ConfigError(
            f'apparmor profile "{profile}" specified, but Apparmor is not enabled on this system'
        )
    return profile


def _sysctl(text: str, config: ContainerConfig) -> tuple[str, str]:
    """One parameter that belongs to a namespace of the container's own."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigError(f"--sysctl {text}: must be NAME=VALUE")
    name = name.replace("/", ".")
    ipc = name in IPC_SYSCTLS or name.startswith(IPC_PREFIX)
    if not ipc and not name.startswith(NETWORK_PREFIX):
        raise ConfigError(f"sysctl '{name}' is not allowed: it belongs to no namespace")
    mode = config["namespaces"].get("ipc", "") if ipc else config["network"]
    if mode == "host":
        kind = "IPC" if ipc else "Network"
        raise ConfigError(f"sysctl {text} can't be set since {kind} Namespace set to host")
    return name, value


def _is_cdi(text: str) -> bool:
    """Whether a device is named as CDI does: vendor/class=name."""
    kind, equals, name = text.partition("=")
    return bool(equals and name) and not kind.startswith("/") and kind.count("/") == 1


def _device(text: str) -> DeviceWish:
    """``SOURCE[:DESTINATION][:PERMISSIONS]``."""
    pieces = text.split(":")
    source, rest = pieces[0], pieces[1:]
    access = "rwm"
    if rest and not rest[-1].startswith("/"):
        access = rest.pop()
    if len(rest) > 1 or not _is_access(access):
        raise ConfigError(f"--device {text}: must be SOURCE[:DESTINATION][:PERMISSIONS of rwm]")
    try:
        mode = os.stat(source).st_mode
    except OSError as error:
        raise ConfigError(f"--device {text}: stat {source}: {error.strerror}") from error
    if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode)):
        raise ConfigError(f"--device {text}: {source} is not a device node")
    destination = os.path.normpath(rest[0]) if rest else source
    return {"source": source, "destination": destination, "access": access}


def _is_access(text: str) -> bool:
    """Whether it is one of ``r``, ``w``, ``m`` or several, each once."""
    return bool(text) and len(set(text)) == len(text) and set(text) <= set("rwm")


def _device_rule(text: str) -> tuple[str, int, int, str]:
    """``c 1:3 rwm`` of cgroup-v1/devices.rst."""
    words = text.split()
    if len(words) == 3 and words[0] in ("a", "b", "c") and _is_access(words[2]):
        numbers = [-1 if word == "*" else int(word) if word.isdecimal() else -2
                   for word in words[1].split(":")]  # fmt: skip
        if len(numbers) == 2 and -2 not in numbers:
            return words[0], numbers[0], numbers[1], words[2]
    raise ConfigError(f'--device-cgroup-rule "{text}": must be like c 1:3 rwm')
