"""``update``: changes the limits of a container that was created, and remembers them."""

from __future__ import annotations

from pyrun.container import saving, status, store
from pyrun.errors import ContainerError, PyrunError
from pyrun.linux.cgroups import select
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.store import Entry
    from pyrun.spec.types import JsonObject

POINTER = "/linux/resources"
# Of these the kernel or cgroup2 wants both; what is not given stays as it was.
_PAIRS = (("cpu", "quota", "period"), ("memory", "limit", "swap"))
# By which members an entry of a list is the same one as before.
_KEYS = {"hugepageLimits": ("pageSize",), "priorities": ("name",)}
_DEVICE = ("major", "minor")


def update(entry: Entry, resources: JsonObject, schemata: dict[str, str]) -> list[str]:
    """Write the limits that ``resources`` names; the entry is locked. Returns warnings.

    A limit that is refused leaves those from before.

    Args:
        entry: of the container.
        resources: as in ``linux.resources``, already validated.
        schemata: lines for resctrl, by the option that asked for them.

    Raises:
        ContainerError: the container has stopped, it has no group in resctrl, or the old limits
            could not be set again.
        ConfigError: a limit needs a controller or a file that this host does not have.
        KernelError: the kernel refused a value.
    """
    now = status.of(entry, held=True)
    if now == "stopped":
        raise ContainerError(f"update container {entry.id}: container not running: it has stopped")
    config = entry.config()
    linux = config.setdefault("linux", {})
    before: JsonObject = linux.get("resources") or {}
    for option, line in schemata.items():
        _set_schemata(entry.id, linux, line, option)
    manager = select.from_record(entry.state["cgroup"] or {})
    try:
        manager.set(_with_pairs(resources, before), POINTER)
    except PyrunError as error:
        old = {name: before[name] for name in resources if before.get(name)}
        try:
            manager.set(old, POINTER)
        except PyrunError as again:
            problem = f"{error}; and the limits from before cannot be set again: {again}"
            raise ContainerError(f"update container {entry.id}: {problem}") from error
        raise
    linux["resources"] = merged(before, resources)
    saving.write(entry, store.CONFIG, jsontext.dumps(config).encode())
    return manager.unheard(resources, POINTER)


def _set_schemata(container_id: str, linux: JsonObject, line: str, option: str) -> None:
    from pyrun.linux import resctrl

    rdt = linux.get("intelRdt") or {}
    resctrl.write_schemata(rdt.get("closID") or container_id, [line], option)
    if rdt:
        rdt["l3CacheSchema" if option.startswith("--l3") else "memBwSchema"] = line


def _with_pairs(resources: JsonObject, before: JsonObject) -> JsonObject:
    """With the other half of each pair, as it was."""
    found = dict(resources)
    for section, *pair in _PAIRS:
        values = dict(resources.get(section) or {})
        old = before.get(section) or {}
        for name, other in (pair, pair[::-1]):
            if values.get(name) and not values.get(other) and old.get(other):
                values[other] = old[other]
        if section == "memory" and values.get("limit") == -1 and not _given(resources, "swap"):
            values.pop("swap", None)  # without a limit for memory there is none for both
        if values:
            found[section] = values
    return found


def _given(resources: JsonObject, name: str) -> bool:
    return bool((resources.get("memory") or {}).get(name))


def merged(before: JsonObject, changes: JsonObject) -> JsonObject:
    """``linux.resources`` as it is after ``changes``; the arguments stay as they are."""
    found = dict(before)
    for name, value in changes.items():
        old = found.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            found[name] = merged(old, value)
        elif isinstance(value, list) and isinstance(old, list) and name != "devices":
            found[name] = _merged_list(old, value, _KEYS.get(name, _DEVICE))
        elif value is not None:
            found[name] = value
    return found


def _merged_list(
    before: list[JsonObject], changes: list[JsonObject], keys: tuple[str, ...]
) -> list[JsonObject]:
    found = {tuple(one[key] for key in keys): one for one in before}
    for change in changes:
        identity = tuple(change[key] for key in keys)
        found[identity] = {**found.get(identity, {}), **change}
    return list(found.values())
