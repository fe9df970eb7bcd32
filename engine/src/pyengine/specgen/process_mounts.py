"""The mounts that options of the section ``process`` ask for."""

from __future__ import annotations

import os

from pyengine.specgen.cgroups import CGROUP_ROOT
from pyengine.specgen.process import INIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.specgen.types import ProcessSettings

SYSTEMD_V1 = f"{CGROUP_ROOT}/systemd"
LOCALTIME = "/etc/localtime"
CHROOT_FILES = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")


def add(mounts: list[dict[str, Any]], settings: ProcessSettings) -> None:
    """Append to ``mounts``, which has every other mount."""
    if "init_path" in settings:
        mounts.append(_bind(INIT, settings["init_path"], "ro"))
    if "timezone" in settings:
        mounts.append(_bind(LOCALTIME, settings["timezone"], "ro"))
    for entry in list(mounts):
        if entry["destination"] in CHROOT_FILES and entry["type"] == "bind":
            for directory in settings.get("chroot_dirs", []):
                path = f"{directory}{entry['destination']}"
                mounts.append({**entry, "destination": path})
    if settings.get("systemd"):
        _let_systemd_use_cgroups(mounts)


def _let_systemd_use_cgroups(mounts: list[dict[str, Any]]) -> None:
    if os.path.isdir(SYSTEMD_V1):
        mounts.append(_bind(SYSTEMD_V1, SYSTEMD_V1, "rw"))
        return
    for entry in mounts:
        if entry["destination"] == CGROUP_ROOT:
            entry["options"] = ["rw" if word == "ro" else word for word in entry["options"]]


def _bind(destination: str, source: str, access: str) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": "bind",
        "source": source,
        "options": ["bind", "rprivate", access],
    }
