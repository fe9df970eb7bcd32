"""What may happen between two system calls, with a system call that lets it happen."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import os
import posix
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrun import syscalls
from pyrun.container import join, late_mounts, lifecycle, status
from pyrun.container.store import Entry
from pyrun.errors import ContainerError, KernelError
from pyrun.linux import namespaces, paths
from pyrun.linux.mounts import Mounter

# --- a number that becomes that of another process


@pytest.fixture
def entry(tmp_path: Path) -> Iterator[Entry]:
    """A container whose init is a process of this test."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        made = Entry("one", str(tmp_path))
        begun = status.start_time(process.pid)
        made.state = {"pid": process.pid, "pid_start": begun, "stage": "created"}
        try:
            yield made
        finally:
            process.kill()


@pytest.fixture
def reused(monkeypatch: pytest.MonkeyPatch, entry: Entry) -> None:
    """Once anything of the process is opened, its number is another's."""
    really = posix.open

    def take() -> None:
        monkeypatch.setitem(entry.state, "pid_start", 1)

    def pidfd_open(pid: int, flags: int = 0) -> int:
        take()
        return int(os.pidfd_open(pid, flags))

    def open_file(path: str, *rest: Any, **more: Any) -> int:
        if path == f"/proc/{entry.state['pid']}/root":
            take()
        return really(path, *rest, **more)

    monkeypatch.setattr(posix, "pidfd_open", pidfd_open)
    monkeypatch.setattr(posix, "open", open_file)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that would have been sent."""
    numbers: list[int] = []
    monkeypatch.setattr(_signal, "pidfd_send_signal", lambda _fd, number: numbers.append(number))
    return numbers


@pytest.mark.usefixtures("reused")
def test_no_signal_goes_to_a_process_that_has_got_the_number_of_init(
    sent: list[int], entry: Entry
) -> None:
    assert status.of(entry) == "running"
    with pytest.raises(ContainerError, match="kill container one: container not running"):
        lifecycle.kill(entry, 15)
    assert sent == []


@pytest.mark.usefixtures("reused")
def test_the_end_of_a_container_is_not_that_of_a_process_with_the_number_of_init(
    sent: list[int], entry: Entry
) -> None:
    lifecycle.end(entry)
    assert sent == []


def test_a_signal_goes_to_init(sent: list[int], entry: Entry) -> None:
    (Path(entry.path) / "exec.fifo").touch()
    lifecycle.kill(entry, 15)
    assert sent == [15]


@pytest.mark.usefixtures("reused")
def test_nobody_enters_a_process_that_has_got_the_number_of_init(entry: Entry) -> None:
    with pytest.raises(ContainerError, match="exec in container one: it has stopped"):
        join._plan(entry)


@pytest.mark.usefixtures("reused")
def test_nothing_is_mounted_in_a_process_that_has_got_the_number_of_init(
    monkeypatch: pytest.MonkeyPatch, entry: Entry
) -> None:
    monkeypatch.setattr(namespaces, "is_other", lambda _pid, name: name == "mnt")
    with pytest.raises(ContainerError, match="add mounts: it has stopped"):
        late_mounts._Place(entry, "add mounts")


# --- a mount whose place becomes another's


class Kernel:
    """Mounts by moving the source there; then another container may exchange the place."""

    def __init__(self, root: Path, source: Path, then: Callable[[], None]) -> None:
        self.root = root
        self.source = source
        self.then = then
        self.changed: list[str] = []

    def mount(
        self, source: str | None, target: str, _fstype: str | None, flags: int, _data: object
    ) -> None:
        place = os.readlink(target)
        if source:
            assert flags & syscalls.MS_BIND
            os.rmdir(place)
            self.source.rename(place)
            self.then()
        else:
            self.changed.append(place)

    def mount_setattr(self, fd: int, *_: int) -> None:
        self.changed.append(os.readlink(paths.proc_path(fd)))


@pytest.mark.parametrize("word", ["ro", "private", "rro"])
@pytest.mark.parametrize("exchanged", [False, True])
def test_flags_go_to_what_was_mounted_or_nowhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str, exchanged: bool
) -> None:
    root, source, other = tmp_path / "root", tmp_path / "source", tmp_path / "root/other"
    for path in (root, source, other, root / "volume"):
        path.mkdir()
    place = root / "volume/place"

    def exchange() -> None:
        place.rename(root / "volume/away")
        place.symlink_to("/other")

    kernel = Kernel(root, source, exchange if exchanged else lambda: None)
    monkeypatch.setattr(syscalls, "mount", kernel.mount)
    monkeypatch.setattr(syscalls, "mount_setattr", kernel.mount_setattr)
    root_fd = os.open(root, os.O_PATH)
    try:
        mounter = Mounter(root_fd, str(tmp_path), "", {}, lambda _source, _target: None)
        entry = {"destination": "/volume/place", "source": str(source), "options": ["bind", word]}
        if exchanged:
            with pytest.raises(KernelError, match="another file has taken its place meanwhile"):
                mounter.mount(entry, 0)
            assert kernel.changed == []
        else:
            mounter.mount(entry, 0)
            assert kernel.changed == [str(place)]
    finally:
        os.close(root_fd)
