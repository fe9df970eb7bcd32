"""exec into a running container, and terminals."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def name(pyrun: Runtime, bundle: Bundle) -> str:
    bundle.shell("sleep 1000")
    return pyrun.start(bundle)


@pytest.fixture
def console(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen(1)
        listener.settimeout(60)
        yield listener


def received(listener: socket.socket) -> int:
    """The descriptor of the terminal that arrives."""
    peer, _ = listener.accept()
    with peer:
        _, ancillary, _, _ = peer.recvmsg(4096, socket.CMSG_LEN(4))
    return int(array.array("i", ancillary[0][2])[0])


def read_all(fd: int) -> str:
    """What a terminal shows until nobody has it open."""
    text = b""
    while True:
        try:
            chunk = os.read(fd, 4096)
        except OSError:
            return text.decode()
        text += chunk


def test_exec_is_in_every_namespace_and_the_cgroup(pyrun: Runtime, name: str) -> None:
    pid = pyrun.state(name)["pid"]
    kinds = ["cgroup", "ipc", "mnt", "net", "pid", "uts"]
    script = f"for n in {' '.join(kinds)}; do readlink /proc/self/ns/$n; done"
    done = pyrun.call("exec", name, "sh", "-c", script)
    assert done.stdout.split() == [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds]
    assert pyrun.call("exec", name, "cat", "/proc/self/cgroup").stdout.splitlines() == (
        pyrun.call("exec", name, "cat", "/proc/1/cgroup").stdout.splitlines()
    )


def test_exec_gives_exit_status_and_output(pyrun: Runtime, name: str) -> None:
    done = pyrun.call("exec", name, "sh", "-c", "echo out; echo err >&2; exit 9")
    assert (done.returncode, done.stdout, done.stderr) == (9, "out\n", "err\n")
    assert pyrun.call("exec", name, "sh", "-c", "kill -KILL $$").returncode == 128 + 9


def test_options_change_the_process(pyrun: Runtime, name: str) -> None:
    words = ["--user", "1000:1001", "-g", "7", "--cwd", "/tmp", "-e", "A=b", "--cap", "CAP_CHOWN"]
    script = "id -u; id -g; id -G; pwd; echo $A; grep CapBnd /proc/self/status"
    lines = pyrun.call("exec", *words, name, "sh", "-c", script).stdout.splitlines()
    assert lines[:5] == ["1000", "1001", "1001 7", "/tmp", "b"]
    assert int(lines[5].split()[1], 16) & 1


@pytest.mark.parametrize(("inheritable", "gained"), [([], []), (["CAP_KILL"], ["CapAmb"])])
def test_a_capability_of_exec_is_inherited_only_beside_others(
    pyrun: Runtime, bundle: Bundle, inheritable: list[str], gained: list[str]
) -> None:
    """As with runc: a program inside may not hand on what nobody made inheritable."""
    sets = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": []}
    bundle.process["capabilities"] = {**sets, "inheritable": inheritable, "ambient": []}
    if inheritable:
        both = ["CAP_KILL", "CAP_CHOWN"]  # nothing is inheritable beyond the bounding set
        bundle.process["capabilities"].update(inheritable=both, bounding=both)
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    done = pyrun.call("exec", "--cap", "chown", name, "grep", "Cap", "/proc/self/status")
    words = dict(line.split(":\t") for line in done.stdout.splitlines())
    chown = [kind for kind, bits in words.items() if int(bits, 16) & 1]
    inherited = ["CapInh"] if inheritable else []
    assert sorted(chown) == sorted(["CapPrm", "CapEff", "CapBnd", *inherited, *gained])


def test_new_privileges_may_be_allowed_again(pyrun: Runtime, name: str) -> None:
    show = [name, "grep", "NoNewPrivs", "/proc/self/status"]
    assert pyrun.call("exec", *show).stdout.split()[1] == "1"
    assert pyrun.call("exec", "--no-new-privs=false", *show).stdout.split()[1] == "0"


def test_process_file(pyrun: Runtime, name: str, bundle: Bundle, tmp_path: Path) -> None:
    process = {**bundle.process, "args": ["sh", "-c", "echo $X"], "env": ["X=y", "PATH=/bin"]}
    (tmp_path / "process.json").write_text(json.dumps(process))
    done = pyrun.call("exec", "--process", str(tmp_path / "process.json"), name)
    assert (done.returncode, done.stdout) == (0, "y\n")
    del process["user"]  # root, as with runc and crun
    (tmp_path / "process.json").write_text(json.dumps({**process, "args": ["id", "-u"]}))
    done = pyrun.call("exec", "--process", str(tmp_path / "process.json"), name)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    (tmp_path / "process.json").write_text(json.dumps({**process, "cwd": "relative"}))
    done = pyrun.call("exec", "--process", str(tmp_path / "process.json"), name)
    assert (done.returncode, "cwd" in done.stderr) == (255, True)


def test_exec_of_what_is_not_there(pyrun: Runtime, name: str) -> None:
    done = pyrun.call("exec", name, "nope")
    assert (done.returncode, "executable file not found in $PATH" in done.stderr) == (127, True)
    done = pyrun.call("exec", name, "/etc")
    assert (done.returncode, "permission denied" in done.stderr) == (126, True)


def test_detached_exec_runs_on(pyrun: Runtime, name: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    words = pyrun.command("exec", "-d", "--pid-file", str(pid_file), name, "sleep", "1000")
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    assert subprocess.run(words, check=False, timeout=60, **quiet).returncode == 0  # type: ignore[call-overload]  # one type for both
    command = Path(f"/proc/{pid_file.read_text()}/cmdline").read_bytes()
    assert command == b"sleep\x001000\x00"


def test_console_socket_gets_the_terminal(
    pyrun: Runtime, bundle: Bundle, console: socket.socket, tmp_path: Path
) -> None:
    bundle.process["terminal"] = True
    bundle.process["consoleSize"] = {"height": 33, "width": 77}
    bundle.shell("tty; stty size; ls -l /dev/console | cut -c1; stty -a | grep -c -- -onlcr")
    name = pyrun.create(bundle, "--console-socket", str(tmp_path / "console"))
    fd = received(console)
    try:
        assert pyrun.call("start", name).returncode == 0
        assert read_all(fd).split("\n") == ["/dev/pts/0", "33 77", "c", "1", ""]
    finally:
        os.close(fd)


def test_terminal_without_a_socket_is_refused(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.save()
    done = pyrun.call("create", "-b", str(bundle.path), pyrun.new_id())
    assert (done.returncode, "--console-socket" in done.stderr) == (1, True)
    assert pyrun.left(pyrun.ids[-1]) == []


def test_socket_that_nobody_listens_on(pyrun: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.process["terminal"] = True
    bundle.save()
    words = ["--console-socket", str(tmp_path / "nobody"), "-b", str(bundle.path)]
    done = pyrun.call("create", *words, pyrun.new_id())
    assert done.returncode == 1
    assert f"connect to the console socket {tmp_path}/nobody" in done.stderr
    assert pyrun.left(pyrun.ids[-1]) == []


def test_run_relays_its_own_terminal(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.shell("stty size; read line; echo got $line; exit 5")
    bundle.save()
    command, *words = pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())
    child = pexpect.spawn(command, words, timeout=60, dimensions=(20, 60))
    child.expect("20 60")
    child.sendline("something")
    child.expect("got something")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 5


def test_exec_with_a_terminal(pyrun: Runtime, name: str) -> None:
    command, *words = pyrun.command("exec", "-t", name, "sh", "-c", "tty; exit 6")
    child = pexpect.spawn(command, words, timeout=60)
    child.expect("/dev/pts/0")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 6


@pytest.mark.parametrize(
    ("script", "end"), [("stty raw -echo; cat", b""), ("sleep 1; echo done", b"done")]
)
def test_input_that_the_terminal_has_no_room_for_stops_nothing(
    pyrun: Runtime, bundle: Bundle, script: str, end: bytes
) -> None:
    """The container writes as much as it reads, or reads nothing at all and ends."""
    bundle.process["terminal"] = True
    bundle.shell(f"{script} & wait; exit 5" if end else f"{script} | head -c 100000; exit 5")
    bundle.save()
    done = subprocess.run(
        pyrun.command("run", "-b", str(bundle.path), pyrun.new_id()),
        check=False, input=b"abcdefghi\n" * 50_000, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (5, b"")
    assert end in done.stdout
