"""Faults around the monitor: full disks, storms, clients and pid files that fail."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.disks import tmpfs
from support.monitors import Container, ExecSession, is_running
from support.waiting import wait_for

pytestmark = [
    pytest.mark.needs("root", "runc", "busybox"),
    pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True),
]

Make = Callable[..., Container]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    with tmpfs(tmp_path / "small", "64k") as directory:
        yield directory


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def test_a_full_disk_under_the_log_does_not_stop_the_container(
    make: Make, small_disk: Path
) -> None:
    made = make(["sh", "-c", "head -c 3000000 /dev/zero; echo end; exit 4"])
    made.create("-l", f"k8s-file:{small_disk}/log")
    client = made.attach()
    made.start()
    received = b""
    while packet := client.recv(16384):
        received += packet[1:]
    assert len(received) == 3000004
    assert made.wait() == "4"
    assert made.log.stat().st_size > 3000000, "the other log has everything"


def test_an_exit_file_waits_for_room_on_a_full_disk(make: Make, small_disk: Path) -> None:
    made = make(["sh", "-c", "exit 5"])
    made.create("--exit-dir", str(small_disk))
    filler = fill(small_disk)
    made.start()
    wait_for(lambda: (made.persist_dir / "exit").exists(), "the other exit file")
    exit_file = small_disk / made.id
    assert not exit_file.exists()
    filler.unlink()
    wait_for(exit_file.exists, "the exit file")
    assert exit_file.read_text() == "5"
    made.wait_for_monitor()
    assert [path.name for path in small_disk.iterdir()] == [made.id]


def test_a_monitor_whose_pid_cannot_be_written_does_not_go_on(make: Make) -> None:
    made = make(["sleep", "1000"])
    made.monitor_pid_file = made.directory / "nowhere/pid"
    done, fd = made.launch(made.command())
    with os.fdopen(fd) as sync:
        assert sync.read() == "", "no process has the sync pipe any more"
    assert done.returncode == 1
    assert "Failed to write conmon pidfile" in done.stderr
    assert made.run_runtime("state", made.id).returncode != 0
    assert not made.pid_file.exists()


def test_a_storm_of_forwarded_signals_reaches_the_container_and_ends_nothing(make: Make) -> None:
    script = "trap 'echo got' TERM; trap '' INT QUIT; echo up; while :; do read x < /tmp/f; done"
    made = make(["sh", "-c", script])
    os.mkfifo(made.bundle / "rootfs/tmp/f")
    made.create()
    made.start()
    wait_for(lambda: "up" in made.log.read_text(), "the container")
    for _ in range(300):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD):
            os.kill(made.monitor_pid, number)
    wait_for(lambda: "got" in made.log.read_text(), "a signal in the container")
    made.run_runtime("kill", made.id, "KILL")
    assert made.wait() == "137"


def test_a_client_that_dies_in_the_middle_of_its_input(make: Make) -> None:
    made = make(["sh", "-c", "read go < /tmp/f; cat | wc -c"])
    (made.bundle / "rootfs/bin/wc").symlink_to("busybox")
    os.mkfifo(made.bundle / "rootfs/tmp/f")
    made.create("-i")
    made.start()
    client = made.attach()
    client.settimeout(0.2)
    sent = 0
    try:
        while sent < 1 << 26:
            sent += client.send(b"x" * 8192)
    except TimeoutError:
        client.close()
    (made.bundle / "rootfs/tmp/f").write_text("go\n")
    assert made.wait() == "0"
    made.wait_for_monitor()
    (line,) = made.log_lines()
    assert int(line[2]) == sent, "what it had sent has arrived"


def test_a_client_that_never_reads_is_let_go_after_the_end(make: Make) -> None:
    made = make(["sh", "-c", "head -c 20000000 /dev/zero; exit 6"])
    made.create()
    stalled = made.attach()
    made.start()
    assert made.wait() == "6", "known although the client has not moved"
    stalled.close()
    made.wait_for_monitor()


def test_a_killed_monitor_leaves_the_container_and_no_exit_that_is_not_one(make: Make) -> None:
    made = make(["sh", "-c", "trap '' PIPE; while :; do echo x || : > /tmp/alone; sleep 0.1; done"])
    path = made.bundle / "config.json"
    path.write_text(path.read_text().replace('"readonly": true', '"readonly": false'))
    pid = made.create()["data"]
    made.start()
    wait_for(lambda: made.log.read_text().count("\n") > 2, "output")
    os.kill(made.monitor_pid, signal.SIGKILL)
    made.wait_for_monitor()
    wait_for((made.bundle / "rootfs/tmp/alone").exists, "a write that the kernel refuses")
    assert is_running(pid)
    assert '"running"' in made.run_runtime("state", made.id).stdout
    made.run_runtime("kill", made.id, "KILL")
    wait_for(lambda: not is_running(pid), "the container's end")
    assert not made.exit_file.exists()
    assert not (made.persist_dir / "exit.json").exists()


def test_execs_at_the_same_time_leave_nothing(make: Make) -> None:
    made = make(["sleep", "1000"])
    made.create()
    made.start()
    made.settle()
    before = os.listdir(f"/proc/{made.monitor_pid}/fd")
    sessions = [ExecSession(made, ["sh", "-c", f"exit {number}"]) for number in range(12)]
    launched = [made.launch(session.command()) for session in sessions]
    for number, (done, fd) in enumerate(launched):
        assert done.returncode == 0, done.stderr
        with os.fdopen(fd) as sync:
            assert sync.read().splitlines()[1] == f'{{"data": {number}}}'
    assert os.listdir(f"/proc/{made.monitor_pid}/fd") == before
    children = Path(f"/proc/{made.monitor_pid}/task/{made.monitor_pid}/children")
    assert len(children.read_text().split()) == 1, "only the container itself"
    wait_for(lambda: not list(made.directory.glob("exec-*/attach")), "the last monitors' end")


def test_hundreds_of_checks_leave_no_process_and_no_descriptor(make: Make) -> None:
    """The monitor's own execs, which a runtime that does next to nothing makes quick."""
    made = make(["sleep", "1000"])
    count = made.directory / "count"
    quick = made.directory / "quick-runtime"
    quick.write_text(
        f"""#!/bin/sh
        case $3 in
        exec) echo >> {count}; exit 0;;
        state) echo '"status": "running"'; exit 0;;
        esac
        exec {made.real_runtime} "$@"
        """
    )
    quick.chmod(0o755)
    made.runtime = str(quick)
    made.create("--health-cmd", "true", "--health-interval", "0.001")
    made.start()
    descriptors = Path(f"/proc/{made.monitor_pid}/fd")
    wait_for(lambda: made.holds_modules, "what it may load later")
    wait_for(lambda: count.exists() and count.stat().st_size > 10, "checks")
    before = len(list(descriptors.iterdir()))
    wait_for(lambda: count.stat().st_size > 300, "more checks")
    # One check may be under way: its pipe.
    assert abs(len(list(descriptors.iterdir())) - before) <= 2
    children = Path(f"/proc/{made.monitor_pid}/task/{made.monitor_pid}/children").read_text()
    assert len(children.split()) <= 2
    made.run_runtime("kill", made.id, "KILL")
    assert made.wait() == "137"


@pytest.mark.parametrize(("mib", "limit_mib", "files"), [(12, 1, 5), (6, 1, 9)])
def test_rotation_neither_loses_nor_doubles_a_line(
    make: Make, mib: int, limit_mib: int, files: int
) -> None:
    """LOG.1 is newer than LOG.2. Lines of eight bytes, which no block of 8192 cuts into parts."""
    last = 1_000_000 + mib * (1 << 20) // 53
    made = make(["seq", "1000000", str(last)])
    code = made.run(
        "--log-size-max", str(limit_mib << 20), "--log-rotate", "--log-max-files", str(files)
    )
    assert code == "0"
    paths = [Path(f"{made.log}.{number}") for number in range(files, 0, -1)] + [made.log]
    kept = [path for path in paths if path.exists()]
    numbers = [
        int(line.rsplit(b" ", 1)[1]) for path in kept for line in path.read_bytes().splitlines()
    ]
    assert numbers == list(range(last - len(numbers) + 1, last + 1))
    assert max(path.stat().st_size for path in kept) <= limit_mib << 20
    if mib <= files * limit_mib:
        assert numbers[0] == 1000000, "there is room for all of them"
    else:
        assert len(kept) == files + 1


def test_a_socket_that_only_connects_costs_nothing(make: Make) -> None:
    made = make(["sleep", "1000"])
    made.create()
    made.start()
    monitor = made.monitor_pid
    made.settle()
    before = len(os.listdir(f"/proc/{monitor}/fd"))
    for _ in range(50):
        made.attach().shutdown(socket.SHUT_RDWR)
    for client in made.clients:
        client.close()
    wait_for(lambda: len(os.listdir(f"/proc/{monitor}/fd")) == before, "the clients' descriptors")
    made.run_runtime("kill", made.id, "KILL")
    assert made.wait() == "137"
