"""Signatures in sigstore's form, as cosign makes them, and policy.json's ``sigstoreSigned``.

A signature is a payload that names an image, and annotations: the signature proper, perhaps a
certificate and a log's promise. Where signatures are passed on as bytes, one of these begins with
``PREFIX``, as in the files of the dir transport; without it they are simple signatures.
"""

from __future__ import annotations

import base64
import binascii
import json
import time

from pyengine.errors import ConfigError, TrustError
from pyengine.images.trust import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.images.trust.keys import PublicKey
    from pyengine.images.trust.payload import Signed
    from pyengine.images.trust.transparency import Authority

PREFIX = b"\0sigstore-json\n"
MEDIA_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
CHAIN = "dev.sigstore.cosign/chain"
BUNDLE = "dev.sigstore.cosign/bundle"

_TYPE = "cosign container image signature"
_KEYS = ("keyPath", "keyPaths", "keyData", "keyDatas")
_LOGS = (
    "rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas",
)  # fmt: skip
_AUTHORITIES = ("fulcio", "pki")


class Attachment:
    """One signature.

    Attributes:
        media_type: of the payload.
        payload: what is signed.
        annotations: the signature and what comes with it.
    """

    __slots__ = ("annotations", "media_type", "payload")

    def __init__(self, payload: bytes, media_type: str, annotations: dict[str, str]) -> None:
        self.payload, self.media_type, self.annotations = payload, media_type, annotations

    def to_bytes(self) -> bytes:
        """As it is kept in a file."""
        fields = {
            "mimeType": self.media_type,
            "payload": base64.b64encode(self.payload).decode(),
            "annotations": self.annotations,
        }
        return PREFIX + json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Attachment:
        """Read what ``to_bytes`` or skopeo wrote.

        Raises:
            TrustError: it is damaged.
        """
        try:
            fields = json.loads(data.removeprefix(PREFIX))
            payload = base64.b64decode(fields["payload"], validate=True)
            annotations = {str(key): str(value) for key, value in fields["annotations"].items()}
            return cls(payload, str(fields["mimeType"]), annotations)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrustError("it is no sigstore signature") from error


def is_sigstore(signature: bytes) -> bool:
    """Whether a signature is one of these rather than a simple one."""
    return signature.startswith(PREFIX)


def make(digest: str, reference: str, sign: Callable[[bytes], dict[str, str]]) -> bytes:
    """A new signature of the manifest with a digest, as bytes.

    Args:
        digest: of the manifest.
        reference: the name that it is signed for.
        sign: gives the annotations for a payload.
    """
    data = payload.make(_TYPE, digest, reference)
    return Attachment(data, MEDIA_TYPE, sign(data)).to_bytes()


def check_requirement(requirement: dict[str, Any], where: str) -> None:
    """Check a ``sigstoreSigned`` of policy.json.

    Raises:
        ConfigError: something in it is unknown, or it does not say whom to trust.
    """
    known = {"type", "signedIdentity", *_KEYS, *_LOGS, *_AUTHORITIES}
    unknown = set(requirement) - known
    if unknown:
        raise ConfigError(f"{where}: unknown key {sorted(unknown)[0]}")
    given = [key for key in (*_KEYS, *_AUTHORITIES) if key in requirement]
    if len(given) != 1:
        raise ConfigError(f"{where}: one of {', '.join((*_KEYS, *_AUTHORITIES))} must be there")
    logs = [key for key in _LOGS if key in requirement]
    if len(logs) > 1 or (logs and given[0] == "pki") or (not logs and given[0] == "fulcio"):
        rule = {"pki": "none with pki", "fulcio": "exactly one with fulcio"}
        wanted = rule.get(given[0], "at most one")
        raise ConfigError(f"{where}: of {', '.join(_LOGS)} {wanted} can be there")
    for key in (*given, *logs):
        if key in _AUTHORITIES:
            _check_authority(key, requirement[key], f"{where}/{key}")
        else:
            _check_names(key, requirement[key], f"{where}/{key}")


def _check_names(key: str, value: object, where: str) -> None:
    if key.endswith("s"):
        good = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    else:
        good = isinstance(value, str) and bool(value)
    if not good:
        raise ConfigError(f"{where}: {value!r} names no key")


def _check_authority(kind: str, fields: object, where: str) -> None:
    if not isinstance(fields, dict) or not all(
        isinstance(one, str) and one for one in fields.values()
    ):
        raise ConfigError(f"{where}: not an object of strings")
    roots = ("caPath", "caData") if kind == "fulcio" else ("caRootsPath", "caRootsData")
    others = {"oidcIssuer", "subjectEmail"} if kind == "fulcio" else {
        "caIntermediatesPath", "caIntermediatesData", "subjectHostname", "subjectEmail",
    }  # fmt: skip
    unknown = set(fields) - {*roots, *others}
    if unknown:
        raise ConfigError(f"{where}: unknown key {sorted(unknown)[0]}")
    if sum(key in fields for key in roots) != 1:
        raise ConfigError(f"{where}: one of {' and '.join(roots)} must be there")
    if kind == "fulcio" and not others <= set(fields):
        raise ConfigError(f"{where}: oidcIssuer and subjectEmail must be there")
    if kind == "pki" and not {"subjectHostname", "subjectEmail"} & set(fields):
        raise ConfigError(f"{where}: subjectHostname or subjectEmail must be there")


class Trusted:
    """Whom one requirement trusts, read and ready."""

    def __init__(self, requirement: dict[str, Any], where: str) -> None:
        """Read the keys and certificates.

        Raises:
            ConfigError: one cannot be read, or is none.
        """
        from pyengine.images.trust import keys, transparency

        self.keys: list[PublicKey] = [
            keys.load_public(data, name) for name, data in _contents(requirement, _KEYS, where)
        ]
        self.logs: list[PublicKey] = [
            keys.load_public(data, name) for name, data in _contents(requirement, _LOGS, where)
        ]
        self.authority: Authority | None = None
        for kind in _AUTHORITIES:
            if kind in requirement:
                self.authority = transparency.Authority(kind, requirement[kind], where)

    def verify(self, signature: bytes) -> Signed:
        """What a signature says, if somebody who is trusted made it.

        Raises:
            TrustError: nobody did, or it says of no image.
        """
        found = Attachment.from_bytes(signature)
        if found.media_type != MEDIA_TYPE:
            raise TrustError(f"its payload is of type {found.media_type!r}")
        encoded = "".join(found.annotations.get(SIGNATURE, "").split())  # some break its lines
        try:
            raw = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise TrustError("its signature is not base64") from error
        if not raw:
            raise TrustError("it has no signature")
        whose = self._maker(found, encoded, raw)
        return payload.read(found.payload, _TYPE, whose)

    def _maker(self, found: Attachment, encoded: str, raw: bytes) -> str:
        """Who made it, verified."""
        from pyengine.images.trust import transparency

        if self.authority is not None:
            certificate = found.annotations.get(CERTIFICATE, "").encode()
            signed_at = time.time()
            if self.logs:
                entry = found.annotations.get(BUNDLE)
                signed_at = transparency.logged_at(
                    entry, self.logs, certificate, encoded, found.payload
                )
            chain = found.annotations.get(CHAIN, "").encode()
            key = self.authority.key_of(certificate, chain, signed_at)
            if not key.verifies(raw, found.payload):
                raise TrustError("it is not made by its certificate's key")
            return self.authority.subject
        for key in self.keys:
            if key.verifies(raw, found.payload):
                if self.logs:
                    entry = found.annotations.get(BUNDLE)
                    transparency.logged_at(entry, self.logs, key.pem, encoded, found.payload)
                return key.name
        raise TrustError("it is made by another key")


def _contents(
    requirement: dict[str, Any], names: tuple[str, ...], where: str
) -> list[tuple[str, bytes]]:
    """Files' or base64 text's contents, with what to call them."""
    from pyengine.images.trust import keys

    found: list[tuple[str, bytes]] = []
    for key in names:
        value = requirement.get(key, [])
        given = [value] if isinstance(value, str) else value
        called = [f"{where}: {key}" if "Data" in key else one for one in given]
        found += zip(called, (keys.content(key, one, where) for one in given), strict=True)
    return found
