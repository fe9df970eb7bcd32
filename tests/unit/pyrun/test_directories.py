"""The directories of containers and their locks."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from pyrun.container import directories, saving, store
from pyrun.errors import ContainerError


def lock(path: Path, how: int) -> int:
    path.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, how)
    return fd


def test_an_id_that_somebody_works_on_is_in_use(tmp_path: Path) -> None:
    fd = lock(tmp_path / "one", fcntl.LOCK_EX)
    with pytest.raises(ContainerError, match="exists already"):
        directories.reserve(str(tmp_path), "one")
    os.close(fd)


def test_whoever_only_asks_for_the_lock_does_not_keep_an_id_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``state`` and ``delete`` ask by a shared lock, which is there for a moment."""
    asking = [lock(tmp_path / "one", fcntl.LOCK_SH)]
    ask = store.is_locked

    def ask_and_leave(entry: store.Entry) -> bool:
        answer = ask(entry)
        while asking:
            os.close(asking.pop())
        return answer

    monkeypatch.setattr(store, "is_locked", ask_and_leave)
    entry = directories.reserve(str(tmp_path), "one")
    assert entry.lock_fd >= 0
    entry.unlock()


def test_only_directories_are_containers(tmp_path: Path) -> None:
    for name in ("b-2", "a-1"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert directories.identifiers(str(tmp_path)) == ["a-1", "b-2"]
    assert directories.matching(str(tmp_path), "^b") == ["b-2"]
    assert directories.identifiers(str(tmp_path / "none")) == []
    with pytest.raises(ContainerError, match="is no regular expression"):
        directories.matching(str(tmp_path), "(")


def test_a_directory_that_cannot_be_locked_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ContainerError, match=f"lock {tmp_path}/one: No locks available"):
        directories.reserve(str(tmp_path), "one")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_somebody_laid_in_the_way_is_not_written_to(tmp_path: Path) -> None:
    """A new file takes its name, whatever it is and wherever it leads."""
    victim = tmp_path / "victim"
    victim.write_text("unchanged")
    for lay in (
        lambda name: name.symlink_to(victim),
        lambda name: name.hardlink_to(victim),
        lambda name: os.mkfifo(name),
    ):
        lay(tmp_path / "pid.new")
        saving.write_pid_file(str(tmp_path / "pid"), 17)
        assert (tmp_path / "pid").read_text() == "17"
        assert not (tmp_path / "pid").is_symlink()
    assert victim.read_text() == "unchanged"


def test_what_cannot_be_replaced_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(ContainerError, match="save it: Is a directory"):
        saving.replace(str(tmp_path / "state.json"), b"{}", "save it")
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_pid_goes_into_a_pipe_or_a_device_and_not_into_its_place(tmp_path: Path) -> None:
    """``--pid-file /dev/null``, after which there would be no /dev/null."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    saving.write_pid_file(str(pipe), 17)
    assert os.read(reader, 100) == b"17"
    os.close(reader)
    assert pipe.is_fifo()
    with pytest.raises(ContainerError, match=f"write the pid file {tmp_path}: Is a directory"):
        saving.write_pid_file(str(tmp_path), 17)


@pytest.mark.parametrize("taken", [False, True])
def test_a_state_that_cannot_be_read_leaves_no_new_directory_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    def refuse(entry: store.Entry) -> bool:
        if taken:
            (Path(entry.path) / "state.json").touch()
        raise ContainerError("Too many open files")

    monkeypatch.setattr(store.Entry, "read_any", refuse)
    with pytest.raises(ContainerError, match="Too many open files"):
        directories.reserve(str(tmp_path), "one")
    assert (tmp_path / "one").exists() == taken


def test_a_container_that_cannot_be_locked_again_is_not_taken_for_deleted(tmp_path: Path) -> None:
    """``run`` would leave it, and say nothing."""
    entry = store.Entry("one", str(tmp_path / "one"))
    assert directories.again(entry) is None
    (tmp_path / "one").mkdir()
    (tmp_path / "one/state.json").mkdir()
    with pytest.raises(ContainerError, match="Is a directory"):
        directories.again(entry)


@pytest.mark.parametrize("kind", ["link to nothing", "file"])
def test_a_root_that_is_no_directory_is_not_taken_for_a_container(
    tmp_path: Path, kind: str
) -> None:
    root = tmp_path / "root"
    if kind == "file":
        root.touch()
    else:
        root.symlink_to("nowhere")
    with pytest.raises(ContainerError, match=f"{root}: File exists"):
        directories.reserve(str(root), "one")
