from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from pyengine.monitor import exits
from pyengine.monitor.exits import Watch, open_pidfd, read


def watch_of(directory: Path, pid: int, monitor_pid: int) -> Watch:
    fds = (open_pidfd(pid), open_pidfd(monitor_pid))
    return Watch(f"{directory}/id", str(directory), *fds, "web")


def write_exit(directory: Path, text: str) -> None:
    temporary = directory / "id.tmp"
    temporary.write_text(text)
    temporary.rename(directory / "id")


def test_an_exit_file_ends_the_wait(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as monitor:
        watch = watch_of(tmp_path, 0, monitor.pid)
        threading.Timer(0.05, write_exit, (tmp_path, "7")).start()
        ended, how = watch.wait(None)
        watch.close()
        monitor.kill()
    assert ended
    assert how is not None
    assert (how.code, how.oom_killed) == (7, False)


def test_a_wait_has_its_time(tmp_path: Path) -> None:
    watch = watch_of(tmp_path, os.getpid(), 0)
    assert watch.wait(0.02) == (False, None)
    watch.close()


def test_without_a_monitor_the_process_is_what_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen(["sleep", "1000"]) as process, subprocess.Popen(["true"]) as monitor:
        monitor.wait()
        watch = watch_of(tmp_path, process.pid, monitor.pid)
        assert watch.wait(0.02) == (False, None)
        monkeypatch.setattr(exits, "REAPED_S", 0.0)  # nobody reaps it yet
        process.kill()
        assert watch.wait(60) == (True, None)
        watch.close()


def test_without_a_monitor_the_kernel_may_know_how_a_process_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for script, code in (("exit 7", 7), ("kill -9 $$", 137)):
        with subprocess.Popen(["sh", "-c", f"read x; {script}"], stdin=subprocess.PIPE) as process:
            watch = watch_of(tmp_path, process.pid, 0)
            pidfd = os.pidfd_open(process.pid)
            process.communicate(b"\n")  # reaps it
        known = exits.code_of_ended(pidfd)
        assert known in (code, None)  # Linux 6.15 tells
        ended, how = watch.wait(60)
        assert (ended, how and how.code) == (True, known)
        monkeypatch.setattr(exits, "REAPED_S", 0.0)
        monkeypatch.setattr(exits, "_PIDFD_GET_INFO", 0)  # of an older kernel
        assert exits.code_of_ended(pidfd) is None
        monkeypatch.undo()
        os.close(pidfd)
        watch.close()


def test_a_monitor_that_hangs_is_killed_but_not_while_the_container_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exits, "MONITOR_S", 0.05)
    with subprocess.Popen(["sleep", "1000"]) as process, subprocess.Popen(["sleep", "1000"]) as one:
        watch = watch_of(tmp_path, process.pid, one.pid)
        assert watch.limit_ms() is None
        assert watch.wait(0.2) == (False, None)
        process.kill()
        assert watch.wait(None) == (True, None)
        assert one.wait(60) == -9
        watch.close()
    assert "the monitor of container web does not record its end" in capsys.readouterr().err


def test_a_directory_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as monitor:
        watch = watch_of(tmp_path / "gone", 0, monitor.pid)
        write_exit(tmp_path / "gone", "7")
        ended, how = watch.wait(None)
        watch.close()
        monitor.kill()
    assert ended
    assert how is not None
    assert how.code == 7


def test_an_exit_file_that_is_being_written_is_none_yet(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("")
    assert read(f"{tmp_path}/id", str(tmp_path)) is None
    (tmp_path / "id").write_text("137")
    (tmp_path / "oom").touch()
    found = read(f"{tmp_path}/id", str(tmp_path))
    assert found is not None
    assert (found.code, found.oom_killed) == (137, True)
