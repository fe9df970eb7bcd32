"""jsontext answers what json answers."""

from __future__ import annotations

import json

import pytest

from pyengine import jsontext


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        "",
        {"a": [1, -2.5, None, True, False, '\u20ac \ud800 "\\\n\x7f']},
        [[{"b": {}, "c": []}]],
        7,
    ],
)
def test_a_value_is_written_as_by_json_and_read_again(value: object) -> None:
    text = jsontext.dumps(value)
    assert text == json.dumps(value)
    assert jsontext.pretty(value, 5) == json.dumps(value, indent=5)
    assert jsontext.loads(f" {text}\n") == jsontext.loads(text.encode()) == value


@pytest.mark.parametrize("text", ["", "{", '{"a" 1}', "[1] 2", '"\x01"', "nul", '{"a":1,}'])
def test_broken_text_is_a_value_error_with_its_place(text: str) -> None:
    with pytest.raises(ValueError, match="line 1 column"):
        jsontext.loads(text)


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError):
        jsontext.dumps({"a": {1, 2}})
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="Circular"):
        jsontext.dumps(loop)
