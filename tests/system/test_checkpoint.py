"""container checkpoint and restore, with a criu that does what the test says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot
from support.criu import DUMP, RESTORE, FakeCriu
from support.monitors import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def criu(tmp_path: Path) -> FakeCriu:
    return FakeCriu(tmp_path / "criu")


@pytest.fixture
def saving(pyengine_path: str, pyrun_path: str, tmp_path: Path, criu: FakeCriu
           ) -> Iterator[ContainerRoot]:  # fmt: skip
    programs = ("--runtime", pyrun_path, "--runtime-flag", f"criu={criu.path}")
    made = ContainerRoot(pyengine_path, tmp_path, programs)
    made.load_image()
    try:
        yield made
    finally:
        made.remove_everything()
    assert made.settled() == []


def state(box: ContainerRoot, name: str) -> str:
    form = "{{.State.Status}} {{.State.Checkpointed}}"
    return box.ok("inspect", "--format", form, name).strip()


def test_a_checkpoint_is_kept_until_it_is_restored(saving: ContainerRoot, criu: FakeCriu) -> None:
    saving.ok("run", "-d", "--name", "c", IMAGE, "sleep", "1000")
    assert "cannot restore" in saving.fails("container", "restore", "c")
    id_ = saving.ok("container", "checkpoint", "--leave-running", "--file-locks", "c").strip()
    assert state(saving, "c") == "running false"
    images = saving.root / "containers" / id_ / "checkpoint"
    assert (images / "descriptors.json").exists()
    (images / "inventory.img").touch()  # which criu makes
    saving.ok("stop", "-t", "0", "c")
    assert state(saving, "c") == "exited true"
    assert "not running, cannot checkpoint" in saving.fails("container", "checkpoint", "c")

    criu.plan({RESTORE: [["fail", [22, "no luck"]]]})
    assert "no luck" in saving.fails("container", "restore", "c")
    assert state(saving, "c") == "exited true"
    criu.plan({RESTORE: [["restored", "exec sleep 1000"], ["answer", ""]]})
    assert saving.ok("container", "restore", "--all") == f"{id_}\n"
    assert state(saving, "c") == "running false"
    pid = saving.ok("inspect", "--format", "{{.State.Pid}}", "c").strip()
    assert Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", b"1000"]
    assert not images.exists()
    os.kill(int(pid), 9)
    assert saving.ok("wait", "c") == "137\n"
    told = saving.ok("events", "--stream=false", "--since", "1h", "--format", "{{.Status}}",
                     "--filter", "container=c").split()  # fmt: skip
    assert [one for one in told if one in ("checkpoint", "restore")] == ["checkpoint", "restore"]


def test_a_checkpoint_that_fails_leaves_the_container_running(
    saving: ContainerRoot, criu: FakeCriu
) -> None:
    id_ = saving.ok("run", "-d", "--name", "c", IMAGE, "sleep", "1000").strip()
    criu.plan({DUMP: [["fail", [22, "not possible"]]]})
    error = saving.fails("container", "checkpoint", "c")
    assert "checkpoint container c: " in error
    assert "not possible" in error
    assert state(saving, "c") == "running false"
    assert not (saving.root / "containers" / id_ / "checkpoint").exists()
    saving.ok("run", "-d", "--rm", "--name", "short", IMAGE, "sleep", "1000")
    assert "--rm would remove it" in saving.fails("container", "checkpoint", "short")
    criu.path.unlink()
    assert "criu" in saving.fails("container", "checkpoint", "c")


@pytest.mark.needs("criu", "conmon")
@pytest.mark.parametrize("monitor", ["pyconmon", "conmon"])
def test_the_real_criu_saves_what_is_in_memory(
    box: ContainerRoot, monitor: str, pyconmon_path: str
) -> None:
    path = pyconmon_path if monitor == "pyconmon" else "/usr/bin/conmon"
    script = (
        "read a </proc/sys/kernel/random/uuid; echo $a; while [ ! -e /tmp/go ]; do sleep 0.1; done;"
        " echo $a; exit 9"
    )
    box.ok("run", "-d", "--conmon", path, "--name", "m", IMAGE, "sh", "-c", script)
    wait_for(lambda: box.ok("logs", "m"), "its secret")
    box.ok("container", "checkpoint", "--keep", "m")
    assert state(box, "m") == "exited true"
    assert "because of `checkpoint`" in box.ok("why", "m")
    box.ok("container", "restore", "m")
    assert state(box, "m") == "running false"
    box.ok("exec", "m", "busybox", "touch", "/tmp/go")
    assert box.ok("wait", "m") == "9\n"
    before, after = box.ok("logs", "m").splitlines()
    assert before == after
