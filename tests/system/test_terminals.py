"""``-it`` under a real terminal: sizes, raw mode, detach keys."""

from __future__ import annotations

from typing import Any

import pexpect
import pytest

from support.containers import IMAGE, ContainerRoot
from support.monitors import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


def spawn(box: ContainerRoot, *arguments: str) -> Any:
    program, *rest = box.argv(*arguments)
    return pexpect.spawn(program, rest, timeout=30, dimensions=(31, 97), encoding="utf-8")


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
    shell = pexpect.spawn("/bin/sh", timeout=30, encoding="utf-8", env={"PS1": "ours> "})
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
