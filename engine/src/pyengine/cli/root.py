"""The options before the command, and the engine they describe."""

from __future__ import annotations

import os
import sys

from pyengine import log
from pyengine.cli.declare import Choice, option
from pyengine.engine import Engine, Options
from pyengine.errors import ConfigError

PARAMETERS = (
    option("--root", metavar="DIR", help="Directory of images, containers and the database."),
    option("--runroot", metavar="DIR", help="Directory of what a reboot may forget."),
    option("--runtime", metavar="NAME", help="Path or name of the OCI runtime."),
    option("--runtime-flag", multiple=True, metavar="FLAG", help="Option for the OCI runtime."),
    option("--cdi-spec-dir", multiple=True, metavar="DIR", help="Where CDI describes devices."),
    option("--config", metavar="DIR", help="Directory of config.json, docker's credentials."),
    option("--conmon", metavar="PATH", help="Path of the container monitor."),
    option("--cgroup-manager", type=Choice(["cgroupfs", "systemd"]), help="Who makes cgroups."),
    option("--events-backend", type=Choice(["file", "none"]), help="Whether events are kept."),
    option(
        "--log-level", type=Choice(log.LEVELS, case_sensitive=False), default="warn",
        help="Print messages of this level and above.",
    ),
    option(
        "--module", multiple=True, metavar="FILE", help="Another containers.conf, over the others."
    ),
    option("--noout", is_flag=True, help="Print nothing on standard output."),
    option("--out", metavar="FILE", help="Write standard output to FILE."),
    option("--storage-opt", multiple=True, metavar="OPTION", help="Option of the storage driver."),
    option("--syslog", is_flag=True, help="Send warnings and debug lines to syslog, too."),
    option("--tmpdir", metavar="DIR", help="Directory of the file of events."),
    option("-c", "--connection", metavar="NAME", help="Name of a remote service."),
    option("--url", metavar="URL", help="Address of a remote service."),
    option("-r", "--remote", is_flag=True, help="Use a remote service."),
    option("--identity", metavar="FILE", help="Key for a remote service."),
    option("--ssh", metavar="MODE", help="How a remote service is reached."),
    option("--tls-ca", metavar="FILE", help="Certificates of a remote service."),
    option("--tls-cert", metavar="FILE", help="Our certificate for a remote service."),
    option("--tls-key", metavar="FILE", help="Its key."),
    option("--hooks-dir", multiple=True, metavar="DIR", help="Refused: runs no hooks of files."),
    option("--imagestore", metavar="DIR", help="Refused: images are below --root."),
    option("--namespace", metavar="NAME", help="Refused: names are in one namespace."),
    option("--network-cmd-path", metavar="PATH", help="Refused: there are no such networks yet."),
    option("--network-config-dir", metavar="DIR", help="Refused: there are no networks yet."),
    option("--volumepath", metavar="DIR", help="Refused: volumes are below --root."),
    option("--storage-driver", type=Choice(["overlay", "vfs"]), help="How layers are stacked."),
)  # fmt: skip


# What would need a service, which this version does not have.
REMOTE = ("connection", "identity", "remote", "ssh", "tls_ca", "tls_cert", "tls_key", "url")
REFUSED = {
    "hooks_dir": "hooks are not read from files: put them into a CDI specification",
    "imagestore": "all images are below --root",
    "namespace": "all containers of a --root have their names in one namespace",
    "network_cmd_path": "there are no networks yet that would need slirp4netns or pasta",
    "network_config_dir": "there are no networks yet that would be configured",
    "volumepath": "all volumes are below --root",
}


def make_engine(log_level: str, **options: object) -> Engine:
    """The engine that the options' values ask for.

    Raises:
        ConfigError: they ask for what there is not.
    """
    log.set_level(log_level)
    for name in REMOTE:
        if options.pop(name):
            raise ConfigError(
                f"--{name.replace('_', '-')}: there is no remote service: pyengine works on this"
                " host's storage alone"
            )
    for name, reason in REFUSED.items():
        if options.pop(name):
            raise ConfigError(f"--{name.replace('_', '-')}: {reason}")
    if options.pop("syslog"):
        log.also_to_syslog()
    if directory := options.pop("config"):  # as docker, whose scripts give it
        os.environ["REGISTRY_AUTH_FILE"] = os.path.abspath(f"{directory}/config.json")
    unknown = options.pop("storage_opt")
    if unknown:
        raise ConfigError(f"--storage-opt {unknown[0]}: the storage driver has no such option")  # type: ignore[index]  # a tuple
    path = options.pop("out")
    if options.pop("noout") or path:
        _redirect(str(path or os.devnull))
    options["notify_socket"] = os.environ.get("NOTIFY_SOCKET", "")
    return Engine(Options(**options))  # type: ignore[arg-type]  # the declarations made the types


def _redirect(path: str) -> None:
    """Let standard output end in a file; a container's output too."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"--out {path}: {error.strerror}") from error
    sys.stdout.flush()
    os.dup2(fd, 1)
    os.close(fd)
