"""Who signs what is pushed or copied, and under which name."""

from __future__ import annotations

import base64

from pyengine.errors import ConfigError
from pyengine.images import references
from pyengine.images.trust import signatures, sigstore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.images.transports.names import Place
    from pyengine.images.trust.keys import PrivateKey

    Sign = Callable[[str], list[bytes]]

_PARAMETERS = {"privateKeyFile", "privateKeyPassphraseFile", "rekorURL", "fulcio"}
_MAX_ANSWER_BYTES = 1 << 20


class Signing:
    """What the command line says about signing.

    Attributes:
        key: of gpg.
        passphrase_file: holds the passphrase of the one key that is named.
        private_key: a file with a sigstore private key.
        parameters: a file that says how (containers-sigstore-signing-params.yaml(5)).
        name: what to sign in place of the destination's name (--sign-identity).
        ask: asks for the passphrase of the key in a file where none of the options has it.
    """

    __slots__ = ("ask", "key", "name", "parameters", "passphrase_file", "private_key")

    def __init__(
        self,
        *,
        key: str | None = None,
        passphrase_file: str | None = None,
        private_key: str | None = None,
        parameters: str | None = None,
        name: str | None = None,
        ask: Callable[[str], str] | None = None,
    ) -> None:
        self.key = key
        self.passphrase_file = passphrase_file
        self.private_key = private_key
        self.parameters = parameters
        self.name = name
        self.ask = ask


def signer(place: Place, given: Signing) -> Sign | None:
    """What makes the signatures of a manifest's digest; None where no key was named.

    Args:
        place: the destination, whose name is signed.
        given: with which keys.

    Raises:
        ConfigError: the destination has no name and none was given, or a key cannot be used.
    """
    if not (given.key or given.private_key or given.parameters):
        return None
    if given.key and given.private_key and given.passphrase_file:
        raise ConfigError(
            "only one of --sign-by and --sign-by-sigstore-private-key can be used with "
            "--sign-passphrase-file"
        )
    if given.private_key and given.parameters:
        raise ConfigError(
            "only one of --sign-by-sigstore and --sign-by-sigstore-private-key can be used"
        )
    if given.name is None and place.transport not in ("docker", "containers-storage"):
        raise ConfigError(f"sign {place}: it has no name in a registry; use --sign-identity")
    reference = str(references.pull_name(given.name or place.path))
    annotate = _annotator(given)

    def sign(digest: str) -> list[bytes]:
        made = []
        if given.key:
            made.append(signatures.sign(digest, reference, given.key, given.passphrase_file))
        if annotate is not None:
            made.append(sigstore.make(digest, reference, annotate))
        return made

    return sign


def _annotator(given: Signing) -> Callable[[bytes], dict[str, str]] | None:
    """What signs a payload in sigstore's way; the keys are read now, before anything is copied."""
    if given.parameters:
        return _by_parameters(given.parameters)
    if not given.private_key:
        return None
    passphrase = _passphrase(given.private_key, given.passphrase_file, given.ask)
    return _by_key(_load(given.private_key, passphrase), "")


def _by_parameters(path: str) -> Callable[[bytes], dict[str, str]]:
    """As a parameter file says (containers-sigstore-signing-params.yaml(5))."""
    import yaml

    try:
        with open(path, "rb") as file:
            fields: Any = yaml.safe_load(file.read())
    except OSError as error:
        raise ConfigError(f"read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(fields, dict) or set(fields) - _PARAMETERS:
        wrong = sorted(set(fields) - _PARAMETERS)[0] if isinstance(fields, dict) else fields
        raise ConfigError(f"{path}: {wrong!r} is none of {', '.join(sorted(_PARAMETERS))}")
    if "fulcio" in fields:
        raise ConfigError(
            f"{path}: fulcio: certificates of a Fulcio server cannot be asked for; sign with "
            "privateKeyFile"
        )
    for key in ("privateKeyFile", "privateKeyPassphraseFile"):
        if not isinstance(fields.get(key), str):
            raise ConfigError(f"{path}: {key} must be there, the path of a file")
    if not isinstance(fields.get("rekorURL", ""), str):
        raise ConfigError(f"{path}: rekorURL: not an address")
    passphrase = _passphrase(fields["privateKeyFile"], fields["privateKeyPassphraseFile"], None)
    return _by_key(_load(fields["privateKeyFile"], passphrase), fields.get("rekorURL", ""))


def _by_key(key: PrivateKey, log: str) -> Callable[[bytes], dict[str, str]]:
    def annotate(payload: bytes) -> dict[str, str]:
        signature = key.sign(payload)
        made = {sigstore.SIGNATURE: base64.b64encode(signature).decode()}
        if log:
            made[sigstore.BUNDLE] = _record(log, key.public.pem, signature, payload)
        return made

    return annotate


def _record(log: str, signer_pem: bytes, signature: bytes, payload: bytes) -> str:
    """Have a log record a signature; its promise."""
    from pyengine.images.trust import transparency
    from pyengine.registry import session

    url = f"{log.rstrip('/')}/api/v1/log/entries"
    what = f"recording a signature in {url}"
    body = transparency.log_request(signer_pem, signature, payload)
    return transparency.log_answer(session.post_json(url, body, what, _MAX_ANSWER_BYTES), what)


def _load(path: str, passphrase: bytes) -> PrivateKey:
    from pyengine.images.trust import keys

    return keys.load_private(path, passphrase)


def _passphrase(path: str, file: str | None, ask: Callable[[str], str] | None) -> bytes:
    from pyengine.images.trust import keys

    if file is not None:
        return keys.read_passphrase(file)
    if ask is None:
        raise ConfigError(f"private key {path}: give the passphrase with --sign-passphrase-file")
    return ask(path).encode()
