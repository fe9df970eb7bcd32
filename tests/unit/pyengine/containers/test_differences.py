"""What counts as changed, with whiteouts, opaque directories and links that lead elsewhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyengine.containers import differences, file_trees
from pyengine.errors import ConflictError


def put(top: Path, *names: str) -> None:
    for name in names:
        path = top / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        os.utime(path, (1, 1))


def white_out(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, stat.S_IFCHR, 0)


def opaque(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    os.setxattr(path, "user.overlay.opaque", b"y")


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """The bottom and the top one; the top one hides a/gone and everything old in d."""
    bottom, top = tmp_path / "bottom", tmp_path / "top"
    put(bottom, "a/one", "a/gone", "a/two", "d/old", "etc/passwd", "link/")
    put(top, "a/two", "d/new")
    white_out(top / "a/gone")
    opaque(top / "d")
    return [bottom, top]


def changes(monkeypatch: pytest.MonkeyPatch, layers: list[Path], **place: Path) -> list[str]:
    config: dict[str, Any] = {"rootfs": "", "volumes": [], "tmpfs": {}, "id_maps": []}
    container: Any = SimpleNamespace(config=config, name="c", started_at=1.0, live=False)
    upper = place.get("upper")
    monkeypatch.setattr(file_trees, "layers", lambda *_: list(map(str, layers)))
    monkeypatch.setattr(file_trees, "upper", lambda *_: str(upper) if upper else None)
    monkeypatch.setattr(file_trees, "shown", lambda *_: str(place.get("merged")))
    host: Any = None
    return [f"{kind} {path}" for kind, path in differences.changes(host, container)]


def test_an_upper_directory_is_compared_with_all_layers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layers: list[Path]
) -> None:
    upper = tmp_path / "upper"
    put(upper, "a/gone", "a/one", "d/old", "new/f", "etc/hosts", "empty/")
    white_out(upper / "a/two")
    white_out(upper / "never")
    assert changes(monkeypatch, layers, upper=upper) == [
        "C /a", "A /a/gone", "C /a/one", "D /a/two", "C /d", "A /d/old", "A /empty", "A /new",
        "A /new/f",
    ]  # fmt: skip


def test_an_opaque_directory_removes_what_was_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layers: list[Path]
) -> None:
    upper = tmp_path / "upper"
    opaque(upper / "a")
    put(upper, "a/one")
    assert changes(monkeypatch, layers, upper=upper) == ["C /a", "C /a/one", "D /a/two"]


def test_directories_that_hold_only_our_mount_points_have_not_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layers: list[Path]
) -> None:
    upper = tmp_path / "upper"
    put(upper, "etc/hosts", "etc/resolv.conf", "dev/", "proc/")
    assert changes(monkeypatch, layers, upper=upper) == []
    (upper / "etc").chmod(0o700)
    assert changes(monkeypatch, layers, upper=upper) == ["C /etc"]


def test_a_copied_tree_is_compared_by_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layers: list[Path]
) -> None:
    merged = tmp_path / "merged"
    put(merged, "a/one", "a/two", "d/new", "etc/passwd", "link/")
    assert changes(monkeypatch, layers, merged=merged) == []
    (merged / "a/one").write_text("else")
    (merged / "d/new").unlink()
    put(merged, "x/y")
    assert changes(monkeypatch, layers, merged=merged) == [
        "C /a", "C /a/one", "C /d", "D /d/new", "A /x", "A /x/y",
    ]  # fmt: skip


def test_links_lead_nowhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layers: list[Path]
) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "link").symlink_to(tmp_path)
    (layers[1] / "out").symlink_to("/etc")
    put(upper, "out/passwd")
    assert changes(monkeypatch, layers, upper=upper) == ["C /link", "C /out", "A /out/passwd"]


def test_our_empty_mount_points_are_stubs(tmp_path: Path) -> None:
    put(tmp_path, "etc/resolv.conf", "proc/", "sys/mine")
    (tmp_path / "etc/hosts").touch()
    (tmp_path / "run").symlink_to("/")
    assert differences.stubs(str(tmp_path), []) == {"etc/hosts", "proc"}
    put(tmp_path / "image", "proc/")
    assert differences.stubs(str(tmp_path), [str(tmp_path / "image")]) == {"etc/hosts"}


def test_a_directory_of_the_host_has_no_image() -> None:
    container: Any = SimpleNamespace(config={"rootfs": "/srv"}, name="c")
    host: Any = None
    with pytest.raises(ConflictError, match="no image to compare"):
        differences.changes(host, container)
