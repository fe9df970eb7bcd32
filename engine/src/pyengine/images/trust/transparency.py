"""Certificates of sigstore signatures, and the entries of the log in which they were recorded."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json

from pyengine.errors import ConfigError, TrustError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.images.trust.keys import PublicKey

# Fulcio's own extensions: the issuer as bare bytes, and since version 2 as a DER string.
_ISSUER_V1 = "1.3.6.1.4.1.57264.1.1"
_ISSUER_V2 = "1.3.6.1.4.1.57264.1.8"


class Authority:
    """Certificate authorities, and of whom they must speak.

    Attributes:
        subject: the mail address or host name that a certificate must have.
    """

    def __init__(self, kind: str, fields: dict[str, str], where: str) -> None:
        """Read the certificates of ``fulcio`` or ``pki`` of policy.json.

        Raises:
            ConfigError: they cannot be read.
        """
        self._kind, self._fields = kind, fields
        prefix = "ca" if kind == "fulcio" else "caRoots"
        self._roots = _given(fields, prefix, f"{where}/{kind}")
        self._intermediates = _given(fields, "caIntermediates", f"{where}/{kind}")
        self.subject = fields.get("subjectEmail") or fields["subjectHostname"]

    def key_of(self, certificate: bytes, chain: bytes, signed_at: float) -> PublicKey:
        """The key of a certificate in PEM, once everything about it is right.

        Args:
            certificate: of who signed.
            chain: certificates between it and the authority, or empty.
            signed_at: when it must have been valid.

        Raises:
            TrustError: it is not by the authority, was not valid, or speaks of somebody else.
        """
        from cryptography import x509

        from pyengine.images.trust import keys

        if not certificate:
            raise TrustError("it has no certificate")
        try:
            (leaf,) = x509.load_pem_x509_certificates(certificate)
            between = x509.load_pem_x509_certificates(chain) if chain.strip() else []
        except ValueError as error:
            raise TrustError("its certificate is damaged") from error
        self._verify(leaf, [*between, *self._intermediates], signed_at)
        self._check_subject(leaf)
        return keys.PublicKey(leaf.public_key(), self.subject)

    def _verify(self, leaf: Any, between: list[Any], signed_at: float) -> None:
        from cryptography import x509
        from cryptography.x509 import verification

        at = datetime.datetime.fromtimestamp(signed_at, datetime.UTC)
        leaf_rules = verification.ExtensionPolicy.permit_all()
        if self._kind == "fulcio":
            leaf_rules = leaf_rules.require_present(
                x509.ExtendedKeyUsage, verification.Criticality.AGNOSTIC, _signs_code
            )
        builder = verification.PolicyBuilder().store(verification.Store(self._roots)).time(at)
        # Companies' authorities seldom have all that browsers want of one.
        rules = verification.ExtensionPolicy.permit_all()
        either = verification.Criticality.AGNOSTIC
        rules = rules.require_present(x509.BasicConstraints, either, _is_authority)
        rules = rules.may_be_present(x509.KeyUsage, either, _certifies)
        builder = builder.extension_policies(ee_policy=leaf_rules, ca_policy=rules)
        try:
            builder.build_client_verifier().verify(leaf, between)
        except verification.VerificationError as error:
            cause = str(error).removeprefix("validation failed: ")
            raise TrustError(
                f"its certificate is not by the authority, or expired: {cause}"
            ) from error

    def _check_subject(self, leaf: Any) -> None:
        from cryptography import x509

        try:
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, ValueError) as error:
            raise TrustError("its certificate names nobody") from error
        for key, kind in (("subjectEmail", x509.RFC822Name), ("subjectHostname", x509.DNSName)):
            wanted, found = self._fields.get(key), names.get_values_for_type(kind)
            if wanted and wanted not in found:
                raise TrustError(
                    f"its certificate is {', '.join(found) or 'nobody'}'s, not {wanted}'s"
                )
        if self._kind == "fulcio":
            issuer = _issuer(leaf)
            if issuer != self._fields["oidcIssuer"]:
                raise TrustError(f"its certificate's owner was known to {issuer}, not to "
                                 f"{self._fields['oidcIssuer']}")  # fmt: skip


def _signs_code(_policy: Any, _certificate: Any, usage: Any) -> None:
    """Called by the verifier; ValueError makes it fail."""
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if ExtendedKeyUsageOID.CODE_SIGNING not in list(usage):
        raise ValueError("it is not for signing code")


def _is_authority(_policy: Any, _certificate: Any, constraints: Any) -> None:
    if not constraints.ca:
        raise ValueError("its issuer is no authority")


def _certifies(_policy: Any, _certificate: Any, usage: Any) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("its issuer may not sign certificates")


def _issuer(leaf: Any) -> str:
    """Who vouched for the subject, by Fulcio's extensions, which must not disagree."""
    from cryptography import x509

    found = []
    for oid in (_ISSUER_V2, _ISSUER_V1):
        try:
            extension = leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid))
        except x509.ExtensionNotFound:
            continue
        value: bytes = extension.value.value
        if oid == _ISSUER_V2:
            if len(value) < 2 or value[0] != 0x0C or value[1] != len(value) - 2:
                raise TrustError("its certificate's issuer is damaged")
            value = value[2:]
        found.append(value.decode("utf-8", "replace"))
    if len(set(found)) != 1:
        raise TrustError("its certificate does not say who knew its owner, or says it twice")
    return found[0]


def _given(fields: dict[str, str], prefix: str, where: str) -> list[Any]:
    """The certificates under ``PREFIXPath`` or ``PREFIXData``."""
    from cryptography import x509

    from pyengine.images.trust import keys

    for key in (f"{prefix}Path", f"{prefix}Data"):
        if key in fields:
            try:
                return x509.load_pem_x509_certificates(keys.content(key, fields[key], where))
            except ValueError as error:
                raise ConfigError(f"{where}: {key}: not certificates in PEM") from error
    return []


def logged_at(
    entry: str | None, logs: list[PublicKey], signer: bytes, signature: str, payload: bytes
) -> float:
    """When a log recorded a signature, by its signed promise (Rekor's SET).

    Args:
        entry: the promise with what it promises, JSON.
        logs: keys of the logs that are trusted.
        signer: the signer's certificate or public key, PEM.
        signature: in base64.
        payload: what was signed.

    Raises:
        TrustError: there is none, or it is of something else.
    """
    if not entry:
        raise TrustError("no log has recorded it")
    try:
        fields = json.loads(entry)
        promise, said = fields["SignedEntryTimestamp"], fields["Payload"]
        good = set(said) == {"body", "integratedTime", "logIndex", "logID"}
        types = {"body": str, "integratedTime": int, "logIndex": int, "logID": str}
        if not good or any(type(said[key]) is not kind for key, kind in types.items()):
            raise TrustError("the log's entry is damaged")
        # RFC 8785, which for numbers and such strings is just this
        signed = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        proof = base64.b64decode(promise, validate=True)
        body = json.loads(base64.b64decode(said["body"], validate=True))
        record = body["spec"]
        kind = body["kind"], body["apiVersion"], record["data"]["hash"]["algorithm"]
        found = (
            base64.b64decode(record["signature"]["content"], validate=True),
            _der(base64.b64decode(record["signature"]["publicKey"]["content"], validate=True)),
            record["data"]["hash"]["value"],
        )
        own = base64.b64decode(signature), _der(signer), hashlib.sha256(payload).hexdigest()
    except (ValueError, KeyError, TypeError) as error:
        raise TrustError("the log's entry is damaged") from error
    if not any(key.verifies(proof, signed.encode()) for key in logs):
        raise TrustError("the log's promise is by another log")
    if kind != ("hashedrekord", "0.0.1", "sha256") or found != own:
        raise TrustError("the log's entry is of something else")
    return float(said["integratedTime"])


def log_request(signer: bytes, signature: bytes, payload: bytes) -> bytes:
    """What a log is asked to record, JSON."""
    fields = {
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}},
            "signature": {
                "content": base64.b64encode(signature).decode(),
                "publicKey": {"content": base64.b64encode(signer).decode()},
            },
        },
    }
    return json.dumps(fields).encode()


def log_answer(data: bytes, what: str) -> str:
    """The bundle of a log's answer, to be kept with the signature.

    Raises:
        TrustError: it is none.
    """
    try:
        (entry,) = json.loads(data).values()
        said = {key: entry[key] for key in ("body", "integratedTime", "logIndex", "logID")}
        promise = entry["verification"]["signedEntryTimestamp"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrustError(f"{what}: its answer is no entry") from error
    return json.dumps({"SignedEntryTimestamp": promise, "Payload": said}, separators=(",", ":"))


def _der(pem: bytes) -> bytes:
    """The one block of a PEM text."""
    lines = pem.decode("ascii").strip().splitlines()
    if len(lines) < 3 or not lines[0].startswith("-----BEGIN ") or pem.count(b"-----BEGIN ") != 1:
        raise ValueError("no PEM")
    return base64.b64decode("".join(lines[1:-1]), validate=True)
