"""Checks that nothing in a container can make fail by itself, with a kernel that lets it."""

from __future__ import annotations

import os
import posix
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyrun import syscalls
from pyrun.container import interpreter
from pyrun.errors import KernelError
from pyrun.linux import capabilities, console, rootfs


def test_a_console_on_procfs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2025-52565, should procfs ever have a file of that name."""
    mounted: list[object] = []
    monkeypatch.setattr(syscalls, "mount", lambda *words: mounted.append(words))
    monkeypatch.setattr(
        console, "_console_file", lambda _root_fd: os.open("/proc/version", os.O_PATH)
    )
    with pytest.raises(KernelError, match="/dev/console: it is on procfs"):
        console.bind_console(-1, 0)
    assert mounted == []


@pytest.mark.parametrize(
    ("caller", "owner", "mode", "reach"),
    [
        (1000, 0, 0o755, False),
        (1000, 1000, 0o755, True),  # he may write to it, and so may his container
        (1000, 0, 0o775, True),
        (1000, 0, 0o757, True),
        (0, 0, 0o755, True),
        (0, 1000, 0o755, True),
    ],
)
def test_an_interpreter_is_out_of_reach_of_who_may_not_write_to_it(
    monkeypatch: pytest.MonkeyPatch, caller: int, owner: int, mode: int, reach: bool
) -> None:
    monkeypatch.setattr(posix, "geteuid", lambda: caller)
    info = SimpleNamespace(st_uid=owner, st_mode=mode | 0o100000)
    monkeypatch.setattr(posix, "stat", lambda _path: info)
    assert interpreter._is_out_of_reach() == (not reach)


@pytest.mark.parametrize(
    ("flags", "same", "mounted"),
    [(posix.ST_RDONLY, True, True), (posix.ST_RDONLY, False, False), (0, True, False)],
)
def test_only_this_interpreter_mounted_read_only_is_entered_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: int, same: bool, mounted: bool
) -> None:
    """Another one may be a Python from before an upgrade; a writable one can be overwritten."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.touch()
    other.touch()
    monkeypatch.setattr(posix, "statvfs", lambda _path: SimpleNamespace(f_flag=flags))
    assert interpreter._is_mounted(str(one), str(one if same else other)) == mounted


def test_capabilities_are_kept_for_the_change_of_ids_only(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[object, ...]] = []
    for module, name in (
        (syscalls, "prctl"), (posix, "setgroups"), (posix, "setresgid"), (posix, "setresuid"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *words, _name=name: made.append((_name, *words)))
    capabilities.change_user(7, 8, [9], set_groups=True)
    assert made == [
        ("prctl", syscalls.PR_SET_KEEPCAPS, 1),
        ("setgroups", [9]),
        ("setresgid", 8, 8, 8),
        ("setresuid", 7, 7, 7),
        ("prctl", syscalls.PR_SET_KEEPCAPS, 0),
    ]


def recorder(made: list[tuple[object, ...]], name: str) -> Callable[..., None]:
    def call(*words: object) -> None:
        made.append((name, *words))

    return call


@pytest.fixture
def roots(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What would be done to this process's root."""
    made: list[tuple[object, ...]] = []
    for name in ("mount", "umount2", "pivot_root"):
        monkeypatch.setattr(syscalls, name, recorder(made, name))
    for name in ("fchdir", "chdir", "chroot"):
        monkeypatch.setattr(posix, name, recorder(made, name))
    return made


def test_the_detaching_of_the_old_root_goes_nowhere_else(roots: list[tuple[object, ...]]) -> None:
    """Were it shared, every other namespace of its group would lose its root."""
    rootfs.pivot(99)
    slave = ("mount", None, ".", None, syscalls.MS_SLAVE | syscalls.MS_REC, None)
    gone = ("umount2", ".", syscalls.MNT_DETACH)
    assert roots.index(("pivot_root", ".", ".")) < roots.index(slave) < roots.index(gone)


def test_no_procfs_of_the_host_stays_below_a_root_that_is_moved(
    monkeypatch: pytest.MonkeyPatch, roots: list[tuple[object, ...]]
) -> None:
    """Whoever came out of the chroot could reach the host by it; a locked one is covered."""

    def umount2(target: str, flags: int) -> None:
        roots.append(("umount2", target, flags))
        if target == "/locked":
            raise PermissionError

    monkeypatch.setattr(syscalls, "umount2", umount2)
    monkeypatch.setattr(rootfs, "_host_kernel_mounts", lambda _root: ["/proc", "/locked"])
    rootfs.move(99, "/root")
    moved = roots.index(("mount", ".", "/", None, syscalls.MS_MOVE, None))
    for call in (
        ("umount2", "/proc", syscalls.MNT_DETACH),
        ("mount", "tmpfs", "/locked", "tmpfs", 0, None),
    ):
        assert roots.index(call) < moved
    assert ("mount", "tmpfs", "/proc", "tmpfs", 0, None) not in roots
    assert roots[-2:] == [("chroot", "."), ("chdir", "/")]


def test_what_shows_the_kernel_is_found_outside_of_the_root_only() -> None:
    assert "/proc" in rootfs._host_kernel_mounts("/elsewhere")
    assert "/proc" not in rootfs._host_kernel_mounts("/proc")
