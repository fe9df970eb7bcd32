"""Everything about a container, under podman's names."""

from __future__ import annotations

import os
import time

from pyengine import jsontext
from pyengine.containers import inspect_mounts, supervising
from pyengine.specgen import capabilities, cgroups, generate, mounts
from pyengine.specgen.process import UMASK

CPU_PERIOD_US = 100_000  # of --cpus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.host import Host
    from pyengine.containers.record import Container
    from pyengine.specgen.types import ContainerConfig, HealthCheck, Resources

NEVER = "0001-01-01T00:00:00Z"
NO_HEALTH = {"Status": "", "FailingStreak": 0, "Log": None}


def inspect(host: Host, container: Container, times: tuple[str, str, str]) -> dict[str, Any]:
    """The object that ``inspect`` prints.

    Args:
        host: where the container is.
        container: as it is now.
        times: created, started and finished, as they are to be printed.
    """
    config = container.config
    bundle = host.bundle(container.id)
    bounding = capabilities.allowed(
        config["cap_add"],
        config["cap_drop"],
        config["default_capabilities"],
        privileged=config["privileged"],
    )
    arguments = [*config["entrypoint"], *config["command"]]
    directory = host.storage.container_directory(container.id)
    return {
        "Id": container.id,
        "Created": times[0],
        "Path": arguments[0],
        "Args": arguments[1:],
        "State": _state(host, container, times),
        "Image": container.image_id or "",
        "ImageDigest": _image_digest(host, container),
        "ImageName": container.image_name,
        "Rootfs": config["rootfs"],
        "Pod": "",
        "ResolvConfPath": f"{bundle}/resolv.conf" if config["network"] == "host" else "",
        "HostnamePath": f"{bundle}/hostname",
        "HostsPath": f"{bundle}/hosts",
        "StaticDir": directory,
        "OCIConfigPath": f"{bundle}/config.json",
        "OCIRuntime": os.path.basename(config["runtime"]),
        "ConmonPidFile": f"{bundle}/conmon.pid",
        "PidFile": f"{bundle}/pidfile",
        "Name": container.name,
        "RestartCount": supervising.restart_count(host, container),
        "Driver": host.storage.driver,
        "MountLabel": config["security"].get("mount_label", ""),
        "ProcessLabel": config["security"].get("process_label", ""),
        "AppArmorProfile": config["security"].get("apparmor", ""),
        "EffectiveCaps": _effective(container, bounding),
        "BoundingCaps": bounding,
        "ExecIDs": _exec_ids(bundle),
        "GraphDriver": {"Name": host.storage.driver, "Data": _graph_data(host, container)},
        "Mounts": inspect_mounts.mounts(host, config),
        "Dependencies": config["dependencies"],
        "NetworkSettings": _network(container),
        "Namespace": "",
        "IsInfra": False,
        "IsService": False,
        "KubeExitCodePropagation": "invalid",
        "Config": _config(host, container),
        "HostConfig": _host_config(host, container),
    }


def _state(host: Host, container: Container, times: tuple[str, str, str]) -> dict[str, Any]:
    live, saved_at = container.live, host.checkpointed_at(container.id)
    return {
        "OciVersion": generate.OCI_VERSION,
        "Status": container.status,
        "Running": container.status == "running",
        "Paused": container.status == "paused",
        "Restarting": False,
        "OOMKilled": bool(container.oom_killed),
        "Dead": False,
        "Pid": container.pid or 0,
        "ConmonPid": (container.monitor_pid or 0) if live else 0,
        "ExitCode": container.exit_code or 0,
        "Error": container.error,
        "StartedAt": times[1],
        "FinishedAt": times[2],
        "Health": supervising.health(host, container) or NO_HEALTH,
        "CgroupPath": _cgroup(host, container) if live else "",
        "Checkpointed": saved_at is not None and not live,
        "CheckpointedAt": NEVER if saved_at is None else _stamp(saved_at),
        "RestoredAt": NEVER,
    }


def _stamp(when_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when_s))


def _image_digest(host: Host, container: Container) -> str:
    with host.database.read() as connection:
        row = connection.execute(
            "SELECT manifest_digest FROM images WHERE id = ?", (container.image_id,)
        ).fetchone()
    return str(row[0]) if row else ""


def _network(container: Container) -> dict[str, Any]:
    """Of a container without an address: those with one come with networks."""
    live = bool(container.pid) and container.config["network"] != "host"
    place = f"/proc/{container.pid}/ns/net" if live else ""
    texts = ("EndpointID", "Gateway", "IPAddress", "IPv6Gateway", "GlobalIPv6Address", "MacAddress",
             "Bridge", "SandboxID", "LinkLocalIPv6Address")  # fmt: skip
    numbers = ("IPPrefixLen", "GlobalIPv6PrefixLen", "LinkLocalIPv6PrefixLen")
    return {
        **dict.fromkeys(texts, ""),
        **dict.fromkeys(numbers, 0),
        "HairpinMode": False,
        "Ports": {},
        "SandboxKey": place,
        "Networks": {},
    }


def _cgroup(host: Host, container: Container) -> str:
    limits = container.config["resources"]
    if limits.get("cgroups") == "disabled":
        return ""
    return cgroups.cgroups_path(container.id, limits, systemd=host.systemd)


def _effective(container: Container, bounding: list[str]) -> list[str]:
    from pyengine.specgen.process import capability_sets

    return capability_sets(container.config, bounding).get("effective", [])


def _exec_ids(bundle: str) -> list[str]:
    try:
        return sorted(os.listdir(f"{bundle}/exec"))
    except FileNotFoundError:
        return []


def _graph_data(host: Host, container: Container) -> dict[str, str]:
    if container.config["rootfs"] or host.storage.driver != "overlay":
        return {}
    directory = host.storage.container_directory(container.id)
    lower = host.storage.lower_directories(container.id)
    return {
        "LowerDir": ":".join(reversed(lower)),
        "MergedDir": f"{directory}/merged",
        "UpperDir": f"{directory}/diff",
        "WorkDir": f"{directory}/work",
    }


def _config(host: Host, container: Container) -> dict[str, Any]:
    config = container.config
    return {
        "Hostname": generate.hostname(config, container.id),
        "Domainname": "",
        "User": config["user"],
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": config["terminal"],
        "OpenStdin": config["stdin"],
        "StdinOnce": False,
        "Env": _environment(host, container),
        "Cmd": config["command"],
        "Image": container.image_name,
        "Volumes": None,
        "WorkingDir": config["cwd"] or "/",
        "Entrypoint": " ".join(config["entrypoint"]),
        "OnBuild": None,
        "Labels": config["labels"] or None,
        "Annotations": generate.own_annotations(config),
        "StopSignal": config["stop_signal"],
        **inspect_mounts.secrets(config),
        "CreateCommand": config["create_command"],
        "Umask": f"{config['process'].get('umask', UMASK):04o}",
        "Timeout": config["process"].get("timeout_s", 0),
        "StopTimeout": config["stop_timeout_s"],
        "Passwd": not config["process"].get("no_passwd", False),
        "ChrootDirs": config["process"].get("chroot_dirs", []),
        "SystemdMode": config["process"].get("systemd", False),
        "Timezone": _timezone(config),
        "Secrets": _secrets(config),
        "sdNotifyMode": config.get("sdnotify", "container"),
        **_health_config(config),
        **_exposed(config),
    }


def _exposed(config: ContainerConfig) -> dict[str, Any]:
    """As podman 5: no key where there is no port."""
    ports = config.get("exposed_ports")
    return {"ExposedPorts": {port: {} for port in ports}} if ports else {}


def _timezone(config: ContainerConfig) -> str:
    path = config["process"].get("timezone", "")
    return path.partition("/zoneinfo/")[2] or path


def _secrets(config: ContainerConfig) -> list[dict[str, Any]]:
    return [
        {"Name": one["name"], "ID": one["id"], "UID": one["uid"], "GID": one["gid"],
         "Mode": one["mode"]}
        for one in config["mounts"].get("secrets", [])
    ]  # fmt: skip


def _health_config(config: ContainerConfig) -> dict[str, Any]:
    wanted = config["supervision"]
    if not wanted:
        return {"HealthcheckOnFailureAction": "none"}
    found = {
        "Healthcheck": _health_check(wanted["health"]),
        "HealthcheckOnFailureAction": wanted["on_failure"],
        "HealthLogDestination": wanted["log_directory"] or "local",
        "HealthMaxLogCount": wanted["log_count"],
        "HealthMaxLogSize": wanted["log_size"],
    }
    startup = wanted.get("startup")
    if startup:
        found["StartupHealthCheck"] = _health_check(startup)
    return found


def _health_check(check: HealthCheck) -> dict[str, Any]:
    """As an image's configuration has it: no key for what is zero."""
    values = {
        "StartPeriod": check["start_period_ns"],
        "StartInterval": check["start_interval_ns"],
        "Interval": check["interval_ns"],
        "Timeout": check["timeout_ns"],
        "Retries": check["retries"],
        "Successes": check["successes"],
    }
    return {"Test": check["test"], **{name: value for name, value in values.items() if value}}


def _restart_policy(policy: str) -> dict[str, Any]:
    name, _, limit = policy.partition(":")
    return {"Name": name, "MaximumRetryCount": int(limit or 0)}


def _environment(host: Host, container: Container) -> list[str]:
    """What the running process was given, or what the container was created with."""
    try:
        with open(f"{host.bundle(container.id)}/config.json", encoding="utf-8") as file:
            found: list[str] = jsontext.loads(file.read())["process"]["env"]
    except (FileNotFoundError, ValueError):
        return container.config["env"]
    secret = container.config["mounts"].get("secret_env", {})
    return [entry for entry in found if entry.partition("=")[0] not in secret]


def _log_config(host: Host, container: Container) -> dict[str, Any]:
    from pyengine.containers.configuring.logging import FILE_DRIVERS

    found = container.config["log"]
    driver = found.get("driver", "k8s-file")
    return {
        "Type": driver,
        "Config": None,
        "Path": host.log_path(container) if driver in FILE_DRIVERS else "",
        "Tag": found.get("tag", ""),
        "Size": f"{found.get('size_max_bytes', 0)}B",
    }


def _host_config(host: Host, container: Container) -> dict[str, Any]:
    config = container.config
    return {
        "Binds": inspect_mounts.binds(config),
        "CgroupManager": "systemd" if host.systemd else "cgroupfs",
        "ContainerIDFile": config["cidfile"],
        "LogConfig": _log_config(host, container),
        "NetworkMode": config["network"],
        "PortBindings": {},
        "RestartPolicy": _restart_policy(config["restart_policy"]),
        "AutoRemove": config["auto_remove"],
        "AutoRemoveImage": config["remove_image"],
        "VolumeDriver": "",
        "VolumesFrom": None,
        "CapAdd": [f"CAP_{name.upper().removeprefix('CAP_')}" for name in config["cap_add"]],
        "CapDrop": [f"CAP_{name.upper().removeprefix('CAP_')}" for name in config["cap_drop"]],
        **_names(config),
        "Cgroup": "",
        "CgroupMode": config["namespaces"].get("cgroup", _default_cgroup_mode()),
        "ConsoleSize": [0, 0],
        "CpuCount": 0,
        "CpuPercent": 0,
        "Devices": [
            {
                "PathOnHost": one["source"],
                "PathInContainer": one["destination"],
                "CgroupPermissions": one["access"],
            }
            for one in config["security"].get("devices", [])
        ],
        "DiskQuota": 0,
        "IOMaximumBandwidth": 0,
        "IOMaximumIOps": 0,
        "Init": "init_path" in config["process"],
        "Isolation": "",
        "KernelMemory": 0,
        "Links": None,
        "PublishAllPorts": False,
        "IpcMode": config["namespaces"].get("ipc", "shareable"),
        "PidMode": config["namespaces"].get("pid", "private"),
        "UTSMode": config["namespaces"].get("uts", "private"),
        "UsernsMode": config["namespaces"].get("user", ""),
        **_id_mappings(config),
        "Privileged": config["privileged"],
        "ReadonlyRootfs": config["read_only"],
        "SecurityOpt": _security_options(config),
        "Tmpfs": {path: ",".join(options) for path, options in config["tmpfs"].items()},
        "ShmSize": config["mounts"].get("shm_size_bytes", mounts.SHM_SIZE_BYTES),
        "Runtime": "oci",
        **_limits(config["resources"]),
    }


def _security_options(config: ContainerConfig) -> list[str]:
    """As ``--security-opt`` takes them."""
    found = [f"seccomp={config['seccomp']}"] if config["seccomp"] else []
    if config["no_new_privileges"]:
        found.append("no-new-privileges")
    own = config["security"]
    if "apparmor" in own:
        found.append(f"apparmor={own['apparmor']}")
    found += [f"label={word}" for word in own.get("label", [])]
    found += [f"mask={path}" for path in own.get("masked", [])]
    found += [f"unmask={path}" for path in own.get("unmasked", [])]
    if "proc_options" in own:
        found.append(f"proc-opts={','.join(own['proc_options'])}")
    return found


def _limits(limits: Resources) -> dict[str, Any]:
    memory = limits.get("memory_limit_bytes", 0)
    return {
        "Memory": memory,
        "MemoryReservation": limits.get("memory_reservation_bytes", 0),
        "MemorySwap": limits.get("memory_swap_bytes", 2 * memory),
        "MemorySwappiness": limits.get("memory_swappiness", -1),
        "NanoCpus": limits.get("cpu_quota_us", 0) * 10_000 if _is_cpus(limits) else 0,
        "CpuPeriod": limits.get("cpu_period_us", 0),
        "CpuQuota": limits.get("cpu_quota_us", 0),
        "CpuRealtimePeriod": limits.get("cpu_rt_period_us", 0),
        "CpuRealtimeRuntime": limits.get("cpu_rt_runtime_us", 0),
        "CpuShares": limits.get("cpu_shares", 0),
        "CpusetCpus": limits.get("cpuset_cpus", ""),
        "CpusetMems": limits.get("cpuset_mems", ""),
        "BlkioWeight": limits.get("blkio_weight", 0),
        **_block_io(limits),
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard}
            for name, (soft, hard) in limits.get("ulimits", {}).items()
        ],
        "OomKillDisable": limits.get("oom_kill_disable", False),
        "OomScoreAdj": limits.get("oom_score_adj", 0),
        "CgroupParent": limits.get("cgroup_parent", ""),
        "Cgroups": "disabled" if limits.get("cgroups") == "disabled" else "default",
        "CgroupConf": limits.get("cgroup_conf"),
        "PidsLimit": limits.get("pids_limit", generate.PIDS_LIMIT),
    }


def _id_mappings(config: ContainerConfig) -> dict[str, Any]:
    if not config["id_maps"]:
        return {}
    texts = [[":".join(map(str, line)) for line in id_map] for id_map in config["id_maps"]]
    return {"IDMappings": {"UidMap": texts[0], "GidMap": texts[1]}}


def _names(config: ContainerConfig) -> dict[str, Any]:
    names = config["names"]
    return {
        "Dns": [] if names.get("dns") == ["none"] else names.get("dns", []),
        "DnsOptions": names.get("dns_options", []),
        "DnsSearch": names.get("dns_searches", []),
        "ExtraHosts": [
            f"{name}:{address}"
            for address, *others in map(str.split, names.get("hosts", []))
            for name in others
        ],
        "GroupAdd": config["process"].get("groups", []),
    }


def _default_cgroup_mode() -> str:
    """podman's: private where there is only cgroup v2."""
    v2 = os.path.exists(f"{cgroups.CGROUP_ROOT}/cgroup.controllers")
    return "private" if v2 else "host"


def _is_cpus(limits: Resources) -> bool:
    """Whether quota and period are those of ``--cpus``."""
    return limits.get("cpu_period_us") == CPU_PERIOD_US


def _block_io(limits: Resources) -> dict[str, Any]:
    """Podman's lists of devices, under its names."""
    names = {
        "weightDevice": ("BlkioWeightDevice", "Weight"),
        "throttleReadBpsDevice": ("BlkioDeviceReadBps", "Rate"),
        "throttleWriteBpsDevice": ("BlkioDeviceWriteBps", "Rate"),
        "throttleReadIOPSDevice": ("BlkioDeviceReadIOps", "Rate"),
        "throttleWriteIOPSDevice": ("BlkioDeviceWriteIOps", "Rate"),
    }
    devices = limits.get("blkio_devices", {})
    return {
        name: [{"Path": path, value_name: value} for path, value in devices.get(key, [])] or None
        for key, (name, value_name) in names.items()
    }
