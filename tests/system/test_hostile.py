"""What a hostile image, an odd caller or an odd option may try."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import images
from support.containers import IMAGE, ContainerRoot
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


def load(box: ContainerRoot, name: str, image: images.Image) -> str:
    full = f"localhost/{name}:1"
    box.ok("load", "-i", images.oci_archive(box.root.parent / f"{name}.tar", {full: image}))
    return full


def shell(box: ContainerRoot, script: str) -> subprocess.CompletedProcess[str]:
    """A shell script in which $E is pyengine; a hang is a failure."""
    engine = shlex.join(box.argv())
    return subprocess.run(
        ["sh", "-c", script.replace("$E", engine)], capture_output=True, check=False, text=True,
        stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "config", "status", "answer"),
    [
        ("env", {"Env": ["FOO", "=x", "A=b"]}, 0, "A=b"),
        ("huge-user", {"User": "9" * 5000}, 125, "must be below 2147483648"),
        ("user-path", {"User": "../.."}, 126, "unable to find user ../.."),
        ("group", {"User": "root:x"}, 126, "unable to find group x"),
        ("dots", {"WorkingDir": "/../../etc/.."}, 0, "A=b"),
        ("relative", {"WorkingDir": "etc"}, 0, "PWD=/etc"),
        ("nul", {"Env": ["B=b\0c"]}, 125, "NUL"),
        ("signal", {"StopSignal": "NOPE"}, 125, "invalid signal: NOPE"),
    ],
)
def test_an_images_odd_settings_work_or_are_named(
    box: ContainerRoot, name: str, config: dict[str, Any], status: int, answer: str
) -> None:
    image = load(box, name, images.busybox_image(**config))
    done = box.call("run", "--rm", "-e", "A=b", image, "sh", "-c", "env; export PWD; env")
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert answer in (done.stdout if status == 0 else done.stderr)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("fifo", lambda layer: layer.add("etc/passwd", type=b"6")),
        ("directory", lambda layer: layer.add("etc/.wh.passwd").directory("etc/passwd")),
        ("device", lambda layer: layer.add("etc/passwd", type=b"3", devmajor=1, devminor=5)),
        ("link", lambda layer: layer.symlink("etc/passwd", "/proc/1/root/etc/passwd")),
    ],
)
def test_a_passwd_that_is_no_file_names_nobody(
    box: ContainerRoot, name: str, spoil: Callable[[images.Layer], images.Layer]
) -> None:
    layers = [images.busybox_layer(), spoil(images.Layer()).tar()]
    image = load(box, f"passwd-{name}", images.Image(layers))
    assert box.ok("run", "--rm", image, "echo", "runs") == "runs\n"
    assert "unable to find user user" in box.fails(
        "run", "--rm", "-u", "user", image, "true", status=126
    )


def test_a_fifo_in_a_running_container_does_not_stop_exec(box: ContainerRoot) -> None:
    script = "busybox rm /etc/passwd; busybox mkfifo /etc/passwd; exec 3<>/etc/passwd; exec sleep 9"
    box.ok("run", "-d", "--name", "trap", IMAGE, "sh", "-c", script)
    is_made = ("exec", "trap", "sh", "-c", "[ -p /etc/passwd ]")
    wait_for(lambda: box.call(*is_made).returncode == 0, "the fifo")
    assert "unable to find user user" in box.fails("exec", "-u", "user", "trap", "true", status=126)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cpus", "nan"], "--cpus nan"),
        (["--memory", "9" * 5000], "--memory 9"),
        (["--memory", "9999999t"], "must be below 4611686018427387904 bytes"),
        (["--pids-limit", str(2**63)], "--pids-limit 9223372036854775808"),
        (["--stop-signal", "9" * 5000], "invalid signal"),
        (["--stop-signal", "RTMIN+" + "9" * 5000], "invalid signal"),
    ],
)
def test_a_number_that_is_none_is_refused(
    box: ContainerRoot, options: list[str], message: str
) -> None:
    assert message in box.fails("run", "--rm", *options, IMAGE, "true")


def test_names_that_are_not_utf_8_are_not_found(box: ContainerRoot) -> None:
    odd = os.fsdecode(b"\xff")
    for command, status in (("rm", 1), ("logs", 125), ("inspect", 125), ("stop", 125)):
        box.fails(command, odd, status=status)
    assert "unable to find user" in box.fails("run", "-u", odd, IMAGE, "true", status=126)


def test_an_id_wins_over_a_container_that_took_it_for_its_name(box: ContainerRoot) -> None:
    victim = box.ok("create", "--name", "victim", IMAGE, "true").strip()
    box.ok("create", "--name", victim, IMAGE, "true")
    assert box.ok("inspect", "--format", "{{.Name}}", victim) == "victim\n"
    box.ok("rm", victim)
    assert box.ok("ps", "-a", "--format", "{{.Names}}") == f"{victim}\n"


def test_a_relative_cidfile_is_the_one_that_goes(box: ContainerRoot, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/cid").write_text("keep")
    script = f"cd {tmp_path}; $E create --name c --cidfile cid {IMAGE} true; cd other; $E rm c"
    assert shell(box, script).returncode == 0
    assert sorted(path.name for path in tmp_path.rglob("cid")) == ["cid"]
    assert (tmp_path / "other/cid").read_text() == "keep"


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_matter_and_nothing_takes_their_numbers(
    box: ContainerRoot, streams: str
) -> None:
    script = f"$E run --rm {IMAGE} sh -c 'echo o; echo e >&2; exit 7' {streams}"
    assert shell(box, script).returncode == 7
    assert shell(box, f"$E images {streams}").returncode == 0
    assert box.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("words", ["ps -a", "images", "--help", "info"])
def test_an_output_that_cannot_be_written_is_an_error(box: ContainerRoot, words: str) -> None:
    done = shell(box, f"$E {words} >/dev/full")
    assert (done.returncode, done.stderr) == (125, "Error: No space left on device\n")


@pytest.mark.parametrize("umask", ["077", "000"])
def test_the_callers_umask_does_not_reach_the_containers(
    box: ContainerRoot, pyengine_path: str, tmp_path: Path, umask: str
) -> None:
    own = ContainerRoot(pyengine_path, tmp_path)
    archive = box.root.parent / "box.tar"
    script = (
        f"umask {umask}; $E load -q -i {archive}; $E run --rm -u user -v v:/v {IMAGE}"
        " stat -c %a / /etc/hosts /etc/hostname /run/.containerenv /v"
    )
    done = shell(own, script)
    assert done.stdout.split()[3:] == ["755", "644", "644", "644", "755"], done.stderr
    assert own.settled() == []


def test_a_working_directory_may_lie_in_a_mount(box: ContainerRoot, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for where, option in (("/s", f"{tmp_path}:/s"), ("/s/below", f"{tmp_path}:/s")):
        assert box.sh("pwd", "-v", option, "-w", where) == f"{where}\n"
    assert box.sh("pwd", "--tmpfs", "/fast", "-w", "/fast") == "/fast\n"
    assert "does not exist" in box.fails(
        "run", "-v", f"{tmp_path}:/s", "-w", "/sx", IMAGE, "true", status=126
    )


def test_rm_force_wins_over_a_start_under_way(box: ContainerRoot) -> None:
    for _ in range(4):
        box.ok("create", "--name", "racer", IMAGE, "sleep", "1000")
        start = box.popen("start", "racer", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        box.ok("rm", "-f", "-t", "0", "racer")
        output = start.communicate(timeout=60)[1]
        assert b"Traceback" not in output
        assert box.ok("ps", "-aq") == ""


def test_an_exec_that_fails_leaves_no_session(box: ContainerRoot) -> None:
    id_ = box.ok("run", "-d", "--name", "busy", IMAGE, "sleep", "1000").strip()
    for words, status in ((["busy", "nosuch"], 127), (["-d", "busy", "nosuch"], 127),
                          (["-u", "nobody", "busy", "true"], 126)):  # fmt: skip
        box.fails("exec", *words, status=status)
    sessions = box.runroot / "containers" / id_ / "exec"
    assert list(sessions.iterdir()) == []


def test_ctrl_c_at_any_moment_prints_no_traceback_of_ours(box: ContainerRoot) -> None:
    for moment in range(10):
        running = box.popen("ps", "--all", "--format", "{{.Names}}",
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        time.sleep(moment * 0.01)  # anywhere in the imports and what follows
        running.send_signal(signal.SIGINT)
        complaint = running.communicate(timeout=60)[1]
        # Until our first statements are through, the interpreter alone decides what it prints.
        ours = re.findall(r'pyengine/(\S+)", line (\d+)', complaint.decode())
        assert all(name == "__main__.py" and int(line) < 9 for name, line in ours), complaint
        assert running.returncode in (0, 130, -signal.SIGINT) or b"Python" in complaint, complaint


def test_a_stop_that_has_to_kill_says_so(box: ContainerRoot) -> None:
    script = "trap : TERM; while :; do sleep 0.02; done"
    box.ok("run", "-d", "--name", "stubborn", IMAGE, "sh", "-c", script)
    done = box.call("stop", "-t", "1", "stubborn")
    assert done.returncode == 0
    assert "StopSignal SIGTERM failed to stop container stubborn in 1 seconds" in done.stderr
    assert box.ok("wait", "stubborn") == "137\n"
