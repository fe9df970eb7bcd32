"""Which SELinux labels a new container has."""

from __future__ import annotations

from pyengine.containers import record
from pyengine.specgen import selinux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.specgen.types import ContainerConfig


def configure(host: Host, config: ContainerConfig) -> None:
    """Write them into ``config``.

    What shares pids or IPC with the host has none, and with a container the same, because a label
    would keep it from what it is to see.
    """
    if not selinux.has_policy():
        return
    security, modes = config["security"], config["namespaces"]
    words = list(security.get("label", []))
    shared = [modes.get(kind, "") for kind in ("pid", "ipc")]
    if config["privileged"] or not host.defaults.get("label", True) or "host" in shared:
        words = ["disable"]
    for mode in shared:
        if mode.startswith("container:"):
            donor = record.find(host, mode.removeprefix("container:"))
            label = donor.config["security"].get("process_label", "")
            words += selinux.same(label) if label else ["disable"]
    used = {_level(one.config) for one in record.every(host)}
    process, file = selinux.choose(words, used, init=bool(config["process"].get("systemd")))
    security["process_label"], security["mount_label"] = process, file


def _level(config: ContainerConfig) -> str:
    return config["security"].get("mount_label", "").split(":", 3)[-1]
