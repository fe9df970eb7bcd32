"""``-it`` under a real terminal: sizes, raw mode, detach keys."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pexpect
import pytest

from support.containers import IMAGE, ContainerRoot
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


def spawn(box: ContainerRoot, *arguments: str) -> Any:
    program, *rest = box.argv(*arguments)
    return pexpect.spawn(program, rest, timeout=60, dimensions=(31, 97), encoding="utf-8")


def test_an_interactive_shell_has_our_terminals_size(box: ContainerRoot) -> None:
    child = spawn(box, "run", "--rm", "-it", IMAGE, "sh")
    child.expect("# ")
    child.sendline("busybox stty size; busybox tty")
    child.expect("31 97\r\n.*/dev/pts/0\r\n")
    child.setwinsize(40, 120)
    child.sendline("while [ \"$(busybox stty size)\" != '40 120' ]; do :; done; echo bi''g")
    child.expect("big\r\n")
    child.sendline("exit 9")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 9


def test_control_c_goes_to_the_container(box: ContainerRoot) -> None:
    script = "trap 'echo interrupted; exit 4' INT; echo ready; while :; do sleep 0.01; done"
    child = spawn(box, "run", "--rm", "-it", IMAGE, "sh", "-c", script)
    child.expect("ready")
    child.sendcontrol("c")
    child.expect("interrupted")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4


def test_detach_keys_leave_the_container_running(box: ContainerRoot) -> None:
    child = spawn(box, "run", "-it", "--name", "left", IMAGE, "sh")
    child.expect("# ")
    child.sendcontrol("p")
    child.sendcontrol("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "Up" in box.status("left")
    box.ok("kill", "left")
    wait_for(lambda: "Exited (137)" in box.status("left"), "the clean-up without us")


def test_detach_keys_leave_a_container_that_removes_itself(box: ContainerRoot) -> None:
    child = spawn(box, "run", "--rm", "-it", "--name", "left", IMAGE, "sh")
    child.expect("# ")
    child.send("\x10\x11")
    child.expect(pexpect.EOF)
    child.close()
    box.ok("kill", "left")
    wait_for(lambda: box.ok("ps", "-aq") == "", "its removal")


def test_exec_in_a_terminal(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "host", IMAGE, "sleep", "1000")
    child = spawn(box, "exec", "-it", "host", "sh")
    child.expect("# ")
    child.sendline("busybox stty size; exit 6")
    child.expect("31 97\r\n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 6
    assert box.ok("exec", "host", "busybox", "printf", "no tty\\n") == "no tty\n"


def test_the_terminal_is_given_back_as_it_was(box: ContainerRoot) -> None:
    shell = pexpect.spawn("/bin/sh", timeout=60, encoding="utf-8", env={"PS1": "ours> "})
    shell.expect("ours> ")
    shell.sendline("stty -g >/dev/null; before=$(stty -g)")
    shell.expect("ours> ")
    shell.sendline(" ".join(box.argv("run", "--rm", "-it", IMAGE, "true")))
    shell.expect("ours> ")
    shell.sendline('[ "$before" = "$(stty -g)" ] && echo sa""me')
    shell.expect("same")
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
    shell.close()


def test_own_detach_keys_and_attaching_again(box: ContainerRoot, tmp_path: Path) -> None:
    (tmp_path / "conf").write_text('[engine]\ndetach_keys = "ctrl-x"\n')
    conf = {**os.environ, "CONTAINERS_CONF": str(tmp_path / "conf")}
    keys = ("--detach-keys", "ctrl-a,d")
    child = spawn(box, "run", "--rm", "-it", *keys, "--name", "k", IMAGE, "sh")
    child.expect("# ")
    child.send("echo x\x10\x11\x01y\r")  # neither podman's own keys nor their beginning
    child.expect("# ")
    child.send("\x01d")
    child.expect(pexpect.EOF)
    program, *rest = box.argv("attach", "k")
    child = pexpect.spawn(program, rest, timeout=60, dimensions=(20, 66), env=conf)
    child.expect("# ")  # the shell draws it again for the new size
    child.sendline("busybox stty size")
    child.expect("20 66\r\n")
    child.send("\x18")
    child.expect(pexpect.EOF)
    child = spawn(box, "attach", "--detach-keys", "", "--latest")
    child.sendline("")
    child.expect("# ")
    child.send("\x10\x11\x15")  # nothing leaves; ctrl-u empties the line
    child.sendline("exit 3")
    child.expect(pexpect.EOF)
    wait_for(lambda: box.ok("ps", "-aq") == "", "its removal")
    assert "invalid detach keys" in box.fails("run", "--detach-keys", "ctrl-8", IMAGE)
    assert "no such container" in box.fails("attach", "k")
    assert "requires a name, id" in box.fails("attach")


def test_attach_passes_output_and_signals_on(box: ContainerRoot) -> None:
    trap = "trap 'echo asked; exit 5' TERM; while :; do sleep 0.02; echo on; done"
    box.ok("run", "-d", "--name", "at", IMAGE, "sh", "-c", trap)
    with box.popen("attach", "--no-stdin", "at", stdout=subprocess.PIPE) as attached:
        assert attached.stdout is not None
        assert attached.stdout.readline() == b"on\n"
        attached.terminate()
        assert attached.stdout.read().endswith(b"asked\n")
        assert attached.wait() == 0
    assert box.ok("wait", "at") == "5\n"
    assert "you can only attach to running containers" in box.fails("attach", "at")


LEFT = "echo here; while [ ! -e /go ]; do sleep 0.05; done; exit 4"


def test_a_session_that_was_left_is_cleaned_up_at_its_end(box: ContainerRoot) -> None:
    id_ = box.ok("run", "-d", "--name", "host", IMAGE, "sleep", "1000").strip()
    sessions = box.runroot / "containers" / id_ / "exec"
    child = spawn(box, "exec", "-it", "host", "sh", "-c", LEFT)
    child.expect("here")
    child.send("\x10\x11")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    box.ok("exec", "-d", "host", "sh", "-c", "exit 6")
    wait_for(lambda: len(list(sessions.iterdir())) == 1, "the end of the detached session")
    box.ok("exec", "host", "busybox", "touch", "/go")
    wait_for(lambda: not list(sessions.iterdir()), "the end of the left session")
    form = ("--format", "{{.ContainerExitCode}}", "--filter", "event=exec_died")
    codes = box.ok(
        "events", "--stream=false", "--since", "1h", *form, "--filter", f"container={id_}"
    )
    assert sorted(codes.split()) == ["0", "4", "6"]
