from __future__ import annotations

import pytest

from pyengine.containers import id_lines
from pyengine.errors import ConfigError

HOST = [[0, 0, id_lines.MAX_ID]]
# Of user 1000 with subordinate ids, as in his own namespace.
OWN = [[0, 1000, 1], [1, 100_000, 1000], [1001, 2000, 1]]


def of_root(*texts: str, kind: str = "uid") -> list[list[int]]:
    return id_lines.read(kind, texts, HOST, fill=False)


def of_user(*texts: str, kind: str = "gid") -> list[list[int]]:
    return id_lines.read(kind, texts, OWN, fill=True)


def test_lines_are_sorted_and_joined() -> None:
    assert of_root("10:5000", "0:1000:10") == [[0, 1000, 10], [10, 5000, 1]]
    assert of_root("0:1000:10", "10:1010:5", "20:1020:1") == [[0, 1000, 15], [20, 1020, 1]]


def test_a_plus_takes_ids_from_the_lines_before() -> None:
    assert of_root("0:0:65000", "+100000:1:1") == [[0, 0, 1], [2, 2, 64998], [100000, 1, 1]]
    assert of_root("0:0:10", "+3:7:2") == [[0, 0, 3], [3, 7, 2], [5, 5, 2], [9, 9, 1]]
    assert of_root("0:0:65000", "+100000:1:1", "1:65001:1") == [
        [0, 0, 1], [1, 65001, 1], [2, 2, 64998], [100000, 1, 1],
    ]  # fmt: skip
    assert of_root("+5:7") == [[5, 7, 1]]  # root's ids are not handed out


def test_a_letter_restricts_a_line_to_users_or_groups() -> None:
    lines = ("0:0:1000", "g2000:2000:1", "u3000:3000")
    assert of_root(*lines) == [[0, 0, 1000], [3000, 3000, 1]]
    assert of_root(*lines, kind="gid") == [[0, 0, 1000], [2000, 2000, 1]]
    assert of_root("ug5:5") == [[5, 5, 1]]


def test_an_at_sign_names_an_id_of_the_host() -> None:
    assert of_root("7:@100000") == [[7, 100000, 1]]
    assert of_user("0:@100000:5") == [[0, 1, 5]]
    assert of_user("0:@1000", "1:@100998:2") == [[0, 0, 1], [1, 999, 2]]
    with pytest.raises(ConfigError, match="not all of these ids of the host are subordinate"):
        of_user("0:@100999:2")


def test_an_ordinary_users_other_ids_fill_the_gaps() -> None:
    assert of_user("+g100000:@2000") == [[0, 0, 1001], [100000, 1001, 1]]
    assert of_user("+2:0:1") == [[0, 1, 2], [2, 0, 1], [3, 3, 999]]
    assert of_user("u0:0:1") == [[0, 0, 1002]]  # there is no line for groups
    assert of_user("0:0:1", "+5:5:1") == [[0, 0, 1], [5, 5, 1]]


@pytest.mark.parametrize("text", ["", "+", "x0:1", "0", "0:1:2:3", "0:@", "0:1:0", "-1:2", "0:u1"])
def test_what_is_no_line_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--uidmap .*: (must be INSIDE|ids must be)"):
        of_root(text)
