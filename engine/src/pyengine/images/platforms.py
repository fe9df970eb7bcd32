"""Platforms, ``os/architecture[/variant]``: this machine's, an image's, and whether they fit."""

from __future__ import annotations

import os

from pyengine import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARCHITECTURES = {
    "x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i386": "386",
    "i686": "386",
}  # fmt: skip


def host() -> str:
    """This machine's platform, such as ``linux/amd64``."""
    machine = os.uname().machine
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


def of(config: dict[str, Any]) -> str:
    """The platform that an image's config names; what it does not say is missing."""
    words = (config.get(key) for key in ("os", "architecture", "variant"))
    return "/".join(str(word) for word in words if word)


def warn_unless_fits(config: dict[str, Any], wanted: str | None) -> None:
    """Say, as podman does, that an image is not for the platform that is wanted, or for this."""
    found, expected = of(config), wanted or host()
    if any(one != other for one, other in zip(found.split("/"), expected.split("/"), strict=False)):
        log.warning(f"image platform ({found}) does not match the expected platform ({expected})")
