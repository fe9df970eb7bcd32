"""How to speak with one registry: certificates, credentials, whether to verify."""

from __future__ import annotations

import os

from pyengine.config import user
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from pyengine.registry.credentials import Login

_SYSTEM_DIRECTORIES = ("/etc/containers/certs.d", "/etc/docker/certs.d")


class Access:
    """What the command line says about access to a registry; None where it says nothing.

    Attributes:
        tls_verify: whether the registry must prove who it is; False also allows plain HTTP.
        cert_dir: where certificates are instead of the usual places.
        login: user and password, or a token, instead of those in auth.json.
        auth_file: auth.json in another place.
        anonymous: never send credentials.
        bearer: a token to send as it is.
        registries_d: where the places of signatures are configured, instead of the usual one.
        agent: what the user agent's name begins with.
    """

    __slots__ = (
        "agent", "anonymous", "auth_file", "bearer", "cert_dir", "login", "registries_d",
        "tls_verify",
    )  # fmt: skip

    def __init__(
        self,
        *,
        tls_verify: bool | None = None,
        cert_dir: str | None = None,
        login: Login | None = None,
        auth_file: str | None = None,
        anonymous: bool = False,
        bearer: str | None = None,
        registries_d: str | None = None,
        agent: str | None = None,
    ) -> None:
        self.tls_verify = tls_verify
        self.cert_dir = cert_dir
        self.login = login
        self.auth_file = auth_file
        self.anonymous = anonymous
        self.bearer = bearer
        self.registries_d = registries_d
        self.agent = agent


def tls_context(host: str, access: Access) -> ssl.SSLContext:
    """The certificates to trust and to show (containers-certs.d(5)).

    Raises:
        ConfigError: a certificate or key cannot be used, or a key's other half is missing.
    """
    import ssl

    context = ssl.create_default_context()
    if access.tls_verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    directory = access.cert_dir or _directory_of(host)
    if directory is None:
        return context
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise ConfigError(f"read certificates in {directory}: {error.strerror}") from error
    for name in names:
        path = f"{directory}/{name}"
        base, _, kind = path.rpartition(".")
        try:
            if kind == "crt":
                context.load_verify_locations(path)
            elif kind == "cert":
                context.load_cert_chain(path, _other_half(path, f"{base}.key"))
            elif kind == "key":
                _other_half(path, f"{base}.cert")
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "reason", None) or error.strerror or error
            raise ConfigError(f"use certificate {path}: {reason}") from error
    return context


def _other_half(path: str, other: str) -> str:
    if not os.path.exists(other):
        raise ConfigError(f"use certificate {path}: {other} is missing beside it")
    return other


def _directory_of(host: str) -> str | None:
    """The first place that has a directory for this host and port."""
    places = list(_SYSTEM_DIRECTORIES)
    if user.is_rootless():
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        places.insert(0, f"{base}/containers/certs.d")
    return next((f"{one}/{host}" for one in places if os.path.isdir(f"{one}/{host}")), None)
