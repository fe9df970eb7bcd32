from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "spec-conformance"))

from conformance import validation  # found by the line above


def test_a_program_whose_assertions_all_pass_is_whole() -> None:
    result = validation.parse("state", "ok 1 - one\nok 2 - two # SKIP not here\n1..2\n")
    assert (result.passed, result.skipped, result.failed) == (1, 1, [])
    assert result.whole


def test_a_failed_assertion_keeps_its_text() -> None:
    result = validation.parse("state", "ok 1 - one\nnot ok 2 - MUST be two\n1..2\n")
    assert result.failed == ["MUST be two"]
    assert not result.whole


@pytest.mark.parametrize(
    ("output", "death"),
    [
        ("", "no plan"),
        ("ok 1 - one\n", "no plan"),
        ("1..0\n", "before its first assertion"),
        ("ok 1 - one\n1..2\n", "1 of 2"),
    ],
)
def test_a_program_that_does_not_report_everything_is_dead(output: str, death: str) -> None:
    result = validation.parse("hooks", output)
    assert death in result.death
    assert not result.whole


def test_a_program_that_hangs_is_killed_and_dead(tmp_path: Path) -> None:
    program = tmp_path / "hang.t"
    program.write_text("#!/bin/sh\necho 'ok 1 - one'\nsleep 60\n")
    program.chmod(0o755)
    result = validation.run_program(tmp_path, program, "/bin/true", "host", timeout_s=0.5)
    assert (result.passed, result.death) == (1, "it hung for 0.5 s")


def test_limits_of_the_machine_hold_for_their_layout_only(tmp_path: Path) -> None:
    path = tmp_path / "known-limits.toml"
    path.write_text('[[limit]]\nprogram = "a"\nlayouts = ["v1"]\nreason = "no such controller"\n')
    assert validation.excuses(path, "v1") == {"a": "no such controller"}
    assert validation.excuses(path, "v2") == {}


def test_the_table_sums_up_each_runtime() -> None:
    one = validation.parse("state", "ok 1 - one\n1..1\n")
    two = validation.parse("state", "not ok 1 - one\n1..1\n")
    text = validation.table({"pyrun": [one], "runc": [two]})
    assert "| state | whole (1) | 0 ok, 1 not ok |" in text
    assert "1 of 1 whole; 1 ok, 0 not ok; 0 dead" in text
