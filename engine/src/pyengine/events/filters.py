"""``events --filter``: values of one key are alternatives, different keys must all hold."""

from __future__ import annotations

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Event = dict[str, Any]
    Test = Callable[[Event], bool]

OBJECTS = ("container", "image", "network", "pod", "secret", "volume")
TYPES = (*OBJECTS, "system", "machine")
KEYS = (*OBJECTS, "event", "label", "type")
# docker's words for what podman calls otherwise.
ALIASES = {"die": "died", "destroy": "remove", "delete": "remove"}


def matcher(texts: tuple[str, ...]) -> Test:
    """The test that all of ``texts`` (``KEY=VALUE``) make.

    Raises:
        ConfigError: a filter has no value or an unknown key.
    """
    alternatives: dict[str, list[Test]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise ConfigError(f'--filter {text}: must be in the form of "filter=value"')
        if key not in KEYS:
            known = ", ".join(KEYS)
            raise ConfigError(f"--filter {text}: {key} is an invalid filter; known: {known}")
        alternatives.setdefault(key, []).append(_test(key, value))

    def matches(event: Event) -> bool:
        return all(any(test(event) for test in tests) for tests in alternatives.values())

    return matches


def _test(key: str, value: str) -> Test:
    if key == "type":
        if value not in TYPES:
            raise ConfigError(f"--filter type={value}: no such type; known: {', '.join(TYPES)}")
        return lambda event: bool(event["Type"] == value)
    if key == "event":
        wanted = ALIASES.get(value.lower(), value.lower())
        return lambda event: bool(event["Status"] == wanted)
    if key == "label":
        name, equals, text = value.partition("=")

        def has_label(event: Event) -> bool:
            labels = event.get("Attributes") or {}
            return name in labels and (not equals or labels[name] == text)

        return has_label

    def is_object(event: Event) -> bool:
        if event["Type"] != key:
            return False
        return event.get("Name") == value or str(event.get("ID", "")).startswith(value)

    return is_object
