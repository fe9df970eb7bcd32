"""The shape of a container's saved configuration, for the type checker and the reader only.

It is what the database keeps of a container: the image's configuration and the user's options
already merged, so that a later ``start`` needs neither. config.json is made from it at each start.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Volume(TypedDict):
    """A bind mount, or a named volume whose directory is filled in when the container starts."""

    source: str  # an absolute path, an image's id, or empty for a named volume
    name: str  # the volume's name, or empty
    destination: str
    options: list[str]
    kind: NotRequired[str]  # devpts, image or ramfs, where it is neither bind nor volume
    anonymous: NotRequired[bool]  # made for this container, and removed with it
    chown: NotRequired[bool]  # everything in it gets the container's user
    copy: NotRequired[bool]  # false: the image's content does not go into a new volume
    overlay: NotRequired[dict[str, str]]  # changes are kept apart: upperdir and workdir, if given
    relabel: NotRequired[str]  # z or Z
    subpath: NotRequired[str]  # what is mounted of the volume or image


class Secret(TypedDict):
    """A secret as a file: ``target`` is a path, or a name in /run/secrets."""

    id: str
    name: str
    target: str
    uid: int
    gid: int
    mode: int


class MountSettings(TypedDict, total=False):
    """What few containers ask for."""

    no_read_only_tmpfs: bool
    rootfs_overlay: bool  # the directory of --rootfs stays as it is
    # Its owners are mapped: uids and gids where not as the container's (``configuring/rootfs``).
    rootfs_idmap: dict[str, list[list[int]]]
    secrets: list[Secret]
    secret_env: dict[str, str]  # ids by variable
    shm_size_bytes: int  # 0 is unlimited
    shm_size_systemd_bytes: int


class Resources(TypedDict, total=False):
    """Limits as the user gave them."""

    memory_limit_bytes: int
    memory_reservation_bytes: int
    memory_swap_bytes: int  # memory and swap together; -1 is unlimited
    memory_swappiness: int
    oom_kill_disable: bool
    oom_score_adj: int
    cpu_quota_us: int
    cpu_period_us: int
    cpu_rt_runtime_us: int
    cpu_rt_period_us: int
    cpu_shares: int
    cpuset_cpus: str
    cpuset_mems: str
    blkio_weight: int
    blkio_devices: dict[str, list[tuple[str, int]]]  # config.json's key: device and value
    pids_limit: int  # 0 is unlimited
    ulimits: dict[str, tuple[int, int]]  # soft and hard by config.json's type; -1 is unlimited
    ulimits_of_host: bool
    cgroup_conf: dict[str, str]
    cgroup_parent: str
    cgroups: str  # disabled or split
    rdt_class: str


class HealthCheck(TypedDict):
    """A command that tells about a container's health."""

    test: list[str]  # CMD and its words, or CMD-SHELL and a shell command
    interval_ns: int  # 0: only when asked for
    timeout_ns: int
    start_period_ns: int
    start_interval_ns: int  # 0: as the interval
    retries: int
    successes: int  # of a startup check


class Supervision(TypedDict, total=False):
    """The health checks of a container; empty where there is none."""

    by: str  # who runs the checks: monitor, systemd, or user, who asks for each
    health: HealthCheck
    startup: HealthCheck
    on_failure: str  # none, kill, restart or stop
    log_directory: str  # empty: beside the container's other files
    log_count: int
    log_size: int


class Logging(TypedDict, total=False):
    """Where a container's output goes; empty is k8s-file without a limit."""

    driver: str
    path: str
    size_max_bytes: int
    files: int  # besides the one being written
    tag: str  # of the journal
    label: str


class ProcessSettings(TypedDict, total=False):
    """What a container has of its process beyond an ordinary one."""

    chroot_dirs: list[str]
    group_entry: str
    groups: list[str]
    host_users: list[str]  # lines of /etc/passwd
    init_path: str
    keep_groups: bool
    no_passwd: bool
    passwd_entry: str
    preserve_fds: int
    unwanted_fds: list[int]  # of those preserved: /dev/null stands there
    systemd: bool
    timeout_s: int
    timezone: str  # the path of a file of the host
    umask: int
    unset_env: list[str]  # of the defaults


class NameSettings(TypedDict, total=False):
    """What a container has of its names beyond an ordinary one."""

    annotations: dict[str, str]
    conmon_pidfile: str
    dns: list[str]  # none alone: the image's resolv.conf stays
    dns_options: list[str]
    dns_searches: list[str]
    hosts: list[str]  # lines of /etc/hosts
    hosts_file: str  # a path, "image" or "none"
    host_ip: str  # what the container calls its host by; none for nothing
    host_gateway: list[str]  # names for the host's own address
    no_hostname: bool
    no_hosts: bool
    pidfile: str


class DeviceWish(TypedDict):
    """A device of the host, or all of a directory."""

    source: str
    destination: str
    access: str  # of r, w and m


class SecuritySettings(TypedDict, total=False):
    """How a container's confinement differs from an ordinary one's."""

    apparmor: str
    cdi_devices: list[str]
    cdi_directories: list[str]  # of specifications, later ones count more
    device_rules: list[tuple[str, int, int, str]]  # type, major, minor (-1: all), access
    devices: list[DeviceWish]
    label: list[str]  # the words after label=
    masked: list[str]
    mount_label: str  # of files and process; only where the kernel has SELinux
    process_label: str
    personality: str
    proc_options: list[str]
    seccomp_profile: str  # the image's own, as JSON
    unmasked: list[str]  # patterns, or ALL


class ProcessConfig(TypedDict):
    """What runs, as whom, and how it is ended."""

    process: ProcessSettings
    entrypoint: list[str]
    command: list[str]
    env: list[str]
    cwd: str  # empty: "/"
    cwd_given: bool  # by -w: it must exist then
    user: str
    terminal: bool
    stdin: bool
    no_keyring: bool  # the container keeps the session keyring of its caller
    stop_signal: int
    stop_timeout_s: int


class NamesConfig(TypedDict):
    """How a container is found and finds others."""

    names: NameSettings
    hostname_given: str
    exposed_ports: NotRequired[list[str]]  # such as 80/tcp; nothing acts on them
    network: str  # none, host, container:ID or ns:PATH
    labels: dict[str, str]
    cidfile: str


class MountsConfig(TypedDict):
    """What is mounted."""

    rootfs: str  # a directory of the host instead of an image
    read_only: bool
    tmpfs: dict[str, list[str]]
    volumes: list[Volume]
    mounts: MountSettings


class SecurityConfig(TypedDict):
    """What a container may do, and whom it shares with."""

    security: SecuritySettings
    id_maps: list[list[list[int]]]  # users and groups, each inside, host, count; or empty
    userns_auto: NotRequired[str]  # the mode that chose them; a clone gets others
    sysctls: dict[str, str]
    default_capabilities: list[str]  # of containers.conf, without CAP_; empty: podman's
    # By kind (pid, ipc, uts, cgroup): host, private, none, shareable, ns:PATH or container:ID.
    namespaces: dict[str, str]
    privileged: bool
    cap_add: list[str]
    cap_drop: list[str]
    no_new_privileges: bool
    seccomp: str  # "", "unconfined" or the path of a profile


class SupervisionConfig(TypedDict):
    """Who looks after it while it runs."""

    restart_policy: str  # no, on-failure, on-failure:N, always or unless-stopped
    may_restart: bool  # by its policy, or because it is not healthy
    restart_by_monitor: bool  # it waits for the back-off, and asks the exit command
    supervision: Supervision


class LifeConfig(TypedDict):
    """What it needs, and what happens at its beginning and its end."""

    dependencies: list[str]  # the containers that it needs
    attach: list[str]  # stdin, stdout, stderr; empty: all
    auto_remove: bool
    remove_image: bool
    runtime: str  # as given: a name or a path; empty is the default
    conmon: str
    create_command: list[str]
    sdnotify: NotRequired[str]  # conmon, healthy or ignore; else container


class ContainerConfig(
    ProcessConfig, NamesConfig, MountsConfig, SecurityConfig, SupervisionConfig, LifeConfig
):
    """Everything about a container but its id, its name and its state.

    Grouped as the options are (``cli/run_options.py``).
    """

    image: str  # the name the user gave, empty with --rootfs
    image_id: str
    resources: Resources
    log: Logging
