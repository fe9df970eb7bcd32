"""The kernel's word on which system call a process was killed for."""

from __future__ import annotations

import re

import pytest

from pyengine.containers import system_calls

LINE = (
    b"5,1,39495393829,-;audit: type=1326 audit(1795348717.801:138): auid=4294967295 uid=0 gid=0"
    b' ses=4294967295 pid=21557 comm="busybox" exe="/bin/busybox" sig=31 arch=c000003e syscall=83'
    b" compat=0 ip=0x47b567 code=0x80000000\n"
)
DAEMONS = LINE.replace(b"5,1,39495393829,-;audit: type=1326 ", b"type=SECCOMP msg=")


@pytest.mark.parametrize("line", [LINE, DAEMONS])
def test_the_call_of_a_process_is_named(line: bytes) -> None:
    assert re.fullmatch("mkdir|number 83", system_calls.match(line, 21557, 1795348717.0))


@pytest.mark.parametrize(
    ("line", "pid", "began_at"),
    [
        (LINE, 2155, 1795348717.0),
        (LINE, 21557, 1795348730.0),  # its pid was another's before
        (LINE.replace(b"sig=31", b"sig=0"), 21557, 1795348717.0),  # only logged
        (b"audit: type=1400 pid=21557 \n", 21557, 0.0),
    ],
)
def test_other_lines_say_nothing(line: bytes, pid: int, began_at: float) -> None:
    assert system_calls.match(line, pid, began_at) == ""


def test_a_call_that_nobody_names_has_its_number() -> None:
    line = LINE.replace(b"syscall=83", b"syscall=9999")
    assert system_calls.match(line, 21557, 0.0) == "number 9999"
