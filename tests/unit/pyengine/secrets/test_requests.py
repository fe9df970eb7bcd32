from __future__ import annotations

import pytest

from pyengine.errors import ConfigError
from pyengine.secrets.requests import Request


def test_a_request_names_a_secret_and_its_place() -> None:
    plain = Request("one")
    assert (plain.source, plain.target, plain.is_variable) == ("one", "", False)
    assert (plain.uid, plain.gid, plain.mode) == (0, 0, 0o444)
    full = Request("source=one,target=/etc/key,uid=1,gid=2,mode=0400,type=mount")
    assert (full.source, full.target) == ("one", "/etc/key")
    assert (full.uid, full.gid, full.mode) == (1, 2, 0o400)
    assert Request("one,type=env,target=NAME").is_variable


@pytest.mark.parametrize(
    "text",
    [
        "", "target=x", "one,two", "one,type=file", "one,what=x", "one,mode=8", "one,mode=77777",
        "one,uid=-1", "one,uid=me", "one,gid=4294967296", "one,type=env,mode=400",
        "one,target=../x", "one,target=a/../../x",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="--secret"):
        Request(text)
