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
    from pyengine.images.transports.base import Destination
    from pyengine.images.trust.policy import Policy

    Function = Callable[..., Any]
    Values = dict[str, Any]

_LAYER_OPTIONS = (
    click.option("--dest-compress", is_flag=True, help="Compress layers for a dir: destination."),
    click.option("--dest-decompress", is_flag=True, help="Take the compression from layers."),
    click.option("--dest-compress-format", type=click.Choice(["gzip", "zstd"]),
                 help="Compress every layer so."),
    click.option("--dest-compress-level", type=int, metavar="N", help="Of the compression."),
    click.option("--dest-oci-accept-uncompressed-layers", "keep_uncompressed", is_flag=True,
                 help="Leave uncompressed layers as they are in an oci: destination."),
    click.option("--dest-force-compress-format", "force", type=bool, default=True,
                 help="Pack layers anew that are packed in another way (default true)."),
    click.option("--dest-precompute-digests", "precompute", is_flag=True,
                 help="Compress layers into a file first: the registry may have them."),
    click.option("--image-parallel-copies", "parallel", type=click.IntRange(1), metavar="N",
                 help="How many layers at once."),
)  # fmt: skip


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


def layer_options(function: Function) -> Function:
    """What becomes of layers on their way; ``Layers`` has their meaning."""
    for one in reversed(_LAYER_OPTIONS):
        function = one(function)
    return function


class Layers:
    """What those options mean.

    Attributes:
        compression: of every layer, ``none`` for none, or None as the destination wants it.
        level: of it, or None for its own.
        force: also of layers that are packed in another way.
        precompute: into a file first, for the registry may have them.
    """

    __slots__ = ("_keep_uncompressed", "_parallel", "compression", "force", "level", "precompute")

    def __init__(self, values: Values) -> None:
        """Take the options out of ``values``.

        Raises:
            UsageError: they contradict each other.
        """
        compress, decompress = values.pop("dest_compress"), values.pop("dest_decompress")
        form: str | None = values.pop("dest_compress_format")
        if compress and decompress:
            raise click.UsageError("--dest-compress and --dest-decompress cannot be used together")
        self.compression = "none" if decompress else form or ("gzip" if compress else None)
        self.level: int | None = values.pop("dest_compress_level")
        self.force: bool = values.pop("force")
        self.precompute: bool = values.pop("precompute")
        self._keep_uncompressed: bool = values.pop("keep_uncompressed")
        self._parallel: int | None = values.pop("parallel")

    def change(self, target: Destination, transport: str) -> None:
        """Tell a destination of this transport what it does otherwise."""
        from pyengine.images.transports import base

        if self._keep_uncompressed and transport.startswith("oci"):
            target.layers = base.KEEP
        if self._parallel is not None and target.parallel > 1:
            target.parallel = self._parallel


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
