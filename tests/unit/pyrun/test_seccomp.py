"""Profiles compiled by libseccomp, run by a small BPF interpreter; the cache on disk."""

from __future__ import annotations

import os
import platform
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from pyrun import syscalls
from pyrun.errors import ConfigError, KernelError
from pyrun.linux.seccomp import compiler, filters
from pyrun.spec import shapes

X86_64 = 0xC000003E
X86 = 0x40000003
GETPID, KILL, MKDIR = 39, 62, 83
ALLOW = compiler.ACTIONS["SCMP_ACT_ALLOW"]
EPERM = compiler.ERRNO | 1

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the numbers of system calls are x86_64's"
)


def decide(program: bytes, number: int, *arguments: int, arch: int = X86_64) -> int:
    """What the kernel's interpreter returns for one system call (seccomp(2), bpf(4))."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, arch, 0, *padded)
    code = [program[at : at + 8] for at in range(0, len(program), 8)]
    accumulator, at = 0, 0
    while True:
        opcode, if_true, if_false, value = struct.unpack("=HBBI", code[at])
        at += 1
        if opcode == 0x20:  # load a word
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif opcode == 0x54:  # and
            accumulator &= value
        elif opcode == 0x05:  # jump
            at += value
        elif opcode == 0x06:  # return
            return int(value)
        else:
            test = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[opcode]
            at += if_true if test else if_false


def profile(*rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"defaultAction": default, "syscalls": list(rules), **more}


def rule(name: str, action: str = "SCMP_ACT_ERRNO", **more: Any) -> dict[str, Any]:
    return {"names": [name], "action": action, **more}


def argument(operator: str, value: int, index: int = 0, two: int = 0) -> dict[str, Any]:
    return {"index": index, "value": value, "valueTwo": two, "op": f"SCMP_CMP_{operator}"}


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("SCMP_ACT_KILL", 0),
        ("SCMP_ACT_KILL_THREAD", 0),
        ("SCMP_ACT_KILL_PROCESS", 0x80000000),
        ("SCMP_ACT_TRAP", 0x30000),
        ("SCMP_ACT_ERRNO", EPERM),
        ("SCMP_ACT_TRACE", compiler.TRACE | 1),
        ("SCMP_ACT_LOG", 0x7FFC0000),
        ("SCMP_ACT_NOTIFY", compiler.NOTIFY),
    ],
)
def test_each_action_reaches_the_program(action: str, expected: int) -> None:
    program = compiler.compile_profile(profile(rule("getpid", action)))
    assert decide(program, GETPID) == expected
    assert decide(program, MKDIR) == ALLOW


def test_errno_return_values() -> None:
    rules = [rule("getpid", errnoRet=38), rule("mkdir", "SCMP_ACT_TRACE", errnoRet=7)]
    program = compiler.compile_profile(profile(*rules))
    assert decide(program, GETPID) == compiler.ERRNO | 38
    assert decide(program, MKDIR) == compiler.TRACE | 7


def test_the_default_action_has_its_errno() -> None:
    allow = rule("getpid", "SCMP_ACT_ALLOW")
    program = compiler.compile_profile(profile(allow, default="SCMP_ACT_ERRNO", defaultErrnoRet=38))
    assert decide(program, MKDIR) == compiler.ERRNO | 38
    assert decide(program, GETPID) == ALLOW


def test_a_rule_that_repeats_the_default_changes_nothing() -> None:
    program = compiler.compile_profile(profile(rule("getpid", "SCMP_ACT_ALLOW")))
    assert decide(program, GETPID) == ALLOW


@pytest.mark.parametrize(
    ("operator", "hits", "misses"),
    [
        ("EQ", [8], [7, 9, 8 + 2**32]),
        ("NE", [7, 9, 8 + 2**32], [8]),
        ("LT", [7, 0], [8, 9, 2**40]),
        ("LE", [7, 8], [9, 2**40]),
        ("GE", [8, 9, 2**40], [7]),
        ("GT", [9, 2**40], [8, 0]),
    ],
)
def test_each_operator_compares_64_bits(operator: str, hits: list[int], misses: list[int]) -> None:
    program = compiler.compile_profile(profile(rule("kill", args=[argument(operator, 8)])))
    assert [decide(program, KILL, value) for value in hits] == [EPERM] * len(hits)
    assert [decide(program, KILL, value) for value in misses] == [ALLOW] * len(misses)


def test_masked_equality_has_mask_and_value() -> None:
    masked = argument("MASKED_EQ", 0xF0, two=0x10)
    program = compiler.compile_profile(profile(rule("kill", args=[masked])))
    assert decide(program, KILL, 0x1F) == EPERM
    assert decide(program, KILL, 0x2F) == ALLOW


def test_conditions_on_different_arguments_must_all_hold() -> None:
    both = [argument("EQ", 1, 0), argument("EQ", 2, 1)]
    program = compiler.compile_profile(profile(rule("kill", args=both)))
    assert decide(program, KILL, 1, 2) == EPERM
    assert decide(program, KILL, 1, 3) == ALLOW


def test_of_conditions_on_one_argument_one_is_enough() -> None:
    either = [argument("EQ", 1), argument("EQ", 2)]
    program = compiler.compile_profile(profile(rule("kill", args=either)))
    assert [decide(program, KILL, value) for value in (1, 2, 3)] == [EPERM, EPERM, ALLOW]


def test_an_architecture_that_is_not_listed_is_killed() -> None:
    getpid_of_x86 = 20
    alone = compiler.compile_profile(profile(rule("getpid")))
    assert decide(alone, getpid_of_x86, arch=X86) == 0
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    more = compiler.compile_profile(profile(rule("getpid"), architectures=architectures))
    assert decide(more, getpid_of_x86, arch=X86) == EPERM


def test_an_unknown_system_call_is_skipped_and_noted() -> None:
    notes: list[str] = []
    program = compiler.compile_profile(profile(rule("not_a_call"), rule("getpid")), notes=notes)
    assert decide(program, GETPID) == EPERM
    assert notes == ["seccomp: libseccomp does not know the system call not_a_call: skipped"]


@pytest.mark.parametrize(
    ("broken", "pointer"),
    [
        (profile(default="SCMP_ACT_NOPE"), "/defaultAction"),
        (profile(rule("getpid", "SCMP_ACT_NOPE")), "/syscalls/0/action"),
        (profile(rule("kill", args=[argument("NOPE", 1)])), "/syscalls/0/args/0/op"),
        (profile(rule("kill", args=[argument("EQ", 1, 6)])), "/syscalls/0/args/0/index"),
        (profile(rule("kill", "SCMP_ACT_LOG", errnoRet=1)), "/syscalls/0/errnoRet"),
        (profile(defaultErrnoRet=1), "/defaultErrnoRet"),
        (profile(architectures=["SCMP_ARCH_PDP11"]), "/architectures/0"),
        (profile(flags=["SECCOMP_FILTER_FLAG_NOPE"]), "/flags/0"),
        (profile(rule("getpid", "SCMP_ACT_NOTIFY")), "/listenerPath"),
        (profile(default="SCMP_ACT_NOTIFY", listenerPath="/run/x"), "/defaultAction"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_place(broken: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        filters.prepare(broken, [])
    assert caught.value.pointer == f"/linux/seccomp{pointer}"


def test_rules_that_contradict_each_other_are_refused() -> None:
    one = rule("mkdir", args=[argument("EQ", 7)], errnoRet=7)
    other = rule("mkdir", args=[argument("EQ", 7)], errnoRet=8)
    assert compiler.compile_profile(profile(one, one))
    with pytest.raises(ConfigError, match="seccomp/syscalls/1: an earlier rule has another action"):
        compiler.compile_profile(profile(one, other))


def test_flags_reach_the_system_call() -> None:
    assert filters.prepare(profile(), []).flags == syscalls.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    assert filters.prepare(profile(flags=[]), []).flags == 0
    flags = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]
    assert filters.prepare(profile(flags=flags), []).flags == 3


def test_a_flag_about_answers_is_left_out_where_nobody_asks() -> None:
    """The kernel would refuse it (seccomp(2))."""
    flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
    assert filters.prepare(profile(flags=flags), []).flags == 0
    asks = profile(flags=flags, listenerPath="/x")
    asks["syscalls"] = [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]
    bits = syscalls.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    assert filters.prepare(asks, []).flags & bits


def test_a_listener_gets_its_flag_and_metadata() -> None:
    asked = profile(rule("getpid", "SCMP_ACT_NOTIFY"), listenerPath="/run/x", listenerMetadata="m")
    result = filters.prepare(asked, [])
    assert result.flags & syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER
    assert (result.listener_path, result.listener_metadata) == ("/run/x", "m")


def test_the_validator_knows_the_same_words() -> None:
    assert set(compiler.ACTIONS) == shapes.SECCOMP_ACTIONS
    assert set(compiler.OPERATORS) == shapes.SECCOMP_OPERATORS
    assert set(filters.FLAGS) == shapes.SECCOMP_FLAGS
    assert set(compiler.ARCHITECTURES) == shapes.SECCOMP_ARCHITECTURES


def test_no_libseccomp_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(KernelError, match="libseccomp cannot be used"):
        filters.prepare(profile(), [])


# --- the cache


class CompiledAgainError(Exception):
    pass


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(tmp_path / "cache" / "seccomp")


@pytest.fixture
def filled(cache: str) -> Path:
    """The only entry of a cache."""
    filters.prepare(profile(rule("getpid")), [cache])
    (entry,) = Path(cache).iterdir()
    return entry


def compiles(monkeypatch: pytest.MonkeyPatch, cache: str, asked: dict[str, Any]) -> bool:
    """Whether ``prepare`` has to compile."""

    def compile_profile(*_: Any) -> bytes:
        raise CompiledAgainError

    with monkeypatch.context() as patch:
        patch.setattr(compiler, "compile_profile", compile_profile)
        try:
            result = filters.prepare(asked, [cache])
        except CompiledAgainError:
            return True
    assert decide(result.program, GETPID) == EPERM
    return False


def test_the_second_container_of_a_profile_does_not_compile(
    monkeypatch: pytest.MonkeyPatch, cache: str, filled: Path
) -> None:
    assert not compiles(monkeypatch, cache, profile(rule("getpid")))
    assert compiles(monkeypatch, cache, profile(rule("getpid"), rule("mkdir")))
    assert filled.stat().st_mode & 0o7777 == 0o600
    assert filled.parent.stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "other profile's"])
def test_a_damaged_entry_is_compiled_again_and_replaced(
    monkeypatch: pytest.MonkeyPatch, cache: str, filled: Path, damage: str
) -> None:
    data = bytearray(filled.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
    elif damage == "truncate":
        del data[-8:]
    elif damage == "empty":
        data.clear()
    else:
        filters.prepare(profile(rule("mkdir")), [cache])
        (other,) = set(Path(cache).iterdir()) - {filled}
        data = bytearray(other.read_bytes())
    filled.write_bytes(data)
    asked = profile(rule("getpid"))
    assert compiles(monkeypatch, cache, asked)
    filters.prepare(asked, [cache])
    assert not compiles(monkeypatch, cache, asked)


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_directory_open_to_others_is_not_used(
    monkeypatch: pytest.MonkeyPatch, cache: str, filled: Path, mode: int
) -> None:
    filled.parent.chmod(mode)
    assert compiles(monkeypatch, cache, profile(rule("getpid")))
    notes = filters.prepare(profile(rule("getpid")), [cache]).notes
    assert notes == [f"seccomp cache {cache}: not a directory of mode 0700 of this user"]


def test_an_entry_that_others_may_write_is_not_used(
    monkeypatch: pytest.MonkeyPatch, cache: str, filled: Path
) -> None:
    filled.chmod(0o666)
    assert compiles(monkeypatch, cache, profile(rule("getpid")))


def test_links_are_not_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: str, filled: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    filled.rename(elsewhere)
    filled.symlink_to(elsewhere)
    assert compiles(monkeypatch, cache, profile(rule("getpid")))
    link = tmp_path / "link"
    link.symlink_to(cache)
    assert compiles(monkeypatch, str(link), profile(rule("getpid")))


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = str(tmp_path / "file" / "seccomp")
    result = filters.prepare(profile(rule("getpid")), [cache])
    assert decide(result.program, GETPID) == EPERM
    assert result.notes == [f"seccomp cache {cache}: Not a directory"]


def test_the_next_directory_is_used_when_the_first_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    first, second = str(tmp_path / "file" / "seccomp"), str(tmp_path / "second")
    filters.prepare(profile(rule("getpid")), [first, second])
    assert len(os.listdir(second)) == 1


def test_a_full_cache_is_emptied_instead_of_growing(
    monkeypatch: pytest.MonkeyPatch, cache: str, filled: Path
) -> None:
    monkeypatch.setattr(filters, "MAX_ENTRIES", 1)
    filters.prepare(profile(rule("mkdir")), [cache])
    assert len(os.listdir(cache)) == 1
    assert not filled.exists()


def test_a_hit_imports_nothing(cache: str) -> None:
    """Neither pyseccomp nor hashlib: a container start would pay 2 to 50 ms for them."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(filters.__file__).parents[3])!r})
from pyrun.linux.seccomp import filters
before = set(sys.modules)
assert filters.prepare({profile(rule("getpid"))!r}, [{cache!r}]).program
print(sorted(set(sys.modules) - before - {{"_sha256", "_sha2"}}))
"""
    filters.prepare(profile(rule("getpid")), [cache])
    command = [sys.executable, "-I", "-S", "-c", script]
    read_fd, write_fd = os.pipe()
    pid = os.posix_spawn(
        sys.executable, command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, write_fd, 1)]
    )
    os.close(write_fd)
    with os.fdopen(read_fd) as out:
        printed = out.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert printed.strip() == "[]"


def test_an_architecture_of_the_other_byte_order_is_told() -> None:
    other = {"little": "SCMP_ARCH_S390X", "big": "SCMP_ARCH_X86_64"}[sys.byteorder]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [other]}
    with pytest.raises(ConfigError, match=rf"architectures/0: {other} has another byte order"):
        compiler.compile_profile(profile)


X32_BIT = 0x40000000
ENOSYS = compiler.ERRNO | 38


@pytest.mark.parametrize("default", ["ERRNO", "KILL", "KILL_PROCESS", "TRAP"])
def test_calls_beyond_the_last_one_of_the_profile_do_not_exist(default: str) -> None:
    """Otherwise a C library that tries a newer call first would not try the older one."""
    names = [rule("getpid", "SCMP_ACT_ALLOW"), rule("mkdir", "SCMP_ACT_ALLOW")]
    program = compiler.compile_profile(profile(*names, default=f"SCMP_ACT_{default}"))
    refused = decide(program, MKDIR - 1)
    assert refused == (EPERM if default == "ERRNO" else compiler.ACTIONS[f"SCMP_ACT_{default}"])
    assert [decide(program, number) for number in (MKDIR, MKDIR + 1, 1000)] == [
        ALLOW, ENOSYS, ENOSYS,
    ]  # fmt: skip
    assert decide(program, 1000, arch=X86) == 0, "an architecture that was not asked for"


def test_each_architecture_has_its_own_last_call() -> None:
    every = ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_X86_64"]
    names = [rule("getpid", "SCMP_ACT_ALLOW"), rule("mkdir", "SCMP_ACT_ALLOW")]
    made = profile(*names, default="SCMP_ACT_ERRNO", architectures=every)
    program = compiler.compile_profile(made)
    for first, arch, mkdir in ((0, X86_64, 83), (X32_BIT, X86_64, 83), (0, X86, 39)):
        answers = [decide(program, first + number, arch=arch) for number in (mkdir, mkdir + 1)]
        assert (hex(arch), answers) == (hex(arch), [ALLOW, ENOSYS])
        assert decide(program, first + mkdir - 1, arch=arch) == EPERM
    other = compiler.ARCHITECTURES["SCMP_ARCH_AARCH64"]
    assert decide(program, 1000, arch=other) == 0
    # 3 of x32 looks like the constant of x86, once it is where the architecture was
    assert decide(program, X32_BIT + 3, arch=X86_64) == EPERM


@pytest.mark.parametrize("default", ["ALLOW", "LOG", "TRACE"])
def test_who_lets_calls_through_lets_new_ones_through(default: str) -> None:
    program = compiler.compile_profile(profile(rule("mkdir"), default=f"SCMP_ACT_{default}"))
    assert decide(program, 1000) != ENOSYS


def test_a_profile_that_answers_enosys_itself_needs_nothing_before_it() -> None:
    name = rule("mkdir", "SCMP_ACT_ALLOW")
    own = profile(name, default="SCMP_ACT_ERRNO", defaultErrnoRet=38)
    other = profile(name, default="SCMP_ACT_ERRNO", defaultErrnoRet=37)
    program = compiler.compile_profile(own)
    assert len(program) < len(compiler.compile_profile(other))
    assert decide(program, 1000) == ENOSYS


def test_a_profile_that_names_nothing_refuses_everything() -> None:
    program = compiler.compile_profile(profile(rule("nope"), default="SCMP_ACT_ERRNO"))
    assert [decide(program, number) for number in (0, 1000)] == [EPERM, EPERM]


def test_a_rule_that_is_there_a_hundred_thousand_times_is_one() -> None:
    """libseccomp compares each with all before it, which took minutes."""
    rules = [{"names": ["mkdir"] * 100_000, "action": "SCMP_ACT_ERRNO"}]
    once = [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]
    default = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert compiler.compile_profile({**default, "syscalls": rules}) == compiler.compile_profile(
        {**default, "syscalls": once}
    )


def test_more_rules_than_instructions_fit_are_refused_at_once() -> None:
    arguments = [{"index": 0, "value": number, "op": "SCMP_CMP_EQ"} for number in range(100_000)]
    rules = [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": arguments}]
    with pytest.raises(KernelError, match="more instructions than the kernel takes"):
        compiler.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})


def test_a_filter_lets_init_wait_if_it_allows_each_call_whatever_the_arguments() -> None:
    def waits(*rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW") -> bool:
        return compiler.lets_wait(compiler.compile_profile(profile(*rules, default=default)))

    assert waits(rule("mkdir"))
    assert waits(rule("clone", args=[argument("MASKED_EQ", 0, two=1)]))
    assert not waits(rule("openat"))
    assert not waits(rule("execve", "SCMP_ACT_LOG"))
    assert not waits(rule("write", args=[argument("EQ", 2)]))
    needed = {"names": list(compiler._CALLED), "action": "SCMP_ACT_ALLOW"}
    assert waits(needed, default="SCMP_ACT_KILL")
    for name in compiler._CALLED:
        others = [one for one in compiler._CALLED if one != name]
        assert not waits({**needed, "names": others}, default="SCMP_ACT_ERRNO"), name


def test_the_cache_knows_which_filters_let_init_wait(cache: str) -> None:
    for rules, waits in (((rule("mkdir"),), True), ((rule("openat"),), False)):
        made, kept = (filters.prepare(profile(*rules), [cache]) for _ in range(2))
        assert (made.lets_wait, kept.lets_wait) == (waits, waits)
        assert made.program == kept.program
    foreign = filters.Compiled({"defaultAction": "SCMP_ACT_ALLOW"}, made.program)
    assert not filters.prepare(foreign, [cache]).lets_wait
