"""Events that pile up before the monitor looks: none is lost, and none hides another.

A monitor on a busy machine may be late by tens of milliseconds; here it is stopped meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.monitors import Container, is_running, read_if_there, receive_all
from support.waiting import wait_for

pytestmark = [
    pytest.mark.needs("root", "runc", "busybox"),
    pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True),
]

Make = Callable[..., Container]


def use_runtime(made: Container, script: str) -> None:
    """Let the monitor call a shell script, which may end in the real runtime."""
    path = made.directory / "runtime-of-test"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    made.runtime = str(path)


def test_a_terminal_is_taken_from_a_runtime_that_has_ended(make: Make) -> None:
    made = make(["sh", "-c", "echo out; exit 4"], terminal=True)
    witness = made.directory / "runtime.pid"
    use_runtime(
        made, f'kill -STOP $PPID; echo $$ > {witness}; exec {made.real_runtime} "$@"'
    )  # fmt: skip
    done, fd = made.launch(made.command("-t"))
    assert done.returncode == 0
    pid = wait_for(lambda: read_if_there(witness), "the runtime").strip()
    wait_for(lambda: not is_running(pid), "the runtime's end")
    os.kill(made.monitor_pid, signal.SIGCONT)
    with os.fdopen(fd) as sync:
        answer = json.loads(sync.readline())
    assert answer["data"] > 0, answer
    made.start()
    assert made.wait() == "4"
    made.wait_for_monitor()
    assert made.log.read_bytes().endswith(b" stdout F out\r\n")


def test_an_end_in_time_is_no_timeout_however_late_it_is_seen(make: Make) -> None:
    made = make(["sh", "-c", "exit 7"])
    pid = made.create("--timeout", "3")["data"]
    created = time.monotonic()
    os.kill(made.monitor_pid, signal.SIGSTOP)
    try:
        made.start()
        wait_for(lambda: not is_running(pid), "the container's end")
        time.sleep(max(0.0, created + 3.2 - time.monotonic()))  # the timer's time passes
    finally:
        os.kill(made.monitor_pid, signal.SIGCONT)
    assert made.wait() == "7"
    made.wait_for_monitor()
    assert made.record()["cause"] == "exit"


def test_what_was_written_before_a_timeout_is_kept(make: Make) -> None:
    made = make(["sh", "-c", "head -c 60000 /dev/zero; : > /tmp/written; sleep 1000"])
    path = made.bundle / "config.json"
    path.write_text(path.read_text().replace('"readonly": true', '"readonly": false'))
    made.create("--timeout", "3")
    created = time.monotonic()
    os.kill(made.monitor_pid, signal.SIGSTOP)
    try:
        made.start()
        wait_for((made.bundle / "rootfs/tmp/written").exists, "output")
        time.sleep(max(0.0, created + 3.2 - time.monotonic()))  # the timer's time passes
    finally:
        os.kill(made.monitor_pid, signal.SIGCONT)
    assert made.wait() == "-1"
    made.wait_for_monitor()
    assert made.log.read_bytes().count(b"\0") == 60000


def test_the_last_notifications_of_a_container_are_relayed(make: Make) -> None:
    made = make(["sleep", "1000"])
    (made.bundle / "notify").mkdir()
    host = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    host.settimeout(60)
    path = made.directory / "host.sock"
    with host, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        os.symlink(made.directory, short := Path(f"/tmp/n{made.id[:12]}"))
        try:
            host.bind(f"{short}/{path.name}")
            pid = made.create("--sdnotify-socket", f"{short}/{path.name}")["data"]
            made.start()
            os.kill(made.monitor_pid, signal.SIGSTOP)
            for number in range(4):
                sender.sendto(b"STATUS=%d\n" % number, f"{short}/bundle/notify/notify.sock")
            made.run_runtime("kill", made.id, "KILL")
            wait_for(lambda: not is_running(pid), "the container's end")
            os.kill(made.monitor_pid, signal.SIGCONT)
            assert [host.recv(100) for _ in range(4)] == [b"STATUS=%d" % n for n in range(4)]
        finally:
            short.unlink()
    assert made.wait() == "137"


@pytest.mark.parametrize("resident", [False, True])
def test_signals_that_the_caller_has_blocked_reach_the_monitor(
    make: Make, pyconmon_path: str, resident: bool
) -> None:
    """Its runtime still begins with them blocked, as under conmon."""
    made = make(["sh", "-c", "read go < /tmp/f; exit 7"])
    os.mkfifo(made.bundle / "rootfs/tmp/f")
    # Not through the launcher: dash unblocks all signals, and other shells do not.
    bin_directory = Path(pyconmon_path).parent
    main = next(iter(bin_directory.parent.glob("lib/python3*/site-packages/pyconmon/__main__.py")))
    block = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {17, 15, 10});"
        f" python = {str(bin_directory / 'python3')!r};"
        f" os.execv(python, [python, '-I', '-S', {str(main)!r}, *sys.argv[2:]])"
    )
    made.prefix = [sys.executable, "-c", block]
    witness = made.directory / "mask"
    runtime = made.directory / "runtime-of-test"
    runtime.write_text(
        f"#!{sys.executable} -IS\nimport os, sys\n"
        f"open({str(witness)!r}, 'w').write(open('/proc/self/status').read())\n"
        f"os.execv({made.real_runtime!r}, [{made.real_runtime!r}, *sys.argv[1:]])\n"
    )
    runtime.chmod(0o755)
    made.runtime = str(runtime)
    assert made.create()["data"] > 0
    mask = int(witness.read_text().partition("\nSigBlk:")[2].split()[0], 16)
    assert mask == (1 << 16) | (1 << 14) | (1 << 9)
    made.start()
    if resident:
        wait_for(lambda: made.is_resident, "the resident program")
    (made.bundle / "rootfs/tmp/f").write_text("go\n")
    assert made.wait() == "7"


def test_the_end_of_a_process_that_is_no_child_is_handled_once(make: Make) -> None:
    """Its pidfd stays readable; a client that lags behind still gets the rest."""
    made = make(["true"])
    os.mkfifo(made.directory / "go")
    called = made.directory / "called"  # and so the attach socket listens
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        try:
            use_runtime(
                made,
                f": > {called}; read go < {made.directory}/go; head -c 4000000 /dev/zero;"
                f" echo {stranger.pid} > {made.pid_file}",
            )
            done, fd = made.launch(made.command())
            assert done.returncode == 0
            wait_for(called.exists, "the runtime")
            client = made.attach()
            (made.directory / "go").write_text("go\n")
            with os.fdopen(fd) as sync:
                assert json.loads(sync.readline())["data"] == stranger.pid
        finally:
            stranger.kill()
    assert made.wait() == "-1"
    assert len(receive_all(client)[2]) == 4000000
    made.wait_for_monitor()
    assert made.record()["cause"] == "unknown"
