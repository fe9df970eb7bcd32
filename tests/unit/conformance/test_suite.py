"""The conformance suite itself: its registry, its outcomes, its tables."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

import conformance
from conformance import cli, report
from conformance.cases import REQUIREMENTS, Failure, NotApplicable, Requirement
from conformance.containers import Machine
from conformance.report import FAIL, NOT_APPLICABLE, PASS, Outcome

PROGRAMS = ("pyrun", "pyconmon", "pyengine")
FOLDER = Path(conformance.__path__[0])


def case(name: str, error: BaseException | None = None) -> Requirement:
    def test(_: Machine) -> None:
        if error:
            raise error

    return Requirement("runtime.md", "State", f"words | of {name}", name, test)


def test_each_requirement_has_a_name_of_its_own() -> None:
    counted = Counter(one.name for one in REQUIREMENTS)
    assert [name for name, count in counted.items() if count > 1] == []
    assert len(REQUIREMENTS) > 200


def test_the_suite_imports_none_of_the_programs() -> None:
    modules = list(FOLDER.glob("*.py"))
    assert len(modules) > 10
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            assert not [
                name for name in names if name.startswith(("pyrun", "pyconmon", "pyengine"))
            ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, Outcome(PASS)),
        (Failure("saw that"), Outcome(FAIL, "saw that")),
        (NotApplicable("no such file"), Outcome(NOT_APPLICABLE, "no such file")),
        (ValueError("bad JSON"), Outcome(FAIL, "ValueError: bad JSON")),
    ],
)
def test_a_test_ends_in_one_outcome(
    tmp_path: Path, error: BaseException | None, expected: Outcome
) -> None:
    machine = Machine("/bin/false", tmp_path, tmp_path)
    assert cli.run_one(case("one", error), machine) == expected


def test_the_table_stands_side_by_side_with_reasons_below() -> None:
    results = {
        "a": {"one": Outcome(PASS), "two": Outcome(FAIL, "saw\nthat")},
        "b": {"one": Outcome(NOT_APPLICABLE, "no"), "two": Outcome(PASS)},
    }
    table = report.markdown([case("one"), case("two")], results, {"a": "a 1.0", "b": "b 2.0"})
    assert "| State | words \\| of one | pass | n/a |" in table
    assert "| a | 1 | 1 | 0 |" in table
    assert "- a, two: FAIL: saw that" in table
    assert "- b, one: n/a: no" in table


def test_json_has_every_result() -> None:
    results = {"a": {"one": Outcome(FAIL, "why")}}
    data = report.as_json([case("one")], results, {"a": "a 1.0"})
    assert data["runtimes"]["a"] == {"version": "a 1.0", "pass": 0, "FAIL": 1, "n/a": 0}
    assert data["requirements"][0]["results"]["a"] == {"result": "FAIL", "reason": "why"}


def test_a_runtime_that_is_not_there_is_told() -> None:
    done = CliRunner().invoke(cli.main, ["--runtime", "/no/such/runtime"])
    assert done.exit_code == 1
    assert "there is no runtime /no/such/runtime" in done.output


def test_a_choice_that_leaves_nothing_is_told() -> None:
    done = CliRunner().invoke(cli.main, ["--runtime", "true", "-k", "no-such-test"])
    assert done.exit_code == 1
    assert "no requirement is left" in done.output


def test_the_requirements_can_be_listed() -> None:
    done = CliRunner().invoke(cli.main, ["--runtime", "true", "--list", "--only", "runtime.md"])
    assert done.exit_code == 0
    assert "runtime.md\tstate_has_id\tid (string, REQUIRED) is the container's ID" in done.output
