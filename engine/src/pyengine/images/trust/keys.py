"""Keys of sigstore signatures: public ones in PEM, private ones as cosign encrypts them.

``cryptography`` and ``PyNaCl`` do the work (docs/adr/0027) and are imported only where a key is
used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re

from pyengine.errors import ConfigError, StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_BYTES = 1 << 20
_PEM = re.compile(
    rb"\s*-----BEGIN (ENCRYPTED (?:COSIGN|SIGSTORE) PRIVATE KEY)-----\s"
    rb"([A-Za-z0-9+/=\s]+)-----END \1-----\s*"
)
# What go's writers use now and used before; others could ask for gigabytes.
_WORK = ((65536, 8, 1), (32768, 8, 1))
_WORK_BYTES = 256 << 20


class PublicKey:
    """A key that verifies.

    Attributes:
        name: for messages.
        pem: its usual text form.
    """

    def __init__(self, key: Any, name: str) -> None:
        from cryptography.hazmat.primitives import serialization

        self.name = name
        self._key = key
        self.pem: bytes = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether this key made the signature of the data."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            elif isinstance(self._key, rsa.RSAPublicKey):
                self._key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            elif isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, data)
            else:
                raise ConfigError(f"key {self.name}: {type(self._key).__name__} is no kind we know")
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A key that signs."""

    def __init__(self, key: Any, name: str) -> None:
        self._key = key
        self.public = PublicKey(key.public_key(), name)

    def sign(self, data: bytes) -> bytes:
        """The signature of the data."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        signature: bytes = self._key.sign(data, ec.ECDSA(hashes.SHA256()))
        return signature


def content(key: str, value: str, where: str) -> bytes:
    """What a key of policy.json stands for: a file's content, or base64 where it ends so.

    Raises:
        ConfigError: it cannot be read.
    """
    if "Data" in key:
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ConfigError(f"{where}: {key}: not base64") from error
    try:
        with open(value, "rb") as file:
            return file.read(_MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"{where}: read {key} {value}: {error.strerror}") from error


def load_public(pem: bytes, name: str) -> PublicKey:
    """A public key.

    Raises:
        ConfigError: it is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        return PublicKey(serialization.load_pem_public_key(pem), name)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{name}: not a public key in PEM") from error


def load_private(path: str, passphrase: bytes) -> PrivateKey:
    """A private key as cosign or skopeo encrypted it.

    Raises:
        ConfigError: it cannot be read, is of another kind, or the passphrase is wrong.
    """
    import nacl.exceptions
    import nacl.secret
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    found = _PEM.fullmatch(content("private key", path, "sign"))
    if not found:
        raise ConfigError(f"private key {path}: not an encrypted cosign or sigstore key")
    try:
        fields = json.loads(base64.b64decode(found[2]))
        kdf, cipher = fields["kdf"], fields["cipher"]
        work = kdf["params"]["N"], kdf["params"]["r"], kdf["params"]["p"]
        if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox") or work not in _WORK:
            raise ConfigError(f"private key {path}: encrypted in a way that is not supported")
        salt, nonce = base64.b64decode(kdf["salt"]), base64.b64decode(cipher["nonce"])
        box = nacl.secret.SecretBox(_stretched(passphrase, salt, work))
        der = box.decrypt(base64.b64decode(fields["ciphertext"]), nonce)
        key = serialization.load_der_private_key(der, None)
    except nacl.exceptions.CryptoError as error:
        raise ConfigError(f"private key {path}: the passphrase is wrong") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"private key {path}: damaged") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"private key {path}: only ECDSA keys sign")
    return PrivateKey(key, path)


def generate(prefix: str, passphrase: bytes) -> tuple[str, str]:
    """Write a new pair, ``PREFIX.private`` and ``PREFIX.pub``, and return these paths.

    Raises:
        ConfigError: one exists.
        StorageError: they cannot be written.
    """
    import nacl.secret
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # The weaker of the two settings: older readers know no other.
    work, salt = _WORK[1], os.urandom(32)
    nonce = os.urandom(nacl.secret.SecretBox.NONCE_SIZE)
    box = nacl.secret.SecretBox(_stretched(passphrase, salt, work))
    fields = {
        "kdf": {
            "name": "scrypt",
            "params": dict(zip(("N", "r", "p"), work, strict=True)),
            "salt": base64.b64encode(salt).decode(),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(box.encrypt(der, nonce).ciphertext).decode(),
    }
    body = base64.encodebytes(json.dumps(fields).encode()).decode()
    name = "ENCRYPTED COSIGN PRIVATE KEY"
    text = f"-----BEGIN {name}-----\n{body}-----END {name}-----\n"
    paths = f"{prefix}.private", f"{prefix}.pub"
    for path in paths:
        if os.path.lexists(path):
            raise ConfigError(f"generate key {prefix}: {path} exists; it is not overwritten")
    _write(paths[0], text.encode(), 0o600)
    _write(paths[1], PublicKey(key.public_key(), prefix).pem, 0o644)
    return paths


def read_passphrase(path: str) -> bytes:
    """The first line of a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.readline(_MAX_BYTES).rstrip(b"\n")
    except OSError as error:
        raise ConfigError(f"read passphrase {path}: {error.strerror}") from error


def _stretched(passphrase: bytes, salt: bytes, work: tuple[int, int, int]) -> bytes:
    count, block, parallel = work
    return hashlib.scrypt(
        passphrase, salt=salt, n=count, r=block, p=parallel, dklen=32, maxmem=_WORK_BYTES
    )


def _write(path: str, data: bytes, mode: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(fd, "wb") as file:
            file.write(data)
    except OSError as error:
        raise StorageError(f"write key {path}: {error.strerror}") from error
