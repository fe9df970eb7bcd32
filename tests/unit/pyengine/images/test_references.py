from __future__ import annotations

import pytest

from pyengine.errors import ConfigError
from pyengine.images import references

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "pulled", "local"),
    [
        ("busybox", "docker.io/library/busybox:latest", "localhost/busybox:latest"),
        ("me/app:1", "docker.io/me/app:1", "localhost/me/app:1"),
        ("docker.io/busybox", "docker.io/library/busybox:latest",
         "docker.io/library/busybox:latest"),
        ("quay.io/a/b:c", "quay.io/a/b:c", "quay.io/a/b:c"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("host:5000/x:1", "host:5000/x:1", "host:5000/x:1"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("docker://quay.io/a", "quay.io/a:latest", "quay.io/a:latest"),
    ],
)  # fmt: skip
def test_a_short_name_is_completed(text: str, pulled: str, local: str) -> None:
    assert references.pull_name(text).name == pulled
    assert references.local_name(text).name == local


def test_a_digest_takes_the_tags_place() -> None:
    reference = references.parse(f"quay.io/a/b:1@{DIGEST}")
    assert str(reference) == f"quay.io/a/b@{DIGEST}"
    assert reference.tag == "1"


@pytest.mark.parametrize(
    "text",
    ["", "Upper", "a//b", "a:", "a:b:c", "a b", "-a", "a@sha256:12", "a/../b", "a:" + "t" * 129,
     "bad_host.:x/y", "a\n", "a" * 256],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid reference format"):
        references.parse(text)
    assert references.local_candidates(text) == []


def test_a_short_name_is_local_before_it_is_docker_hubs() -> None:
    names = [reference.name for reference in references.local_candidates("a:1")]
    assert names == ["localhost/a:1", "docker.io/library/a:1"]
