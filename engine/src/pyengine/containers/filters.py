"""``--filter`` of ps, rm, prune and their like: which containers are meant."""

from __future__ import annotations

from pyengine.containers import record
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyengine.containers.host import Host
    from pyengine.containers.record import Container

    Test = Callable[[Container], bool]
    Make = Callable[[Host, str], Test]

STATUSES = (
    "created", "initialized", "running", "paused", "exited", "stopped", "stopping", "removing",
    "unknown", "configured",
)  # fmt: skip
# As podman shows these to users.
SHOWN_STATUS = {"stopped": "exited", "configured": "created"}
HEALTHS = ("healthy", "unhealthy", "starting", "none")
PRUNE_KEYS = ("label", "label!", "until")


def make_tests(host: Host, texts: Iterable[str], only: Iterable[str] = ()) -> list[Test]:
    """What a container must fulfil: every label, and one of the values of each other key.

    Args:
        host: where the containers are that a filter names.
        texts: each ``KEY=VALUE``.
        only: the keys that make sense here; all of them if empty.

    Raises:
        ConfigError: a filter is unknown, or its value makes no sense.
        NotFoundError: a container that a filter names is not there.
    """
    alternatives: dict[str, list[Test]] = {}
    found: list[Test] = []
    for text in texts:
        key, value = _split(text)
        if key not in MAKERS or (only and key not in only):
            raise ConfigError(
                f"--filter {text}: {key} is an invalid filter: use one of"
                f" {', '.join(sorted(only or MAKERS))}"
            )
        try:
            test = MAKERS[key](host, value)
        except ConfigError as error:
            raise ConfigError(f"--filter {text}: {error}") from error
        if key.startswith("label"):
            found.append(test)
        else:
            alternatives.setdefault(key, []).append(test)
    return found + [_any(group) for group in alternatives.values()]


def matching(host: Host, containers: Iterable[Container], texts: Iterable[str]) -> list[Container]:
    """Those that fulfil all filters."""
    wanted = make_tests(host, texts)
    return [container for container in containers if all(test(container) for test in wanted)]


def _split(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f'invalid filter "{text}": give KEY=VALUE')
    return key, value


def _any(group: list[Test]) -> Test:
    return group[0] if len(group) == 1 else lambda container: any(test(container) for test in group)


def _pattern(value: str) -> Callable[[str], bool]:
    import re  # here and below: a list without filters does not need it

    try:
        compiled = re.compile(value)
    except re.error as error:
        raise ConfigError(f"not a regular expression: {error}") from error
    return lambda text: compiled.search(text) is not None


def _id(_host: Host, value: str) -> Test:
    if not set(value) - set("0123456789abcdef"):
        return lambda container: container.id.startswith(value)
    fits = _pattern(value)
    return lambda container: fits(container.id)


def _name(_host: Host, value: str) -> Test:
    fits = _pattern(value)
    return lambda container: fits(container.name)


def _status(_host: Host, value: str) -> Test:
    if value not in STATUSES:
        raise ConfigError(
            f'"{value}" is not a valid status: invalid argument: use one of {", ".join(STATUSES)}'
        )
    shown = SHOWN_STATUS.get(value, value)
    return lambda container: container.status == shown


def _label(_host: Host, value: str) -> Test:
    from fnmatch import fnmatchcase

    name, has_value, wanted = value.partition("=")

    def test(container: Container) -> bool:
        labels = container.config["labels"]
        return any(
            fnmatchcase(key, name) and (not has_value or found == wanted)
            for key, found in labels.items()
        )

    return test


def _no_label(host: Host, value: str) -> Test:
    has = _label(host, value)
    return lambda container: not has(container)


def _ancestor(_host: Host, value: str) -> Test:
    prefix = value.removeprefix("sha256:")
    by_id = len(prefix) >= 3 and not set(prefix) - set("0123456789abcdef")

    def test(container: Container) -> bool:
        name = container.image_name
        names = {name, name.removesuffix(":latest")}
        # docker.io/library/busybox:1 is what busybox:1 means, too
        short = {"/".join(one.split("/")[place:]) for one in names for place in range(4)}
        return value in names | short or (by_id and (container.image_id or "").startswith(prefix))

    return test


def _before(host: Host, value: str) -> Test:
    at = record.find(host, value).created_at
    return lambda container: container.created_at < at


def _since(host: Host, value: str) -> Test:
    at = record.find(host, value).created_at
    return lambda container: container.created_at > at


def _until(_host: Host, value: str) -> Test:
    from pyengine.containers.moments import moment

    limit = moment(value)
    return lambda container: container.created_at < limit


def _volume(_host: Host, value: str) -> Test:
    source, _, destination = value.partition(":")

    def test(container: Container) -> bool:
        for volume in container.config["volumes"]:
            sources = (volume["name"], volume["source"])
            if destination:
                if source in sources and volume["destination"] == destination:
                    return True
            elif source in (*sources, volume["destination"]):
                return True
        return False

    return test


def _network(_host: Host, value: str) -> Test:
    return lambda container: container.config["network"].partition(":")[0] == value


def _pod(_host: Host, value: str) -> Test:
    def test(container: Container) -> bool:
        pod = str(container.config.get("pod") or "")
        return bool(value) and pod.startswith(value)

    return test


def _exited(_host: Host, value: str) -> Test:
    if not value.isdecimal():
        raise ConfigError(f'"{value}" is no exit code')
    code = int(value)
    return lambda container: container.status == "exited" and container.exit_code == code


def _health(host: Host, value: str) -> Test:
    from pyengine.containers.supervising import health

    if value not in HEALTHS:
        raise ConfigError(f'"{value}" is not a state of health: use one of {", ".join(HEALTHS)}')

    def test(container: Container) -> bool:
        found = health(host, container)
        return value == (found["Status"] if found else "none")

    return test


def _restart_policy(_host: Host, value: str) -> Test:
    def test(container: Container) -> bool:
        return container.config["restart_policy"].partition(":")[0] == value

    return test


def _command(_host: Host, value: str) -> Test:
    fits = _pattern(value)

    def test(container: Container) -> bool:
        words = [*container.config["entrypoint"], *container.config["command"]]
        return bool(words) and fits(words[0])

    return test


MAKERS: dict[str, Make] = {
    "ancestor": _ancestor,
    "before": _before,
    "command": _command,
    "exited": _exited,
    "health": _health,
    "id": _id,
    "label": _label,
    "label!": _no_label,
    "name": _name,
    "network": _network,
    "pod": _pod,
    "restart-policy": _restart_policy,
    "since": _since,
    "status": _status,
    "until": _until,
    "volume": _volume,
}
