"""What every signature of an image signs: a JSON object that names it (containers-signature(5))."""

from __future__ import annotations

import json
import time

from pyengine.errors import TrustError
from pyengine.version import VERSION


class Signed:
    """What a good signature says: a manifest's digest and an image's name; and whose it is."""

    __slots__ = ("digest", "fingerprint", "reference")

    def __init__(self, digest: str, reference: str, fingerprint: str) -> None:
        self.digest, self.reference, self.fingerprint = digest, reference, fingerprint


def make(kind: str, digest: str, reference: str) -> bytes:
    """The payload of a new signature.

    Args:
        kind: its ``type``, such as ``atomic container signature``.
        digest: of the manifest.
        reference: the name that it is signed for.
    """
    fields = {
        "critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": kind,
        },
        "optional": {"creator": f"pyengine {VERSION}", "timestamp": int(time.time())},
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def read(data: bytes, kind: str, fingerprint: str) -> Signed:
    """Strictly: a reader that overlooks something may be made to believe anything.

    Raises:
        TrustError: it names no image, or says more than that.
    """
    try:
        fields = json.loads(data)
        critical = fields["critical"]
        digest = critical["image"]["docker-manifest-digest"]
        reference = critical["identity"]["docker-reference"]
        exact = (
            set(fields) <= {"critical", "optional"}
            and set(critical) == {"type", "image", "identity"}
            and set(critical["image"]) == {"docker-manifest-digest"}
            and set(critical["identity"]) == {"docker-reference"}
            and critical["type"] == kind
        )
    except (ValueError, KeyError, TypeError) as error:
        raise TrustError("what it signs says of no image") from error
    if not exact:
        raise TrustError("what it signs says something unknown")
    if not isinstance(digest, str) or not isinstance(reference, str):
        raise TrustError("what it signs says of no image")
    return Signed(digest, reference, fingerprint)
