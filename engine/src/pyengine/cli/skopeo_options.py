"""Options that skopeo's commands share: access to one side, the platform, retries."""

from __future__ import annotations

import click

from pyengine.errors import ConfigError
from pyengine.registry import credentials
from pyengine.registry.credentials import Login
from pyengine.registry.settings import Access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.images.pulling import PullOptions
    from pyengine.images.trust.policy import Policy

    Function = Callable[..., Any]
    Values = dict[str, Any]


def access_options(side: str = "") -> Callable[[Function], Function]:
    """Access to a registry; with a side (``src``, ``dest``) that begins each name."""
    name = f"--{side}-" if side else "--"
    options = [
        click.option(f"{name}authfile", metavar="FILE", help="auth.json in another place."),
        click.option(f"{name}cert-dir", metavar="DIR", help="Where certificates and keys are."),
        click.option(f"{name}creds", metavar="USER[:PASSWORD]", help="Credentials."),
        click.option(f"{name}no-creds", is_flag=True, help="Send no credentials."),
        click.option(f"{name}password", metavar="TEXT", help="Password for the registry."),
        click.option(f"{name}registry-token", metavar="TEXT", help="A Bearer token to send."),
        click.option(f"{name}tls-verify", type=bool, help="Require HTTPS and valid certificates."),
        click.option(f"{name}username", metavar="TEXT", help="User of the registry."),
    ]

    def add(function: Function) -> Function:
        for one in reversed(options):
            function = one(function)
        return function

    return add


def place_options(side: str = "") -> Callable[[Function], Function]:
    """What transports other than registries take."""
    name = f"--{side}-" if side else "--"
    host = click.option(
        f"{name}daemon-host", metavar="HOST", help="Address of docker's daemon (docker-daemon:)."
    )
    return lambda function: host(blob_option(side)(function))


def blob_option(side: str = "") -> Callable[[Function], Function]:
    """``--shared-blob-dir``."""
    name = f"--{side}-" if side else "--"
    return click.option(
        f"{name}shared-blob-dir", metavar="DIR", help="Blobs of several OCI layouts (oci:)."
    )


def access(values: Values, given: Globals, side: str = "") -> Access:
    """Take the options of one side out of ``values``.

    Raises:
        ConfigError: they contradict each other.
    """
    prefix = f"{side}_" if side else ""
    own = {
        key: values.pop(f"{prefix}{key}")
        for key in ("authfile", "cert_dir", "creds", "no_creds", "password", "registry_token",
                    "tls_verify", "username")
    }  # fmt: skip
    login = None
    if own["creds"] and (own["username"] or own["password"]):
        raise ConfigError("creds and username/password cannot be specified at the same time")
    if own["creds"]:
        login = credentials.parse(own["creds"])
    elif own["username"]:
        login = Login(own["username"], own["password"] or "")
    elif own["password"]:
        raise ConfigError("password must be used with username")
    if own["no_creds"] and login is not None:
        raise ConfigError("creds and no-creds cannot be specified at the same time")
    shared = values.get("authfile")
    return Access(
        tls_verify=own["tls_verify"],
        cert_dir=own["cert_dir"],
        login=login,
        auth_file=own["authfile"] or shared,
        anonymous=own["no_creds"],
        bearer=own["registry_token"],
        registries_d=given.registries_d,
        agent=given.agent,
    )


def retry_option(function: Function) -> Function:
    """``--retry-times`` and ``--retry-delay``."""
    function = click.option(
        "--retry-delay", metavar="DURATION", help="Between tries; otherwise 1s, then doubled."
    )(function)
    return click.option(
        "--retry-times", type=click.IntRange(0), default=0, metavar="N",
        help="How often what may succeed later is tried again.",
    )(function)  # fmt: skip


def retries(values: Values) -> PullOptions:
    """Take those two out of ``values``."""
    from pyengine.cli.access import seconds
    from pyengine.images.pulling import PullOptions

    delay_s = seconds(values.pop("retry_delay"))
    return PullOptions(retry=values.pop("retry_times"), retry_delay_s=delay_s or None)


class Globals:
    """Options before the command.

    Attributes:
        platform: for choosing an image of an index, or None.
        policy_file: the signature policy, or None for the usual one.
        insecure_policy: everything is accepted.
        registries_d: where the places of signatures are configured, or None.
        scratch: where large temporary files go, or None for the usual place.
        require_signed: nothing is accepted without a signature, whatever the policy says.
        agent: what the user agent's name begins with, or None.
    """

    __slots__ = (
        "agent", "insecure_policy", "platform", "policy_file", "registries_d", "require_signed",
        "scratch",
    )  # fmt: skip

    def __init__(
        self,
        platform: str | None,
        policy_file: str | None,
        insecure_policy: bool,
        registries_d: str | None,
        scratch: str | None,
    ) -> None:
        self.platform = platform
        self.policy_file = policy_file
        self.insecure_policy = insecure_policy
        self.registries_d = registries_d
        self.scratch = scratch
        self.require_signed = False
        self.agent: str | None = None

    def policy(self) -> Policy:
        """The signature policy that holds."""
        from pyengine.images.trust import policy

        if self.insecure_policy:
            return policy.accept_anything()
        found = policy.load(self.policy_file)
        found.require_signed = self.require_signed
        return found
