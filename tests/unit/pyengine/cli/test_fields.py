from __future__ import annotations

from typing import Any

import pytest

from pyengine.cli import fields
from pyengine.errors import ConfigError

OBJECT: dict[str, Any] = {
    "Id": "abc",
    "State": {"Pid": 7, "Running": True, "Error": None},
    "Labels": {"b": "2", "a": "1"},
    "Cmd": ["echo", "x"],
}


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("{{.Id}}", "abc"),
        ("{{ .ID }}-{{- .State.Pid }}", "abc-7"),
        ("{{.State.Running}} {{.State.Error}}", "true <nil>"),
        ("{{.Cmd}} {{.Labels}}", "[echo x] map[a:1 b:2]"),
        ("{{json .Labels}}{{json .State.Error}}", '{"b":"2","a":"1"}null'),
        ('{{index .Labels "a"}}|{{index .Labels "none"}}|{{index .Cmd 1}}', "1||x"),
        ("{{.Id}}\\t{{.State.Pid}}", "abc\t7"),
        ("no action", "no action"),
    ],
)
def test_values_are_written_as_go_writes_them(form: str, line: str) -> None:
    assert fields.render(form, OBJECT) == line


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ("{{.Nosuch}}", "no field Nosuch"),
        ("{{.State.Nosuch}}", "no field Nosuch in .State.Nosuch; there are Error, Pid, Running"),
        ("{{.Id.Deeper}}", "no field Deeper"),
        ("{{range .Cmd}}x{{end}}", "only fields such as"),
        ("{{index .Labels}}", "index takes a path and a key"),
        ("{{index .Cmd 9}}", "nothing has index 9"),
        ("{{", "only fields such as"),
    ],
)
def test_what_a_template_cannot_do_is_told(form: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        fields.render(form, OBJECT)


def test_table_puts_columns_under_headings() -> None:
    rows = [{"ID": "1", "Name": "one"}, {"ID": "2", "Name": "two"}]
    form = "table {{.ID}}\\t{{.Name}}"
    assert fields.lines(form, rows, {"ID": "AN ID"}, heading=True) == [
        "AN ID       NAME", "1           one", "2           two"
    ]  # fmt: skip
    assert fields.lines(form, rows, {}, heading=False) == ["1           one", "2           two"]
