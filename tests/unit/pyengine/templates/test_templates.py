from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyengine.templates import functions
from pyengine.templates.engine import Template
from pyengine.templates.lexer import TemplateError

DATA: dict[str, Any] = {
    "Id": "4761d15b08d0",
    "Tag": "1",
    "State": {"Pid": 7, "Running": True, "Error": None},
    "Labels": {"b": "<2>", "a": "1"},
    "Cmd": ["echo", "x"],
    "Mounts": [{"Type": "bind", "Source": "/a"}, {"Type": "volume", "Source": "/b"}],
    "Empty": [],
    "Ratio": 1.5,
}


def render(source: str) -> str:
    return Template("t", source).render(DATA, "main.row")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a{{/* note */}}b{{- /* trims */ -}}  c", "abc"),
        ("x {{- .Tag -}} y", "x1y"),
        ("{{.ID}} {{.Cmd}} {{.Labels}} {{.State}}", "4761d15b08d0 [echo x] map[a:1 b:<2>] "
         "{7 true <nil>}"),
        ("{{.Labels.zz}}|{{index .Labels \"zz\"}}|{{json .Labels.a}}", '<no value>||"1"'),
        ("{{json .Labels}}{{json .State.Error}}", '{"a":"1","b":"<2>"}null'),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=<2>;"),
        ("{{range .Mounts}}{{.Type}}:{{.Source}} {{end}}", "bind:/a volume:/b "),
        ("{{range $i, $m := .Mounts}}{{$i}}{{$.Tag}}{{end}}", "0111"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Cmd}}{{if eq . \"x\"}}{{break}}{{end}}{{.}}{{end}}", "echo"),
        ("{{range .Cmd}}{{if eq . \"echo\"}}{{continue}}{{end}}{{.}}{{end}}", "x"),
        ("{{if eq .Tag \"2\" \"1\"}}one{{else if .Id}}x{{else}}y{{end}}", "one"),
        ("{{if .Empty}}a{{else if .State.Error}}b{{else}}c{{end}}", "c"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .Empty}}x{{else}}{{.Tag}}{{end}}", "71"),
        ("{{with $x := .Tag}}{{$x}}{{.}}{{end}}", "11"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{$y := 3}}{{end}}{{$x}}", "2"),
        ("{{$x := .State}}{{$x.Pid}} {{(index .Mounts 1).Source}}", "7 /b"),
        ("{{.Tag | printf \"%s-%s\" \"a\" | upper}}", "A-1"),
        ('{{upper "ab"}}{{lower "AB"}}{{title "ab cd"}}{{pad "x" 1 2}}|', "ABabAb Cd x  |"),
        ('{{join (split "a-b" "-") "+"}} {{truncate .Id 4}} {{slice .Id 1 3}}', "a+b 4761 76"),
        ("{{len .Id}} {{len .Labels}} {{index .Cmd 1}} {{index .Labels \"a\"}}", "12 2 x 1"),
        ("{{and 1 0}} {{or \"\" \"z\"}} {{not true}} {{and .Tag .Id}}", "0 z false 4761d15b08d0"),
        ("{{lt 1 2}} {{ge 2 2}} {{gt \"b\" \"a\"}} {{ne 1 2}} {{le 1.5 .Ratio}}", "true true true "
         "true true"),
        ("{{print 1 2 \"x\" 3}} {{println 1 \"x\"}}", "1 2x3 1 x\n"),
        ("{{html \"<a>\"}} {{js \"it's\"}} {{urlquery \"a b&\"}}", "&lt;a&gt; it\\'s a+b%26"),
        ("{{0x10}} {{'a'}} {{1e3}} {{017}} {{1_000}} {{`raw\\n`}} {{\"\\u00e9\\x41\"}}",
         "16 97 1000 15 1000 raw\\n éA"),
        ('{{printf "%-4s|%5d|%05d|%q|%v|%t|%x|%.2f|%c|%%" .Tag 3 7 "a" .Cmd true 255 1.0 65}}',
         '1   |    3|00007|"a"|[echo x]|true|ff|1.00|A|%'),
        ('{{printf "%d" "x"}} {{printf "%s"}} {{printf "x" 1}} {{printf "%T" .Cmd}}',
         "%!d(string=x) %!s(MISSING) x%!(EXTRA int=1) []interface {}"),
    ],
)  # fmt: skip
def test_a_template_gives_what_go_gives(source: str, text: str) -> None:
    assert render(source) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{.ID}} {{.Nosuch}}", 'template: t:1:10: executing "t" at <.Nosuch>: can\'t evaluate '
         "field Nosuch in type main.row; it has "),
        ("{{.Tag.Foo}}", 'template: t:1:6: executing "t" at <.Tag.Foo>: can\'t evaluate field Foo '
         "in type string"),
        ("{{.State.Error.X}}", "nil pointer evaluating interface {}.X"),
        ("{{len 3}}", 'template: t:1:2: executing "t" at <len 3>: error calling len: len of type '
         "int"),
        ("{{lt 1 \"a\"}}", "at <lt 1 \"a\">: error calling lt: incompatible types for comparison"),
        ("{{index .Cmd 9}}", "error calling index: index out of range: 9"),
        ("{{upper 3}}", "at <3>: expected string; found 3"),
        ("{{upper .State.Pid}}", "wrong type for value; expected string; got int"),
        ("{{upper .Labels.zz}}", "invalid value; expected string"),
        ("{{truncate .Id}}", "wrong number of args for truncate: want 2 got 1"),
        ("{{.Tag 1}}", "Tag has arguments but cannot be invoked as function"),
        ("{{1 2}}", "can't give argument to non-function 1"),
        ("{{nil}}", "at <nil>: nil is not a command"),
        ("{{range 3}}{{end}}", "range can't iterate over 3"),
        ("{{.ID | foo}}", 'template: t:1: function "foo" not defined'),
        ("{{.ID", "template: t:1: unclosed action"),
        ("{{if .ID}}x", "template: t:1: unexpected EOF"),
        ("{{if}}x{{end}}", "template: t:1: missing value for if"),
        ("\n{{end}}", "template: t:2: unexpected {{end}}"),
        ("{{if 1}}{{else}}{{else}}{{end}}", "expected end; found {{else}}"),
        ("{{\"x}}", "unterminated quoted string"),
        ("{{$x}}", 'undefined variable "$x"'),
        ("{{(.ID}}", "unclosed left paren"),
        ("{{.ID)}}", "unexpected right paren"),
        ("{{break}}", "{{break}} outside {{range}}"),
        ("{{.ID | 3}}", "non executable command in pipeline stage 2"),
        ("{{.ID | }}", "missing value for command"),
        ("{{#}}", "unexpected bad character U+0023 '#'"),
        ("{{define \"x\"}}{{end}}", "named templates are not supported"),
        ("{{/* x }}", "unclosed comment"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_gos_words(source: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(source)
    assert message in str(caught.value)


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_stays_as_it_is(text: str) -> None:
    assert render(text) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_string_reads_as_itself(value: str) -> None:
    assert render(f"{{{{{functions.quote(value)}}}}}") == value


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="-"))))
def test_join_undoes_split(words: list[str]) -> None:
    data = {"Text": "-".join(words)}
    assert Template("t", '{{join (split .Text "-") "-"}}').render(data) == data["Text"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_json_reads_back(value: Any) -> None:
    assert json.loads(Template("t", "{{json .X}}").render({"X": value})) == value


PIECES = st.sampled_from(
    ["{{", "}}", "-", " ", ".", ".Id", ".Cmd", ".Labels", "$", "$x", ":=", "=", "|", "(", ")", ",",
     "range", "if", "with", "else", "end", "break", "nil", "true", "1", "'a'", '"s"', "index",
     "printf", "len", "eq", "and", "slice", "json", "x"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join))
def test_any_template_is_rendered_or_refused(source: str) -> None:
    try:
        render(source)
    except TemplateError as error:
        message = str(error)
        assert message.startswith("template: t:")


@given(st.text(st.sampled_from("%vdsqxtcfgeTU-+#0123.* "), max_size=8), st.lists(JSON, max_size=3))
def test_printf_takes_any_format(form: str, values: list[Any]) -> None:
    assert isinstance(functions.printf(form, *values), str)
