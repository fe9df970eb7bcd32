"""The options that say how a registry is accessed, under podman's names."""

from __future__ import annotations

import click

from pyengine.errors import ConfigError
from pyengine.registry import credentials
from pyengine.registry.settings import Access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Function = Callable[..., Any]

_OPTIONS = (
    click.option("--authfile", metavar="FILE", help="auth.json in another place."),
    click.option("--cert-dir", metavar="DIR", help="Where certificates and keys are."),
    click.option("--creds", metavar="USER[:PASSWORD]", help="Credentials for the registry."),
    click.option("--tls-verify", type=bool, help="Require HTTPS and a valid certificate."),
)


def options(function: Function) -> Function:
    """``--authfile``, ``--cert-dir``, ``--creds`` and ``--tls-verify``."""
    for one in reversed(_OPTIONS):
        function = one(function)
    return function


def make(
    authfile: str | None, cert_dir: str | None, creds: str | None, tls_verify: bool | None
) -> Access:
    """What those options' values mean."""
    login = credentials.parse(creds) if creds else None
    return Access(tls_verify=tls_verify, cert_dir=cert_dir, login=login, auth_file=authfile)


def retry_options(function: Function) -> Function:
    """``--retry`` and ``--retry-delay``."""
    function = click.option(
        "--retry-delay", metavar="DURATION", help="Between tries; otherwise 1s, then doubled."
    )(function)
    return click.option(
        "--retry", type=click.IntRange(0), default=0, metavar="N",
        help="How often what may succeed later is tried again.",
    )(function)  # fmt: skip


def seconds(duration: str | None) -> float | None:
    """A duration in Go's words, such as ``500ms`` or ``1m30s``.

    Raises:
        ConfigError: it is none.
    """
    if duration is None:
        return None
    import re

    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h))+|0", duration):
        raise ConfigError(f"invalid duration {duration!r}: such as 500ms, 2s or 1m30s")
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", duration)
    return float(sum(float(number) * units[unit] for number, unit in parts))
