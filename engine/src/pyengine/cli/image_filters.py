"""``--filter`` and ``--sort`` of images, and the filters of image prune."""

from __future__ import annotations

import time

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyengine.engine import Engine
    from pyengine.images.model import Image

    Test = Callable[[Image], bool]
    # An image, a repository and a tag: one line of the list.
    Row = tuple[Image, str, str]

SORTS = ("created", "id", "repository", "size", "tag")
KEYS = (
    "after", "before", "containers", "dangling", "digest", "id", "intermediate", "label",
    "manifest", "readonly", "reference", "since", "until",
)  # fmt: skip


def tests(engine: Engine, texts: Iterable[str]) -> list[Test]:
    """What an image must fulfil; several labels or references are alternatives of one another.

    Raises:
        ConfigError: a filter is unknown, or its value makes no sense.
        NotFoundError: an image that one names is not there.
    """
    found: list[Test] = []
    references: list[str] = []
    for text in texts:
        key, equals, value = text.partition("=")
        without = key == "label!"
        key = key.removesuffix("!") if without else key
        if not equals or key not in KEYS:
            raise ConfigError(
                f"--filter {text}: invalid image filter: use one of {', '.join(KEYS)}"
            )
        if key == "reference":
            references.append(value)
            continue
        test = _test(engine, key, value, text)
        found.append(_opposite(test) if without else test)
    if references:
        found.append(lambda image: any(_is_called(image, one) for one in references))
    return found


def _opposite(test: Test) -> Test:
    return lambda image: not test(image)


def _test(engine: Engine, key: str, value: str, text: str) -> Test:
    if key in ("after", "since", "before"):
        at = engine.images.resolve(value).created_at
        if key == "before":
            return lambda image: image.created_at < at
        return lambda image: image.created_at > at
    if key == "dangling":
        wanted = _truth(value, text)
        return lambda image: (not image.names) is wanted
    if key == "manifest":
        wanted = _truth(value, text)
        return lambda image: image.is_list is wanted
    if key == "readonly":
        wanted = _truth(value, text)
        return lambda _: not wanted  # no store here is for reading only
    if key == "intermediate":
        wanted = _truth(value, text)
        every = [image.diff_ids for image in engine.images.list_images()]
        return lambda image: _is_intermediate(image, every) is wanted
    if key == "digest":
        prefix = value if value.startswith("sha256:") else f"sha256:{value}"
        return lambda image: (
            image.manifest_digest.startswith(prefix)
            or any(one.partition("@")[2].startswith(prefix) for one in image.repo_digests)
        )
    if key == "containers":
        used = {container.image_id for container in engine.containers.every()}
        wanted = _truth(value, text)
        return lambda image: (image.id in used) is wanted
    if key == "id":
        return lambda image: image.id.startswith(value.removeprefix("sha256:"))
    if key == "until":
        limit = moment(value, text)
        return lambda image: image.created_at < limit
    name, has_value, wanted_value = value.partition("=")

    def has_label(image: Image) -> bool:
        labels = (image.config.get("config") or {}).get("Labels") or {}
        return name in labels and (not has_value or labels[name] == wanted_value)

    return has_label


def _is_intermediate(image: Image, every: list[list[str]]) -> bool:
    """Whether it has no name and another image is built on it."""
    count = len(image.diff_ids)
    return not image.names and any(
        len(one) > count and one[:count] == image.diff_ids for one in every
    )


def _is_called(image: Image, pattern: str) -> bool:
    """Whether a name, or its end after a slash, fits; a pattern without a tag fits any."""
    from fnmatch import fnmatchcase

    for name in image.names:
        for shown in (name, name.rpartition(":")[0]):
            parts = shown.split("/")
            ends = ["/".join(parts[begin:]) for begin in range(len(parts))]
            if any(fnmatchcase(end, pattern) for end in ends):
                return True
    return False


def _truth(value: str, text: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise ConfigError(f"--filter {text}: {value!r} is neither true nor false")
    return value.lower() in ("true", "1")


def moment(value: str, text: str) -> float:
    """A Unix time, a date, or a duration before now; ``text`` is the filter, for messages."""
    import datetime

    from pyengine.cli import access

    if value.replace(".", "", 1).isdigit():
        return float(value)
    try:
        return datetime.datetime.fromisoformat(value).timestamp()
    except ValueError:
        try:
            return time.time() - (access.seconds(value) or 0.0)
        except ConfigError as error:
            raise ConfigError(f"--filter {text}: {value!r} is no time and no duration") from error


def in_order(rows: list[Row], key: str) -> list[Row]:
    """Rows sorted as podman sorts them: the newest and the largest first, the rest by alphabet."""
    if key == "created":
        return sorted(rows, key=lambda row: -row[0].created_at)
    if key == "size":
        return sorted(rows, key=lambda row: -row[0].size)
    if key == "id":
        return sorted(rows, key=lambda row: row[0].id)
    return sorted(rows, key=lambda row: row[1:] if key == "repository" else row[2])
