"""run and create: a new container."""

from __future__ import annotations

import os
import sys

from pyengine import log
from pyengine.cli import run_options
from pyengine.cli.declare import UsageError, command, option
from pyengine.containers.options import ContainerOptions
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.engine import Engine

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


@command(*run_options.ATTENDANCE, *run_options.SHARED, interspersed=False)
def run(
    engine: Engine, /, *, detach: bool, detach_keys: str | None, sig_proxy: bool, **given: Any
) -> int:
    """Run a command in a new container."""
    keys = engine.detach_keys(detach_keys)
    options = make_options(engine.container_defaults, detach=detach, **given)
    if options.terminal and not detach and not sys.stdin.isatty() and options.stdin:
        log.warning(
            "The input device is not a TTY. The --tty and --interactive flags might not work"
            " properly"
        )
    source = engine.container_source(options, _progress)
    started = engine.containers.run(
        options, source, stdin=options.stdin, proxy_signals=sig_proxy, detach_keys=keys
    )
    if detach:
        print(started.container.id)
        return 0
    from pyengine.monitor.attach import Detached

    try:
        status = engine.containers.attend(started)
    except Detached:
        return 0
    if options.remove_image:
        engine.remove_image_of(started.container)
    return status


INIT_CONTAINER = option(
    "--init-ctr", default="", metavar="KIND", help="Run it before the others of its pod.",
)  # fmt: skip


@command(INIT_CONTAINER, *run_options.SHARED, interspersed=False)
def create(engine: Engine, /, **given: Any) -> None:
    """Create a container without starting it."""
    options = make_options(engine.container_defaults, **given)
    container = engine.containers.create(options, engine.container_source(options, _progress))
    print(container.id)


def _progress() -> Callable[[str], None]:
    """Made for a pull only: most containers need none."""
    from pyengine.cli.report import progress

    return progress(quiet=False)


def make_options(defaults: dict[str, Any], **given: Any) -> ContainerOptions:
    """The options in the form both faces use; only here are our environment and files read.

    ``defaults`` is ``[containers]`` of containers.conf.
    """
    words = given.pop("words")
    if not words:
        raise UsageError("requires at least 1 arg(s), only received 0")
    env = [*env_files(given.pop("env_file")), *passed_on(given.pop("env"))]
    flags = {"env_host": False, "http_proxy": True}
    for name, default in flags.items():
        asked = given.pop(name)
        flags[name] = bool(defaults.get(name, default) if asked is None else asked)
    if flags["env_host"]:
        env = [*(f"{name}={value}" for name, value in os.environ.items()), *env]
    _choose_platform(given)
    given["auth_file"] = given.pop("authfile")
    del given["disable_content_trust"]  # its help says so
    if (delay := given.pop("retry_delay")) is not None:
        from pyengine.cli import access

        given["retry_delay_s"] = access.seconds(delay)
    others = ("userns", "uidmap", "gidmap", "subuidname", "subgidname")
    if "PODMAN_USERNS" in os.environ and not any(given[name] for name in others):
        given["userns"] = os.environ["PODMAN_USERNS"]
    proxies = _proxies() if flags["http_proxy"] else ()
    lists = (
        "attach",
        "cap_add",
        "cap_drop",
        "chrootdirs",
        "expose",
        "gidmap",
        "group_add",
        "preserve_fd",
        "publish",
        "requires",
        "uidmap",
    )
    for name in lists:  # podman takes comma-separated lists too
        given[name] = tuple(
            word for text in given.get(name, ()) for word in text.split(",") if word
        )
    return ContainerOptions(
        image=words[0],
        command=words[1:],
        default_env=proxies,
        env=tuple(env),
        create_command=("pyengine", *sys.argv[1:]),
        **given,
    )


def _choose_platform(given: dict[str, Any]) -> None:
    """``--platform`` of its parts, where these are given."""
    system, arch, variant = (given.pop(name) for name in ("system", "arch", "variant"))
    if not (system or arch or variant):
        return
    if given["platform"] and (system or arch):
        raise UsageError("--platform option can not be specified with --arch or --os")
    from pyengine.images import manifests

    given["platform"] = manifests.platform_of(system, arch, variant)


def _proxies() -> tuple[str, ...]:
    names = [name for lower in PROXIES for name in (lower, lower.upper()) if name in os.environ]
    return tuple(f"{name}={os.environ[name]}" for name in names)


def passed_on(values: tuple[str, ...]) -> list[str]:
    """``--env``: NAME alone passes ours on, if we have it; NAME* all that begin like that."""
    found = []
    for text in values:
        name, separator, _ = text.partition("=")
        if not name:
            raise ConfigError(f"--env {text}: invalid environment variable: it has no name")
        if separator:
            found.append(text)
        elif name in os.environ:
            found.append(f"{name}={os.environ[name]}")
        elif name.endswith("*"):
            alike = [one for one in os.environ if one.startswith(name[:-1])]
            found += [f"{one}={os.environ[one]}" for one in alike]
    return found


def env_files(paths: tuple[str, ...]) -> list[str]:
    """The variables of ``--env-file`` files, one a line, # begins a comment."""
    lines: list[str] = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                lines += [line.strip("\r\n").lstrip() for line in file]
        except OSError as error:
            raise ConfigError(f"--env-file: open {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"--env-file {path}: not UTF-8: {error}") from error
    return passed_on(tuple(line for line in lines if line and not line.startswith("#")))
