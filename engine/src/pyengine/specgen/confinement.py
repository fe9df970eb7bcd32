"""What the options of the section ``security`` change in config.json."""

from __future__ import annotations

from pyengine.specgen import devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.specgen.types import SecuritySettings


def change(spec: dict[str, Any], settings: SecuritySettings) -> dict[str, str]:
    """Change config.json, which is that of an ordinary or a privileged container.

    The answer is the host's path of each device, by the container's.

    Raises:
        ConfigError: a device is gone.
    """
    linux = spec["linux"]
    if settings.get("apparmor", "unconfined") != "unconfined":
        spec["process"]["apparmorProfile"] = settings["apparmor"]
    if settings.get("process_label"):
        spec["process"]["selinuxLabel"] = settings["process_label"]
    if settings.get("mount_label"):
        linux["mountLabel"] = settings["mount_label"]
    for key in ("maskedPaths", "readonlyPaths"):
        paths = _unmasked(linux.get(key, []), settings.get("unmasked", []))
        if key == "maskedPaths":
            paths += [path for path in settings.get("masked", []) if path not in paths]
        linux[key] = paths
    if "proc_options" in settings:
        for mount in spec["mounts"]:
            if mount["destination"] == "/proc" and mount["type"] == "proc":
                mount["options"] = [*mount["options"], *settings["proc_options"]]
    if "personality" in settings:
        linux["personality"] = {"domain": settings["personality"]}
    nodes, rules = devices.wanted(settings)
    if nodes:
        there = {entry["path"] for entry in nodes}
        kept = [entry for entry in linux.get("devices", []) if entry["path"] not in there]
        linux["devices"] = [*kept, *nodes]
    if "resources" in linux:
        linux["resources"]["devices"] += rules
    sources = devices.sources(settings)
    if "cdi_devices" in settings:
        from pyengine.specgen import cdi

        sources.update(cdi.apply(spec, settings["cdi_devices"], settings["cdi_directories"]))
    return sources


def _unmasked(paths: list[str], patterns: list[str]) -> list[str]:
    if not patterns:
        return list(paths)
    if "ALL" in patterns:
        return []
    import fnmatch

    return [path for path in paths if not any(fnmatch.fnmatch(path, one) for one in patterns)]
