"""info: the host, the storage root and the programs that pyengine calls."""

from __future__ import annotations

import json
import os
import platform

import click

from pyengine.cli import fields
from pyengine.cli.report import is_json
from pyengine.config import user
from pyengine.errors import ConfigError
from pyengine.ocirun.call import Runtime
from pyengine.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.engine import Engine


@click.command()
@click.option("-f", "--format", "form", default="yaml", metavar="FORMAT",
              help="yaml, json, or a Go template.")  # fmt: skip
@click.pass_obj
def info(engine: Engine, /, form: str) -> None:
    """Display pyengine system information."""
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
        both[key] = both[key[0].upper() + key[1:]] = shown
    return both


def collect(engine: Engine) -> dict[str, Any]:
    """Podman's keys, as far as they mean something here."""
    containers = engine.containers.every()
    statuses = [container.status for container in containers]
    v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    memory = _memory()
    return {
        "host": {
            "arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(
                platform.machine(), platform.machine()
            ),
            "cgroupManager": engine.cgroup_manager,
            "cgroupVersion": "v2" if v2 else "v1",
            "conmon": _program(engine.monitor_path),
            "cpus": os.cpu_count(),
            "hostname": platform.node(),
            "kernel": platform.release(),
            "logDriver": "k8s-file",
            "memFree": memory.get("MemFree", 0),
            "memTotal": memory.get("MemTotal", 0),
            "ociRuntime": _program(engine.runtime_path),
            "os": "linux",
            "security": {"rootless": user.is_rootless(), "seccompEnabled": True},
        },
        "store": {
            "containerStore": {
                "number": len(containers),
                "paused": statuses.count("paused"),
                "running": statuses.count("running"),
                "stopped": len(containers) - statuses.count("paused") - statuses.count("running"),
            },
            "graphDriverName": engine.storage.driver,
            "graphRoot": engine.root,
            "imageStore": {"number": len(engine.images.list_images())},
            "runRoot": engine.runroot,
        },
        "version": {"Version": VERSION, "OsArch": f"linux/{platform.machine()}"},
    }


def _program(find: Any) -> dict[str, str]:
    """Path and version, or why there is none."""
    try:
        path = find()
    except ConfigError as error:
        return {"path": "", "version": str(error)}
    return {
        "name": os.path.basename(path),
        "path": path,
        "version": Runtime(path, []).version().splitlines()[0],
    }


def _memory() -> dict[str, int]:
    """/proc/meminfo in bytes (proc(5))."""
    with open("/proc/meminfo", encoding="utf-8") as file:
        rows = [line.split() for line in file]
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) == 3}


def yaml_lines(value: dict[str, Any], depth: int) -> list[str]:
    """Nested mappings of plain values as YAML."""
    lines = []
    for key, entry in value.items():
        if isinstance(entry, dict):
            lines += [f"{'  ' * depth}{key}:", *yaml_lines(entry, depth + 1)]
        else:
            text = json.dumps(entry) if not isinstance(entry, str) or ": " in entry else entry
            lines.append(f"{'  ' * depth}{key}: {text}".rstrip())
    return lines
