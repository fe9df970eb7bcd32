from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from pyengine import log
from pyengine.database import locks as module
from pyengine.database.locks import Locks


def test_a_held_lock_is_not_given_twice(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path / "locks"))
    with locks.hold("container-a"):
        assert locks.acquire("container-a", wait=False) is None
    fd = locks.acquire("container-a", wait=False)
    assert fd is not None
    locks.release("container-a", fd)


def test_a_removed_lock_leaves_no_file(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    with locks.hold("container-a", remove=True):
        assert locks.exists("container-a")
    assert not locks.exists("container-a")


def test_a_lock_whose_file_was_replaced_while_waiting_is_taken_anew(tmp_path: Path) -> None:
    """The waiter of a lock that its owner removes must not end with a nameless file."""
    locks = Locks(str(tmp_path))
    owner_fd = locks.acquire("a", wait=True)
    assert owner_fd is not None
    ready_read, ready_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(owner_fd)  # the lock belongs to whoever still has its descriptor
        os.write(ready_write, b"x")
        fd = locks.acquire("a", wait=True)
        same = fd is not None and os.fstat(fd).st_ino == os.stat(tmp_path / "a").st_ino
        os._exit(0 if same else 1)
    os.read(ready_read, 1)
    locks.release("a", owner_fd, remove=True)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(ready_read)
    os.close(ready_write)


def test_the_kernel_frees_the_lock_of_a_killed_owner(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        locks.acquire("a", wait=True)
        os.write(write_fd, b"x")
        os.close(write_fd)
        os.execvp("sleep", ["sleep", "60"])  # the lock's descriptor is closed on exec
    os.read(read_fd, 1)
    fd = locks.acquire("a", wait=True)
    os.kill(child, 9)
    os.waitpid(child, 0)
    for each in (fd, read_fd, write_fd):
        assert each is not None
        os.close(each)


def test_who_waits_long_is_told_for_whom_and_gets_the_lock_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLD_AFTER_S", 0.02)
    locks = Locks(str(tmp_path))
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_write)
        locks.acquire("container-a", wait=True)
        os.write(ready_write, b"x")
        os.read(go_read, 1)  # until our parent has been told
        os._exit(0)
    os.read(ready_read, 1)
    before = signal.getsignal(signal.SIGALRM)

    def tell(message: str) -> None:
        told.append(message)
        os.close(go_write)

    told: list[str] = []
    monkeypatch.setattr(log, "warning", tell)
    fd = locks.acquire("container-a", wait=True)
    os.waitpid(child, 0)
    assert signal.getsignal(signal.SIGALRM) == before
    assert len(told) == 1
    assert told[0].startswith(f"waiting for process {child} (")
    assert told[0].endswith(", which works on container-a")
    for each in (fd, ready_read, ready_write, go_read):
        assert each is not None
        os.close(each)


def test_a_second_thread_waits_too(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    fd = locks.acquire("a", wait=True)
    assert fd is not None
    taken: list[int | None] = []
    waiter = threading.Thread(target=lambda: taken.append(locks.acquire("a", wait=True)))
    waiter.start()
    locks.release("a", fd)
    waiter.join(60)
    assert len(taken) == 1
    assert taken[0] is not None
    os.close(taken[0])
