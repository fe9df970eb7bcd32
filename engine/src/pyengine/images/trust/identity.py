"""Which image a signature speaks of, compared with the one that is wanted."""

from __future__ import annotations

from pyengine.errors import ConfigError, TrustError
from pyengine.images import references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.images.references import Reference

_KEYS: dict[str, set[str]] = {
    "matchExact": set(),
    "matchRepoDigestOrExact": set(),
    "matchRepository": set(),
    "exactReference": {"dockerReference"},
    "exactRepository": {"dockerRepository"},
    "remapIdentity": {"prefix", "signedPrefix"},
}
_DEFAULT = {"type": "matchRepoDigestOrExact"}


def check_rule(rule: object, where: str) -> None:
    """Check a ``signedIdentity``.

    Raises:
        ConfigError: its type is unknown, or a key is missing or too many.
    """
    if rule is None:
        return
    if not isinstance(rule, dict) or rule.get("type") not in _KEYS:
        raise ConfigError(f"{where}: none of {', '.join(_KEYS)}")
    wanted = _KEYS[rule["type"]]
    if set(rule) - {"type"} != wanted or not all(isinstance(rule[key], str) for key in wanted):
        raise ConfigError(f"{where}: {rule['type']} takes {', '.join(sorted(wanted)) or 'nothing'}")


def check(rule: dict[str, Any] | None, wanted: Reference | None, signed: str) -> None:
    """Whether a signature for ``signed`` serves for ``wanted``.

    Raises:
        TrustError: it does not.
    """
    rule = rule or _DEFAULT
    try:
        found = references.parse(signed)
    except ConfigError as error:
        raise TrustError(f"it speaks of {signed!r}, which is no name") from error
    kind = rule["type"]
    if kind in ("exactReference", "exactRepository"):
        expected = references.parse(str(rule.get("dockerReference") or rule["dockerRepository"]))
    elif wanted is None:
        raise TrustError(f"it speaks of {signed}, the image has no name to compare with")
    elif kind == "remapIdentity":
        expected = _remapped(wanted, rule["prefix"], rule["signedPrefix"])
    else:
        expected = wanted
    if not _fits(kind, expected, found):
        raise TrustError(f"it speaks of {signed}, not of {expected}")


def _fits(kind: str, expected: Reference, found: Reference) -> bool:
    if expected.repository != found.repository:
        return False
    if kind in ("matchRepository", "exactRepository"):
        return True
    if expected.digest and kind in ("matchRepoDigestOrExact", "remapIdentity"):
        return True  # the digest itself was compared already
    return str(expected) == str(found)


def _remapped(wanted: Reference, prefix: str, signed_prefix: str) -> Reference:
    name = wanted.repository
    if name != prefix and not name.startswith(f"{prefix}/"):
        return wanted
    full = references.parse(f"{signed_prefix}{name[len(prefix) :]}")
    return references.Reference(full.registry, full.path, wanted.tag, wanted.digest)
