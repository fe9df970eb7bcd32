from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

from pyengine.monitor.exits import Watch, read


def write_exit(directory: Path, text: str) -> None:
    temporary = directory / "id.tmp"
    temporary.write_text(text)
    temporary.rename(directory / "id")


def test_an_exit_file_ends_the_wait(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as monitor:
        watch = Watch(f"{tmp_path}/id", str(tmp_path), 0, monitor.pid)
        threading.Timer(0.05, write_exit, (tmp_path, "7")).start()
        ended, how = watch.wait(None)
        watch.close()
        monitor.kill()
    assert ended
    assert how is not None
    assert (how.code, how.oom_killed) == (7, False)


def test_a_wait_has_its_time(tmp_path: Path) -> None:
    watch = Watch(f"{tmp_path}/id", str(tmp_path), os.getpid(), 0)
    assert watch.wait(0.02) == (False, None)
    watch.close()


def test_without_a_monitor_the_process_is_what_ends(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as process, subprocess.Popen(["true"]) as monitor:
        monitor.wait()
        watch = Watch(f"{tmp_path}/id", str(tmp_path), process.pid, monitor.pid)
        assert watch.wait(0.02) == (False, None)
        process.kill()
        assert watch.wait(30) == (True, None)
        watch.close()


def test_an_exit_file_that_is_being_written_is_none_yet(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("")
    assert read(f"{tmp_path}/id", str(tmp_path)) is None
    (tmp_path / "id").write_text("137")
    (tmp_path / "oom").touch()
    found = read(f"{tmp_path}/id", str(tmp_path))
    assert found is not None
    assert (found.code, found.oom_killed) == (137, True)
