"""Which cgroup layout this host has, where a container's cgroup is, and which driver serves it."""

from __future__ import annotations

from pyrun import names
from pyrun.errors import KernelError
from pyrun.linux.cgroups.hierarchy import UNIFIED, Hierarchy, read_file
from pyrun.linux.cgroups.manager import Manager, own_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROOT = "/sys/fs/cgroup"


def manager(
    cgroups_path: str,
    container_id: str,
    driver: str = "cgroupfs",
    *,
    rootless: bool = False,
    annotations: dict[str, str] | None = None,
) -> Manager:
    """The manager of a container that is being created; nothing is made yet.

    Its record may go to state.json before ``create``, for whoever cleans up after a crash: a cgroup
    that is in use is refused here, so that no record ever names somebody else's.

    Args:
        cgroups_path: ``linux.cgroupsPath``, or an empty string.
        container_id: names the cgroup when ``cgroups_path`` is empty.
        driver: ``cgroupfs``, ``systemd`` (then ``cgroups_path`` is ``slice:prefix:name``), or
            ``disabled`` (then it means nothing).
        rootless: an unprivileged caller may go without a cgroup while no limit is asked for.
        annotations: of config.json; some are for systemd.

    Raises:
        ConfigError: ``cgroups_path`` has no meaning for the driver.
        KernelError: no cgroup hierarchy is mounted, systemd cannot be reached, or the cgroup has
            processes.
    """
    if driver == "disabled":
        from pyrun.linux.cgroups import none

        return none.Manager("none", {}, hierarchies(), rootless=rootless)
    if driver == "systemd":
        from pyrun.linux.cgroups import systemd

        made: Manager = systemd.make(
            cgroups_path, container_id, annotations or {}, rootless=rootless
        )
    else:
        made = _of_files(cgroups_path, container_id, rootless=rootless)
    made.require_unused()
    return made


def _of_files(cgroups_path: str, container_id: str, *, rootless: bool) -> Manager:
    found = hierarchies()
    if not found and not rootless:
        step = f"make the cgroup of {container_id}"
        raise KernelError(step, f"no cgroup hierarchy is mounted below {ROOT}")
    paths = {
        controller: hierarchy.mountpoint.rstrip("/") + place(hierarchy, cgroups_path, container_id)
        for hierarchy in found
        for controller in hierarchy.controllers
    }
    return _make(layout(found), paths, found, rootless=rootless)


def from_record(record: dict[str, Any]) -> Manager:
    """The manager of an existing container, from ``Manager.record`` in its state.json."""
    if record["driver"] == "systemd":
        from pyrun.linux.cgroups import systemd

        return systemd.from_record(record)
    if record["driver"] == "disabled":
        from pyrun.linux.cgroups import none

        return none.Manager("none", {}, [], rootless=record["rootless"])
    return _make(record["layout"], record["paths"], [], rootless=record["rootless"])


def _make(name: str, paths: dict[str, str], found: list[Hierarchy], *, rootless: bool) -> Manager:
    if name == "v2":
        from pyrun.linux.cgroups import v2

        return v2.Manager(name, paths, found, rootless=rootless)
    from pyrun.linux.cgroups import v1

    return v1.Manager(name, paths, found, rootless=rootless)


def layout(found: list[Hierarchy]) -> str:
    """``v2``, ``hybrid`` (v1 hierarchies with a cgroup2 beside them), ``v1``, or ``none``."""
    unified = any(hierarchy.fstype == "cgroup2" for hierarchy in found)
    if any(hierarchy.fstype == "cgroup" for hierarchy in found):
        return "hybrid" if unified else "v1"
    return "v2" if unified else "none"


def hierarchies() -> list[Hierarchy]:
    """The hierarchies of this host; one read of two files."""
    return parse(read_file("/proc/self/mountinfo"), read_file("/proc/self/cgroup"))


def parse(mountinfo: str, own_cgroup: str) -> list[Hierarchy]:
    """Match the mounts of /proc/PID/mountinfo with the lines of /proc/PID/cgroup (cgroups(7)).

    cgroup2 mounted at /sys/fs/cgroup hides every v1 hierarchy; a v1 hierarchy that is not mounted
    is left out.
    """
    mounts = [_mount(line) for line in mountinfo.splitlines() if " - cgroup" in line]
    found = []
    for controllers, own in own_paths(own_cgroup).items():
        candidates = [mount for mount in mounts if _serves(mount, controllers)]
        if not candidates:
            continue
        usual = [mount for mount in candidates if mount[1].startswith(ROOT)]
        root, mountpoint, fstype, _ = (usual or candidates)[0]
        name = names.basename(mountpoint) if mountpoint != ROOT else ""
        found.append(Hierarchy(name, fstype, controllers, mountpoint, _below(own, root)))
    if any(hierarchy.mountpoint == ROOT for hierarchy in found):
        return [hierarchy for hierarchy in found if hierarchy.fstype == "cgroup2"]
    return found


def _mount(line: str) -> tuple[str, str, str, list[str]]:
    """root, mountpoint, fstype and super options of one line of mountinfo (proc(5))."""
    left, _, right = line.partition(" - ")
    fields, tail = left.split(" "), right.split(" ")
    return _unescape(fields[3]), _unescape(fields[4]), tail[0], tail[2].split(",")


def _unescape(field: str) -> str:
    if "\\" not in field:
        return field
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


def _serves(mount: tuple[str, str, str, list[str]], controllers: tuple[str, ...]) -> bool:
    if controllers == (UNIFIED,):
        return mount[2] == "cgroup2"
    return mount[2] == "cgroup" and set(controllers) <= set(mount[3])


def _below(own: str, root: str) -> str:
    """``own`` as a path below a mount that shows ``root``; ``/`` when it is outside of it."""
    if root == "/" or own.startswith("/.."):
        return own if not own.startswith("/..") else "/"
    if own == root or own.startswith(root + "/"):
        return own[len(root) :] or "/"
    return "/"


def place(hierarchy: Hierarchy, cgroups_path: str, container_id: str) -> str:
    """The container's path below the mountpoint (runtime-spec config-linux.md, "Cgroups Path").

    An absolute path starts at the mountpoint. A relative one, or the container's id without one,
    starts at the runtime's own cgroup, as runc has it; in cgroup2 at the one above, because a
    cgroup with processes cannot give controllers to those below it.
    """
    clean = names.normal("/" + (cgroups_path or container_id)).replace("//", "/")
    if cgroups_path.startswith("/"):
        return clean
    own = hierarchy.own if hierarchy.fstype == "cgroup" else names.dirname(hierarchy.own)
    return own.rstrip("/") + clean
