"""What pyconmon does beyond conmon: health checks and restart policies (docs/pyconmon.md)."""

from __future__ import annotations

import os

from pyengine.ocirun import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.specgen.types import HealthCheck, Supervision

# Set in the environment of an exit command that has to start the container again.
RESTART_VARIABLE = "PYCONMON_RESTART"
CHECK_NOW, TAKE_ORDERS = b"3 0 0\n", b"4 0 0\n"  # for the fifo ctl in the bundle
ORDERS = "orders"  # a file in the bundle


def is_pyconmon(path: str) -> bool:
    """Whether the monitor at ``path`` knows the options below."""
    status, output, _ = call.Running([path, "--version"]).wait()
    return status == 0 and b"(pyconmon " in output


def policy_arguments(policy: str) -> list[str]:
    """Options for ``no``, ``on-failure[:TIMES]``, ``always`` or ``unless-stopped``."""
    return [f"--restart-policy={policy}"]


def health_arguments(
    wanted: Supervision, health_log: str, stop_signal: int, stop_timeout_s: int
) -> list[str]:
    """Options for the health checks of ``wanted``, which has some."""
    found = [
        *_check("health", wanted["health"]),
        f"--health-start-period={_seconds(wanted['health']['start_period_ns'])}",
        f"--health-log={health_log}",
        f"--health-on-failure={wanted['on_failure']}",
        f"--health-max-log-count={wanted['log_count']}",
        f"--health-max-log-size={wanted['log_size']}",
        f"--stop-signal={stop_signal}",
        f"--stop-timeout={stop_timeout_s}",
    ]
    if wanted["health"]["start_interval_ns"]:
        interval = _seconds(wanted["health"]["start_interval_ns"])
        found.append(f"--health-start-interval={interval}")
    startup = wanted.get("startup")
    if startup:
        found += _check("health-startup", startup)
        found.append(f"--health-startup-success={startup['successes']}")
    return found


def _check(prefix: str, check: HealthCheck) -> list[str]:
    return [
        *(f"--{prefix}-cmd={word}" for word in argv(check)),
        f"--{prefix}-interval={_seconds(check['interval_ns'])}",
        f"--{prefix}-timeout={_seconds(check['timeout_ns'])}",
        f"--{prefix}-retries={check['retries']}",
    ]


def argv(check: HealthCheck) -> list[str]:
    """What a check executes in the container."""
    kind, *words = check["test"]
    return ["/bin/sh", "-c", " ".join(words)] if kind == "CMD-SHELL" else words


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns // 1_000_000_000}.{duration_ns % 1_000_000_000:09}"


def ask(bundle: str, request: bytes) -> None:
    """Have the monitor run the health check now, or take its orders.

    Raises:
        OSError: nobody reads the fifo any more.
    """
    fd = os.open(f"{bundle}/ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(fd, request)
    finally:
        os.close(fd)
