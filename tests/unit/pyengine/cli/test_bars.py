from __future__ import annotations

import io

import pytest

from pyengine.cli import bars
from pyengine.cli.bars import Bars

BLOB, OTHER = f"sha256:{'a1' * 32}", f"sha256:{'b2' * 32}"


def screen(text: str) -> list[str]:
    """What a terminal shows that knows what we use: up so many lines, and clear from there."""
    lines: list[str] = []
    for piece in text.split("\033[J"):
        shown, _, up = piece.partition("\033[")
        lines += shown.splitlines()
        if up:
            del lines[len(lines) - int(up.removesuffix("A")) :]
    return lines


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "_PAUSE_S", 0.0)


def test_blobs_are_drawn_in_place_until_they_are_done() -> None:
    out = io.StringIO()
    shown = Bars(out)
    shown("Getting image source signatures")
    shown(f"Copying blob {BLOB}")
    shown(f"Copying blob {OTHER} skipped: already exists")
    shown.advance(BLOB, 1 << 20, 4 << 20)
    lines = screen(out.getvalue())
    assert lines[0] == "Getting image source signatures"
    assert lines[1].startswith("Copying blob a1a1a1a1a1a1 [=====")
    assert lines[1].endswith("---] 1.0MiB / 4.0MiB")
    assert len(lines[1]) == 79  # a full line would move the cursor on some terminals
    bar = lines[1].partition("[")[2].partition("]")[0]
    assert abs(bar.index(">") + 1 - len(bar) / 4) < 1
    assert lines[2] == "Copying blob b2b2b2b2b2b2 skipped: already exists"
    shown.finish(BLOB)
    shown(f"Copying config {BLOB}")
    shown("Writing manifest to image destination")
    shown.advance(BLOB, 4 << 20, 4 << 20)  # too late to change anything
    assert screen(out.getvalue()) == [
        "Getting image source signatures",
        "Copying blob a1a1a1a1a1a1 done",
        "Copying blob b2b2b2b2b2b2 skipped: already exists",
        "Writing manifest to image destination",
    ]


def test_a_config_is_done_when_it_is_spoken_of() -> None:
    out = io.StringIO()
    Bars(out)(f"Copying config {BLOB}")
    assert screen(out.getvalue()) == ["Copying config a1a1a1a1a1a1 done"]


def test_a_narrow_terminal_has_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "_columns", lambda _: 50)
    out = io.StringIO()
    shown = Bars(out)
    shown(f"Copying blob {BLOB}")
    shown.advance(BLOB, 10, 5000)
    assert screen(out.getvalue()) == ["Copying blob a1a1a1a1a1a1 10B / 4.9KiB"]
    monkeypatch.setattr(bars, "_columns", lambda _: 20)
    shown.advance(BLOB, 5000, 5000)
    assert screen(out.getvalue()) == ["Copying blob a1a1a1a"]
