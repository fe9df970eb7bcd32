"""One system call of ``run`` is refused, by strace: a message of one line, and nothing is left.

Every call of every command was tried so by hand; here are those that each step depends on, and
those that once ended in a hang or left something.
"""

from __future__ import annotations

import subprocess

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox", "strace")

# call, error, and which of the calls of each process
FAULTS = (
    ("flock", "ENOLCK", "1"), ("flock", "ENOLCK", "2"),
    ("rename", "ENOSPC", "1"), ("rename", "ENOSPC", "2"), ("rename", "EROFS", "3"),
    ("mkdir", "ENOSPC", "1"), ("mkdir", "ENOMEM", "2+"),
    ("clone,clone3,fork,vfork", "EAGAIN", "1+"),
    ("unshare", "ENOSPC", "1"), ("setns", "EPERM", "1+"),
    ("socketpair", "ENFILE", "1"), ("keyctl", "EDQUOT", "1"),
    ("mount", "ENOMEM", "1"), ("mount", "EPERM", "3"), ("mount", "EINVAL", "9"),
    ("mknodat", "ENOSPC", "1"), ("symlinkat", "ENOSPC", "1"), ("openat2", "EMFILE", "4"),
    ("pivot_root", "EINVAL", "1"), ("umount2", "EBUSY", "1"), ("sethostname", "EPERM", "1"),
    ("prctl", "EPERM", "3+"), ("capset", "EPERM", "1"), ("setgroups", "EPERM", "1"),
    ("setresuid", "EAGAIN", "1"), ("seccomp", "ENOMEM", "1"), ("prlimit64", "EPERM", "1+"),
    ("close_range", "ENOMEM", "1"), ("chdir", "EACCES", "1+"), ("setsid", "EPERM", "1"),
)  # fmt: skip


def test_a_refused_system_call_is_one_line_and_leaves_nothing(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """Or it does not matter, and the container runs to its end."""
    bundle.process["args"] = ["true"]
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert pyrun.run(bundle).returncode == 0  # what is cached is there: calls have their numbers
    problems = [problem for fault in FAULTS if (problem := tried(pyrun, bundle, *fault))]
    assert problems == []


def tried(pyrun: Runtime, bundle: Bundle, call: str, error: str, when: str) -> list[object]:
    """What is wrong after ``run`` with one fault; nothing if all is as it must be."""
    name = pyrun.new_id()
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]
    words = pyrun.command("run", "-b", str(bundle.path), name)
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", *inject, *words],
        check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    lines = 1 if done.returncode else 0
    wrong = "a fault of pyrun" in done.stderr or len(done.stderr.splitlines()) != lines
    # whoever cannot lock a container that has ended does not delete it
    left = [] if (call, when) == ("flock", "2") else pyrun.left(name)
    again = pyrun.call("delete", "--force", name)
    left += pyrun.left(name)
    if not (wrong or left or again.returncode):
        return []
    return [call, error, when, done.returncode, done.stderr, left, again.stderr]
