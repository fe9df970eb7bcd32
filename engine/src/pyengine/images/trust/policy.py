"""policy.json (containers-policy.json(5)): which images may be used, asked before any layer."""

from __future__ import annotations

import contextlib
import json
import os

from pyengine.errors import ConfigError, TrustError
from pyengine.images import references
from pyengine.images.trust import identity, signatures, sigstore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyengine.images.transports.base import Source
    from pyengine.images.trust.payload import Signed

SYSTEM_FILE = "/etc/containers/policy.json"
TYPES = ("insecureAcceptAnything", "reject", "signedBy", "sigstoreSigned")
_SIGNED = ("signedBy", "sigstoreSigned")
_ACCEPT = [{"type": "insecureAcceptAnything"}]


class Policy:
    """One checked policy.

    Attributes:
        path: its file; empty where there is none.
        fields: the whole of it, as it is written.
        require_signed: what accepts an image unsigned is not enough.
    """

    def __init__(self, fields: dict[str, Any], path: str) -> None:
        """Check every requirement.

        Args:
            fields: of the file.
            path: names it in messages.

        Raises:
            ConfigError: something in it is unknown; it would be worse to overlook it.
        """
        self.path, self.fields = path, fields
        self.require_signed = False
        unknown = set(fields) - {"default", "transports"}
        if unknown or "default" not in fields:
            problem = f"unknown key {sorted(unknown)[0]}" if unknown else "default is missing"
            raise ConfigError(f"{path}: {problem}")
        _check_list(fields["default"], f"{path}: /default")
        transports = fields.get("transports", {})
        if not isinstance(transports, dict):
            raise ConfigError(f"{path}: /transports: not an object")
        for transport, scopes in transports.items():
            if not isinstance(scopes, dict):
                raise ConfigError(f"{path}: /transports/{transport}: not an object")
            for scope, requirements in scopes.items():
                _check_list(requirements, f"{path}: /transports/{transport}/{scope}")

    def check(self, source: Source, data: bytes) -> None:
        """Whether the image with this manifest may be used.

        Raises:
            TrustError: it may not; the message says which requirement it does not meet.
            ConfigError: a key cannot be read.
        """
        transport, name = source.scope
        requirements = self.requirements(transport, name)
        if self.require_signed and all(one["type"] not in _SIGNED for one in requirements):
            raise TrustError(
                f"Source image rejected: a signature is required (--require-signed), and no "
                f"requirement of {self.path or 'the policy'} for {source.label} verifies one"
            )
        for requirement in requirements:
            kind = requirement["type"]
            if kind == "reject":
                raise TrustError(
                    f"Source image rejected: Running image {source.label} is rejected by policy "
                    f"({self.path})"
                )
            if kind in _SIGNED:
                self._check_signed(source, data, requirement)

    def requirements(self, transport: str, name: str) -> list[dict[str, Any]]:
        """The list of the narrowest scope that fits."""
        scopes = self.fields.get("transports", {}).get(transport, {})
        for scope in [*_scopes(transport, name), ""]:
            if scope in scopes:
                return list(scopes[scope])
        return list(self.fields["default"])

    def _check_signed(self, source: Source, data: bytes, requirement: dict[str, Any]) -> None:
        digest = source.digest_of(data)
        wanted = requirement["type"] == "sigstoreSigned"
        found = [one for one in source.signatures(digest) if sigstore.is_sigstore(one) is wanted]
        if not found:
            raise TrustError(
                f"Source image rejected: A signature was required, but no signature exists for "
                f"{source.label} ({digest})"
            )
        problems = []
        with self._trusted(requirement) as verify:
            for signature in found:
                try:
                    signed = verify(signature)
                    if signed.digest != digest:
                        raise TrustError(f"it signs {signed.digest}, not {digest}")
                    identity.check(requirement.get("signedIdentity"), source.reference,
                                   signed.reference)  # fmt: skip
                except TrustError as error:
                    problems.append(str(error))
                    continue
                return
        raise TrustError(
            f"Source image rejected: no signature of {source.label} is good: {'; '.join(problems)}"
        )

    @contextlib.contextmanager
    def _trusted(self, requirement: dict[str, Any]) -> Iterator[Callable[[bytes], Signed]]:
        """What tells whether a signature is by somebody whom the requirement trusts."""
        if requirement["type"] == "sigstoreSigned":
            yield sigstore.Trusted(requirement, self.path).verify
            return
        with signatures.Keyring(requirement, self.path) as keyring:
            yield keyring.verify


def load(path: str | None = None) -> Policy:
    """The policy of this file, or the user's or the system's; none there accepts everything.

    Raises:
        ConfigError: it cannot be read or understood.
    """
    chosen = path or default_file()
    try:
        with open(chosen, "rb") as file:
            fields = json.loads(file.read())
    except FileNotFoundError as error:
        if path is not None:
            raise ConfigError(f"read signature policy {path}: {error.strerror}") from error
        return accept_anything()
    except OSError as error:
        raise ConfigError(f"read signature policy {chosen}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"signature policy {chosen}: not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"signature policy {chosen}: not an object")
    return Policy(fields, chosen)


def write(fields: dict[str, Any], path: str) -> None:
    """Replace a policy as a whole.

    Raises:
        ConfigError: the file cannot be written.
    """
    staged = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(staged, "x", encoding="utf-8") as file:
            json.dump(fields, file, indent=4)
            file.flush()
            os.fsync(file.fileno())
        os.rename(staged, path)
    except OSError as error:
        raise ConfigError(f"write signature policy {path}: {error.strerror}") from error


def accept_anything() -> Policy:
    """What holds without a file."""
    return Policy({"default": _ACCEPT}, "")


def default_file() -> str:
    """The user's file where there is one, else the system's."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    own = f"{base}/containers/policy.json"
    return own if os.path.exists(own) else SYSTEM_FILE


def _check_list(requirements: object, where: str) -> None:
    if not isinstance(requirements, list) or not requirements:
        raise ConfigError(f"{where}: not a list of requirements")
    for index, one in enumerate(requirements):
        at = f"{where}/{index}"
        if not isinstance(one, dict) or one.get("type") not in TYPES:
            kind = one.get("type") if isinstance(one, dict) else one
            raise ConfigError(f"{at}: requirement {kind!r} is not supported; known: {TYPES}")
        if one["type"] in ("signedBy", "sigstoreSigned"):
            kind = signatures if one["type"] == "signedBy" else sigstore
            kind.check_requirement(one, at)
            identity.check_rule(one.get("signedIdentity"), f"{at}/signedIdentity")


def _scopes(transport: str, name: str) -> list[str]:
    """From narrow to wide."""
    if transport == "docker":
        reference = references.parse(name)
        parts = reference.repository.split("/")
        scopes = [str(reference)]
        scopes += ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        pieces = parts[0].partition(":")[0].split(".")
        return scopes + [f"*.{'.'.join(pieces[count:])}" for count in range(1, len(pieces))]
    if transport in ("dir", "oci", "oci-archive", "docker-archive"):
        path = name.partition(":")[0]
        scopes = [name, path]
        while "/" in path.lstrip("/"):
            path = path.rpartition("/")[0]
            scopes.append(path)
        return scopes
    return [name]
