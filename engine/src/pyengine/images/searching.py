"""Looking for images in registries: by Docker's old search, or by the list of repositories."""

from __future__ import annotations

from pyengine.errors import ConfigError
from pyengine.images import references
from pyengine.images.transports import remote
from pyengine.registry import registries_conf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.registry.settings import Access


def hosts(term: str) -> tuple[list[str], str]:
    """The registries to ask, and what for.

    Raises:
        ConfigError: the term names a registry and nothing else.
    """
    first, slash, rest = term.removeprefix("docker://").partition("/")
    if slash and ("." in first or ":" in first or first == references.LOCAL):
        return [first], rest
    if not term:
        raise ConfigError("search: a term is needed")
    search = registries_conf.load().search
    return ([references.DOCKER_HUB] if search is None else search), term


def search(host: str, term: str, access: Access, limit: int) -> list[dict[str, Any]]:
    """Rows with podman's fields.

    Raises:
        RegistryError: the registry does not answer, or tells nothing of what it has.
    """
    registry = remote.registry_of(host, access)
    results = registry.search(term, limit) if term else None
    if results is None:
        names = [name for name in registry.catalog() if term in name]
        results = [{"name": name} for name in names[:limit]]
    return [_row(host, result) for result in results]


def _row(host: str, result: dict[str, Any]) -> dict[str, Any]:
    name = str(result.get("name", ""))
    if host == references.DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    stars = result.get("star_count", 0)
    return {
        "Index": host,
        "Name": f"{host}/{name}",
        "Description": " ".join(str(result.get("description") or "").split()),
        "Stars": stars if isinstance(stars, int) else 0,
        "Official": bool(result.get("is_official")),
        "Automated": bool(result.get("is_automated")),
    }
