"""Manifests of schema 1, which old registries still have: what of them is signed."""

from __future__ import annotations

import base64
import json

from pyengine.errors import RegistryError

TYPES = (
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)


def payload(data: bytes, what: str) -> bytes:
    """The bytes that the manifest's digest is of: all but the signatures, which stand within.

    Raises:
        RegistryError: it says nothing usable about them.
    """
    try:
        signatures = json.loads(data).get("signatures")
        if not signatures:
            return data
        said = json.loads(_decoded(signatures[0]["protected"]))
        length, tail = said["formatLength"], _decoded(said["formatTail"])
        if type(length) is not int or not 0 < length <= len(data):
            raise ValueError("its length is wrong")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError(f"{what}: its signature is damaged: {error}") from error
    return data[:length] + tail


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
