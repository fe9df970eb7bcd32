"""config-linux.md: Namespaces, User namespace mappings, Network Devices."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from conformance.cases import NotApplicable, expect, expect_equal, requirement
from conformance.containers import Container, Machine

FILE = "config-linux.md"

# --- Namespaces

NAMESPACE_FILES = {
    "pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup",
    "time": "time",
}  # fmt: skip


def namespace_of(container: Container, kind: str) -> str:
    pid = container.must_create().state()["pid"]
    return os.readlink(f"/proc/{pid}/ns/{NAMESPACE_FILES[kind]}")


def own_namespace(kind: str) -> str:
    try:
        return os.readlink(f"/proc/self/ns/{NAMESPACE_FILES[kind]}")
    except FileNotFoundError:
        raise NotApplicable(f"this kernel has no {kind} namespaces") from None


def without_namespace(container: Container, kind: str) -> None:
    """Drop the namespace, and what needs it."""
    entries = container.linux["namespaces"]
    container.linux["namespaces"] = [entry for entry in entries if entry["type"] != kind]
    if kind == "uts":
        del container.config["hostname"]


def register_new_namespace(kind: str) -> None:
    @requirement(
        FILE,
        "Namespaces",
        f"Without path the runtime MUST create a new {kind} namespace",
        f"namespace_{kind}_is_new",
    )
    def test(machine: Machine) -> None:
        own = own_namespace(kind)
        container = machine.container()
        without_namespace(container, kind)
        container.linux["namespaces"].append({"type": kind})
        expect(namespace_of(container, kind) != own, "it is the runtime's")


for _kind in NAMESPACE_FILES:
    register_new_namespace(_kind)


def register_inherited_namespace(kind: str) -> None:
    @requirement(
        FILE,
        "Namespaces",
        f"A type not specified MUST be inherited from the runtime ({kind})",
        f"namespace_{kind}_is_inherited",
    )
    def test(machine: Machine) -> None:
        own = own_namespace(kind)
        container = machine.container()
        without_namespace(container, kind)
        if kind == "network":  # sysfs belongs to the network namespace's owner
            mounts = container.config["mounts"]
            container.config["mounts"] = [one for one in mounts if one["type"] != "sysfs"]
        expect_equal(namespace_of(container, kind), own, "namespace")


for _kind in ("network", "ipc", "uts", "cgroup", "time"):
    register_inherited_namespace(_kind)


def register_joined_namespace(kind: str) -> None:
    @requirement(
        FILE,
        "Namespaces",
        f"The process MUST be placed in the {kind} namespace of path",
        f"namespace_{kind}_is_joined",
    )
    def test(machine: Machine) -> None:
        flag = {"network": "--net"}.get(kind, f"--{kind}")
        holder = subprocess.Popen(
            ["unshare", flag, "sh", "-c", "echo ready; exec sleep 1000"], stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            path = f"/proc/{holder.pid}/ns/{NAMESPACE_FILES[kind]}"
            container = machine.container()
            without_namespace(container, kind)
            container.linux["namespaces"].append({"type": kind, "path": path})
            expect_equal(namespace_of(container, kind), os.readlink(path), "namespace")
        finally:
            holder.kill()
            holder.communicate()


for _kind in ("network", "ipc", "uts", "cgroup"):
    register_joined_namespace(_kind)


@requirement(FILE, "Namespaces", "path MUST be an absolute path")
def namespace_path_must_be_absolute(machine: Machine) -> None:
    container = machine.container()
    without_namespace(container, "network")
    container.linux["namespaces"].append({"type": "network", "path": "proc/self/ns/net"})
    container.refused("a relative path of a namespace")


@requirement(FILE, "Namespaces", "A path that is no namespace of that type MUST be an error")
def namespace_of_another_type_is_an_error(machine: Machine) -> None:
    container = machine.container()
    without_namespace(container, "network")
    container.linux["namespaces"].append({"type": "network", "path": "/proc/self/ns/uts"})
    container.refused("the path of a uts namespace as network namespace")


@requirement(FILE, "Namespaces", "Duplicated namespaces with the same type MUST be an error")
def duplicated_namespaces_are_an_error(machine: Machine) -> None:
    container = machine.container()
    container.linux["namespaces"].append({"type": "ipc"})
    container.refused("two ipc namespaces")


@requirement(FILE, "Namespaces", "An unknown type of namespace is an invalid value")
def unknown_namespace_is_an_error(machine: Machine) -> None:
    container = machine.container()
    container.linux["namespaces"].append({"type": "colour"})
    container.refused("a namespace of type colour")


@requirement(FILE, "User namespace mappings", "uidMappings and gidMappings map ids to the host")
def user_namespace_is_mapped(machine: Machine) -> None:
    container = machine.container()
    container.linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    container.linux["uidMappings"] = container.linux["gidMappings"] = mapping
    for path in [container.rootfs, *container.rootfs.iterdir()]:
        os.chown(path, 100000, 100000)
    container.bundle.chmod(0o755)
    seen = container.run("cat /proc/self/uid_map /proc/self/gid_map").split()
    expect_equal(seen, ["0", "100000", "65536"] * 2, "maps")


# --- Network Devices


@contextmanager
def pair() -> Iterator[str]:
    """An interface of the host with addresses, one end of a pair."""
    name = f"cf{uuid.uuid4().hex[:8]}"
    make = ["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"]
    done = subprocess.run(make, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotApplicable(f"no pair of interfaces can be made: {done.stderr.strip()}")
    try:
        for words in (
            ["address", "add", "192.0.2.9/25", "dev", name],
            ["address", "add", "169.254.3.3/16", "scope", "link", "dev", name],
            ["link", "set", name, "mtu", "1400"],
        ):
            subprocess.run(["ip", *words], check=True, capture_output=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "del", f"{name}p"], check=False, capture_output=True)


def interfaces(container: Container) -> str:
    """What iproute2 of the host sees in the network namespace of a created container."""
    pid = container.must_create().state()["pid"]
    words = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "address"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def moved(machine: Machine, new: str = "") -> tuple[str, str]:
    """The name of a device that a container was given, and what is seen in there."""
    with pair() as name:
        container = machine.container()
        container.linux["netDevices"] = {name: {"name": new} if new else {}}
        return name, interfaces(container)


@requirement(FILE, "Network Devices", "The devices MUST be made available in the container")
def net_devices_are_moved(machine: Machine) -> None:
    name, seen = moved(machine)
    expect(f" {name}@" in seen, "the interface is not in the container")


@requirement(FILE, "Network Devices", "name is the name of the device inside the container")
def net_devices_are_renamed(machine: Machine) -> None:
    _, seen = moved(machine, "inside0")
    expect(" inside0@" in seen, "no interface has the new name")


@requirement(FILE, "Network Devices", "With %d in name the kernel MUST make a unique one")
def net_devices_are_renamed_by_template(machine: Machine) -> None:
    _, seen = moved(machine, "inside%d")
    expect(" inside0@" in seen, "no interface has a name of the template")


@requirement(FILE, "Network Devices", "The runtime MUST preserve existing attributes and addresses")
def net_devices_keep_their_addresses(machine: Machine) -> None:
    _, seen = moved(machine)
    expect("192.0.2.9/25" in seen, "the address is lost")
    expect("mtu 1400" in seen, "the MTU is lost")
    expect("169.254.3.3" not in seen, "an address of the link's scope was moved as well")


@requirement(FILE, "Network Devices", "The runtime MUST set the state to up after moving it")
def net_devices_are_up(machine: Machine) -> None:
    name, seen = moved(machine)
    (line,) = [line for line in seen.splitlines() if f" {name}@" in line]
    expect("UP" in line.partition("<")[2].partition(">")[0].split(","), line)


@requirement(FILE, "Network Devices", "A name that exists in the container MUST be an error")
def net_devices_with_a_taken_name_are_an_error(machine: Machine) -> None:
    with pair() as name:
        container = machine.container()
        container.linux["netDevices"] = {name: {"name": "lo"}}
        container.refused("a second interface lo")


@requirement(
    "runtime.md", "Errors", "A failed create leaves network devices as if it was never attempted"
)
def net_devices_come_back(machine: Machine) -> None:
    with pair() as name:
        container = machine.container()
        container.linux["netDevices"] = {name: {"name": "inside0"}}
        container.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
        container.refused("a hook that fails")
        words = ["ip", "address", "show", "dev", name]
        seen = subprocess.run(words, check=False, capture_output=True, text=True).stdout
    expect("192.0.2.9/25" in seen, "the device or its address is lost")


@requirement(FILE, "Network Devices", "The runtime MUST check that moving is possible")
def net_devices_that_are_missing_are_an_error(machine: Machine) -> None:
    container = machine.container()
    container.linux["netDevices"] = {"nosuchdevice": {}}
    container.refused("an interface that the host does not have")
