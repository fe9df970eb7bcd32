"""The options of the section ``supervision``, and the image's HEALTHCHECK."""

from __future__ import annotations

import os
import re

from pyengine import jsontext, log
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig, HealthCheck, Supervision

POLICIES = ("no", "on-failure", "always", "unless-stopped")
ACTIONS = ("none", "kill", "restart", "stop")
KINDS = ("CMD", "CMD-SHELL", "NONE")

SECOND_NS = 1_000_000_000
INTERVAL_NS = TIMEOUT_NS = 30 * SECOND_NS
RETRIES = 3

_UNITS_NS = {
    "ns": 1, "us": 1000, "µs": 1000, "ms": 1_000_000, "s": SECOND_NS, "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
}  # fmt: skip
_PART = r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)"


def configure(config: ContainerConfig, wanted: ContainerOptions, image: dict[str, Any]) -> None:
    """Write what the options mean into ``config``.

    Raises:
        ConfigError: an option has no meaning, or contradicts another one.
    """
    config["restart_policy"] = restart_policy(wanted.restart)
    config["may_restart"] = config["restart_policy"] != "no"
    if config["may_restart"] and wanted.auto_remove:
        raise ConfigError(
            'the --rm option conflicts with --restart, when the restartPolicy is not "" and "no"'
        )
    action = wanted.health_on_failure
    if action not in ACTIONS:
        raise ConfigError(
            f'invalid on-failure action "{action}" for health check: supported actions are'
            f" {','.join(ACTIONS)}"
        )
    if wanted.no_healthcheck and wanted.health_cmd is not None:
        raise ConfigError("cannot specify both --no-healthcheck and --health-cmd")
    health = None if wanted.no_healthcheck else _health(wanted, image.get("Healthcheck") or {})
    if health is None:
        _refuse_without_check(wanted)
        return
    found: Supervision = {
        "health": health,
        "on_failure": action,
        "log_directory": _log_directory(wanted.health_log_destination),
        "log_count": wanted.health_max_log_count,
        "log_size": wanted.health_max_log_size,
    }
    startup = _startup(wanted)
    if startup is not None:
        found["startup"] = startup
    if restarts(found):
        if wanted.auto_remove:
            raise ConfigError("the --rm option conflicts with restarts by a health check")
        config["may_restart"] = True
    config["supervision"] = found


def restarts(found: Supervision) -> bool:
    """Whether a check that fails may start the container again."""
    startup = found.get("startup")
    return found.get("on_failure") == "restart" or bool(startup and startup["retries"])


def as_options(found: Supervision) -> dict[str, Any]:
    """The options that come to these checks."""
    options: dict[str, Any] = {
        "health_on_failure": found["on_failure"],
        "health_log_destination": found["log_directory"] or "local",
        "health_max_log_count": found["log_count"],
        "health_max_log_size": found["log_size"],
        **_check_options("health", found["health"]),
        "health_start_period": f"{found['health']['start_period_ns']}ns",
    }
    if startup := found.get("startup"):
        options |= _check_options("health_startup", startup)
        options["health_startup_success"] = startup["successes"]
    return options


def _check_options(prefix: str, check: HealthCheck) -> dict[str, Any]:
    interval_ns = check["interval_ns"]
    return {
        f"{prefix}_cmd": jsontext.dumps(check["test"]),
        f"{prefix}_interval": f"{interval_ns}ns" if interval_ns else "disable",
        f"{prefix}_timeout": f"{check['timeout_ns']}ns",
        f"{prefix}_retries": check["retries"],
    }


def restart_policy(text: str) -> str:
    """``no``, ``on-failure``, ``on-failure:3``, ``always`` or ``unless-stopped``."""
    name, colon, limit = (text or "no").partition(":")
    name = "no" if name == "never" else name
    if name not in POLICIES:
        raise ConfigError(
            f'--restart {text}: "{name}" is not a valid restart policy: invalid argument: use one'
            f" of {', '.join(POLICIES)}"
        )
    if not colon:
        return name
    if name != "on-failure":
        raise ConfigError(
            f"--restart {text}: restart policy retries can only be specified with on-failure"
            " restart policy"
        )
    if not limit.isdecimal() or not int(limit):
        raise ConfigError(
            f"--restart {text}: must specify restart policy retry count as a number greater than 0"
        )
    return f"{name}:{int(limit)}"


def _health(wanted: ContainerOptions, image: dict[str, Any]) -> HealthCheck | None:
    """The regular check: the options before the image's HEALTHCHECK."""
    test = image.get("Test") or [] if wanted.health_cmd is None else _test(wanted.health_cmd)
    if not test or test[0].upper() == "NONE":
        return None
    if test[0] not in KINDS or len(test) < 2:
        raise ConfigError(f"health check {test}: it must begin with CMD or CMD-SHELL and a command")
    retries = wanted.health_retries
    if retries is not None and retries < 1:
        raise ConfigError("healthcheck-retries must be greater than 0")
    interval_ns = _interval_ns("healthcheck-interval", wanted.health_interval)
    timeout_ns = _timeout_ns("healthcheck-timeout", wanted.health_timeout)
    period_ns = _duration_ns("healthcheck-start-period", wanted.health_start_period)
    return {
        "test": [str(word) for word in test],
        "interval_ns": _first(interval_ns, image.get("Interval") or INTERVAL_NS),
        "timeout_ns": _first(timeout_ns, image.get("Timeout") or TIMEOUT_NS),
        "start_period_ns": _first(period_ns, image.get("StartPeriod") or 0),
        "start_interval_ns": int(image.get("StartInterval") or 0),
        "retries": _first(retries, image.get("Retries") or RETRIES),
        "successes": 0,
    }


def _startup(wanted: ContainerOptions) -> HealthCheck | None:
    """The check that has to pass first."""
    if not wanted.health_startup_cmd:
        _warn_of_idle(wanted, "health_startup_", "--health-startup-cmd is not given")
        return None
    test = _test(wanted.health_startup_cmd)
    if test[0] not in KINDS or len(test) < 2:
        raise ConfigError(f"--health-startup-cmd {wanted.health_startup_cmd}: it has no command")
    interval_ns = _interval_ns("healthcheck-startup-interval", wanted.health_startup_interval)
    if interval_ns == 0:
        raise ConfigError(
            "--health-startup-interval: a startup check that is never run would keep the regular"
            " one from ever being run: give a duration"
        )
    timeout_ns = _timeout_ns("healthcheck-startup-timeout", wanted.health_startup_timeout)
    return {
        "test": test,
        "interval_ns": _first(interval_ns, INTERVAL_NS),
        "timeout_ns": _first(timeout_ns, TIMEOUT_NS),
        "start_period_ns": 0,
        "start_interval_ns": 0,
        "retries": wanted.health_startup_retries,
        "successes": wanted.health_startup_success,
    }


def _refuse_without_check(wanted: ContainerOptions) -> None:
    """What makes no sense where no check is run."""
    if wanted.health_on_failure != "none":
        raise ConfigError(
            f"cannot set on-failure action to {wanted.health_on_failure} without a health check"
        )
    if wanted.health_startup_cmd:
        raise ConfigError("--health-startup-cmd: there is no health check that it could precede")
    if not wanted.no_healthcheck and wanted.health_cmd is None:
        _warn_of_idle(wanted, "health_", "neither --health-cmd nor the image has a health check")


def _warn_of_idle(wanted: ContainerOptions, prefix: str, reason: str) -> None:
    """Podman takes such options without a word."""
    for name in sorted(vars(wanted)):
        if name.startswith(prefix):
            log.warning(f"--{name.replace('_', '-')} has no effect: {reason}")


def _test(text: str) -> list[str]:
    """``--health-cmd``: a shell command, or a JSON array of words."""
    if text.lower() == "none":
        return ["NONE"]
    if text.startswith("["):
        try:
            words = jsontext.loads(text)
        except ValueError:
            words = None  # such as [ -e /run/ready ]
        if isinstance(words, list) and all(isinstance(word, str) for word in words) and words:
            return words if words[0] in KINDS else ["CMD", *words]
    if not text.strip():
        raise ConfigError("--health-cmd: the health check has no command")
    return ["CMD-SHELL", text]


def _first(given: int | None, otherwise: int) -> int:
    return int(otherwise) if given is None else given


def _interval_ns(name: str, text: str | None) -> int | None:
    return 0 if text == "disable" else _duration_ns(name, text)


def _timeout_ns(name: str, text: str | None) -> int | None:
    found = _duration_ns(name, text)
    if found == 0:
        raise ConfigError(f"{name} must be at least 1 second: it is {text}")
    return found


def _duration_ns(name: str, text: str | None) -> int | None:
    """Go's words: ``30s``, ``1m30s``, ``250ms``."""
    if text is None:
        return None
    if text.startswith("-"):
        raise ConfigError(f"{name} must be 0 seconds or greater: it is {text}")
    if text == "0":
        return 0
    if not re.fullmatch(f"(?:{_PART})+", text):
        raise ConfigError(
            f'invalid {name}: time: invalid duration "{text}": give numbers and units, such as 30s'
            " or 1m30s"
        )
    return int(sum(float(number) * _UNITS_NS[unit] for number, unit in re.findall(_PART, text)))


def _log_directory(text: str) -> str:
    """Where results are kept; empty for ``local``, beside the container's other files."""
    if text == "local":
        return ""
    if text == "events_logger":
        raise ConfigError(
            "--health-log-destination events_logger: results are kept in files only: give local or"
            " a directory"
        )
    path = os.path.abspath(text)
    if not os.path.isdir(path):
        raise ConfigError(f"--health-log-destination {text}: no such directory")
    return path
