"""``linux.netDevices``: interfaces of the host move into the container."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

IPV6 = os.path.exists("/proc/sys/net/ipv6")
pytestmark = pytest.mark.needs("root", "busybox", "veth")


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def device() -> Iterator[str]:
    """One end of a pair, with addresses; the other end tells when it is gone."""
    name = f"nd{uuid.uuid4().hex[:8]}"
    ip("link", "add", name, "type", "veth", "peer", "name", f"{name}p")
    try:
        ip("link", "set", name, "mtu", "1400", "address", "02:00:00:00:12:34")
        ip("address", "add", "192.0.2.7/25", "brd", "192.0.2.127", "dev", name)
        if IPV6:
            ip("address", "add", "2001:db8::7/64", "dev", name, "nodad")
        ip("address", "add", "169.254.9.9/16", "scope", "link", "dev", name)
        ip("link", "set", name, "up")
        yield name
    finally:
        subprocess.run(["ip", "link", "del", f"{name}p"], check=False, capture_output=True)


def refused(runtime: Runtime, bundle: Bundle) -> str:
    done = runtime.run(bundle)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert runtime.left(runtime.ids[-1]) == []
    return done.stderr


def test_a_device_moves_with_its_name_and_addresses(
    pyrun: Runtime, bundle: Bundle, device: str
) -> None:
    bundle.linux["netDevices"] = {device: {}}
    bundle.shell(f"ip address show dev {device}")
    shown = pyrun.output(bundle)
    wanted = ["mtu 1400", "02:00:00:00:12:34", "192.0.2.7/25 brd 192.0.2.127"]
    wanted += ["2001:db8::7/64"] if IPV6 else []
    assert [words for words in wanted if words not in shown] == []
    assert "UP" in shown.splitlines()[0]
    assert "169.254.9.9" not in shown  # of the link's scope, so the host's matter


@pytest.mark.parametrize("user", [False, True], ids=["host", "user namespace"])
def test_a_device_gets_another_name(
    pyrun: Runtime, bundle: Bundle, device: str, user: bool
) -> None:
    if user:
        bundle.linux["namespaces"].append({"type": "user"})
        for kind in ("uidMappings", "gidMappings"):
            bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 2000}]
    bundle.linux["netDevices"] = {device: {"name": "inside0"}, f"{device}p": {"name": "more%d"}}
    bundle.shell("ls /sys/class/net; ip -4 address show dev inside0; cat /sys/class/net/more0/mtu")
    shown = pyrun.output(bundle).splitlines()
    assert shown[:3] == ["inside0", "lo", "more0"]
    assert any("192.0.2.7/25" in line for line in shown)
    assert device not in ip("-o", "link")


def test_the_devices_of_a_container_go_into_a_joined_namespace(
    pyrun: Runtime, bundle: Bundle, device: str
) -> None:
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 1000"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "ready\n"
        path = f"/proc/{holder.pid}/ns/net"
        for entry in bundle.linux["namespaces"]:
            if entry["type"] == "network":
                entry["path"] = path
        bundle.linux["netDevices"] = {device: {"name": "inside0"}}
        pyrun.output(bundle)
        inside = ["nsenter", f"--net={path}", "ip", "-o", "link"]
        assert (
            "inside0" in subprocess.run(inside, check=True, capture_output=True, text=True).stdout
        )
    finally:
        holder.kill()
        holder.communicate()


def test_a_device_that_is_not_there_is_named_before_another_moves(
    pyrun: Runtime, bundle: Bundle, device: str
) -> None:
    bundle.linux["netDevices"] = {device: {}, "nosuchdevice": {}}
    message = refused(pyrun, bundle)
    assert "/linux/netDevices/nosuchdevice: the host has no such interface" in message
    assert device in ip("-o", "link")


def test_a_container_that_is_not_made_gives_its_devices_back(
    pyrun: Runtime, bundle: Bundle, device: str
) -> None:
    """With their names and addresses, before the end of the namespace would destroy them."""
    before = ip("-o", "address", "show", "dev", device).split("\\")
    bundle.linux["netDevices"] = {device: {"name": "inside0"}}
    bundle.config["process"]["args"] = ["/no/such/program"]
    bundle.save()
    name = pyrun.new_id()
    done = pyrun.call("create", "-b", str(bundle.path), name)
    assert (done.returncode != 0, "no such file" in done.stderr) == (True, True)
    assert pyrun.left(name) == []
    after = ip("-o", "address", "show", "dev", device).split("\\")
    assert [line for line in before if "inet " in line] == [
        line for line in after if "inet " in line
    ]
    assert "UP" in ip("link", "show", "dev", device).splitlines()[0]


def test_devices_that_moved_before_one_that_cannot_are_given_back(
    pyrun: Runtime, bundle: Bundle, device: str
) -> None:
    """Two templates with one number each: that the second name is taken, only the kernel sees."""
    names = [f"{device}a", f"{device}b"]
    ip("link", "add", names[0], "type", "veth", "peer", "name", names[1])
    try:
        bundle.linux["netDevices"] = {
            names[0]: {"name": "same%d"},
            device: {"name": "same0"},
        }
        assert "move the network device same0" in refused(pyrun, bundle)
        for name in (*names, device):
            assert name in ip("link", "show", "dev", name)
    finally:
        subprocess.run(["ip", "link", "del", names[0]], check=False, capture_output=True)


@pytest.mark.parametrize("name", ["lo", "twice"])
def test_a_name_that_is_taken_is_refused(
    pyrun: Runtime, bundle: Bundle, device: str, name: str
) -> None:
    bundle.linux["netDevices"] = {f"{device}p": {"name": "twice"}, device: {"name": name}}
    message = refused(pyrun, bundle)
    pointer = f"/linux/netDevices/{device}/name"
    assert f"{pointer}: the container's network namespace has an interface {name}" in message
    assert f"{device}p" in ip("-o", "link")


def test_devices_need_a_network_namespace(pyrun: Runtime, bundle: Bundle, device: str) -> None:
    entries = bundle.linux["namespaces"]
    bundle.linux["namespaces"] = [entry for entry in entries if entry["type"] != "network"]
    bundle.linux["netDevices"] = {device: {}}
    assert "/linux/netDevices: needs a network namespace" in refused(pyrun, bundle)
