from __future__ import annotations

from typing import Any

import pytest

from pyengine.cli import fields, report
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
        ("{{.Id}}\\t{{.State.Pid}}", "abc\t7"),
        ('{{printf "%s\\n" .Id}}', "abc\n"),
        ("no action", "no action"),
    ],
)
def test_values_are_written_as_go_writes_them(form: str, line: str) -> None:
    assert fields.render(form, OBJECT) == line


def test_an_unknown_field_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r'executing "ps" at <\.No>: .* type ps; it has Cmd, Id'):
        fields.render("{{.No}}", OBJECT, "ps")


@pytest.mark.parametrize("form", ["table {{.ID}}\\t{{.Name}}", "table {{ .ID }} {{.Name}}"])
def test_table_puts_columns_under_headings(form: str) -> None:
    rows = [{"ID": "1", "Name": "one"}, {"ID": "2", "Name": "two"}]
    assert fields.lines(form, rows, {"ID": "AN ID"}, heading=True) == [
        "AN ID       NAME", "1           one", "2           two"
    ]  # fmt: skip
    assert fields.lines(form, rows, {}, heading=False) == ["1           one", "2           two"]


def test_a_heading_has_a_name_for_whatever_is_asked_of_it() -> None:
    form = 'table {{.Labels.a}} {{index .Labels "b"}} {{json .Labels}}'
    first = fields.lines(form, [OBJECT], {}, heading=True)[0]
    assert first.split() == ["A", "B", '"LABELS"']


def test_a_template_that_ranges_is_given_the_list() -> None:
    assert fields.lines("{{range .}}{{.Id}};{{end}}", [OBJECT] * 2, {}, heading=True) == [
        "abc;abc;"
    ]


@pytest.mark.parametrize(
    ("form", "wanted"),
    [("json", True), ("{{ json . }}", True), ("{{.json}}", False), (None, False)],
)
def test_json_has_two_spellings(form: str | None, wanted: bool) -> None:
    assert report.is_json(form) is wanted
