"""Changes limits, health checks and the restart policy of a container, also while it runs."""

from __future__ import annotations

import os

from pyengine import jsontext, log
from pyengine.containers import record
from pyengine.containers.configuring import resources as wanted_resources
from pyengine.containers.configuring.supervision import (
    as_options,
    configure,
    restart_policy,
    restarts,
)
from pyengine.containers.options import ContainerOptions
from pyengine.errors import ConfigError
from pyengine.monitor import supervision
from pyengine.specgen import resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyengine.containers.host import Host
    from pyengine.specgen.types import ContainerConfig, Resources, Supervision

MEMORY = ("memory_limit_bytes", "memory_swap_bytes")


def update(host: Host, id_: str, wanted: ContainerOptions, checks: Mapping[str, Any]) -> None:
    """Let new settings hold at once, and from the next start on; variables from then on only.

    Args:
        host: where.
        id_: of the container.
        wanted: limits, variables and a restart policy.
        checks: options of health checks by name.

    Raises:
        ConfigError: something makes no sense, or the container has no cgroup.
        ConflictError: its monitor does not take other checks, or another policy, while it runs.
        RuntimeCallError: the kernel refuses one, such as less memory than is in use.
        NotFoundError: it was removed meanwhile.
    """
    with host.locked(id_) as lock:
        container = record.still_there(host, lock, id_)
        config = container.config
        merged, changed = merge(config["resources"], wanted)
        ulimits = changed & {"ulimits", "ulimits_of_host"}
        changed -= ulimits
        if changed and config["resources"].get("cgroups") == "disabled":
            raise ConfigError(f"update {container.name}: --cgroups=disabled: it has no cgroup")
        was, may_have_restarted = config["supervision"], config["may_restart"]
        if wanted.restart:
            _set_policy(host, container, restart_policy(wanted.restart))
        _set_variables(config, wanted)
        if checks:
            _set_checks(host, container, checks)
        if ulimits and container.live:
            log.warning(f"limits of --ulimit hold from the next start of {container.name} on")
        if changed and container.live:
            _apply(host, container, merged, changed)
        is_supervised = was or may_have_restarted or config["supervision"] or config["may_restart"]
        if container.live and (wanted.restart or checks) and is_supervised:
            from pyengine.containers import supervising

            supervising.renew(host, container, was, may_have_restarted=may_have_restarted)
        config["resources"] = merged
        with host.database.write() as connection:
            record.update(connection, container, options=jsontext.dumps(config))
    host.tell(container, "update")


def change_runtime(host: Host, path: str) -> None:
    """Let all containers have another runtime from their next start on."""
    for id_ in [one.id for one in record.every(host)]:
        with host.locked(id_) as lock:
            container = record.by_id(host, id_)
            if container is None:  # removed meanwhile
                lock.gone = True
                continue
            config = {**container.config, "runtime": path}
            with host.database.write() as connection:
                record.update(connection, container, options=jsontext.dumps(config))


def merge(old: Resources, wanted: ContainerOptions) -> tuple[Resources, set[str]]:
    """The limits that hold from now on, and which of them are new.

    Raises:
        ConfigError: a limit makes no sense, alone or beside those that stay.
    """
    if wanted.memory is None and "memory_limit_bytes" in old and wanted.memory_swap:
        wanted.memory = str(old["memory_limit_bytes"])  # the swap limit counts it
    new = wanted_resources.configure(wanted)
    merged: Resources = {**old, **new}
    if "ulimits" in new:
        merged["ulimits"] = {**old.get("ulimits", {}), **new["ulimits"]}
    limit, swap = merged.get("memory_limit_bytes", 0), merged.get("memory_swap_bytes", -1)
    if 0 <= swap < limit:
        raise ConfigError(
            "minimum memoryswap limit should be larger than memory limit: raise --memory-swap too"
        )
    return merged, set(new)


def _apply(host: Host, container: record.Container, merged: Resources, changed: set[str]) -> None:
    """Hand what has changed to the runtime."""
    names = changed | (set(MEMORY) if changed & set(MEMORY) else set())
    part: Any = {name: value for name, value in merged.items() if name in names}
    found = resources.build(part)
    if "pids_limit" in part:
        found["pids"] = {"limit": part["pids_limit"] or -1}
    path = f"{host.bundle(container.id)}/update.json"
    with open(path, "w", encoding="utf-8") as file:
        file.write(jsontext.dumps(found))
    try:
        runtime = host.runtime(container.config["runtime"])
        runtime.call("update", "--resources", path, container.id)
    finally:
        os.unlink(path)


def _set_policy(host: Host, container: record.Container, policy: str) -> None:
    config: ContainerConfig = container.config
    if config["auto_remove"] and policy not in ("no", ""):
        raise ConfigError("the --rm option conflicts with --restart: it can be no alone")
    config["restart_policy"] = policy
    config["may_restart"] = policy != "no" or restarts(config["supervision"])
    if config["may_restart"]:
        path = host.monitor_path(config["conmon"])
        config["conmon"], config["restart_by_monitor"] = path, supervision.is_pyconmon(path)


def _set_variables(config: ContainerConfig, wanted: ContainerOptions) -> None:
    given = {text.partition("=")[0] for text in wanted.env}
    if not (given or wanted.unsetenv):
        return
    old = given.union(wanted.unsetenv)
    config["env"] = [text for text in config["env"] if text.partition("=")[0] not in old]
    config["env"] += wanted.env
    unset = [name for name in config["process"].get("unset_env", []) if name not in old]
    config["process"]["unset_env"] = [*unset, *(set(wanted.unsetenv) - given)]


def _set_checks(host: Host, container: record.Container, given: Mapping[str, Any]) -> None:
    config = container.config
    before: Supervision = config["supervision"]
    ends = given.get("no_healthcheck") or given.get("health_cmd", "").lower() == "none"
    old = {} if ends or not before else as_options(before)
    if given.get("health_startup_cmd") in ("", "none"):
        old = {name: old[name] for name in old if not name.startswith("health_startup")}
        given = {name: given[name] for name in given if name != "health_startup_cmd"}
    wanted = ContainerOptions("", **{
        **old, **given, "restart": config["restart_policy"], "auto_remove": config["auto_remove"],
    })  # fmt: skip
    interval_ns = before["health"]["start_interval_ns"] if before else 0
    from pyengine.containers import supervising

    changed: ContainerConfig = {**config, "supervision": {}}
    configure(changed, wanted, {"Healthcheck": {"StartInterval": interval_ns}})
    if changed["supervision"] or changed["may_restart"]:
        supervising.choose_monitor(changed, wanted, host.monitor_path(config["conmon"]))
    if before:
        supervising.remove_log(host, container)
    config.update(changed)
