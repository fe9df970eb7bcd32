"""``--filter`` of volume ls and volume prune."""

from __future__ import annotations

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyengine.volumes.model import Volume
    from pyengine.volumes.service import Volumes

    Test = Callable[[Volume], bool]

KEYS = (
    "after", "anonymous", "dangling", "driver", "label", "label!", "name", "opt", "scope", "since",
    "until", "volume",
)  # fmt: skip
PRUNE_KEYS = ("after", "all", "anonymous", "label", "label!", "since", "until")


def tests(
    volumes: Volumes,
    texts: Iterable[str],
    moment: Callable[[str, str], float],
    keys: tuple[str, ...],
) -> list[Test]:
    """What a volume must fulfil; several names are alternatives of one another.

    Args:
        volumes: for what is in use.
        texts: the filters as given.
        moment: a time or a duration in words, and the filter for messages, as a time.
        keys: those that are known.

    Raises:
        ConfigError: a filter is unknown, or its value makes no sense.
    """
    found: list[Test] = []
    patterns: list[str] = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(
                f"filter input must be in the form of filter=value: {text} is invalid"
            )
        if key not in keys:
            raise ConfigError(f'"{key}" is an invalid volume filter: use one of {", ".join(keys)}')
        if key in ("name", "volume"):
            patterns.append(value)
        elif key != "all":  # docker's word for what podman does anyway
            found.append(_test(volumes, key, value, text, moment))
    if patterns:
        found.append(_is_called(patterns))
    return found


def _is_called(patterns: list[str]) -> Test:
    import re

    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise ConfigError(f"--filter name: not a regular expression: {error}") from error
    return lambda volume: any(pattern.search(volume.name) for pattern in compiled)


def _test(
    volumes: Volumes, key: str, value: str, text: str, moment: Callable[[str, str], float]
) -> Test:
    if key in ("label", "label!"):
        return _has(lambda volume: volume.labels, value, wanted=key == "label")
    if key == "opt":
        return _has(lambda volume: volume.options, value, wanted=True)
    if key in ("driver", "scope"):
        return lambda volume: (volume.driver if key == "driver" else "local") == value
    if key == "dangling":
        wanted, used = _truth(key, value), volumes.users()
        return lambda volume: (volume.name not in used) is wanted
    if key == "anonymous":
        named = _truth(key, value)
        return lambda volume: volume.anonymous is named
    if key == "until":
        limit = moment(value, text)
        return lambda volume: volume.created_at < limit
    other = {volume.name: volume.created_at for volume in volumes.every()}.get(value)
    begin = moment(value, text) if other is None else other
    return lambda volume: volume.created_at > begin


def _has(pairs: Callable[[Volume], dict[str, str]], value: str, *, wanted: bool) -> Test:
    name, equals, text = value.partition("=")

    def fits(volume: Volume) -> bool:
        found = pairs(volume)
        return (name in found and (not equals or found[name] == text)) is wanted

    return fits


def _truth(key: str, value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise ConfigError(
            f'"{value}" is not a valid value for the "{key}" filter - must be true or false'
        )
    return value.lower() in ("true", "1")
