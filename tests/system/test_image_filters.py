"""images --filter and --sort, image prune --filter."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def filled(engine_root: EngineRoot, tmp_path: Path) -> dict[str, Image]:
    made = {}
    for number, name in enumerate(("q.io/team/app:1", "q.io/team/app:2", "localhost/other:1"), 1):
        layer = Layer().add("f", bytes(number * 10_000)).tar()
        made[name] = Image(
            [layer], created=f"200{number}-01-01T00:00:00Z", Labels={"n": str(number)}
        )
    engine_root.ok("load", "-i", images.docker_archive(tmp_path / "a.tar", made))
    nameless = Image([Layer().add("g").tar()], created="2009-01-01T00:00:00Z")
    engine_root.ok("load", "-i", images.docker_archive(tmp_path / "b.tar", {"": nameless}))
    return {**made, "": nameless}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["-f", "dangling=true"], [""]),
        (["-f", "dangling=false", "--sort", "tag"], ["localhost/other:1", "q.io/team/app:1",
                                                     "q.io/team/app:2"]),
        (["-f", "label=n=2"], ["q.io/team/app:2"]),
        (["-f", "label=n", "-f", "before=app:2"], ["q.io/team/app:1"]),
        (["-f", "since=app:2", "--sort", "created"], ["", "localhost/other:1"]),
        (["-f", "reference=*app"], ["q.io/team/app:2", "q.io/team/app:1"]),
        (["-f", "reference=team/app:1"], ["q.io/team/app:1"]),
        (["-f", "reference=q.io/*/*:2", "-f", "reference=other"], ["localhost/other:1",
                                                                  "q.io/team/app:2"]),
        (["-f", "until=2002-06-01"], ["q.io/team/app:2", "q.io/team/app:1"]),
        (["-f", "containers=true"], []),
        (["--sort", "size"], ["localhost/other:1", "q.io/team/app:2", "q.io/team/app:1", ""]),
        (["--sort", "repository"], ["", "localhost/other:1", "q.io/team/app:1",
                                    "q.io/team/app:2"]),
    ],
)  # fmt: skip
def test_images_are_chosen_and_sorted(
    engine_root: EngineRoot, filled: dict[str, Image], options: list[str], names: list[str]
) -> None:
    form = "{{.Repository}}:{{.Tag}} {{.Id}}"
    shown = engine_root.ok("images", *options, "--format", form).splitlines()
    assert shown == [f"{name or '<none>:<none>'} {filled[name].id}" for name in names]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("colour=red", "invalid image filter"),
        ("dangling=maybe", "neither true nor false"),
        ("until=soon", "no time and no duration"),
        ("before=nosuch", "image not known"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    engine_root: EngineRoot, text: str, problem: str
) -> None:
    assert problem in engine_root.fails("images", "--filter", text)
    assert problem in engine_root.fails("image", "prune", "-f", "--filter", text)


def test_prune_removes_what_fits_alone(engine_root: EngineRoot, filled: dict[str, Image]) -> None:
    prune = ["image", "prune", "-a", "-f", "--filter"]
    assert engine_root.ok(*prune, "label=n=2").split() == [filled["q.io/team/app:2"].id]
    assert engine_root.ok(*prune, "until=1h").count("\n") == 3
    assert engine_root.is_empty()
