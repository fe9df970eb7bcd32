from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from pyrun import syscalls
from pyrun.container import fork, stage
from pyrun.container.request import Request
from pyrun.errors import KernelError
from pyrun.spec.load import Bundle


def leave() -> None:
    os._exit(7)


def refuse(number: int) -> Callable[..., int]:
    def call(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [38, 7, 13, 16, 95])  # ENOSYS E2BIG EACCES EBUSY EOPNOTSUPP
def test_a_clone_that_the_kernel_refuses_is_an_ordinary_fork(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "clone_into_cgroup", refuse(number))
    cgroup_fd = os.open("/", os.O_PATH)
    pid, cloned = fork.fork(cgroup_fd, leave)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert not cloned
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(cgroup_fd)


def test_a_pid_namespace_that_ended_with_the_refused_clone_hides_no_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(syscalls, "clone_into_cgroup", refuse(16))
    monkeypatch.setattr("posix.fork", refuse(12))
    with pytest.raises(KernelError, match="process in its cgroup: Device or resource busy"):
        fork.fork(os.open("/", os.O_PATH), leave)


def test_what_is_no_cgroup_is_not_cloned_into() -> None:
    pid, cloned = fork.fork(os.open("/", os.O_PATH), leave)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert not cloned


def test_too_many_processes_have_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posix.fork", refuse(11))
    with pytest.raises(KernelError, match="fork the container process: Resource temporarily"):
        fork.fork(-1, leave)


def test_a_stage_that_cannot_be_forked_has_the_same_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = stage.Stage(Request("/nowhere", "x"), Bundle("/nowhere", {}, b""), 0)
    monkeypatch.setattr("posix.fork", refuse(11))
    with pytest.raises(KernelError, match="fork the container process: Resource temporarily"):
        begun.fork()
    begun.settle()
