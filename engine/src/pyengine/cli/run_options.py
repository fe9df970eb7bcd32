"""The options of run and create, in sections; ``--help`` sorts them all by name.

One table, because each module costs every ``run`` 0.3 ms. Each section has its class of values in
``containers/options.py`` and, where it is more than an ordinary container needs, its module in
``containers/configuring``.
"""

from __future__ import annotations

from pyengine.cli.declare import Choice, IntRange, argument, option
from pyengine.cli.many import DETACH_KEYS

NETWORK_HELP = "Network: none (the default), private, host, container:NAME or ns:PATH."

PROCESS = (
    option("--chrootdirs", multiple=True, metavar="DIR", help="Directories to be chrooted into."),
    option("--entrypoint", metavar="COMMAND", help="Instead of the image's entry point."),
    option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable."),
    option("--env-file", multiple=True, metavar="FILE", help="Variables from a file."),
    option("--env-host", is_flag=True, default=None, help="Pass on all variables of the host."),
    option(
        "--env-merge", multiple=True, metavar="NAME=VALUE",
        help="Set a variable; ${NAME} in it is the image's.",
    ),
    option("--group-add", multiple=True, metavar="GROUP", help="Additional group, or keep-groups."),
    option("--group-entry", default="", metavar="ENTRY", help="Line to add to /etc/group."),
    option("--hostuser", multiple=True, metavar="USER", help="User of the host to add to passwd."),
    option("--http-proxy/--no-http-proxy", default=None, help="Pass on the proxy's variables."),
    option("--init", is_flag=True, default=None, help="Run an init that reaps processes."),
    option("--init-path", default="", metavar="PATH", help="Path of the init."),
    option("-i", "--interactive", "stdin", is_flag=True, help="Keep stdin open."),
    option("--passwd/--no-passwd", default=True, help="Add the user to /etc/passwd and group."),
    option("--passwd-entry", default="", metavar="ENTRY", help="Line to add to /etc/passwd."),
    option("--stop-signal", default="", metavar="SIGNAL", help="Signal that asks to end."),
    option(
        "--stop-timeout", "stop_timeout_s", type=IntRange(0), default=10, show_default=True,
        metavar="SECONDS", help="Time to end before it is killed.",
    ),
    option("--systemd", default="true", metavar="MODE", help="Run systemd: true, false or always."),
    option(
        "--timeout", "timeout_s", type=IntRange(0), default=0, metavar="SECONDS",
        help="Kill the container after this time.",
    ),
    option("-t", "--tty", "terminal", is_flag=True, help="Allocate a terminal."),
    option("--tz", "timezone", default="", metavar="ZONE", help="Time zone, or local."),
    option("--umask", default="", metavar="MODE", help="Mask of new files, such as 0022."),
    option("--unsetenv", multiple=True, metavar="NAME", help="Take a default variable away."),
    option("--unsetenv-all", is_flag=True, help="Take all default variables away."),
    option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who the process is."),
    option("-w", "--workdir", default="", metavar="DIR", help="Working directory."),
)  # fmt: skip

NAMES = (
    option("--add-host", multiple=True, metavar="NAME:IP", help="Add a line to /etc/hosts."),
    option("--annotation", multiple=True, metavar="KEY=VALUE", help="Set an annotation."),
    option("--cidfile", default="", metavar="FILE", help="Write the container id to FILE."),
    option("--conmon-pidfile", default="", metavar="FILE", help="Write the monitor's pid to FILE."),
    option("--dns", multiple=True, metavar="IP", help="Name server, or none."),
    option("--dns-option", "--dns-opt", multiple=True, metavar="OPTION", help="Resolver option."),
    option("--dns-search", multiple=True, metavar="DOMAIN", help="Domain to search in, or a dot."),
    option(
        "--expose", multiple=True, metavar="PORT[-PORT][/PROTOCOL]",
        help="Note that the container listens on a port.",
    ),
    option("-h", "--hostname", default="", metavar="NAME", help="The container's host name."),
    option(
        "--hosts-file", default="", metavar="FILE",
        help="What /etc/hosts begins with: a file, image or none.",
    ),
    option("--ip", default="", metavar="IP", help="IPv4 address in a bridged network."),
    option("--ip6", default="", metavar="IP", help="IPv6 address in a bridged network."),
    option("-l", "--label", "labels", multiple=True, metavar="NAME[=VALUE]", help="Set a label."),
    option("--label-file", multiple=True, metavar="FILE", help="Labels from a file, one a line."),
    option("--link-local-ip", multiple=True, metavar="IP", help="Refused: no network gives one."),
    option("--mac-address", default="", metavar="MAC", help="Address in a bridged network."),
    option("--name", default="", metavar="NAME", help="The container's name."),
    option("--network", "--net", default="", metavar="MODE", help=NETWORK_HELP),
    option("--network-alias", multiple=True, metavar="NAME", help="Name in a bridged network."),
    option("--no-hostname", is_flag=True, help="Leave the image's /etc/hostname."),
    option("--no-hosts", is_flag=True, default=None, help="Leave the image's /etc/hosts."),
    option("--pidfile", default="", metavar="FILE", help="Write the container's pid to FILE."),
    option("--pod", default="", metavar="POD", help="Join a pod; there are none yet."),
    option("--pod-id-file", default="", metavar="FILE", help="Join the pod whose id is in FILE."),
    option(
        "-p", "--publish", multiple=True, metavar="[[IP:]HOST-PORT:]PORT[/PROTOCOL]",
        help="Publish a port on the host; needs a bridged network.",
    ),
    option("-P", "--publish-all", is_flag=True, help="Publish all exposed ports."),
    option("--replace", is_flag=True, help="Remove the container that has this name."),
)  # fmt: skip

MOUNTS = (
    option(
        "--image-volume", "--builtin-volume", default="",
        type=Choice(["anonymous", "bind", "ignore", "tmpfs", ""]), metavar="MODE",
        help="What an image's volumes become: anonymous (the default), bind, tmpfs or ignore.",
    ),
    option(
        "--mount", "mounts", multiple=True, metavar="type=TYPE,KEY=VALUE,...",
        help="Mount: bind, devpts, glob, image, ramfs, tmpfs or volume.",
    ),
    option("--read-only", is_flag=True, default=None, help="Mount the root file system read-only."),
    option(
        "--read-only-tmpfs/--no-read-only-tmpfs", default=True,
        help="With --read-only, a tmpfs on /run, /tmp and /var/tmp.",
    ),
    option("--rootfs", is_flag=True, help="IMAGE is a directory: the root file system."),
    option(
        "--secret", "secrets", multiple=True, metavar="NAME[,KEY=VALUE...]",
        help="Pass a secret on: type=mount|env, target, uid, gid, mode.",
    ),
    option("--shm-size", metavar="SIZE", help="Size of /dev/shm, such as 64m; 0 is unlimited."),
    option(
        "--shm-size-systemd", metavar="SIZE", help="Size of the tmpfs that a systemd in it needs.",
    ),
    option("--tmpfs", multiple=True, metavar="DIR[:OPTIONS]", help="Mount a tmpfs."),
    option(
        "-v", "--volume", "volumes", multiple=True, metavar="[SRC:]DST[:OPTIONS]",
        help="Bind mount a directory, or a named or anonymous volume.",
    ),
    option(
        "--volumes-from", multiple=True, metavar="CONTAINER[:OPTIONS]",
        help="Mount what another container has mounted.",
    ),
)  # fmt: skip

RESOURCES = (
    option("--blkio-weight", metavar="WEIGHT", help="Share of block I/O, 10 to 1000."),
    option(
        "--blkio-weight-device", multiple=True, metavar="DEVICE:WEIGHT",
        help="Share of a device's I/O.",
    ),
    option("--cgroup-conf", multiple=True, metavar="FILE=VALUE", help="Write a file of cgroup v2."),
    option("--cgroup-parent", default="", metavar="PATH", help="Where the cgroup is made."),
    option(
        "--cgroups", default="enabled", metavar="HOW",
        help="enabled, disabled, no-conmon or split.",
    ),
    option("--cpu-period", type=IntRange(0), metavar="US", help="Period that --cpu-quota counts."),
    option("--cpu-quota", type=int, metavar="US", help="CPU time in each period."),
    option("--cpu-rt-period", type=IntRange(0), metavar="US", help="Period of real-time CPU time."),
    option("--cpu-rt-runtime", type=int, metavar="US", help="Real-time CPU time in each period."),
    option("-c", "--cpu-shares", type=IntRange(0), metavar="N", help="Relative share of CPUs."),
    option("--cpus", type=float, metavar="N", help="Number of CPUs, such as 0.5."),
    option("--cpuset-cpus", default="", metavar="LIST", help="CPUs to run on, such as 0-2,4."),
    option("--cpuset-mems", default="", metavar="LIST", help="Memory nodes to use, such as 0,1."),
    option("--device-read-bps", multiple=True, metavar="DEVICE:RATE", help="Most bytes a second."),
    option("--device-read-iops", multiple=True, metavar="DEVICE:RATE", help="Most reads a second."),
    option("--device-write-bps", multiple=True, metavar="DEVICE:RATE", help="Most bytes a second."),
    option(
        "--device-write-iops", multiple=True, metavar="DEVICE:RATE", help="Most writes a second."
    ),
    option("-m", "--memory", metavar="SIZE", help="Memory limit, such as 64m."),
    option("--memory-reservation", metavar="SIZE", help="Memory that is left to the container."),
    option("--memory-swap", metavar="SIZE", help="Limit of memory and swap; -1 for no limit."),
    option("--memory-swappiness", type=int, default=-1, metavar="N", help="From 0 to 100."),
    option("--oom-kill-disable", is_flag=True, help="Do not kill for lack of memory."),
    option("--oom-score-adj", type=int, metavar="N", help="From -1000 to 1000."),
    option("--pids-limit", type=int, metavar="N", help="Most processes; -1 for no limit."),
    option("--rdt-class", default="", metavar="NAME", help="Class of Intel RDT (resctrl)."),
    option("--ulimit", multiple=True, metavar="NAME=SOFT[:HARD]", help="Set a limit; or host."),
)  # fmt: skip

SECURITY = (
    option("--cap-add", multiple=True, metavar="CAP", help="Add a capability."),
    option("--cap-drop", multiple=True, metavar="CAP", help="Drop a capability, or ALL."),
    option("--cgroupns", default="", metavar="MODE", help="Cgroup namespace."),
    option(
        "--device", multiple=True, metavar="DEVICE[:PATH[:PERMISSIONS]]",
        help="Add a device of the host, or a CDI device such as vendor.com/class=name.",
    ),
    option(
        "--device-cgroup-rule", multiple=True, metavar="RULE", help="Allow devices: c 1:3 rwm."
    ),
    option("--gpus", multiple=True, metavar="GPU", help="Add a GPU (CDI), or all."),
    option("--gidmap", multiple=True, metavar="INSIDE:HOST[:N]", help="Groups of a new namespace."),
    option("--ipc", default="", metavar="MODE", help="IPC namespace."),
    option("--personality", default="", metavar="DOMAIN", help="LINUX or LINUX32."),
    option("--pid", default="", metavar="MODE", help="PID namespace."),
    option("--privileged", is_flag=True, default=None, help="Give all capabilities and devices."),
    option(
        "--seccomp-policy", default="default", show_default=True, metavar="POLICY",
        help="default, or image: the profile in a label of the image, where it has one.",
    ),
    option(
        "--security-opt", multiple=True, metavar="OPTION",
        help="seccomp=, apparmor=, label=, mask=, unmask=, proc-opts= or no-new-privileges.",
    ),
    option("--subgidname", default="", metavar="NAME", help="Groups of this name in /etc/subgid."),
    option("--subuidname", default="", metavar="NAME", help="Users of this name in /etc/subuid."),
    option("--sysctl", multiple=True, metavar="NAME=VALUE", help="Set a kernel parameter."),
    option("--uidmap", multiple=True, metavar="INSIDE:HOST[:N]", help="Users of a new namespace."),
    option(
        "--userns", default="", metavar="MODE",
        help="User namespace: host, keep-id[:uid=N,gid=N,...], nomap, auto[:size=N,...],"
        " container:NAME or ns:PATH.",
    ),
    option("--uts", default="", metavar="MODE", help="UTS namespace."),
)  # fmt: skip

SUPERVISION = (
    option(
        "--health-cmd", metavar="COMMAND",
        help="Command that tells whether the container is healthy; none for no check.",
    ),
    option("--health-interval", metavar="TIME", help="Time between checks, or disable."),
    option(
        "--health-log-destination", default="local", show_default=True, metavar="DIR",
        help="Directory for the results.",
    ),
    option(
        "--health-max-log-count", type=IntRange(0), default=5, show_default=True, metavar="N",
        help="Results to keep; 0 keeps all.",
    ),
    option(
        "--health-max-log-size", type=IntRange(0), default=500, show_default=True, metavar="N",
        help="Characters of output to keep of each result; 0 keeps up to 4096.",
    ),
    option(
        "--health-on-failure", default="none", show_default=True, metavar="ACTION",
        help="Once unhealthy: none, kill, restart or stop.",
    ),
    option("--health-retries", type=IntRange(0), metavar="N", help="Failures in a row that count."),
    option("--health-start-period", metavar="TIME", help="Time in which failures do not count."),
    option("--health-startup-cmd", metavar="COMMAND", help="Check that has to pass first."),
    option("--health-startup-interval", metavar="TIME", help="Time between startup checks."),
    option(
        "--health-startup-retries", type=IntRange(0), default=0, show_default=True, metavar="N",
        help="Failed startup checks that restart the container; 0 never does.",
    ),
    option(
        "--health-startup-success", type=IntRange(0), default=0, show_default=True, metavar="N",
        help="Startup checks in a row that have to pass.",
    ),
    option("--health-startup-timeout", metavar="TIME", help="Time a startup check may take."),
    option("--health-timeout", metavar="TIME", help="Time a check may take."),
    option("--no-healthcheck", is_flag=True, help="Run no health check, not even the image's."),
    option(
        "--restart", default="", metavar="POLICY",
        help="Restart it: no, on-failure[:N], always or unless-stopped.",
    ),
)  # fmt: skip

LOGGING = (
    option(
        "--log-driver", default="", metavar="DRIVER",
        help="k8s-file (the default), json-file, journald, none or passthrough.",
    ),
    option(
        "--log-opt", multiple=True, metavar="NAME=VALUE",
        help="max-size, max-file or path of a log file, tag or label in the journal.",
    ),
)  # fmt: skip

LIFE = (
    option("--arch", metavar="ARCH", help="Architecture of the image instead of this machine's."),
    option(
        "-a", "--attach", multiple=True, metavar="STREAM",
        help="Attach only stdin, stdout or stderr.",
    ),
    option("--authfile", metavar="FILE", help="Credentials instead of the usual auth.json."),
    option("--cert-dir", metavar="DIR", help="Where a registry's certificates and keys are."),
    option("--conmon", default="", metavar="PATH", help="Path of the container monitor."),
    option("--creds", metavar="USER[:PASSWORD]", help="Credentials for the registry."),
    option(
        "--decryption-key", multiple=True, metavar="KEY", help="Refused: decrypt with skopeo copy.",
    ),
    option(
        "--disable-content-trust", is_flag=True,
        help="Says what is so: Docker's content trust is not used.",
    ),
    option("--os", "system", metavar="OS", help="Operating system of the image."),
    option("--platform", metavar="OS/ARCH[/VARIANT]", help="Platform of the image."),
    option(
        "--pull", type=Choice(["missing", "always", "never", "newer"]), default="missing",
        show_default=True, help="When to pull the image.",
    ),
    option("-q", "--quiet", is_flag=True, help="Do not show the progress of a pull."),
    option("--requires", multiple=True, metavar="CONTAINER", help="Start another one before it."),
    option(
        "--retry", type=IntRange(0), metavar="N", help="How often a failed pull is tried again."
    ),
    option("--retry-delay", metavar="DURATION", help="Between tries; otherwise 1s, then doubled."),
    option("--rm", "auto_remove", is_flag=True, help="Remove the container when it ends."),
    option("--runtime", default="", metavar="NAME", help="Path or name of the OCI runtime."),
    option(
        "--sdnotify", default="container", show_default=True, metavar="MODE",
        help="Who tells systemd that it is ready: container, conmon, healthy or ignore.",
    ),
    option("--tls-verify/--no-tls-verify", default=None, help="Check a registry's certificate."),
    option("--variant", metavar="VARIANT", help="Variant of the architecture, such as v7."),
)  # fmt: skip

# Only run has these.
ATTENDANCE = (
    option("-d", "--detach", is_flag=True, help="Run in the background, print the id."),
    option(
        "--preserve-fds", type=IntRange(0), default=0, metavar="N",
        help="Pass on descriptors 3 to N+2.",
    ),
    DETACH_KEYS,
    option("--rmi", "remove_image", is_flag=True, help="As --rm, and remove the unused image."),
    option(
        "--preserve-fd", multiple=True, metavar="FD[,FD...]",
        help="Pass on these descriptors; others below the highest are /dev/null.",
    ),
    option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on."),
)  # fmt: skip

SHARED = (
    *PROCESS, *NAMES, *MOUNTS, *RESOURCES, *SECURITY, *SUPERVISION, *LOGGING, *LIFE,
    argument("words", nargs=-1, metavar="IMAGE [COMMAND [ARG]...]"),
)  # fmt: skip
