"""The options of run and create, in sections; ``--help`` sorts them all by name.

One table, because each module costs every ``run`` 0.3 ms. Each section has its class of values in
``containers/options.py`` and, where it is more than an ordinary container needs, its module in
``containers/configuring``.
"""

from __future__ import annotations

from pyengine.cli.declare import Choice, IntRange, argument, option

NETWORK_HELP = "Network: none (the default) or host; others come with a later version."

PROCESS = (
    option("--entrypoint", metavar="COMMAND", help="Instead of the image's entry point."),
    option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable."),
    option("--env-file", multiple=True, metavar="FILE", help="Variables from a file."),
    option("-i", "--interactive", "stdin", is_flag=True, help="Keep stdin open."),
    option("--stop-signal", default="", metavar="SIGNAL", help="Signal that asks to end."),
    option(
        "--stop-timeout", "stop_timeout_s", type=IntRange(0), default=10, show_default=True,
        metavar="SECONDS", help="Time to end before it is killed.",
    ),
    option("-t", "--tty", "terminal", is_flag=True, help="Allocate a terminal."),
    option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who the process is."),
    option("-w", "--workdir", default="", metavar="DIR", help="Working directory."),
)  # fmt: skip

NAMES = (
    option("--cidfile", default="", metavar="FILE", help="Write the container id to FILE."),
    option("-h", "--hostname", default="", metavar="NAME", help="The container's host name."),
    option("-l", "--label", "labels", multiple=True, metavar="NAME[=VALUE]", help="Set a label."),
    option("--name", default="", metavar="NAME", help="The container's name."),
    option("--network", "--net", default="none", metavar="MODE", help=NETWORK_HELP),
)

MOUNTS = (
    option("--read-only", is_flag=True, help="Mount the root file system read-only."),
    option("--rootfs", is_flag=True, help="IMAGE is a directory: the root file system."),
    option("--tmpfs", multiple=True, metavar="DIR[:OPTIONS]", help="Mount a tmpfs."),
    option(
        "-v", "--volume", "volumes", multiple=True, metavar="SRC:DST[:OPTIONS]",
        help="Bind mount a directory, or a named volume.",
    ),
)  # fmt: skip

RESOURCES = (
    option("--cpus", type=float, metavar="N", help="Number of CPUs, such as 0.5."),
    option("-m", "--memory", metavar="SIZE", help="Memory limit, such as 64m."),
    option("--pids-limit", type=int, metavar="N", help="Most processes; -1 for no limit."),
)

SECURITY = (
    option("--cap-add", multiple=True, metavar="CAP", help="Add a capability."),
    option("--cap-drop", multiple=True, metavar="CAP", help="Drop a capability, or ALL."),
    option("--privileged", is_flag=True, help="Give all capabilities and devices."),
    option(
        "--security-opt", multiple=True, metavar="OPTION",
        help="seccomp=FILE, seccomp=unconfined or no-new-privileges.",
    ),
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
    option("--conmon", default="", metavar="PATH", help="Path of the container monitor."),
    option(
        "--pull", type=Choice(["missing", "always", "never"]), default="missing",
        show_default=True, help="When to pull the image.",
    ),
    option("--rm", "auto_remove", is_flag=True, help="Remove the container when it ends."),
    option("--runtime", default="", metavar="NAME", help="Path or name of the OCI runtime."),
)  # fmt: skip

# Only run has these.
ATTENDANCE = (
    option("-d", "--detach", is_flag=True, help="Run in the background, print the id."),
    option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on."),
)

SHARED = (
    *PROCESS, *NAMES, *MOUNTS, *RESOURCES, *SECURITY, *SUPERVISION, *LOGGING, *LIFE,
    argument("words", nargs=-1, metavar="IMAGE [COMMAND [ARG]...]"),
)  # fmt: skip
