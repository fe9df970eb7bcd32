"""The systemd driver without a systemd: names, properties, addresses, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyrun.errors import ConfigError, KernelError
from pyrun.linux.cgroups import (
    devices,
    gvariant,
    limits_v1,
    limits_v2,
    systemd,
    systemd_properties,
    systemd_units,
)

INFINITY = systemd_properties.INFINITY


@pytest.mark.parametrize(
    ("path", "user", "expected"),
    [
        ("", False, ("pyrun-web.scope", "system.slice")),
        ("", True, ("pyrun-web.scope", "user.slice")),
        ("machine.slice:libpod:12", False, ("libpod-12.scope", "machine.slice")),
        (":libpod:12", True, ("libpod-12.scope", "user.slice")),
        ("a.slice::12", False, ("-12.scope", "a.slice")),
        ("a.slice:cri:pod.slice", False, ("pod.slice", "a.slice")),
        ("a.slice:p:x+y", False, ("p-x\\x2by.scope", "a.slice")),
    ],
)
def test_a_cgroups_path_names_a_unit_and_its_slice(
    path: str, user: bool, expected: tuple[str, str]
) -> None:
    assert systemd.names(path, "web", user=user) == expected


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/a/b", "must be slice:prefix:name"),
        ("a.slice:b", "must be slice:prefix:name"),
        ("a.slice:b:", "must be slice:prefix:name"),
        ("a:b:c", "'a' is not the name of a slice"),
        ("a--b.slice:p:n", "is not the name of a slice"),
        ("-a.slice:p:n", "is not the name of a slice"),
        ("../a.slice:p:n", "is not the name of a slice"),
        (".slice:p:n", "is not the name of a slice"),
        ("a.slice:p:x/y.slice", "is not the name of a slice"),
        (f"a.slice:p:{'n' * 260}", "longer than systemd's 255"),
    ],
)
def test_a_path_that_names_no_unit_is_refused(path: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        systemd.names(path, "web", user=False)
    assert caught.value.pointer == "/linux/cgroupsPath"


def test_a_slice_lies_in_the_slices_of_its_name() -> None:
    assert systemd.expand_slice("a-b-c.slice") == "/a.slice/a-b.slice/a-b-c.slice"
    assert systemd.expand_slice("-.slice") == ""


def of(resources: dict[str, Any], version: int = 252) -> list[systemd_properties.Property]:
    pointer = "/linux/resources"
    settings = limits_v2.settings(resources, "/nowhere", pointer)
    return systemd_properties.of_limits(settings, version, pointer)


def test_limits_become_the_properties_of_their_files() -> None:
    resources = {
        "memory": {"limit": 100 << 20, "swap": 150 << 20, "reservation": 50 << 20},
        "cpu": {"shares": 1024, "quota": 25000, "period": 50000, "cpus": "0-1,9", "mems": "0"},
        "pids": {"limit": 16},
        "unified": {"memory.high": "80000000", "memory.oom.group": "1"},
    }
    assert dict(of(resources)) == {
        "MemoryMax": ("t", 100 << 20),
        "MemorySwapMax": ("t", 50 << 20),
        "MemoryLow": ("t", 50 << 20),
        "MemoryHigh": ("t", 80000000),
        "OOMPolicy": ("s", "kill"),
        "CPUWeight": ("t", limits_v2.cpu_weight(1024)),
        "CPUQuotaPerSecUSec": ("t", 500000),
        "CPUQuotaPeriodUSec": ("t", 50000),
        "AllowedCPUs": ("ay", b"\x03\x02"),
        "AllowedMemoryNodes": ("ay", b"\x01"),
        "TasksMax": ("t", 16),
    }


def test_no_limit_is_infinity() -> None:
    resources = {"memory": {"limit": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}}
    assert dict(of(resources)) == {
        "MemoryMax": ("t", INFINITY),
        "MemorySwapMax": ("t", INFINITY),
        "CPUQuotaPerSecUSec": ("t", INFINITY),
        "TasksMax": ("t", INFINITY),
    }


def test_a_limit_of_nothing_is_the_least_that_systemd_takes() -> None:
    assert of({"pids": {"limit": 0}}) == [("TasksMax", ("t", 1))]
    assert of({"unified": {"memory.high": "0"}}) == [("MemoryHigh", ("t", 1))]
    assert of({"unified": {"memory.min": "0"}}) == [("MemoryMin", ("t", 0))]


def test_a_quota_is_rounded_up_to_a_whole_percent() -> None:
    assert dict(of({"cpu": {"quota": 12345}}))["CPUQuotaPerSecUSec"] == ("t", 130000)


@pytest.mark.parametrize(
    ("cpu", "now", "expected"),
    [
        ({"quota": 500000, "period": 900000}, "100000", 504000),  # 55.6 % are 56 %
        ({"quota": 10100}, "50000", 10500),
        ({"quota": 25000, "period": 50000}, "100000", 25000),
        ({"quota": 1000, "period": 33333}, "100000", 1000),  # the kernel takes no less
        ({"quota": -1, "period": 33333}, "100000", -1),
    ],
)
def test_the_file_gets_the_quota_that_systemd_counts_with(
    cpu: dict[str, int], now: str, expected: int
) -> None:
    resources: dict[str, Any] = {"cpu": cpu, "pids": {"limit": 1}}
    found = systemd_properties.with_systemd_quota(resources, now)
    assert found == {"cpu": {**cpu, "quota": expected}, "pids": {"limit": 1}}


def test_an_update_of_the_quota_alone_counts_with_the_period_that_is_set() -> None:
    settings = limits_v2.settings({"cpu": {"quota": 12345}}, "/nowhere")
    found = systemd_properties.of_limits(settings, 252, "", ("max", "50000", "0"))
    assert dict(found)["CPUQuotaPerSecUSec"] == ("t", 250000)


def test_an_idle_group_has_systemd_s_own_weight_until_it_is_no_more() -> None:
    idle, busy = {"cpu": {"idle": 1, "shares": 1024}}, {"cpu": {"idle": 0}}
    assert of(idle) == [("CPUWeight", ("t", 0))]
    assert of({"unified": {"cpu.idle": "1", "cpu.weight": "7"}}) == [("CPUWeight", ("t", 0))]
    assert of(busy) == []
    assert of(idle, 251) == []
    settings = limits_v2.settings(busy, "/nowhere")
    found = systemd_properties.of_limits(settings, 252, "", ("max", "100000", "1"))
    assert found == [("CPUWeight", ("t", INFINITY))]


def test_weights_of_block_devices_are_systemd_s_but_for_single_devices(tmp_path: Path) -> None:
    (tmp_path / "io.bfq.weight").touch()
    device = {"major": 8, "minor": 0, "weight": 500}
    resources = {"blockIO": {"weight": 550, "weightDevice": [device]}}
    assert of(resources) == [("IOWeight", ("t", 5455))]
    settings = limits_v2.settings(resources, str(tmp_path))
    assert systemd_properties.of_limits(settings, 252, "") == [("IOWeight", ("t", 5050))]
    assert of({"unified": {"io.weight": "default 70\n8:0 9"}}) == [("IOWeight", ("t", 70))]


def test_v1_has_other_names() -> None:
    resources = {"memory": {"limit": 1 << 20}, "cpu": {"shares": 77, "quota": 5000}}
    found = systemd_properties.of_limits(limits_v1.settings(resources), 252, "")
    assert dict(found) == {
        "MemoryLimit": ("t", 1 << 20),
        "CPUShares": ("t", 77),
        "CPUQuotaPerSecUSec": ("t", 50000),
    }


def test_a_size_may_have_the_unit_that_the_kernel_reads() -> None:
    assert of({"unified": {"memory.max": "10M"}}) == [("MemoryMax", ("t", 10 << 20))]


def test_an_old_systemd_is_not_asked_for_what_it_does_not_know() -> None:
    resources = {"cpu": {"cpus": "0", "quota": 5000, "period": 10000}}
    assert [name for name, _ in of(resources, 239)] == ["CPUQuotaPerSecUSec"]
    zswap = {"unified": {"memory.zswap.max": "max"}}
    assert (of(zswap, 252), of(zswap, 253)) == ([], [("MemoryZSwapMax", ("t", INFINITY))])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory.max", "lots"),
        ("cpu.max", "x 100000"),
        ("cpu.max", "1000 0"),
        ("cpu.max", " "),
        ("pids.max", "-2"),
        ("cpuset.cpus", "3-1"),
    ],
)
def test_a_value_that_is_none_is_refused_at_its_place(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        of({"unified": {name: value}})
    assert caught.value.pointer == f"/linux/resources/unified/{name}"


PROC_DEVICES = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n"


def device_properties(*rules: dict[str, Any]) -> list[systemd_properties.Property]:
    found = devices.evaluate(list(rules), "/linux/resources/devices")
    return systemd_properties.of_devices(found, PROC_DEVICES)


DENY_ALL = {"allow": False, "access": "rwm"}


def test_allowed_devices_are_named_as_systemd_does() -> None:
    rule = {"allow": True, "type": "b", "major": 8, "access": "r"}
    policy, empty, allowed = device_properties(DENY_ALL, rule)
    assert policy == ("DevicePolicy", ("s", "strict"))
    assert empty == ("DeviceAllow", ("a(ss)", []))
    entries = allowed[1][1]
    assert ("/dev/char/1:3", "rwm") in entries
    assert ("char-*", "m") in entries
    assert ("char-pts", "rwm") in entries
    assert ("block-sd", "r") in entries


@pytest.mark.parametrize(
    "rules",
    [
        [{"allow": True, "access": "rwm"}],
        [DENY_ALL, {"allow": True, "type": "c", "major": 99, "access": "r"}],
        [DENY_ALL, {"allow": True, "type": "c", "minor": 5, "access": "r"}],
    ],
)
def test_systemd_filters_nothing_where_it_could_only_be_too_strict(
    rules: list[dict[str, Any]],
) -> None:
    assert device_properties(*rules)[0] == ("DevicePolicy", ("s", "auto"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", ("b", True)),
        ("-5", ("i", -5)),
        ("uint64 1000", ("t", 1000)),
        ("byte 0x2f", ("y", 47)),
        ("1.5", ("d", 1.5)),
        ("'a b'", ("s", "a b")),
        (r"'it\'s\n'", ("s", "it's\n")),
        ("['a', 'b']", ("as", ["a", "b"])),
        ("@as []", ("as", [])),
        ("@t 5", ("t", 5)),
        ("[byte 1, 2]", ("ay", b"\x01\x02")),
        ("[('/dev/null', 'rw')]", ("a(ss)", [("/dev/null", "rw")])),
        ("('a',)", ("(s)", ("a",))),
        ("@(st) ('a', 1)", ("(st)", ("a", 1))),
        ("{'k': <uint32 7>}", ("a{sv}", {"k": ("u", 7)})),
        ("objectpath '/a'", ("o", "/a")),
    ],
)
def test_gvariant_text_is_read_with_its_type(text: str, expected: tuple[str, Any]) -> None:
    assert gvariant.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "invalid literal"),
        ("maybe", "invalid literal"),
        ("'open", "quotation mark"),
        ("[1, 'a']", "is of type s, not i"),
        ("[]", "needs its type"),
        ("[1", "',' is missing"),
        ("uint16 70000", "out of the range of type q"),
        ("1 2", "follows the value"),
        ("@s 5", "is not of type s"),
        ("byte -1", "out of the range of type y"),
        ("(1", "',' is missing"),
        ("[" * 5000, "too deep"),
    ],
)
def test_what_is_no_gvariant_text_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        gvariant.parse(text)


def test_annotations_become_properties_and_seconds_microseconds() -> None:
    annotations = {
        "org.systemd.property.TimeoutStopSec": "uint64 3",
        "org.systemd.property.CollectMode": "'inactive'",
        "org.systemd.property.RuntimeMaxUSec": "uint64 5",
        "io.other": "not GVariant",
    }
    assert systemd_properties.of_annotations(annotations) == [
        ("TimeoutStopUSec", ("t", 3000000)),
        ("CollectMode", ("s", "inactive")),
        ("RuntimeMaxUSec", ("t", 5)),
    ]


@pytest.mark.parametrize(
    ("name", "text"), [("CollectMode", "inactive"), ("A/b", "1"), ("TimeoutStopSec", "'5s'")]
)
def test_an_annotation_that_is_no_property_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        systemd_properties.of_annotations({f"org.systemd.property.{name}": text})
    assert caught.value.pointer.startswith("/annotations/org.systemd.property.")


def test_root_asks_the_private_socket_first() -> None:
    environment = {"XDG_RUNTIME_DIR": "/run/user/0"}
    assert systemd_units.addresses(environment, user=False) == [
        ("/run/systemd/private", False),
        ("/run/dbus/system_bus_socket", True),
    ]


def test_a_user_asks_the_own_manager() -> None:
    environment = {
        "XDG_RUNTIME_DIR": "/run/user/1000",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/tmp/a%20b,guid=12;tcp:host=x;unix:abstract=/tmp/z",
    }
    assert systemd_units.addresses(environment, user=True) == [
        ("/run/user/1000/systemd/private", False),
        ("/tmp/a b", True),
        ("@/tmp/z", True),
        ("/run/user/1000/bus", True),
    ]


def test_a_user_without_a_session_is_told_what_is_missing() -> None:
    with pytest.raises(KernelError, match=r"XDG_RUNTIME_DIR nor .* --cgroup-manager cgroupfs"):
        systemd_units.connect(systemd_units.addresses({}, user=True), "stop x.scope")


def test_a_systemd_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    places = [(f"{tmp_path}/private", False), (f"{tmp_path}/bus", True)]
    with pytest.raises(KernelError) as caught:
        systemd_units.connect(places, "stop x.scope")
    text = str(caught.value)
    assert text.startswith("stop x.scope: reach systemd: ")
    assert f"connect to {tmp_path}/private: No such file or directory" in text
    assert f"connect to {tmp_path}/bus: No such file or directory" in text
    assert "use --cgroup-manager cgroupfs" in text
