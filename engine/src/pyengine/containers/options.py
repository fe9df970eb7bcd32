"""What a user asks of a new container; the command line and the REST API build the same.

The fields are named after their options and grouped as these are in ``cli/run_options.py``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ProcessOptions:
    """What runs, as whom, and how it is ended."""

    chrootdirs: tuple[str, ...] = ()
    env_merge: tuple[str, ...] = ()  # NAME=VALUE
    group_add: tuple[str, ...] = ()
    group_entry: str = ""
    hostuser: tuple[str, ...] = ()
    init: bool = False
    init_path: str = ""
    passwd: bool = True
    passwd_entry: str = ""
    preserve_fd: tuple[str, ...] = ()
    preserve_fds: int = 0
    systemd: str = "true"
    timeout_s: int = 0
    timezone: str = ""
    umask: str = ""
    unsetenv: tuple[str, ...] = ()
    unsetenv_all: bool = False


class CommandOptions:
    """What an ordinary container has of the section ``process``."""

    command: tuple[str, ...] = ()
    default_env: tuple[str, ...] = ()  # NAME=VALUE, weaker than the image's
    keyring: bool = True
    entrypoint: str | None = None
    env: tuple[str, ...] = ()  # NAME=VALUE
    stdin: bool = False
    stop_signal: str = ""
    stop_timeout_s: int = 10
    terminal: bool = False
    user: str = ""
    workdir: str = ""


class IdentityOptions:
    """What an ordinary container has of the section ``names``."""

    cidfile: str = ""
    hostname: str = ""
    labels: tuple[str, ...] = ()  # NAME or NAME=VALUE
    name: str = ""
    network: str = ""
    replace: bool = False


class NameOptions:
    """How the container is found and finds others, and who is told about it."""

    add_host: tuple[str, ...] = ()
    annotation: tuple[str, ...] = ()
    conmon_pidfile: str = ""
    dns: tuple[str, ...] = ()
    dns_option: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    host_ip: str = ""  # of containers.conf: an address, none, or empty for the host's own
    hosts_file: str = ""
    ip: str = ""
    ip6: str = ""
    init_ctr: str = ""
    label_file: tuple[str, ...] = ()
    link_local_ip: tuple[str, ...] = ()
    mac_address: str = ""
    network_alias: tuple[str, ...] = ()
    no_hostname: bool = False
    no_hosts: bool = False
    pidfile: str = ""
    pod: str = ""
    pod_id_file: str = ""
    publish: tuple[str, ...] = ()
    publish_all: bool = False


class MountOptions:
    """What is mounted."""

    image_volume: str = ""  # bind, anonymous, tmpfs or ignore; empty is containers.conf's
    mounts: tuple[str, ...] = ()
    read_only: bool = False
    read_only_tmpfs: bool = True
    rootfs: bool = False  # then ``image`` is a directory, perhaps with :O behind it
    secrets: tuple[str, ...] = ()
    shm_size: str | None = None
    shm_size_systemd: str | None = None
    tmpfs: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    volumes_from: tuple[str, ...] = ()


class ResourceOptions:
    """Limits."""

    blkio_weight: str | None = None
    blkio_weight_device: tuple[str, ...] = ()
    cgroup_conf: tuple[str, ...] = ()
    cgroup_parent: str = ""
    cgroups: str = "enabled"
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpu_rt_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpu_shares: int | None = None
    cpus: float | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    device_read_bps: tuple[str, ...] = ()
    device_read_iops: tuple[str, ...] = ()
    device_write_bps: tuple[str, ...] = ()
    device_write_iops: tuple[str, ...] = ()
    memory: str | None = None
    memory_reservation: str | None = None
    memory_swap: str | None = None
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    oom_score_adj: int | None = None
    pids_limit: int | None = None
    rdt_class: str = ""
    ulimit: tuple[str, ...] = ()


class DefaultConfinement:
    """What containers.conf says of the section ``security``, which no option says."""

    default_capabilities: tuple[str, ...] = ()  # without CAP_; empty: podman's
    default_sysctls: tuple[str, ...] = ()


class SecurityOptions:
    """What the container may do, and what it shares with the host or with other containers."""

    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cdi_spec_dirs: tuple[str, ...] = ()
    cgroupns: str = ""
    device: tuple[str, ...] = ()
    device_cgroup_rule: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    ipc: str = ""
    personality: str = ""
    pid: str = ""
    privileged: bool = False
    seccomp_policy: str = "default"
    security_opt: tuple[str, ...] = ()
    sysctl: tuple[str, ...] = ()
    uts: str = ""


class UserNamespaceOptions:
    """Who the container's users are on the host."""

    gidmap: tuple[str, ...] = ()
    subgidname: str = ""
    subuidname: str = ""
    uidmap: tuple[str, ...] = ()
    userns: str = ""
    userns_size: int = 0  # of auto, where containers.conf says it


class SupervisionOptions:
    """Health checks and restarts; times are Go's durations."""

    health_cmd: str | None = None
    health_interval: str | None = None
    health_log_destination: str = "local"
    health_max_log_count: int = 5
    health_max_log_size: int = 500
    health_on_failure: str = "none"
    health_retries: int | None = None
    health_start_period: str | None = None
    health_startup_cmd: str | None = None
    health_startup_interval: str | None = None
    health_startup_retries: int = 0
    health_startup_success: int = 0
    health_startup_timeout: str | None = None
    health_timeout: str | None = None
    no_healthcheck: bool = False
    restart: str = ""


class LoggingOptions:
    """Where output goes."""

    log_driver: str = ""
    log_opt: tuple[str, ...] = ()  # NAME=VALUE


class LifeOptions:
    """How the container is made and ends."""

    attach: tuple[str, ...] = ()
    auth_file: str | None = None
    auto_remove: bool = False
    cert_dir: str | None = None
    conmon: str = ""
    create_command: tuple[str, ...] = ()
    creds: str | None = None
    decryption_key: tuple[str, ...] = ()
    detach: bool = False
    platform: str | None = None
    pull: str = "missing"
    quiet: bool = False
    remove_image: bool = False
    requires: tuple[str, ...] = ()
    retry: int = 0
    retry_delay_s: float | None = None
    runtime: str = ""
    sdnotify: str = "container"
    tls_verify: bool | None = None


class ContainerOptions(
    CommandOptions, ProcessOptions, IdentityOptions, NameOptions, MountOptions, ResourceOptions,
    DefaultConfinement, SecurityOptions, UserNamespaceOptions, SupervisionOptions,
    LoggingOptions, LifeOptions,
):  # fmt: skip
    """Options of create and run as given, each under its long name.

    Neither a dataclass, which takes 14 ms of every run to import and to make, nor a named tuple.
    """

    image: str

    def __init__(self, image: str, **given: Any) -> None:
        """``given`` are the fields of the sections; the others have their defaults."""
        self.image = image
        self.refused: set[str] = set()
        cls = type(self)
        for name, value in given.items():
            if value is None:
                continue
            if value != getattr(cls, name):  # AttributeError: no such option
                self.__dict__[name] = value
            elif value is False:
                self.refused.add(name)

    def says(self, name: str) -> bool:
        """Whether the user said something about an option, were it no."""
        return name in self.__dict__ or name in self.refused

    def set(self, name: str, value: object) -> None:
        """Give an option a value that the user has not given."""
        if value != getattr(type(self), name):
            self.__dict__[name] = value

    def asks(self, section: type) -> bool:
        """Whether any option of a section differs from its default."""
        return not self.__dict__.keys().isdisjoint(section.__annotations__)
