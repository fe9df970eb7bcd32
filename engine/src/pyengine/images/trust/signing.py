"""Who signs what is pushed or copied, and under which name."""

from __future__ import annotations

from pyengine.errors import ConfigError
from pyengine.images import references
from pyengine.images.trust import signatures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyengine.images.transports.names import Place


def signer(
    place: Place, key: str | None, passphrase_file: str | None, name: str | None
) -> Callable[[str], bytes] | None:
    """What makes a signature of a manifest's digest; None where no key was named.

    Args:
        place: the destination, whose name is signed.
        key: of gpg.
        passphrase_file: holds its passphrase.
        name: to sign instead (--sign-identity).

    Raises:
        ConfigError: the destination has no name and none was given.
    """
    if key is None:
        return None
    if name is None and place.transport != "docker":
        raise ConfigError(f"sign {place}: it has no name in a registry; use --sign-identity")
    reference = str(references.pull_name(name or place.path))
    return lambda digest: signatures.sign(digest, reference, key, passphrase_file)
