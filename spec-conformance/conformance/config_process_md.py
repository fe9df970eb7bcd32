"""config.md: terminal, priorities and annotations; config-linux.md: clocks and ownership."""

from __future__ import annotations

import array
import os
import socket
from typing import Any

from conformance.cases import NotApplicable, expect, expect_equal, requirement
from conformance.containers import TIMEOUT_S, Machine

FILE, LINUX_FILE = "config.md", "config-linux.md"
OWNED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


@requirement(
    FILE,
    "Process",
    "terminal: a pseudoterminal pair is allocated and its pty duplicated on the standard streams",
)
def terminal_is_on_the_standard_streams(machine: Machine) -> None:
    container = machine.container()
    container.process["terminal"] = True
    container.process["consoleSize"] = {"height": 10, "width": 20}
    container.shell("test -t 0 && test -t 1 && test -t 2 && stty size")
    container.write()
    path = str(container.bundle / "console")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(TIMEOUT_S)
        words = ["--console-socket", path, "--bundle", str(container.bundle), container.id]
        done = machine.command("create", *words)
        expect(done.code == 0, done.words)
        connection, _ = listener.accept()
        with connection:
            _, sent, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
    master = array.array("i", sent[0][2][:4])[0]
    try:
        expect_equal(container.start().code, 0, "start")
        said = b""
        while b"\n" not in said:
            said += os.read(master, 100)
    except OSError:  # the other side is closed
        said += b""
    finally:
        os.close(master)
    expect_equal(said.split(), [b"10", b"20"], "size of the terminal")


@requirement(FILE, "Linux Process", "ioPriority is set", "io_priority_is_set")
def io_priority(machine: Machine) -> None:
    container = machine.container()
    container.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    seen = container.run("ionice -p $$").strip()
    expect_equal(seen, "best-effort: prio 6", "I/O priority")


@requirement(FILE, "Linux Process", "scheduler is set", "scheduler_is_set")
def scheduler(machine: Machine) -> None:
    container = machine.container()
    container.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5}
    seen = container.run("cat /proc/$$/stat").rpartition(")")[2].split()
    expect_equal((seen[16], seen[38]), ("5", "3"), "nice value and policy")


@requirement(FILE, "Annotations", "Keys MUST NOT be an empty string")
def annotation_keys_must_not_be_empty(machine: Machine) -> None:
    container = machine.container()
    container.config["annotations"] = {"": "value"}
    container.refused("an annotation with an empty key")


@requirement(LINUX_FILE, "Offset for Time Namespace", "timeOffsets sets the offsets of the clocks")
def time_offsets_are_set(machine: Machine) -> None:
    if not os.path.exists("/proc/self/ns/time"):
        raise NotApplicable("this kernel has no time namespaces")
    container = machine.container()
    container.linux["namespaces"].append({"type": "time"})
    container.linux["timeOffsets"] = {"monotonic": {"secs": 1000, "nanosecs": 5}}
    seen = container.run("cat /proc/self/timens_offsets").split()
    expect_equal(seen[:3], ["monotonic", "1000", "5"], "offsets")


def in_user_namespace(machine: Machine) -> Any:
    """A container whose root is another user outside."""
    container = machine.container()
    container.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        container.linux[kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    return container


@requirement(
    LINUX_FILE,
    "User namespace mappings",
    "The runtime SHOULD NOT modify the ownership of referenced filesystems to realize the mapping",
)
def mapping_leaves_ownership(machine: Machine) -> None:
    container = in_user_namespace(machine)
    file = container.rootfs / "etc/file"
    file.touch()
    container.run("true")
    expect_equal((file.stat().st_uid, file.stat().st_gid), (0, 0), "owner of a file of the root")


@requirement(
    LINUX_FILE, "Offset for Time Namespace", "The name of the clock is the entry key (no other)"
)
def time_offsets_have_known_clocks(machine: Machine) -> None:
    container = machine.container()
    container.linux["namespaces"].append({"type": "time"})
    container.linux["timeOffsets"] = {"wall": {"secs": 1}}
    container.refused("the offset of a clock that there is not")


def owners(machine: Machine, *, writable: bool) -> dict[str, int]:
    """The owner of the container's cgroup, and of each file in it that is not root's."""
    if not os.path.exists("/sys/fs/cgroup/cgroup.procs"):
        raise NotApplicable("cgroup v2 is not mounted alone (--view v2 shows it so)")
    container = in_user_namespace(machine)
    container.linux["namespaces"].append({"type": "cgroup"})
    container.config["mounts"].append({
        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", *([] if writable else ["ro"])],
    })  # fmt: skip
    container.shell("sleep 1000")
    container.must_create()
    folder = f"/sys/fs/cgroup{container.linux['cgroupsPath']}"
    found = {name: os.stat(os.path.join(folder, name)).st_uid for name in os.listdir(folder)}
    return {".": os.stat(folder).st_uid, **{name: uid for name, uid in found.items() if uid}}


@requirement(
    LINUX_FILE,
    "Cgroup ownership",
    "Runtimes SHOULD change the cgroup ownership to the host uid of the container's root if it has"
    " v2, its own user and cgroup namespaces, and a writable mount",
)
def writable_cgroup_belongs_to_the_container(machine: Machine) -> None:
    found = owners(machine, writable=True)
    expect_equal(found.pop("."), 100000, "owner of the cgroup")
    for name in OWNED:
        expect_equal(found.get(name), 100000, f"owner of {name}")


@requirement(
    LINUX_FILE,
    "Cgroup ownership",
    "Runtimes SHOULD change it to the host uid of process.user.uid, without user namespace as well",
)
def writable_cgroup_belongs_to_the_user(machine: Machine) -> None:
    if not os.path.exists("/sys/fs/cgroup/cgroup.procs"):
        raise NotApplicable("cgroup v2 is not mounted alone (--view v2 shows it so)")
    container = machine.container()
    container.linux["namespaces"].append({"type": "cgroup"})
    container.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}
    )
    container.process["user"] = {"uid": 1000, "gid": 1000}
    container.must_create()
    folder = f"/sys/fs/cgroup{container.linux['cgroupsPath']}"
    found = [os.stat(os.path.join(folder, name)).st_uid for name in (".", "cgroup.procs")]
    expect_equal(found, [1000, 1000], "owners of the cgroup and of cgroup.procs")


@requirement(
    LINUX_FILE,
    "Cgroup ownership",
    "Runtimes SHOULD NOT change the ownership when the cgroup is not mounted for writing",
)
def readonly_cgroup_keeps_its_owner(machine: Machine) -> None:
    expect_equal(owners(machine, writable=False), {".": 0}, "owners")


@requirement(LINUX_FILE, "Cgroup ownership", "SHOULD NOT change the ownership of any other files")
def limits_of_the_cgroup_keep_their_owner(machine: Machine) -> None:
    found = set(owners(machine, writable=True)) - {"."}
    delegate = "/sys/kernel/cgroup/delegate"
    listed = set(OWNED)
    if os.path.exists(delegate):
        with open(delegate) as lines:
            listed = set(lines.read().split())
    expect_equal(found - listed, set(), "other files that changed their owner")


@requirement(LINUX_FILE, "Unified", "unified sets files of cgroup v2")
def unified_is_written(machine: Machine) -> None:
    if not os.path.exists("/sys/fs/cgroup/cgroup.procs"):
        raise NotApplicable("cgroup v2 is not mounted alone (--view v2 shows it so)")
    container = machine.container()
    container.linux["resources"] = {"unified": {"cgroup.max.depth": "7"}}
    container.must_create()
    with open(f"/sys/fs/cgroup{container.linux['cgroupsPath']}/cgroup.max.depth") as file:
        expect_equal(file.read(), "7\n", "cgroup.max.depth")


@requirement(
    LINUX_FILE,
    "Unified",
    "The runtime MUST generate an error when it refers to a controller that is not present",
)
def unified_needs_the_controller(machine: Machine) -> None:
    for value in ("1", ""):
        container = machine.container()
        container.linux["resources"] = {"unified": {"nothing.of.this.name": value}}
        container.refused(f"a controller that does not exist, with {value!r} for it")
