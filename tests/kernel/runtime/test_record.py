"""Seccomp profiles recorded from what a container really calls, and containers under them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.bundle import Bundle
from support.runtime import Runtime
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox", "syscall_info")

TRACE = "io.containers.trace-syscall"
THREADS = """
#include <pthread.h>
#include <sched.h>
static void *work(void *nothing) { sched_yield(); return nothing; }
int main(void) {
    pthread_t thread;
    return pthread_create(&thread, 0, work, 0) || pthread_join(thread, 0) ? 1 : 5;
}
"""


def allowed(path: Path) -> set[str]:
    """The calls of a profile, which must be one of a single rule."""
    profile = json.loads(path.read_text())
    (rule,) = profile["syscalls"]
    assert (profile["defaultAction"], rule["action"]) == ("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW")
    return set(rule["names"])


def record(bundle: Bundle, path: Path, base: str = "") -> None:
    bundle.config["annotations"] = {TRACE: f"{base}of:{path}"}


def replay(bundle: Bundle, path: Path) -> None:
    del bundle.config["annotations"]
    profile: dict[str, Any] = json.loads(path.read_text())
    bundle.linux["seccomp"] = profile


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_container_works_under_its_profile_and_other_calls_are_refused(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, no_new_privileges: bool
) -> None:
    path = tmp_path / "profile.json"
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.config["root"]["readonly"] = False
    record(bundle, path)
    bundle.shell("cat /etc/passwd | wc -l; test -e /tmp/x && mkdir /tmp/made")
    done = pyrun.run(bundle)
    assert (done.returncode, done.stdout, done.stderr) == (1, "2\n", "")
    assert {"execve", "read", "write"} <= allowed(path)
    assert not {"mkdir", "mkdirat", "reboot"} & allowed(path)
    replay(bundle, path)
    done = pyrun.run(bundle)
    assert (done.returncode, done.stdout, done.stderr) == (1, "2\n", "")
    (bundle.rootfs / "tmp/x").touch()
    done = pyrun.run(bundle)
    assert "Operation not permitted" in done.stderr
    assert not (bundle.rootfs / "tmp/made").exists()


def test_only_what_comes_after_the_program_begins_is_recorded(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "profile.json"
    record(bundle, path)
    pyrun.output(bundle)
    assert not {"capset", "setresuid", "pivot_root", "mount", "recvfrom"} & allowed(path)


@pytest.mark.needs("cc")
def test_threads_are_followed(pyrun: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    source, path = tmp_path / "threads.c", tmp_path / "profile.json"
    source.write_text(THREADS)
    program = str(bundle.rootfs / "bin/threads")
    subprocess.run(["cc", "-static", "-pthread", "-o", program, str(source)], check=True)
    bundle.process["args"] = ["sh", "-c", "threads; exit $?"]
    record(bundle, path)
    assert pyrun.run(bundle).returncode == 5
    assert "sched_yield" in allowed(path)
    replay(bundle, path)
    assert pyrun.run(bundle).returncode == 5


def test_the_status_of_a_program_killed_by_a_signal_is_kept(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "profile.json"
    record(bundle, path)
    bundle.linux["namespaces"] = [n for n in bundle.linux["namespaces"] if n["type"] != "pid"]
    bundle.shell("kill -TERM $$; sleep 1000")
    assert pyrun.run(bundle).returncode == 143
    assert "kill" in allowed(path)


def test_a_stopped_process_stays_stopped_until_it_is_continued(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "profile.json"
    record(bundle, path)
    bundle.shell(
        # a traced process is in state t at every system call too: one look does not tell
        "sh -c 'kill -STOP $$; touch /dev/went-on; exit 4' & p=$!; sleep 0.3;"
        " test ! -e /dev/went-on || exit 9;"
        " while :; do kill -CONT $p; sleep 0.05; done & c=$!; wait $p; s=$?; kill -9 $c; exit $s"
    )
    assert pyrun.run(bundle).returncode == 4


def test_exec_adds_to_the_profile_and_an_old_one_is_replaced(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "profile.json"
    path.write_text("old")
    record(bundle, path)
    bundle.shell("trap 'exit 0' TERM; while :; do sleep 0.05; done")
    name = pyrun.start(bundle)
    assert not path.exists()
    assert pyrun.call("exec", name, "hostname").returncode == 0
    wait_for(path.exists, "the recorder, which ends after exec does")
    assert "uname" in allowed(path)
    assert pyrun.call("delete", "--force", name).returncode == 0
    assert {"uname", "rt_sigaction"} <= allowed(path)
    assert pyrun.left(name) == []


def test_a_profile_can_be_the_base_of_the_next(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    base, path = tmp_path / "base.json", tmp_path / "profile.json"
    rule = {"names": ["reboot"], "action": "SCMP_ACT_ALLOW"}
    base.write_text(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}))
    record(bundle, path, f"if:{base};")
    pyrun.output(bundle)
    assert {"reboot", "execve"} <= allowed(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "is not of:PATH"),
        ("of:relative", "is not of:PATH"),
        ("of:/tmp/a;of:/tmp/b", "is not of:PATH"),
        ("if:/dev/null", "names no file to write"),
        ("of:/does/not/exist/p.json", "its directory cannot be written"),
        ("if:/does/not/exist;of:/tmp/p.json", "read the seccomp profile"),
    ],
)
def test_an_annotation_without_meaning_is_refused(
    pyrun: Runtime, bundle: Bundle, value: str, message: str
) -> None:
    bundle.config["annotations"] = {TRACE: value}
    done = pyrun.run(bundle)
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert pyrun.left(pyrun.ids[-1]) == []
