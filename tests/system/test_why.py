"""why: the cause, who asked, and the last lines, over several lives and over a lost run root."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


def test_the_last_ends_are_told_one_by_one(box: ContainerRoot) -> None:
    script = (
        "n=$(cat /n); echo $((n+1)) >/n; echo life $n$end; [ $n = 0 ] && exit 3; exec sleep 1000"
    )
    end = ("-e", "end=\x1b[0m")
    box.ok("create", "--name", "w", *end, IMAGE, "sh", "-c", f"[ -e /n ] || echo 0 >/n; {script}")
    assert box.ok("why", "w") == "w has never been started.\n"
    box.call("start", "-a", "w")
    first = box.ok("why", "w").splitlines()
    assert first[0].startswith("w ended by itself with exit code 3, ")
    assert first[-2:] == ["  Last output:", "    life 0\ufffd[0m"]
    box.ok("start", "w")
    assert box.ok("why", "--latest").startswith("w has not ended: it is running.\nBefore:\n")
    box.ok("stop", "-t", "0", "w")
    box.ok("start", "w")
    wait_for(lambda: "life 2" in box.ok("logs", "w"), "the third life")
    pid = int(box.ok("inspect", "--format", "{{.State.Pid}}", "w"))
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "Exited" in box.status("w"), "its end")
    reasons = box.ok("why", "--format", "{{.Why}}", "w").splitlines()
    assert reasons == [
        "was ended by SIGKILL (9), which did not come from this engine",
        "was ended by SIGKILL (9) because of `stop`",
        "ended by itself with exit code 3",
    ]
    last, stopped, _ = json.loads(box.ok("why", "--json", "w"))
    assert (last["signal"], last["exitCode"], last["lastOutput"]) == (9, 137, ["life 2\x1b[0m"])
    assert [(one["command"], one["signal"]) for one in stopped["asked"]] == [("stop", 9)]
    assert "no such container" in box.fails("why", "nosuch")
    assert "one container, or --latest" in box.fails("why")


def test_a_start_that_failed_and_a_restart_of_the_host(box: ContainerRoot) -> None:
    box.fails("run", "--name", "bad", IMAGE, "nosuch", status=127)
    assert "did not start: " in box.ok("why", "bad")
    assert "executable file not found" in box.ok("why", "bad")
    id_ = box.ok("run", "-d", "--name", "boot", IMAGE, "sleep", "1000").strip()
    pid, monitor = box.rows(f"SELECT pid, monitor_pid FROM containers WHERE id = '{id_}'")[0]
    for one in (monitor, pid):
        os.kill(one, signal.SIGKILL)
    wait_for(lambda: not box.cgroups(id_) or not os.path.exists(f"/proc/{pid}"), "its death")
    box.write_rows("UPDATE containers SET boot_id = 'another'")
    shutil.rmtree(box.runroot)
    assert box.ok("why", "boot").startswith("boot was ended by a restart of the host, ")


@pytest.mark.needs("conmon")
def test_conmon_lets_less_be_known(box: ContainerRoot) -> None:
    box.call("run", "--conmon", "/usr/bin/conmon", "--name", "c", IMAGE, "sh", "-c",
             "echo said; exit 4")  # fmt: skip
    told = box.ok("why", "c")
    assert "exit code 4" in told
    assert "conmon, which records an exit code only" in told
    assert told.endswith("    said\n")


@pytest.mark.needs("memory_limit")
def test_memory_that_ran_out(box: ContainerRoot) -> None:
    eat = "x=0123456789; while :; do x=$x$x$x$x; done"
    box.call("run", "--memory", "16m", "--name", "fat", IMAGE, "sh", "-c", f"exec sh -c '{eat}'")
    assert "because its memory ran out" in box.ok("why", "fat")
    wanted = ("--filter", "container=fat", "--filter", "event=died", "--format", "json")
    died = json.loads(box.ok("events", "--stream=false", "--since", "1h", *wanted))
    assert (died["ContainerExitCode"], died["OOMKilled"]) == (137, True)


def test_the_last_containers_that_were_removed_are_remembered(box: ContainerRoot) -> None:
    id_ = box.ok("run", "-d", "--name", "away", IMAGE, "sh", "-c", "echo bye; exec sleep 1000")
    wait_for(lambda: box.ok("logs", "away"), "its output")
    box.ok("rm", "-f", "-t", "0", "away")
    told = box.ok("why", "away").splitlines()
    assert told[0].startswith("away was ended by SIGKILL (9) because of `rm`, ")
    assert told[0].endswith(" and was removed.")
    assert told[-1] == "    bye"
    (end,) = json.loads(box.ok("why", "--json", id_[:12]))
    assert (end["id"], end["name"], end["exitCode"]) == (id_.strip(), "away", 137)
    box.call("run", "--rm", "--name", "away", IMAGE, "sh", "-c", "exit 5")
    assert "away ended by itself with exit code 5, " in box.ok("why", "away")
    box.ok("create", "--name", "never", IMAGE, "true")
    box.ok("rm", "never")
    assert "no such container" in box.fails("why", "never")
    box.fails("run", "--rm", "--name", "bad", IMAGE, "nosuch", status=127)
    assert "bad did not start: " in box.ok("why", "bad")


def test_a_forbidden_system_call_is_named_where_the_kernel_tells_it(
    box: ContainerRoot, tmp_path: Path
) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    killed = box.call("run", "--name", "mk", "--security-opt", f"seccomp={profile}", IMAGE,
                      "busybox", "mkdir", "/x")  # fmt: skip
    assert killed.returncode == 159
    (end,) = json.loads(box.ok("why", "--json", "mk"))
    assert end["systemCall"] in ("mkdir", "mkdirat", None)
    named = f"the system call {end['systemCall']}" if end["systemCall"] else "a system call"
    assert f"mk was killed by SIGSYS (31): it made {named}, which its" in box.ok("why", "mk")
