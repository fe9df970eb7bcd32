"""A container that may write to its cgroup, and does so to stay."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")

# more than Python's stack of calls has room for, and than a process may have open files
DEEP = """
cd /sys/fs/cgroup/pids
i=0
while [ $i -lt 1100 ]; do mkdir n || exit; cd n; i=$((i + 1)); done
sleep 1000 & echo $! >cgroup.procs
"""
FROZEN = """
mkdir -p /sys/fs/cgroup/freezer/a/b
sleep 1000 & echo $! >/sys/fs/cgroup/freezer/a/b/cgroup.procs
echo FROZEN >/sys/fs/cgroup/freezer/a/b/freezer.state
echo FROZEN >/sys/fs/cgroup/freezer/a/freezer.state
"""


def stays(pyrun: Runtime, bundle: Bundle, script: str) -> str:
    """A container that has done what ``script`` says."""
    bundle.config["root"]["readonly"] = False
    bundle.mount("/sys/fs/cgroup", type="cgroup", source="cgroup", options=["rw"])
    bundle.shell(f"{script}\ntouch /tmp/done; exec sleep 1000")
    name = pyrun.start(bundle)
    wait_for((bundle.rootfs / "tmp/done").exists, "the cgroups that the container makes")
    return name


def left(name: str) -> list[Path]:
    return [path for path in Path("/sys/fs/cgroup").glob(f"*/{name}") if path.exists()]


@pytest.mark.needs("cgroup_pids")
def test_cgroups_nested_deeper_than_python_can_recurse_are_removed(
    pyrun: Runtime, bundle: Bundle
) -> None:
    name = stays(pyrun, bundle, DEEP)
    try:
        done = pyrun.call("delete", "--force", name)
        assert (done.returncode, done.stderr, left(name)) == (0, "", [])
    finally:
        for path in left(name):
            remove_nested(path)


def remove_nested(path: Path) -> None:
    """For a runtime that cannot: the leak check of the tests would not stand it."""
    fds = os.open(path, os.O_RDONLY)
    with contextlib.suppress(FileNotFoundError):
        while True:
            below = os.open("n", os.O_RDONLY, dir_fd=fds)
            os.close(fds)
            fds = below
    with contextlib.suppress(OSError):
        while True:
            above = os.open("..", os.O_RDONLY, dir_fd=fds)
            os.close(fds)
            fds = above
            os.rmdir("n", dir_fd=fds)
    os.close(fds)


@pytest.mark.needs("cgroup_freezer")
@pytest.mark.parametrize("words", [["delete", "--force"], ["kill"]])
def test_what_a_container_froze_by_itself_dies(
    pyrun: Runtime, bundle: Bundle, words: list[str]
) -> None:
    """Init's end waits for every process of its pid namespace, and a frozen one takes no signal."""
    name = stays(pyrun, bundle, FROZEN)
    done = pyrun.call(*words, name, *(["KILL"] if words == ["kill"] else []))
    assert (done.returncode, done.stderr) == (0, "")
    if words == ["kill"]:
        pyrun.wait_until_stopped(name)
        assert pyrun.call("delete", name).returncode == 0
    assert left(name) == []


@pytest.mark.needs("cgroup_freezer")
def test_an_init_that_freezes_itself_dies(pyrun: Runtime, bundle: Bundle) -> None:
    script = """
mkdir /sys/fs/cgroup/freezer/own
echo $$ >/sys/fs/cgroup/freezer/own/cgroup.procs
touch /tmp/done
echo FROZEN >/sys/fs/cgroup/freezer/own/freezer.state
"""
    name = stays(pyrun, bundle, script)
    done = pyrun.call("delete", "--force", name)
    assert (done.returncode, done.stderr, left(name)) == (0, "", [])
