"""info: the host, the storage root and the programs that pyengine calls."""

from __future__ import annotations

import json
import os
import platform
import time

import click

from pyengine.cli import fields
from pyengine.cli.report import is_json
from pyengine.cli.system import ARCHITECTURES, facts
from pyengine.config import user
from pyengine.errors import ConfigError
from pyengine.ocirun.call import Runtime
from pyengine.specgen import rootless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.engine import Engine

CGROUP_ROOT = "/sys/fs/cgroup"
LOG_DRIVERS = ["k8s-file", "json-file", "journald", "none", "passthrough"]


@click.command()
@click.option("-D", "--debug", is_flag=True, hidden=True, help="As --log-level debug.")
@click.option("-f", "--format", "form", default="yaml", metavar="FORMAT",
              help="yaml, json, or a Go template.")  # fmt: skip
@click.pass_obj
def info(engine: Engine, /, form: str, debug: bool) -> None:
    """Display information about the host, the storage and the programs that pyengine calls."""
    if debug:
        from pyengine import log

        log.set_level("debug")
    found = collect(engine)
    if is_json(form):
        click.echo(json.dumps(found, indent=2))
    elif form != "yaml":
        click.echo(fields.render(form, _capitals(found), "info"))
    else:
        click.echo("\n".join(yaml_lines(found, 0)))


def _capitals(found: dict[str, Any]) -> dict[str, Any]:
    """Templates name Go's fields, which begin with a capital; the keys as printed serve too."""
    both: dict[str, Any] = {}
    for key, value in found.items():
        shown = _capitals(value) if isinstance(value, dict) else value
        name = {"ociRuntime": "OCIRuntime", "os": "OS"}.get(key, key[0].upper() + key[1:])
        both[key] = both[name] = both[key[0].upper() + key[1:]] = shown
    return both


def collect(engine: Engine) -> dict[str, Any]:
    """Podman's keys, as far as they mean something here."""
    if user.is_rootless():
        engine.enter_namespace()
    return {
        "host": _host(engine),
        "store": _store(engine),
        "registries": _registries(),
        "plugins": {
            "volume": ["local"],
            "network": None,
            "log": LOG_DRIVERS,
            "authorization": None,
        },
        "version": facts(),
    }


def _host(engine: Engine) -> dict[str, Any]:
    memory = _memory()
    machine = platform.machine()
    return {
        "arch": ARCHITECTURES.get(machine, machine),
        "cgroupManager": engine.cgroup_manager,
        "cgroupVersion": "v2" if os.path.exists(f"{CGROUP_ROOT}/cgroup.controllers") else "v1",
        "cgroupControllers": _controllers(engine),
        "conmon": _program(engine.monitor_path),
        "cpus": os.cpu_count(),
        "cpuUtilization": _utilization(),
        "distribution": _distribution(),
        "eventLogger": "file" if engine.events.path else "none",
        "hostname": platform.node(),
        "idMappings": _id_mappings(),
        "kernel": platform.release(),
        "linkmode": "dynamic",
        "logDriver": "k8s-file",
        "memFree": memory.get("MemFree", 0),
        "memTotal": memory.get("MemTotal", 0),
        "networkBackend": "",
        "ociRuntime": _program(engine.runtime_path),
        "os": "linux",
        "remoteSocket": {"exists": False, "path": ""},
        "security": _security(engine),
        "serviceIsRemote": False,
        "swapFree": memory.get("SwapFree", 0),
        "swapTotal": memory.get("SwapTotal", 0),
        "uptime": _uptime(),
    }


def _store(engine: Engine) -> dict[str, Any]:
    containers = engine.containers.every()
    statuses = [container.status for container in containers]
    disk = os.statvfs(engine.root)
    return {
        "containerStore": {
            "number": len(containers),
            "paused": statuses.count("paused"),
            "running": statuses.count("running"),
            "stopped": len(containers) - statuses.count("paused") - statuses.count("running"),
        },
        "graphDriverName": engine.storage.driver,
        "graphOptions": {},
        "graphRoot": engine.root,
        "graphRootAllocated": disk.f_blocks * disk.f_frsize,
        "graphRootUsed": (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
        "graphStatus": {"Backing Filesystem": _file_system(engine.root)},
        "imageCopyTmpDir": f"{engine.root}/staging",
        "imageStore": {"number": len(engine.images.list_images())},
        "runRoot": engine.runroot,
        "transientStore": False,
        "volumePath": f"{engine.root}/volumes",
    }


def _registries() -> dict[str, Any]:
    from pyengine.registry import registries_conf

    found = registries_conf.load().search
    return {"search": found} if found else {}


def _program(find: Callable[[], str]) -> dict[str, str]:
    """Path and version, or why there is none."""
    try:
        path = find()
    except ConfigError as error:
        return {"path": "", "version": str(error)}
    return {
        "name": os.path.basename(path),
        "package": "",
        "path": path,
        "version": Runtime(path, []).version().splitlines()[0],
    }


def _controllers(engine: Engine) -> list[str]:
    if user.is_rootless():
        systemd = engine.cgroup_manager == "systemd"
        return rootless.delegated(user.user_id(), systemd=systemd)
    try:
        with open(f"{CGROUP_ROOT}/cgroup.controllers", encoding="utf-8") as file:
            return file.read().split()
    except FileNotFoundError:
        pass
    with open("/proc/cgroups", encoding="utf-8") as file:
        rows = [line.split() for line in file if not line.startswith("#")]
    return [name for name, hierarchy, *_ in rows if hierarchy != "0"]


def _utilization() -> dict[str, float]:
    """Shares of the time since boot, from the first line of /proc/stat (proc(5))."""
    with open("/proc/stat", encoding="utf-8") as file:
        ticks = [int(word) for word in file.readline().split()[1:]]
    total = sum(ticks[:8]) or 1
    shares = {
        "userPercent": ticks[0] + ticks[1],
        "systemPercent": ticks[2],
        "idlePercent": ticks[3],
    }
    return {name: round(100 * count / total, 2) for name, count in shares.items()}


def _distribution() -> dict[str, str]:
    try:
        known = platform.freedesktop_os_release()
    except OSError:
        return {"distribution": "unknown", "version": "unknown"}
    names = {"distribution": "ID", "variant": "VARIANT_ID", "version": "VERSION_ID",
             "codename": "VERSION_CODENAME"}  # fmt: skip
    return {name: known[key] for name, key in names.items() if key in known}


def _id_mappings() -> dict[str, Any]:
    """Of a user's own storage; root has none."""
    if not user.is_rootless():
        return {"gidmap": None, "uidmap": None}
    return {name: _id_map(f"/proc/self/{file}")
            for name, file in (("gidmap", "gid_map"), ("uidmap", "uid_map"))}  # fmt: skip


def _id_map(path: str) -> list[dict[str, int]]:
    with open(path, encoding="utf-8") as file:
        rows = [[int(word) for word in line.split()] for line in file]
    return [{"container_id": inside, "host_id": outside, "size": size}
            for inside, outside, size in rows]  # fmt: skip


def _security(engine: Engine) -> dict[str, Any]:
    from pyengine.specgen.capabilities import allowed

    profile = engine.config.get("containers", {}).get("seccomp_profile", "")
    return {
        "apparmorEnabled": _starts_with("/sys/module/apparmor/parameters/enabled", "Y"),
        "capabilities": ",".join(allowed([], [], [], privileged=False)),
        "rootless": user.is_rootless(),
        "seccompEnabled": os.path.exists("/proc/sys/kernel/seccomp/actions_avail"),
        "seccompProfilePath": str(profile),
        "selinuxEnabled": os.path.exists("/sys/fs/selinux/enforce"),
    }


def _starts_with(path: str, text: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().startswith(text)
    except OSError:
        return False


def _file_system(path: str) -> str:
    """The type of the file system that holds ``path``, by the longest mount point above it."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        rows = [line.split()[1:3] for line in file]
    real = f"{os.path.realpath(path)}/"
    above = [(len(point), kind) for point, kind in rows if real.startswith(f"{point.rstrip('/')}/")]
    return max(above)[1] if above else "unknown"


def _uptime() -> str:
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME)
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    days = f" (Approximately {seconds / 86400:.2f} days)" if hours else ""
    return f"{hours}h {minutes}m {rest:.2f}s{days}"


def _memory() -> dict[str, int]:
    """/proc/meminfo in bytes (proc(5))."""
    with open("/proc/meminfo", encoding="utf-8") as file:
        rows = [line.split() for line in file]
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) == 3}


def yaml_lines(value: dict[str, Any], depth: int) -> list[str]:
    """Nested mappings and lists of plain values as YAML."""
    lines = []
    indent = "  " * depth
    for key, entry in value.items():
        if isinstance(entry, dict) and entry:
            lines += [f"{indent}{key}:", *yaml_lines(entry, depth + 1)]
        elif isinstance(entry, list) and entry:
            lines += [f"{indent}{key}:", *(f"{indent}- {_scalar(one)}" for one in entry)]
        else:
            lines.append(f"{indent}{key}: {_scalar(entry)}".rstrip())
    return lines


def _scalar(value: Any) -> str:
    plain = isinstance(value, str) and value and ": " not in value and value[0] not in "[]{}#&*!|>"
    number = isinstance(value, str) and value.replace(".", "", 1).isdecimal()
    return value if plain and not number else json.dumps(value)
