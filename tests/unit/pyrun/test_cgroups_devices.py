"""Device rules, their v1 lines, and the cgroup2 filter run by a small eBPF interpreter."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest

from pyrun.errors import ConfigError
from pyrun.linux.cgroups import devices, devices_bpf

DENY_ALL: dict[str, Any] = {"allow": False, "access": "rwm"}
ALLOW_ALL: dict[str, Any] = {"allow": True, "access": "rwm"}


def evaluate(*rules: dict[str, Any]) -> devices.Rules:
    return devices.evaluate(list(rules), "/linux/resources/devices")


def rule(allow: bool, kind: str, major: int, minor: int, access: str) -> dict[str, Any]:
    return {"allow": allow, "type": kind, "major": major, "minor": minor, "access": access}


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """What the kernel's interpreter would return for one request."""
    bits = sum(devices_bpf.ACCESS[letter] for letter in access)
    context = {0: bits << 16 | devices_bpf.TYPES[kind], 4: major, 8: minor}
    code = [program[at : at + 8] for at in range(0, len(program), 8)]
    registers = [0] * 11
    at = 0
    while True:
        opcode, both, offset, value = struct.unpack("=BBhi", code[at])
        target, source = both & 15, both >> 4
        at += 1
        if opcode == devices_bpf.LOAD_WORD:
            registers[target] = context[offset]
        elif opcode == devices_bpf.MOVE:
            registers[target] = value
        elif opcode == devices_bpf.MOVE_REGISTER_32:
            registers[target] = registers[source]
        elif opcode == devices_bpf.AND_32:
            registers[target] &= value & 0xFFFFFFFF
        elif opcode == devices_bpf.SHIFT_RIGHT_32:
            registers[target] >>= value
        elif opcode == devices_bpf.JUMP_EQUAL:
            at += offset if registers[target] == value else 0
        elif opcode == devices_bpf.JUMP_NOT_EQUAL:
            at += offset if registers[target] != value else 0
        else:
            assert opcode == devices_bpf.EXIT
            return bool(registers[0])


def allowed(rules: devices.Rules, kind: str, major: int, minor: int, access: str) -> bool:
    """The same question to the rules, in the words of the v1 documentation."""
    matching = [
        held
        for (one, its_major, its_minor), held in rules.exceptions.items()
        if one == kind and its_major in (-1, major) and its_minor in (-1, minor)
    ]
    if rules.allow:
        return not any(held & set(access) for held in matching)
    return any(set(access) <= held for held in matching)


RULE_LISTS = [
    [],
    [DENY_ALL],
    [ALLOW_ALL],
    [DENY_ALL, rule(True, "c", 10, 229, "rw"), rule(True, "b", 8, -1, "r")],
    [ALLOW_ALL, rule(False, "c", 10, 229, "w"), rule(False, "b", -1, -1, "rwm")],
    [DENY_ALL, rule(True, "c", 10, 229, "r"), rule(True, "c", 10, 229, "w")],
    [DENY_ALL, {"allow": True, "access": "r"}],
    [ALLOW_ALL, DENY_ALL],
    [DENY_ALL, ALLOW_ALL],
]


@pytest.mark.parametrize("rules", RULE_LISTS)
def test_the_filter_decides_like_the_rules(rules: list[dict[str, Any]]) -> None:
    result = evaluate(*rules)
    program = devices_bpf.program(result)
    accesses = ["r", "w", "m", "rw", "rwm", "wm"]
    numbers = [(1, 3), (5, 1), (8, 0), (10, 229), (136, 7), (200, 200)]
    for kind, (major, minor), access in itertools.product("bc", numbers, accesses):
        expected = allowed(result, kind, major, minor, access)
        assert run(program, kind, major, minor, access) == expected, (kind, major, minor, access)


def test_without_rules_only_the_defaults_are_allowed() -> None:
    program = devices_bpf.program(evaluate())
    assert run(program, "c", 1, 3, "rw")
    assert run(program, "b", 8, 0, "m")
    assert not run(program, "b", 8, 0, "r")
    assert not run(program, "c", 1, 11, "r")


def test_two_rules_for_one_device_add_up() -> None:
    result = evaluate(DENY_ALL, rule(True, "c", 10, 229, "r"), rule(True, "c", 10, 229, "w"))
    assert run(devices_bpf.program(result), "c", 10, 229, "rw")


def test_a_default_denied_on_purpose_stays_denied() -> None:
    result = evaluate(ALLOW_ALL, rule(False, "c", 1, 3, "rwm"))
    assert not run(devices_bpf.program(result), "c", 1, 3, "r")


def test_v1_lines_start_from_nothing() -> None:
    lines = devices.v1_lines(evaluate(DENY_ALL, rule(True, "b", 8, -1, "rw")), allows_all=True)
    assert lines[0] == ("devices.deny", "a")
    assert ("devices.allow", "b 8:* rw") in lines
    assert ("devices.allow", "c 1:3 mrw") in lines


def test_allow_all_is_not_written_where_it_holds_already() -> None:
    assert devices.v1_lines(evaluate(ALLOW_ALL), allows_all=True) == []
    assert devices.v1_lines(evaluate(ALLOW_ALL), allows_all=False) == [("devices.allow", "a")]
    denied = evaluate(ALLOW_ALL, rule(False, "c", 1, 11, "r"))
    assert devices.v1_lines(denied, allows_all=True) == [("devices.deny", "c 1:11 r")]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([DENY_ALL, rule(True, "c", 10, -1, "rw"), rule(False, "c", 10, 5, "w")], "denies a part"),
        ([ALLOW_ALL, rule(False, "c", 10, -1, "rw"), rule(True, "c", 10, 5, "w")], "allows again"),
    ],
)
def test_a_hole_in_a_wider_rule_is_refused(rules: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ConfigError, match=f"/linux/resources/devices/2: {words}"):
        evaluate(*rules)
