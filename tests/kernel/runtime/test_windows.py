"""What happens in the moment between two system calls of pyrun; strace stops it there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox", "strace")


class Stopped:
    """A command of pyrun that stands still after a system call."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def go_on(self) -> tuple[int, str]:
        """Let it end; returns its status and what it said on standard error."""
        (pid,) = _children(self._process.pid)
        os.kill(pid, signal.SIGCONT)
        complaint = self._process.communicate(timeout=60)[1]
        return self._process.returncode, complaint


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_over(pid: int) -> bool:
    """Whether a process has ended, though nobody may have waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextlib.contextmanager
def stopped(pyrun: Runtime, call: str, *words: str) -> Iterator[Stopped]:
    """A command that stops when it has made a system call for the first time."""
    inject = f"inject={call}:signal=SIGSTOP:when=1"
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
    process = subprocess.Popen(
        [*strace, *pyrun.command(*words)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield Stopped(process)
    finally:
        if process.poll() is None:
            for pid in _children(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.communicate(timeout=60)


def test_start_of_an_init_that_is_killed_meanwhile_is_an_error(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """It has not opened the fifo, so its end must not be taken for the beginning of the program."""
    name = pyrun.create(bundle)
    fifo, init = pyrun.root / name / "exec.fifo", pyrun.state(name)["pid"]
    with stopped(pyrun, "unlink", "start", name) as command:
        wait_for(lambda: not fifo.exists(), "the last moment before start looks at init")
        os.kill(init, signal.SIGKILL)
        wait_for(lambda: is_over(init), "the end of init")
        status, complaint = command.go_on()
    assert status == 1
    assert "it was killed before its program began" in complaint
    assert pyrun.state(name)["status"] == "stopped"
    assert pyrun.call("delete", name).returncode == 0


def test_a_cgroup_that_another_container_enters_first_is_left_alone(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """Both looked, and both found it empty: who comes second must not clean it up."""
    bundle.linux["cgroupsPath"] = f"/windows-{os.getpid()}-{bundle.path.parent.name}"
    bundle.process["args"] = ["sleep", "1000"]
    pyrun.call("delete", "--force", pyrun.create(bundle))  # Python renames what it compiles
    second = pyrun.new_id()
    record = pyrun.root / second / "state.json"
    words = ("create", "--bundle", str(bundle.path), second)
    with stopped(pyrun, "rename", *words) as command:
        wait_for(record.exists, "the record of the cgroup")
        first = pyrun.create(bundle)
        status, complaint = command.go_on()
    assert status == 1
    assert "it has processes already" in complaint
    assert pyrun.state(first)["status"] == "created"
    assert pyrun.call("state", second).returncode == 1


def test_a_process_whose_exec_is_killed_before_it_may_go_on_ends(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """It stands in the container, and waits for the word after its pid file has been written."""
    bundle.process["args"] = ["sleep", "1000"]
    name = pyrun.start(bundle)
    pid_file = tmp_path / "pid"
    inject = ["-e", "trace=rename", "-e", "inject=rename:signal=SIGKILL:when=1"]
    words = pyrun.command("exec", "--detach", "--pid-file", str(pid_file), name, "sleep", "1000")
    done = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", *inject, *words],
        check=False, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert not pid_file.exists()
    init = pyrun.state(name)["pid"]
    wait_for(
        lambda: json.loads(pyrun.call("ps", "--format", "json", name).stdout) == [init],
        "the end of the other process",
    )


HIDDEN = "prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE)"


def calls(pyrun: Runtime, trace: Path, *words: str) -> list[list[str]]:
    """What each process of a command that must succeed called, in its order."""
    wanted = "prctl,setns,setresuid,clone,clone3,fork,vfork,execve,mount,pivot_root"
    strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={wanted}"]
    done = subprocess.run(
        [*strace, *pyrun.command(*words)],
        check=False, timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made: dict[str, list[str]] = {}
    for line in trace.read_text().splitlines():
        pid, _, call = line.partition(" ")
        if not call.lstrip().startswith("<..."):  # the end of one that has been interrupted
            made.setdefault(pid, []).append(call.lstrip())
    return list(made.values())


def one_with(processes: list[list[str]], pattern: str) -> list[str]:
    """The process that made a call."""
    (found,) = [made for made in processes if any(re.match(pattern, call) for call in made)]
    return found


def before(made: list[str], pattern: str) -> list[str]:
    """What a process called before it made a certain call for the first time."""
    first = next(index for index, call in enumerate(made) if re.match(pattern, call))
    return made[:first]


def is_hidden(made: list[str]) -> bool:
    return any(call.startswith(HIDDEN) for call in made)


FORK = r"(clone3?|v?fork)\("
USERS = r"setns\(.*CLONE_NEWUSER"


def test_a_process_is_closed_to_others_before_they_can_see_it(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """Their memory is that of the host's Python, until they are the program."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["args"] = ["sleep", "1000"]
    name = pyrun.start(bundle)
    bundle.process["args"] = ["true"]
    bundle.save()
    trace, program = tmp_path / "trace", r"execve\(\"/bin/true"
    init = one_with(calls(pyrun, trace, "run", "-b", str(bundle.path), pyrun.new_id()), program)
    assert is_hidden(before(init, r"mount\("))
    # its new ids could undo that, with the sysctl fs.suid_dumpable
    assert is_hidden(before(init, program)[len(before(init, r"setresuid\(")) :])
    process = one_with(calls(pyrun, trace, "exec", name, "true"), program)
    assert is_hidden(before(process, r"setns\("))
    assert is_hidden(before(process, program)[len(before(process, r"setresuid\(")) :])
    entries = tmp_path / "entries"
    entries.write_text('[{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]')
    for process in calls(pyrun, trace, "mounts", "add", name, str(entries)):
        if any(call.startswith("setns(") for call in before([*process, "clone("], FORK)):
            assert is_hidden(before(process, r"setns\("))
            break
    else:
        pytest.fail("no process entered the container")


@pytest.mark.needs("userns")
def test_a_process_of_a_user_namespace_is_born_closed_to_others(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """They may be as powerful in it as the process is."""
    bundle.process["args"] = ["sleep", "1000"]
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    bundle.linux["gidMappings"] = bundle.linux["uidMappings"]
    first = pyrun.start(bundle)
    pid = pyrun.state(first)["pid"]
    kinds = ("user", "pid")
    kept = [one for one in bundle.linux["namespaces"] if one["type"] not in kinds]
    joined = [{"type": kind, "path": f"/proc/{pid}/ns/{kind}"} for kind in kinds]
    bundle.linux["namespaces"] = [*kept, *joined]
    bundle.process["args"] = ["true"]
    bundle.save()
    trace = tmp_path / "trace"
    for words in (("run", "-b", str(bundle.path), pyrun.new_id()), ("exec", first, "true")):
        helper = one_with(calls(pyrun, trace, *words), USERS)
        assert is_hidden(before(helper, FORK)), words
