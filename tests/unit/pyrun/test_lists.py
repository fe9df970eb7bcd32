"""Lists of numbers in the kernel's form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrun import lists


@given(st.sets(st.integers(0, 300), min_size=1))
def test_every_set_has_a_list(numbers: set[int]) -> None:
    assert lists.parse(",".join(map(str, numbers))) == numbers


def test_ranges_and_blanks() -> None:
    assert lists.parse("0-3, 7,9-9") == {0, 1, 2, 3, 7, 9}


@pytest.mark.parametrize(
    "text", ["", "a", "1-", "-1", "2-1", "1,,2", "1-2-3", "65536", "0x1", "\u0661"]
)
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        lists.parse(text)
