"""sigstoreSigned: keys, certificates, and what a log promises, each right and wrong."""

from __future__ import annotations

import base64
import datetime
import hashlib
import http.server
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from pyengine.errors import ConfigError, RegistryError, TrustError
from pyengine.images.transports.names import Place
from pyengine.images.trust import keys, policy, signing, sigstore
from pyengine.images.trust.sigstore import Attachment

DIGEST = "sha256:" + "ab" * 32
NAME = "example.com/team/app:1"
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
ISSUER = "https://accounts.example.com"


class Signer:
    """An ECDSA key in the forms in which sigstore uses it."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def data(self) -> str:
        return base64.b64encode(self.pem).decode()

    def sign(self, data: bytes) -> str:
        return base64.b64encode(self.key.sign(data, ec.ECDSA(hashes.SHA256()))).decode()

    def signature(self, **annotations: str) -> Attachment:
        """A whole signature of the image, which the caller may spoil."""
        made = sigstore.make(
            DIGEST, NAME, lambda payload: {sigstore.SIGNATURE: self.sign(payload), **annotations}
        )
        return Attachment.from_bytes(made)


def verify(requirement: dict[str, Any], found: Attachment) -> Any:
    sigstore.check_requirement({"type": "sigstoreSigned", **requirement}, "policy")
    return sigstore.Trusted(requirement, "policy").verify(found.to_bytes())


def test_a_key_verifies_its_own_signatures_only() -> None:
    signer, other = Signer(), Signer()
    signed = verify({"keyDatas": [other.data, signer.data]}, signer.signature())
    assert (signed.digest, signed.reference) == (DIGEST, NAME)
    with pytest.raises(TrustError, match="made by another key"):
        verify({"keyData": other.data}, signer.signature())
    spoiled = signer.signature()
    spoiled.payload = spoiled.payload.replace(b"abab", b"abac")
    with pytest.raises(TrustError, match="made by another key"):
        verify({"keyData": signer.data}, spoiled)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda one: one.annotations.clear(), "it has no signature"),
        (lambda one: one.annotations.update({sigstore.SIGNATURE: "?"}), "not base64"),
        (lambda one: setattr(one, "media_type", "text/plain"), "payload is of type 'text/plain'"),
    ],
)
def test_a_damaged_signature_says_what_is_wrong(
    spoil: Callable[[Attachment], None], problem: str
) -> None:
    signer = Signer()
    found = signer.signature()
    spoil(found)
    with pytest.raises(TrustError, match=problem):
        verify({"keyData": signer.data}, found)


@pytest.mark.parametrize(
    "payload",
    [b"{}", b"[]", b"x", b'{"critical": {"type": "cosign container image signature"}}',
     json.dumps({"critical": {"type": "other", "image": {"docker-manifest-digest": DIGEST},
                              "identity": {"docker-reference": NAME}}}).encode()],
)  # fmt: skip
def test_a_good_signature_of_something_else_is_none(payload: bytes) -> None:
    signer = Signer()
    annotations = {sigstore.SIGNATURE: signer.sign(payload)}
    with pytest.raises(TrustError, match="what it signs"):
        verify({"keyData": signer.data}, Attachment(payload, sigstore.MEDIA_TYPE, annotations))


FULCIO = {"caPath": "/ca", "oidcIssuer": "a", "subjectEmail": "b"}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "one of keyPath"),
        ({"keyPath": "/k", "keyData": "eA=="}, "one of keyPath"),
        ({"keyPaths": []}, "/keyPaths: .. names no key"),
        ({"keyPath": "/k", "keys": 1}, "unknown key keys"),
        ({"fulcio": FULCIO}, "exactly one with fulcio"),
        ({"fulcio": {**FULCIO, "caData": "x"}, "rekorPublicKeyPath": "/r"}, "one of caPath"),
        ({"fulcio": {"caPath": "/ca"}, "rekorPublicKeyPath": "/r"}, "oidcIssuer and subjectEmail"),
        ({"fulcio": {**FULCIO, "more": "x"}, "rekorPublicKeyPath": "/r"}, "unknown key more"),
        ({"pki": {"caRootsPath": "/ca"}}, "subjectHostname or subjectEmail"),
        ({"pki": {"caRootsPath": "/ca", "subjectEmail": "a"}, "rekorPublicKeyPath": "/r"},
         "none with pki"),
    ],
)  # fmt: skip
def test_a_requirement_that_is_not_understood_is_refused(
    fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        policy.Policy({"default": [{"type": "sigstoreSigned", **fields}]}, "policy.json")


def entry(log: Signer, signer_pem: bytes, found: Attachment, at: int, **changes: Any) -> str:
    """What a log answers; ``changes`` are made to the entry before the log signs it."""
    body: dict[str, Any] = {
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {
                "hash": {
                    "algorithm": "sha256",
                    "value": hashlib.sha256(found.payload).hexdigest(),
                }
            },
            "signature": {
                "content": found.annotations[sigstore.SIGNATURE],
                "publicKey": {"content": base64.b64encode(signer_pem).decode()},
            },
        },
    }
    body |= changes
    said = {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "integratedTime": at, "logIndex": 7, "logID": "c0ffee",
    }  # fmt: skip
    signed = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    return json.dumps({"SignedEntryTimestamp": log.sign(signed), "Payload": said})


def test_a_logs_promise_is_asked_for_where_the_policy_names_a_log() -> None:
    signer, log = Signer(), Signer()
    required = {"keyData": signer.data, "rekorPublicKeyData": log.data}
    found = signer.signature()
    with pytest.raises(TrustError, match="no log has recorded it"):
        verify(required, found)
    at = int(NOW.timestamp())
    for written, problem in (
        (entry(log, signer.pem, found, at), ""),
        (entry(Signer(), signer.pem, found, at), "by another log"),
        (entry(log, Signer().pem, found, at), "of something else"),
        (entry(log, signer.pem, signer.signature(), at), "of something else"),
        (entry(log, signer.pem, found, at, kind="rekord"), "of something else"),
        (entry(log, signer.pem, found, at, spec=None), "damaged"),
        ("{}", "damaged"),
    ):
        found.annotations[sigstore.BUNDLE] = written
        if not problem:
            assert verify(required, found).digest == DIGEST
            continue
        with pytest.raises(TrustError, match=problem):
            verify(required, found)


class Authority:
    """A certificate authority, and certificates by it."""

    def __init__(self) -> None:
        self.signer = Signer()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.certificate = (
            self._builder(name, name, self.signer)
            .add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(_usage(key_cert_sign=True), True)
            .add_extension(_key_id(self.signer), False)
            .sign(self.signer.key, hashes.SHA256())
        )

    def intermediate(self, signer: Signer, *, ca: bool) -> bytes:
        """A certificate for a further authority, or for one that only wants to be."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        made = (
            self._builder(name, self.certificate.subject, signer)
            .add_extension(x509.BasicConstraints(ca, None), True)
            .sign(self.signer.key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    def _builder(self, subject: Any, issuer: Any, of: Signer) -> x509.CertificateBuilder:
        begin = NOW - datetime.timedelta(minutes=10)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(of.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(minutes=20))
        )

    def certify(self, signer: Signer, mail: str, issuer: str = ISSUER, code: bool = True) -> bytes:
        usage = ExtendedKeyUsageOID.CODE_SIGNING if code else ExtendedKeyUsageOID.CLIENT_AUTH
        encoded = bytes((0x0C, len(issuer))) + issuer.encode()
        key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.signer.key.public_key())
        made = (
            self._builder(x509.Name([]), self.certificate.subject, signer)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(mail)]), True)
            .add_extension(x509.ExtendedKeyUsage([usage]), False)
            .add_extension(_usage(digital_signature=True), True)
            .add_extension(key_id, False)
            .add_extension(
                x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.57264.1.8"), encoded),
                False,
            )
            .sign(self.signer.key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    @property
    def data(self) -> str:
        pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        return base64.b64encode(pem).decode()


def _key_id(signer: Signer) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(signer.key.public_key())


def _usage(**given: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
             "key_agreement", "key_cert_sign", "crl_sign", "encipher_only",
             "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: given.get(name, False) for name in names})


def test_a_certificate_must_be_the_right_persons_and_valid_when_it_was_used() -> None:
    authority, log, signer = Authority(), Signer(), Signer()
    required = {
        "fulcio": {"caData": authority.data, "oidcIssuer": ISSUER, "subjectEmail": "me@x.org"},
        "rekorPublicKeyDatas": [log.data],
    }
    now = int(NOW.timestamp())
    good = authority.certify(signer, "me@x.org")
    for certificate, at, problem in (
        (good, now, ""),
        (good, now + 86400, "not by the authority, or expired"),
        (good, now - 86400, "not by the authority, or expired"),
        (Authority().certify(signer, "me@x.org"), now, "not by the authority, or expired"),
        (authority.certify(signer, "you@x.org"), now, "you@x.org's, not me@x.org's"),
        (authority.certify(signer, "me@x.org", "https://evil"), now, "was known to https://evil"),
        (authority.certify(signer, "me@x.org", code=False), now, "it is not for signing code"),
        (authority.certify(Signer(), "me@x.org"), now, "not made by its certificate's key"),
    ):
        found = signer.signature(**{sigstore.CERTIFICATE: certificate.decode()})
        found.annotations[sigstore.BUNDLE] = entry(log, certificate, found, at)
        if not problem:
            assert verify(required, found).digest == DIGEST
            continue
        with pytest.raises(TrustError, match=problem):
            verify(required, found)


def test_certificates_of_a_company_need_no_log() -> None:
    authority, signer = Authority(), Signer()
    found = signer.signature(
        **{sigstore.CERTIFICATE: authority.certify(signer, "me@x.org", code=False).decode()}
    )
    fields = {"caRootsData": authority.data, "subjectEmail": "me@x.org"}
    assert verify({"pki": fields}, found).digest == DIGEST
    with pytest.raises(TrustError, match="is me@x"):
        verify({"pki": {**fields, "subjectEmail": "you@x.org"}}, found)
    with pytest.raises(TrustError, match="it has no certificate"):
        verify({"pki": fields}, signer.signature())


@pytest.mark.parametrize("ca", [True, False])
def test_a_chain_leads_over_authorities_only(ca: bool) -> None:
    """Whoever has a certificate must not be able to make others."""
    root, middle, signer = Authority(), Authority(), Signer()
    annotations = {
        sigstore.CERTIFICATE: middle.certify(signer, "me@x.org").decode(),
        sigstore.CHAIN: root.intermediate(middle.signer, ca=ca).decode(),
    }
    required = {"pki": {"caRootsData": root.data, "subjectEmail": "me@x.org"}}
    if ca:
        assert verify(required, signer.signature(**annotations)).digest == DIGEST
    else:
        with pytest.raises(TrustError, match="its certificate is not by the authority"):
            verify(required, signer.signature(**annotations))


def test_a_private_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    private, public = keys.generate(f"{tmp_path}/k", b"secret")
    key = keys.load_private(private, b"secret")
    assert key.public.pem == Path(public).read_bytes()
    assert key.public.verifies(key.sign(b"data"), b"data")
    assert not key.public.verifies(key.sign(b"data"), b"date")
    with pytest.raises(ConfigError, match="the passphrase is wrong"):
        keys.load_private(private, b"Secret")
    with pytest.raises(ConfigError, match="not an encrypted cosign"):
        keys.load_private(public, b"secret")
    with pytest.raises(ConfigError, match=r"k\.private exists"):
        keys.generate(f"{tmp_path}/k", b"secret")
    with pytest.raises(ConfigError, match="not a public key in PEM"):
        keys.load_public(Path(private).read_bytes(), "k")


def test_a_key_that_asks_for_much_work_is_refused(tmp_path: Path) -> None:
    fields = {"kdf": {"name": "scrypt", "params": {"N": 1 << 30, "r": 8, "p": 1}, "salt": ""},
              "cipher": {"name": "nacl/secretbox", "nonce": ""}, "ciphertext": ""}  # fmt: skip
    name = "ENCRYPTED SIGSTORE PRIVATE KEY"
    body = base64.b64encode(json.dumps(fields).encode()).decode()
    (tmp_path / "k").write_text(f"-----BEGIN {name}-----\n{body}\n-----END {name}-----\n")
    with pytest.raises(ConfigError, match="in a way that is not supported"):
        keys.load_private(str(tmp_path / "k"), b"")


class _Log(http.server.BaseHTTPRequestHandler):
    """A log that promises whatever it is asked for, or has nothing to say."""

    signer: Signer
    dumb = False

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said = {"body": base64.b64encode(body).decode(), "integratedTime": 1700000000,
                "logIndex": 7, "logID": "c0ffee"}  # fmt: skip
        signed = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
        promise = {"signedEntryTimestamp": self.signer.sign(signed)}
        answer = b"{}" if self.dumb else json.dumps({"id": {**said, "verification": promise}})
        data = answer if isinstance(answer, bytes) else answer.encode()
        self.send_response(201 if self.path == "/api/v1/log/entries" else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_a_signature_is_recorded_in_the_log_that_the_parameters_name(tmp_path: Path) -> None:
    private, public = keys.generate(f"{tmp_path}/k", b"secret")
    (tmp_path / "passphrase").write_text("secret\n")
    log = Signer()
    handler = type("Log", (_Log,), {"signer": log})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            parameters = tmp_path / "sign.yaml"
            fields = f"privateKeyFile: {private}\nprivateKeyPassphraseFile: {tmp_path}/passphrase\n"
            url = f"http://127.0.0.1:{server.server_address[1]}/"
            parameters.write_text(f"{fields}rekorURL: {url}\n")
            given = signing.Signing(parameters=str(parameters))
            sign = signing.signer(Place("docker", NAME), given)
            assert sign is not None
            (made,) = sign(DIGEST)
            required = {"keyPath": public, "rekorPublicKeyData": log.data}
            assert sigstore.Trusted(required, "policy").verify(made).reference == NAME
            handler.dumb = True  # type: ignore[attr-defined]  # of the class made here
            with pytest.raises(TrustError, match="its answer is no entry"):
                sign(DIGEST)
            parameters.write_text(f"{fields}rekorURL: {url}elsewhere\n")
            sign = signing.signer(Place("docker", NAME), given)
            assert sign is not None
            with pytest.raises(RegistryError, match="HTTP status 404"):
                sign(DIGEST)
        finally:
            server.shutdown()
            thread.join()
    for text, problem in (
        ("fulcio: {}", "certificates of a Fulcio server cannot be asked for"),
        (f"privateKeyFile: {private}", "privateKeyPassphraseFile must be there"),
        ("key: x", "'key' is none of"),
        ("[", "not YAML"),
    ):
        parameters.write_text(text)
        with pytest.raises(ConfigError, match=problem):
            signing.signer(Place("docker", NAME), given)
