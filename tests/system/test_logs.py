"""Log drivers, and reading logs of one and of several containers."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot

pytestmark = pytest.mark.needs("root", "busybox")

COUNT = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"


def test_a_rotated_log_is_followed_and_read_whole(box: ContainerRoot) -> None:
    limits = ("--log-opt", "max-size=16k", "--log-opt", "max-file=20")
    box.ok("create", "-i", "--name", "long", *limits, IMAGE, "sh", "-c", f"read x; {COUNT}")
    with box.popen("start", "-ai", "long", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
                   ) as started:  # fmt: skip
        assert started.stdin is not None
        while "Up" not in box.status("long"):
            pass
        with box.popen("logs", "-f", "long", stdout=subprocess.PIPE) as follower:
            started.stdin.write(b"go\n")
            started.stdin.close()
            followed, _ = follower.communicate(timeout=60)
    lines = [f"line {number}" for number in range(3000)]
    assert followed.decode().splitlines() == lines
    assert box.ok("logs", "long").splitlines() == lines
    assert box.ok("logs", "--tail", "2", "long").splitlines() == lines[-2:]
    path = box.ok("inspect", "--format", "{{.HostConfig.LogConfig.Path}}", "long").strip()
    assert os.path.getsize(path) <= 16384
    assert os.path.exists(f"{path}.1")


def test_lines_are_chosen_by_time_and_marked(box: ContainerRoot) -> None:
    script = "echo one; echo two >&2; printf 'no end'"
    for name in ("a", "b"):
        box.ok("run", "--name", name, IMAGE, "sh", "-c", script)
    first, last = (line.split(" ", 1) for line in box.ok("logs", "-t", "a").splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", first[0])
    assert [first[1], last[1]] == ["one", "no end"]
    assert box.ok("logs", "--since", "1h", "a") == "one\nno end"
    assert box.ok("logs", "--since", first[0], "--until", first[0], "a").startswith("one\n")
    assert box.ok("logs", "--until", "2020-01-01", "a") == ""
    assert box.ok("logs", "--since", "1h", "--until", "10m", "--tail", "1", "a") == "no end"
    named = box.call("logs", "-n", "a", "b")
    assert named.stdout == "a one\na no endb one\nb no end"
    assert named.stderr == "a two\nb two\n"
    short = box.ok("inspect", "--format", "{{.Id}}", "a")[:12]
    assert box.ok("logs", "--latest") == "one\nno end"
    assert box.ok("logs", "a", "b").startswith(f"{short} one\n")
    assert box.ok("logs", "--color", "--tail", "1", "a") == "\033[37mno end\033[0m"
    assert "unable to interpret time value" in box.fails("logs", "--since", "bogus", "a")
    assert "specify at least one container" in box.fails("logs")
    assert "cannot be used together" in box.fails("logs", "-l", "a")
    assert "no such container" in box.fails("logs", "a", "nosuch")


def test_each_driver_keeps_what_it_says(box: ContainerRoot, tmp_path: Path) -> None:
    path = tmp_path / "own.log"
    run = ("run", "--log-driver")
    box.ok(*run, "json-file", "--log-opt", f"path={path}", "--name", "j", IMAGE, "echo", "hi")
    assert json.loads(path.read_text())["log"] == "hi\n"
    assert box.ok("logs", "j") == "hi\n"
    for driver in ("none", "passthrough"):
        assert box.ok(*run, driver, "--name", driver, IMAGE, "echo", "hi") == "hi\n"
        error = box.fails("logs", driver)
        assert f"using the '{driver}' log driver, cannot read logs" in error
    if not os.path.exists("/run/systemd/journal/socket"):
        assert "has no journal" in box.fails(*run, "journald", IMAGE, "true")
    assert "invalid log driver" in box.fails(*run, "bogus", IMAGE, "true")


@pytest.mark.needs("systemd")
def test_the_journal_is_read_and_followed(box: ContainerRoot) -> None:
    script = "echo one; echo two >&2; read x; echo three"
    opts = ("--log-driver", "journald", "--log-opt", "tag=mine")
    box.ok("create", "-i", "--name", "j", *opts, IMAGE, "sh", "-c", script)
    with box.popen("start", "-ai", "j", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
                   ) as started:  # fmt: skip
        assert started.stdin is not None
        while "Up" not in box.status("j"):
            pass
        with box.popen("logs", "-f", "j", stdout=subprocess.PIPE) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == b"one\n"
            started.stdin.write(b"go\n")
            started.stdin.close()
            assert follower.stdout.read() == b"three\n"
    done = box.call("logs", "j")
    assert (done.stdout, done.stderr) == ("one\nthree\n", "two\n")
    assert box.ok("logs", "--tail", "1", "j") == "three\n"
    wanted = ["journalctl", "-q", "-o", "cat", "CONTAINER_NAME=j", "CONTAINER_TAG=mine"]
    found = subprocess.run(wanted, capture_output=True, text=True, check=True).stdout
    assert "three" in found
