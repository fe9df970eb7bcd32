"""What happens just when a monitor becomes the resident program, or comes back, is not lost.

strace holds the monitor up there: before execve, right after it, or before it has loaded itself
again; all events come in that time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.monitors import Container, is_running, receive_all, sleeps
from support.waiting import wait_for

pytestmark = [
    pytest.mark.needs("root", "runc", "busybox", "strace"),
    pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True),
    pytest.mark.parametrize("moment", ["before", "after", "back"]),
]

Make = Callable[..., Container]
UNTIL_GO = "until [ -e /tmp/go ]; do sleep 0.02; done; "
INJECTIONS = {
    "before": "execve:delay_enter=1000000",
    "after": "execve:delay_exit=1000000",
    "back": "pread64:delay_enter=1000000:when=1",  # of the first module
}


def status_of(pid: int, field: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text()
    return text.partition(f"\n{field}:")[2].split()[0]


def blocks_signals(pid: int) -> bool:
    return bool(int(status_of(pid, "SigBlk"), 16) & 1 << signal.SIGCHLD - 1)


@contextmanager
def held_up(made: Container, moment: str) -> Iterator[None]:
    """Inside, the monitor of a settled container is in its way there, or back."""
    pid = made.monitor_pid
    made.settle()
    assert made.is_resident
    injection = INJECTIONS[moment]
    words = ["-e", f"trace={injection.partition(':')[0]}", "-e", f"inject={injection}"]
    with subprocess.Popen(["strace", "-qq", "-o", "/dev/null", *words, "-p", str(pid)]) as strace:
        try:
            wait_for(lambda: status_of(pid, "TracerPid") == str(strace.pid), "strace")
            (made.bundle / "ctl").write_text("3 0 0\n")  # the monitor comes back, and goes again
            if moment == "back":
                wait_for(lambda: not sleeps(pid), "the way back")
            else:
                wait_for(lambda: blocks_signals(pid), "the hand-over")
            yield
        finally:
            strace.terminate()


def go_on(made: Container) -> None:
    (made.bundle / "rootfs/tmp/go").write_text("")


def test_a_client_requests_a_signal_and_output_at_once(make: Make, moment: str) -> None:
    script = f"trap 'echo term' TERM; printf half; {UNTIL_GO} echo line; "
    script += "until read word; do :; done"  # a signal may interrupt it
    made = make(["sh", "-c", f"{script}; stty size; echo $word; exit 7"], terminal=True)
    made.create("-t", "-i")
    made.start()
    wait_for(lambda: "half" in made.log.read_text(), "half a line")
    old_log = made.log.stat().st_ino
    with held_up(made, moment):
        client = made.attach()
        client.send(b"word\n")
        (made.bundle / "winsz").write_text("33 44\n")
        (made.bundle / "ctl").write_text("2 0 0\n")
        os.kill(made.monitor_pid, signal.SIGTERM)
        go_on(made)
        seen = receive_all(client)[2].replace(b"\r", b"")
        assert made.wait() == "7"
    for text in (b"term\n", b"line\n", b"33 44\n", b"word\n"):
        assert text in seen
    assert made.log.stat().st_ino != old_log
    assert made.record()["cause"] == "exit"


@pytest.mark.needs("memory_limit")
def test_the_end_and_why_it_came(make: Make, moment: str) -> None:
    made = make(["sh", "-c", f"{UNTIL_GO} echo last; x=a; while :; do x=$x$x; done"])
    path = made.bundle / "config.json"
    config = json.loads(path.read_text())
    config["linux"]["resources"]["memory"] = {"limit": 8 << 20, "swap": 8 << 20}
    path.write_text(json.dumps(config))
    pid = made.create()["data"]
    made.start()
    with held_up(made, moment):
        client = made.attach()
        go_on(made)
        wait_for(lambda: not is_running(pid), "the container's end")
        assert receive_all(client) == {2: b"last\n"}
        assert made.wait() == "137"
    record = made.record()
    assert (record["cause"], record["oomKilled"], record["lastOutput"]) == ("oom", True, ["last"])
    assert (made.persist_dir / "oom").exists()
