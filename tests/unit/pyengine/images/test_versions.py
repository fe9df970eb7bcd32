"""Constraints on tags that are versions, as ``skopeo sync`` takes them."""

from __future__ import annotations

import pytest

from pyengine.errors import ConfigError
from pyengine.images import versions

TAGS = ["latest", "v0.2.3", "0.3.0", "1", "1.2.3", "1.2.9", "1.3.0-rc.1", "1.3.0", "v2.0.1", "3.12"]


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (">= 1.3", "1.3.0 v2.0.1 3.12"),
        (">=1.2.3, <2", "1.2.3 1.2.9 1.3.0"),
        (">=1.2.3 <1.3 || >2", "1.2.3 1.2.9 3.12"),
        ("1.2.x", "1.2.3 1.2.9"),
        ("1.2", "1.2.3 1.2.9"),
        ("=1.2.3", "1.2.3"),
        ("!=1.2", "v0.2.3 0.3.0 1 1.3.0 v2.0.1 3.12"),
        ("~1.2.4", "1.2.9"),
        ("~1", "1 1.2.3 1.2.9 1.3.0"),
        ("^1.2.4", "1.2.9 1.3.0"),
        ("^0.2.1", "v0.2.3"),
        ("^0", "v0.2.3 0.3.0"),
        ("1.2 - 2", "1.2.3 1.2.9 1.3.0 v2.0.1"),
        ("<=1.2", "v0.2.3 0.3.0 1 1.2.3 1.2.9"),
        (">1.3.0-rc.0 <1.3.0-z", "1.3.0-rc.1"),
        (">1.3.0-rc.0 <1.3.0", ""),
        ("*", "v0.2.3 0.3.0 1 1.2.3 1.2.9 1.3.0 v2.0.1 3.12"),
    ],
)
def test_tags_fulfil_constraints(constraint: str, expected: str) -> None:
    assert versions.matching(TAGS, constraint) == expected.split()


@pytest.mark.parametrize("constraint", ["", ">=", "newest", "1.2 ||", "1 - ", ">> 1"])
def test_a_constraint_that_makes_no_sense_is_told(constraint: str) -> None:
    with pytest.raises(ConfigError, match="version constraint"):
        versions.matching(TAGS, constraint)
