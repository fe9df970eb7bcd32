"""Which runtime and which monitor are called, by path."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Finder = Callable[[str | None, dict[str, Any], str], str]

RUNTIMES = ("pyrun", "crun", "runc")
MONITORS = ("pyconmon", "conmon")

# Beside the user's PATH, because sudo and cron shorten it.
SYSTEM_DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin",
                      "/usr/libexec/podman", "/usr/lib/podman")  # fmt: skip


def find_runtime(name: str | None, engine_table: dict[str, Any], beside: str) -> str:
    """The path of the OCI runtime.

    Args:
        name: the ``--runtime`` option, a name or a path.
        engine_table: the ``[engine]`` table of containers.conf.
        beside: the directory of pyengine's own executable, searched first for our runtime.

    Raises:
        ConfigError: there is none.
    """
    wanted = name or engine_table.get("runtime")
    configured = engine_table.get("runtimes") or {}
    if wanted and "/" in wanted:
        return _executable_path(wanted, "OCI runtime", "--runtime")
    for candidate in [wanted] if wanted else RUNTIMES:
        for path in configured.get(candidate, []):
            if os.access(path, os.X_OK):
                return str(path)
        found = search(candidate, beside)
        if found:
            return found
    raise ConfigError(
        f"find OCI runtime {wanted or ' or '.join(RUNTIMES)}: not in {beside}, PATH or "
        "containers.conf [engine.runtimes]; install it or name its path with --runtime"
    )


def find_monitor(path: str | None, engine_table: dict[str, Any], beside: str) -> str:
    """The path of the container monitor, by the same rules (``conmon_path`` in ``[engine]``)."""
    if path and "/" in path:
        return _executable_path(path, "monitor", "--conmon")
    if not path:
        for candidate in engine_table.get("conmon_path") or []:
            if os.access(candidate, os.X_OK):
                return str(candidate)
    for candidate in [path] if path else MONITORS:
        found = search(candidate, beside)
        if found:
            return found
    raise ConfigError(
        f"find monitor {path or ' or '.join(MONITORS)}: not in {beside}, PATH or containers.conf "
        "conmon_path; install it or name its path with --conmon"
    )


def search(name: str, beside: str) -> str | None:
    """The absolute path of the executable ``name``: in ``beside``, PATH, or the usual places."""
    on_path = [part for part in os.environ.get("PATH", "").split(":") if part]
    for directory in (beside, *on_path, *SYSTEM_DIRECTORIES):
        path = f"{directory}/{name}"
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.abspath(path)  # the monitor is not started in this directory
    return None


def _executable_path(path: str, what: str, option: str) -> str:
    absolute = os.path.abspath(path)
    if os.path.isfile(absolute) and os.access(absolute, os.X_OK):
        return absolute
    problem = "is not executable" if os.path.exists(absolute) else "does not exist"
    raise ConfigError(f"{what} {absolute}: {problem}; correct the path given with {option}")
