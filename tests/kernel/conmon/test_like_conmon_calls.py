"""What the runtime gets and what syslog and sd-notify hear: the same bytes as from conmon."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.monitors import Container, container

pytestmark = pytest.mark.needs("root", "runc", "conmon", "busybox")

# Writes down what it is called with, and leaves a container process that ends at once.
RUNTIME = """#!/bin/sh
d={directory}
printf '%s\\n' "$@" > $d/args
tr '\\0' '\\n' < /proc/$$/environ | sort > $d/environment
echo $$ > $d/own-pid
ls -l /proc/$$/fd > $d/descriptors
cat /proc/$$/oom_score_adj > $d/score
umask > $d/umask
while [ $# -gt 1 ]; do case $1 in --pid-file) pid_file=$2; shift;; esac; shift; done
(sleep 0.2; exit 3) &
echo $! > $pid_file
"""

# Shows a socket of the test as /dev/log, to the monitor alone.
SYSLOG_VIEW = """
mkdir -p "$0/dev" && mount -t tmpfs none "$0/dev" && mkdir "$0/dev/shm" "$0/dev/pts"
for name in null zero full random urandom tty; do
    touch "$0/dev/$name"; mount --bind "/dev/$name" "$0/dev/$name"
done
ln -s /proc/self/fd "$0/dev/fd"; ln -s "$0/syslog" "$0/dev/log"
mount --rbind "$0/dev" /dev && exec "$@"
"""


def called(
    monitor: str, directory: Path, options: list[str], environment: dict[str, str]
) -> dict[str, Any]:
    """What the runtime of one monitor was called with, without what must differ."""
    with container(monitor, "runc", directory, ["true"]) as made:
        (made.bundle / "notify").mkdir()
        runtime = directory / "fake"
        runtime.write_text(RUNTIME.format(directory=directory))
        runtime.chmod(0o755)
        made.runtime = str(runtime)
        command = [word.replace("DIR", str(directory)) for word in options]
        done, fd = made.launch(made.command(*command), environment)
        with os.fdopen(fd) as sync:
            answer = sync.readline()
        made.wait_for_monitor()
        names = ("args", "environment", "own-pid", "descriptors", "score", "umask")
        files = [directory / name for name in names]
        found: dict[str, Any] = {
            path.name: path.read_text() for path in files if path.exists()
        }  # not there when the runtime was not called
        found["answer"], found["stderr"] = answer, done.stderr
        # "l-wx------ 1 root root 64 Jan  1 00:00 1 -> pipe:[123]"
        found["descriptors"] = re.findall(
            r"(\d+ -> [^\[\n]*)", found.get("descriptors", "").replace(str(directory), "DIR")
        )
        own_pid = found.pop("own-pid", "").strip()
        for name, text in found.items():
            if not isinstance(text, str):
                continue
            text = text.replace(str(directory), "DIR").replace(made.id, "ID")
            if own_pid:
                text = re.sub(rf"\b{own_pid}\b", "OWN", text)
            found[name] = re.sub(r"(_OCI_\w+|socket|pipe)([=:])\d+", r"\1\2N", text)
        found["answer"] = re.sub(r'"data": [1-9]\d*', '"data": PID', found["answer"])
        if made.exit_file.exists():
            found["exit"] = made.exit_file.read_text()
        return found


RESTORE = ["--restore", "/some/image", "--runtime-opt", "--lsm-profile=selinux:x",
           "--runtime-opt", "--tcp-established"]  # fmt: skip
LISTEN = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ([], {}),
        (["-i", "-s", "--no-pivot", "--no-new-keyring"], {}),
        (RESTORE, {}),
        ([], LISTEN),
        (["--replace-listen-pid"], LISTEN),
        ([], {"NOTIFY_SOCKET": "/run/some/notify", "SOME": "thing with = and spaces"}),
        (["--sdnotify-socket", "DIR/host"], {"NOTIFY_SOCKET": "DIR/host"}),
        (["-e", "--exec-process-spec", "/process.json", "-s"], {}),
        (["--log-level", "debug", "--syslog"], {}),
    ],
    ids=["plain", "options", "restore", "LISTEN_PID", "--replace-listen-pid", "NOTIFY_SOCKET",
         "--sdnotify-socket", "exec", "--syslog"],
)  # fmt: skip
def test_the_runtime_is_called_alike(
    pyconmon_path: str, tmp_path: Path, options: list[str], environment: dict[str, str]
) -> None:
    ours, theirs = (
        called(monitor, tmp_path / name, options, environment)
        for name, monitor in (("ours", pyconmon_path), ("theirs", shutil.which("conmon") or ""))
    )
    for found in (ours, theirs):  # warnings have other words
        del found["stderr"]
    assert ours == theirs


@pytest.mark.parametrize("value", ["abc", "0", "-5"])
def test_a_listen_pid_that_is_none_is_refused(
    pyconmon_path: str, tmp_path: Path, value: str
) -> None:
    for name, monitor in (("ours", pyconmon_path), ("theirs", shutil.which("conmon") or "")):
        found = called(monitor, tmp_path / name, [], {"LISTEN_PID": value})
        assert "args" not in found
        assert '"data": -1' in found["answer"]
        assert f"Invalid LISTEN_PID {value}" in found["answer"]


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "syslog"))
        receiver.settimeout(60)
        yield receiver


def test_syslog_hears_the_same_lines(
    pyconmon_path: str, tmp_path: Path, syslog: socket.socket
) -> None:
    """Of what both have to say: the pid, and the exit."""
    lines = []
    for name, monitor in (("ours", pyconmon_path), ("theirs", shutil.which("conmon") or "")):
        with container(monitor, "runc", tmp_path / name, ["true"]) as made:
            runtime = tmp_path / name / "fake"
            runtime.write_text(RUNTIME.format(directory=tmp_path / name))
            runtime.chmod(0o755)
            made.runtime = str(runtime)
            made.prefix = ["unshare", "--mount", "sh", "-c", SYSLOG_VIEW, str(tmp_path)]
            _, fd = made.launch(made.command("--syslog", "--log-level", "debug"))
            with os.fdopen(fd) as sync:
                sync.read()
            made.wait_for_monitor()
            heard: list[bytes] = []
            while not heard or b"exited" not in heard[-1]:
                heard.append(syslog.recv(8192))
            text = b"".join(line for line in heard if b"container" in line)
            text = text.replace(made.id[:20].encode(), b"ID")
            text = re.sub(rb">\w{3} [ \d]\d \d\d:\d\d:\d\d ", b">TIME ", text)
            lines.append(re.sub(rb"(PID:|container) \d+", rb"\1 N", text))
    assert lines[0] == lines[1]
    assert lines[0].count(b"\n") == 2


@pytest.mark.parametrize(
    "message",
    [b"READY=1", b"MAINPID=7\nREADY=1\nSTATUS=fine", b"READY=1\n", b"X=1\r\nREADY=1"],
)
def test_readiness_is_relayed_alike(pyconmon_path: str, tmp_path: Path, message: bytes) -> None:
    """conmon 2.1 passes readiness only; 2.2 and pyconmon pass other harmless lines too."""
    relayed = []
    for name, monitor in (("ours", pyconmon_path), ("theirs", shutil.which("conmon") or "")):
        with (
            container(monitor, "runc", tmp_path / name, ["true"]) as made,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service,
        ):
            host.bind(str(tmp_path / name / "host"))
            host.settimeout(60)
            (made.bundle / "notify").mkdir()
            made.create("--sdnotify-socket", str(tmp_path / name / "host"))
            directory_fd = os.open(made.bundle / "notify", os.O_PATH)
            service.sendto(message, f"/proc/self/fd/{directory_fd}/notify.sock")
            os.close(directory_fd)
            lines = host.recv(4096).split(b"\n")
            relayed.append([line for line in lines if not line.startswith(b"STATUS=")])
            made.run_runtime("kill", made.id, "KILL")
    assert relayed == [[b"READY=1"]] * 2


def test_a_container_restored_by_a_runtime_is_monitored(pyconmon_path: str, tmp_path: Path) -> None:
    """A restored container is this monitor's grandchild like a created one."""
    found = called(pyconmon_path, tmp_path / "c", RESTORE, {})
    assert found["args"].splitlines()[2:5] == ["restore", "--bundle", "DIR/bundle"]
    assert (found["exit"], found["answer"]) == ("3", '{"data": PID}\n')


def test_exec_and_restore_exclude_each_other(pyconmon_path: str, tmp_path: Path) -> None:
    for name, monitor in (("ours", pyconmon_path), ("theirs", shutil.which("conmon") or "")):
        with container(monitor, "runc", tmp_path / name, ["true"]) as made:
            done, fd = made.launch(made.command("-e", "--restore", "x"))
            os.close(fd)
            assert done.returncode == 1
            assert "Cannot use 'exec' and 'restore' at the same time" in done.stderr + done.stdout
            assert isinstance(made, Container)
