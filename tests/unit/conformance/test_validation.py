from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "spec-conformance"))

from conformance import known_limits, validation, validation_cli  # found by the line above


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
        ("ok 1 - one\n1..2\n", "1 of 2"),
    ],
)
def test_a_program_that_does_not_report_everything_is_dead(output: str, death: str) -> None:
    result = validation.parse("hooks", output)
    assert death in result.death
    assert not result.whole


def test_a_program_that_prints_two_documents_is_read_to_its_end() -> None:
    result = validation.parse("cpus", "ok 1 - one\nok 2 - two\n1..2\nTAP version 13\n1..0\n")
    assert (result.words, result.complaint) == ("whole (2)", "")


def test_a_program_without_assertions_complains_in_its_diagnostics() -> None:
    result = validation.parse("hooks", '  ---\n  {\n    "error": "in order"\n  }\n1..0\n')
    assert (result.words, result.complaint) == ("whole (0, complains)", "in order")


def test_an_error_below_an_assertion_is_no_complaint() -> None:
    result = validation.parse("kill", 'ok 1 - refused\n  {\n    "error": "exit status 1"\n1..1\n')
    assert (result.words, result.complaint) == ("whole (1)", "")


def test_a_silent_program_is_content_with_nothing_and_with_nothing_else() -> None:
    assert validation.parse("rlimits", "", silent=True).whole
    assert not validation.parse("rlimits", "ok 1 - one\n", silent=True).whole


@pytest.mark.parametrize(("status", "death"), [(0, ""), (2, "it exited with status 2")])
def test_a_program_that_ends_with_an_error_is_dead(tmp_path: Path, status: int, death: str) -> None:
    program = tmp_path / "ends.t"
    program.write_text(f"#!/bin/sh\necho 'ok 1 - one'\necho 1..1\nexit {status}\n")
    program.chmod(0o755)
    result = validation.run_program(tmp_path, program, "/bin/true", "host", timeout_s=30)
    assert (result.passed, result.death) == (1, death)


def test_cgroups_that_a_dead_program_left_are_removed_and_no_others(tmp_path: Path) -> None:
    kept, left = "5b39192a-4431-4591-be28-8b211873be6e", "037b08ad-0a21-426e-8040-a64d1ea9514a"
    for name in (f"pids/{kept}", "pids/mine"):
        (tmp_path / name).mkdir(parents=True)
    before = validation.named_cgroups(tmp_path)
    for name in (f"pids/{left}/below", f"unified/{left}", left):
        (tmp_path / name).mkdir(parents=True)
    validation.remove_cgroups(validation.named_cgroups(tmp_path) - before)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == ["pids", f"pids/{kept}", "pids/mine", "unified"]


def test_an_older_runtime_sees_its_own_version_in_config_json(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    words = ["create", "--bundle", str(tmp_path), "name"]
    stand_in = validation.older("/bin/echo", "1.0.2", tmp_path)
    for before, after in (("1.3.0", "1.0.2"), ("invalid", "invalid")):
        config.write_text(f'{{"ociVersion": "{before}", "hostname": "1.3.0"}}')
        done = subprocess.run([stand_in, *words], check=True, capture_output=True, text=True)
        assert done.stdout.split() == words
        assert config.read_text() == f'{{"ociVersion": "{after}", "hostname": "1.3.0"}}'


def test_a_program_that_hangs_is_killed_and_dead(tmp_path: Path) -> None:
    program = tmp_path / "hang.t"
    program.write_text("#!/bin/sh\necho 'ok 1 - one'\nsleep 60\n")
    program.chmod(0o755)
    result = validation.run_program(tmp_path, program, "/bin/true", "host", timeout_s=0.5)
    assert (result.passed, result.death) == (1, "it hung for 0.5 s")


def limits(tmp_path: Path, layout: str, text: str) -> known_limits.KnownLimits:
    path = tmp_path / "known-limits.toml"
    path.write_text(text)
    return known_limits.read(path, layout)


PIDS = """
[[limit]]
programs = ["pids"]
layouts = ["v1"]
kind = "program"
fails = ["is set"]
reason = "It compares pointers."
"""


def test_a_limit_holds_for_its_layouts_only(tmp_path: Path) -> None:
    assert list(limits(tmp_path, "v1", PIDS).limits) == ["pids"]
    assert limits(tmp_path, "v2", PIDS).limits == {}


@pytest.mark.parametrize(
    ("output", "covered", "verdict"),
    [
        ("ok 1 - found\nnot ok 2 - is set\n1..2\n", True, "still fails"),
        ("not ok 1 - found\nnot ok 2 - is set\n1..2\n", False, "FAILS IN OTHER WAYS TOO"),
        ("not ok 1 - is set\n1..2\n", False, "FAILS IN OTHER WAYS TOO"),
        ("ok 1 - found\nok 2 - is set\n1..2\n", True, "STALE ('is set' passes)"),
    ],
)
def test_a_limit_excuses_what_it_names_and_is_reported_stale(
    tmp_path: Path, output: str, covered: bool, verdict: str
) -> None:
    known = limits(tmp_path, "v1", PIDS)
    result = validation.parse("pids", output)
    assert known.limits["pids"].covers(result) is covered
    line = f"- pids, program: {verdict}: It compares pointers."
    assert known_limits.report(known, [result, validation.parse("state", "1..0\n")]) == [line]


@pytest.mark.parametrize(
    ("output", "covered", "verdict"),
    [
        ('1..0\n  "error": "called too early"\n', True, "still fails"),
        ("1..0\n", True, "fails sometimes, and did not now"),
        ("not ok 1 - found\n1..1\n", False, "FAILS IN OTHER WAYS TOO"),
    ],
)
def test_a_limit_that_holds_sometimes_is_never_stale(
    tmp_path: Path, output: str, covered: bool, verdict: str
) -> None:
    race = PIDS.replace('fails = ["is set"]', "complains = true\nsometimes = true")
    known = limits(tmp_path, "v1", race)
    result = validation.parse("pids", output)
    assert known.limits["pids"].covers(result) is covered
    (line,) = known_limits.report(known, [result])
    assert line == f"- pids, program: {verdict}: It compares pointers."


def test_a_limit_that_names_no_failure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no failure"):
        limits(tmp_path, "v1", PIDS.replace('fails = ["is set"]', ""))


def test_the_data_file_can_be_read_and_each_program_has_one_limit_per_layout() -> None:
    for layout in validation.LAYOUTS:
        text = validation_cli.KNOWN_LIMITS.read_text()
        named = [
            (program, entry["layouts"])
            for entry in tomllib.loads(text)["limit"]
            for program in entry["programs"]
            if layout in entry["layouts"]
        ]
        assert len(known_limits.read(validation_cli.KNOWN_LIMITS, layout).limits) == len(named)


def test_the_table_sums_up_each_runtime() -> None:
    one = validation.parse("state", "ok 1 - one\n1..1\n")
    two = validation.parse("state", "not ok 1 - one\n1..1\n")
    text = validation.table({"pyrun": [one], "runc": [two]})
    assert "| state | whole (1) | 0 ok, 1 not ok |" in text
    assert "1 of 1 whole (0 complain); 1 ok, 0 not ok; 0 dead" in text
