from __future__ import annotations

import importlib

import click
import pytest

from pyengine import errors
from pyengine.cli import app, declare, outcome, table


def all_commands() -> list[tuple[str, str]]:
    tables = [table.COMMANDS, *table.GROUPS.values()]
    return [(name, place) for rows in tables for name, (place, _) in rows.items() if place]


@pytest.mark.parametrize(("name", "place"), all_commands())
def test_every_command_of_the_table_exists(name: str, place: str) -> None:
    module, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if module in table.DECLARED:
        assert isinstance(found, declare.Command), name
        found = found.to_click()
    assert isinstance(found, click.Command), name


def test_every_group_of_the_table_has_commands() -> None:
    nouns = {name for name, (place, _) in table.COMMANDS.items() if not place}
    assert nouns == set(table.GROUPS)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, (_, help_line) in table.COMMANDS.items():
        shown = not name.startswith("_")  # what only shells call is not for people
        assert (f"  {name} " in out) == shown
        assert (help_line in out) == shown


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["frobnicate"]) == 125
    assert "Error: unrecognized command `pyengine frobnicate`" in capsys.readouterr().err


def test_an_unknown_flag_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["version", "--frob"]) == 125
    assert capsys.readouterr().err == "Error: unknown flag: --frob\nSee 'pyengine version --help'\n"


def test_a_failure_has_the_status_of_its_command_and_class() -> None:
    missing = errors.NotFoundError("no such thing")
    assert outcome.exit_status("rmi", missing) == 1
    assert outcome.exit_status("run", missing) == 125
    assert outcome.exit_status("run", errors.CommandNotFoundError("x")) == 127
    assert outcome.exit_status("run", errors.CommandNotExecutableError("x")) == 126
    assert outcome.exit_status("run", errors.RuntimeCallError("x")) == 125
