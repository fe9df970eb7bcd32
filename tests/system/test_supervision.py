"""Health checks, restart policies and the start after boot, through all three programs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from support.containers import IMAGE, ContainerRoot
from support.monitors import read_if_there
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")

CHECKED = (
    "--health-cmd", "echo looked; test -e /ok", "--health-interval", "100ms",
    "--health-timeout", "20s", "--health-retries", "2",
)  # fmt: skip


def state(box: ContainerRoot, name: str) -> dict[str, Any]:
    return dict(json.loads(box.ok("inspect", name))[0])


def persisted(box: ContainerRoot, name: str, file: str) -> Path:
    return box.root / "containers" / str(state(box, name)["Id"]) / "monitor" / file


def wait_for_health(box: ContainerRoot, name: str, wanted: str) -> dict[str, Any]:
    path = persisted(box, name, "health.json")

    def look() -> dict[str, Any] | None:
        found = dict(json.loads(path.read_text()))
        return found if found["Status"] == wanted else None

    return dict(wait_for(look, f"{name} to be {wanted}"))


def wait_for_restarts(box: ContainerRoot, name: str, number: int) -> None:
    path = persisted(box, name, "restarts")
    wait_for(
        lambda: int((read_if_there(path) or "0").split()[0]) >= number,
        f"restart {number} of {name}",
    )


def test_a_check_tells_about_health(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "web", *CHECKED, IMAGE, "sleep", "1000")
    box.ok("run", "-d", "--name", "plain", IMAGE, "sleep", "1000")
    found = wait_for_health(box, "web", "unhealthy")
    assert found["Log"][-1]["Output"] == "looked\n"
    assert "(unhealthy)" in box.status("web")
    assert box.call("healthcheck", "run", "web").returncode == 1
    assert box.ok("ps", "-a", "--filter", "health=unhealthy", "--format", "{{.Names}}") == "web\n"
    box.ok("exec", "web", "sh", "-c", ">/ok")
    assert box.ok("healthcheck", "run", "web") == ""
    shown = state(box, "web")
    assert (shown["State"]["Health"]["Status"], shown["State"]["Health"]["FailingStreak"]) == (
        "healthy",
        0,
    )
    assert shown["State"]["Health"]["Log"][-1]["ExitCode"] == 0
    assert shown["Config"]["Healthcheck"] == {
        "Test": ["CMD-SHELL", "echo looked; test -e /ok"], "Interval": 100_000_000,
        "Timeout": 20_000_000_000, "Retries": 2,
    }  # fmt: skip
    assert "(healthy)" in box.status("web")
    assert "(" not in box.status("plain")
    assert "has no defined healthcheck" in box.fails("healthcheck", "run", "plain")
    box.ok("stop", "-t", "0", "web")
    assert "is not running" in box.fails("healthcheck", "run", "web")
    assert "no such container" in box.fails("healthcheck", "run", "nobody")


def test_checks_and_a_policy_may_change_while_a_container_runs(
    box: ContainerRoot, pyconmon_path: str
) -> None:
    """Its monitor has become small meanwhile, and knows of neither at first."""
    box.ok("run", "-d", "--name", "u", "--stop-timeout", "0", "--conmon", pyconmon_path, IMAGE,
           "sleep", "1000")  # fmt: skip
    monitor = state(box, "u")["State"]["ConmonPid"]
    cmdline = Path(f"/proc/{monitor}/cmdline")
    wait_for(lambda: b"pyconmon=" in cmdline.read_bytes(), "the resident program")
    quick = ("--health-interval", "100ms", "--health-retries", "1", "--health-timeout", "20s")
    box.ok("update", "--health-cmd", "test -e /ok", *quick, "u")
    wait_for_health(box, "u", "unhealthy")
    box.ok("update", "--health-cmd", "echo fine", "u")
    assert wait_for_health(box, "u", "healthy")["Log"][-1]["Output"] == "fine\n"
    assert state(box, "u")["Config"]["Healthcheck"]["Interval"] == 100_000_000
    box.ok("update", "--no-healthcheck", "u")
    assert "has no defined healthcheck" in box.fails("healthcheck", "run", "u")
    assert state(box, "u")["State"]["ConmonPid"] == monitor

    box.ok("update", "--restart", "always", "u")
    os.kill(state(box, "u")["State"]["Pid"], signal.SIGKILL)
    wait_for_restarts(box, "u", 1)
    wait_for(lambda: state(box, "u")["State"]["Running"], "its second life")
    box.ok("update", "--restart", "no", "--health-cmd", "false", *quick,
           "--health-on-failure", "restart", "u")  # fmt: skip
    wait_for_restarts(box, "u", 1)  # counted anew
    box.ok("update", "--health-on-failure", "none", "u")  # whatever it is doing just now
    wait_for(lambda: state(box, "u")["State"]["Running"], "a life after that")
    wait_for_health(box, "u", "unhealthy")
    os.kill(state(box, "u")["State"]["Pid"], signal.SIGKILL)
    assert box.ok("wait", "u") == "137\n"
    assert "did not come from this engine" in box.ok("why", "u")
    assert state(box, "u")["State"]["Status"] == "exited"


@pytest.mark.needs("conmon")
def test_a_monitor_that_takes_no_orders_keeps_its_checks(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "u", *CHECKED, IMAGE, "sleep", "1000")
    os.kill(state(box, "u")["State"]["ConmonPid"], signal.SIGKILL)
    error = box.fails("update", "--health-retries", "9", "u")
    assert "it was killed: stop the container first" in error
    assert state(box, "u")["Config"]["Healthcheck"]["Retries"] == 2
    box.ok("run", "-d", "--name", "c", "--conmon", "/usr/bin/conmon", IMAGE, "sleep", "1000")
    done = box.call("update", "--restart", "always", "c")
    assert (done.returncode, "hold from its next start on" in done.stderr) == (0, True)


def test_a_check_may_wait_to_be_asked(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "asked", "--health-cmd", '["/bin/sh", "-c", "test -e /ok"]',
           "--health-interval", "disable", "--health-start-period", "1h", "--health-max-log-count",
           "1", "--health-log-destination", box.root.parent, IMAGE, "sleep", "1000")  # fmt: skip
    path = box.root.parent / f"{state(box, 'asked')['Id']}-healthcheck.log"
    assert json.loads(path.read_text())["Status"] == "starting"
    done = box.call("healthcheck", "run", "asked")
    assert (done.returncode, done.stdout) == (1, "starting\n")
    box.ok("exec", "asked", "sh", "-c", ">/ok")
    box.ok("healthcheck", "run", "asked")
    found = json.loads(path.read_text())
    assert (found["Status"], len(found["Log"])) == ("healthy", 1)
    box.ok("rm", "-f", "-t", "0", "asked")
    assert not path.exists()


def test_the_images_check_is_run_unless_refused(box: ContainerRoot) -> None:
    check = {"Test": ["CMD", "true"], "Interval": 100_000_000, "Retries": 7}
    box.load_image(Healthcheck=check, Cmd=["sleep", "1000"])
    try:
        box.ok("run", "-d", "--name", "checked", IMAGE)
        box.ok("create", "--name", "changed", "--health-retries", "1", "--health-interval", "1h",
               IMAGE)  # fmt: skip
        box.ok("create", "--name", "refused", "--no-healthcheck", IMAGE)
        wait_for_health(box, "checked", "healthy")
        changed = state(box, "changed")["Config"]["Healthcheck"]
        assert (changed["Retries"], changed["Interval"]) == (1, 3600_000_000_000)
        assert changed["Test"] == ["CMD", "true"]
        assert "Healthcheck" not in state(box, "refused")["Config"]
    finally:
        box.remove_everything()
        box.load_image()


def test_an_unhealthy_container_is_killed_or_restarted(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "killed", *CHECKED, "--health-on-failure", "kill", IMAGE,
           "sleep", "1000")  # fmt: skip
    box.ok("run", "-d", "--name", "again", *CHECKED, "--health-on-failure", "restart",
           "--stop-timeout", "1", IMAGE, "sh", "-c",
           "trap 'exit 0' TERM; while :; do sleep 0.1; done")  # fmt: skip
    assert box.ok("wait", "killed") == "137\n"
    wait_for_restarts(box, "again", 2)
    assert state(box, "again")["RestartCount"] >= 2
    box.ok("stop", "-t", "0", "again")
    time.sleep(0.5)  # longer than its back-off
    assert "Exited" in box.status("again")


def test_a_crash_loop_goes_on_and_every_command_works_meanwhile(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "crash", "--restart", "always", "--stop-timeout", "100", IMAGE,
           "sh", "-c", "echo once; exit 3")  # fmt: skip
    wait_for_restarts(box, "crash", 1)
    while state(box, "crash")["RestartCount"] < 2:
        assert "crash" in box.ok("ps", "-a")
    assert state(box, "crash")["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert box.ok("logs", "crash").count("once") >= 2
    box.ok("stop", "-t", "1000", "crash")  # longer than a call may take here
    count = state(box, "crash")["RestartCount"]
    assert "Exited (3)" in box.status("crash")
    wait_for(lambda: not box.processes(), "the monitor's end")
    assert state(box, "crash")["RestartCount"] == count
    box.ok("start", "crash")
    wait_for_restarts(box, "crash", 1)
    box.ok("rm", "-f", "-t", "0", "crash")


def test_a_removal_does_not_wait_for_the_back_off(box: ContainerRoot) -> None:
    box.ok("create", "--name", "slow", "--restart", "always", IMAGE, "false")
    box.ok("start", "slow")
    wait_for_restarts(box, "slow", 4)  # the next one is 1.6 s away
    box.ok("rm", "-f", "slow")
    wait_for(lambda: not box.processes(), "the monitor's end")


def test_restarts_on_failure_are_counted(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "twice", "--restart", "on-failure:2", IMAGE, "false")
    box.ok("run", "-d", "--name", "good", "--restart", "on-failure", IMAGE, "true")
    wait_for(lambda: not box.processes(), "the end of both")
    assert state(box, "twice")["RestartCount"] == 2
    policy = state(box, "twice")["HostConfig"]["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert state(box, "good")["RestartCount"] == 0


def test_what_a_user_ends_stays_ended(box: ContainerRoot) -> None:
    for name in ("stopped", "killed"):
        box.ok("run", "-d", "--name", name, "--restart", "always", IMAGE, "sleep", "1000")
    box.ok("stop", "-t", "0", "stopped")
    box.ok("kill", "killed")
    wait_for(lambda: not box.processes(), "the end of both")
    assert [state(box, name)["RestartCount"] for name in ("stopped", "killed")] == [0, 0]


def test_who_attends_sees_one_life_and_the_policy_goes_on(box: ContainerRoot) -> None:
    done = box.call("run", "--name", "seen", "--restart", "on-failure:1", IMAGE, "sh", "-c",
                    "echo life; exit 4")  # fmt: skip
    assert (done.returncode, done.stdout) == (4, "life\n")
    wait_for(lambda: not box.processes(), "the second life's end")
    assert state(box, "seen")["RestartCount"] == 1


def test_boot_starts_what_should_run(box: ContainerRoot) -> None:
    for policy in ("no", "on-failure", "always", "unless-stopped"):
        box.ok("run", "-d", "--name", f"b-{policy}", "--restart", policy, IMAGE, "sleep", "1000")
    for policy in ("always", "unless-stopped"):
        box.ok("run", "-d", "--name", f"s-{policy}", "--restart", policy, IMAGE, "sleep", "1000")
        box.ok("stop", "-t", "0", f"s-{policy}")
    assert box.ok("system", "boot") == "", "nothing was started in another boot"
    reboot(box)
    assert "b-always" not in box.ok("ps", "--format", "{{.Names}}")
    expected = ["b-always", "b-on-failure", "b-unless-stopped", "s-always"]
    assert sorted(box.ok("system", "boot").split()) == expected
    assert sorted(box.ok("ps", "--format", "{{.Names}}").split()) == expected
    assert box.ok("system", "boot") == ""
    box.ok("stop", "-t", "0", "b-always")
    assert box.ok("system", "boot") == "", "a user has stopped it in this boot"


def reboot(box: ContainerRoot) -> None:
    """What the next boot finds: another boot id, no process, nothing below /run."""
    for line in box.processes():
        os.kill(int(line.split()[0]), 9)
    connection = sqlite3.connect(box.root / "pyengine.db")
    with connection:
        pids = connection.execute("SELECT pid FROM containers WHERE pid > 0").fetchall()
        connection.execute("UPDATE containers SET boot_id = 'another'")
    connection.close()
    for (pid,) in pids:
        os.kill(pid, 9)


def test_boot_heals_what_a_killed_monitor_left(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "orphan", "--restart", "always", IMAGE, "sleep", "1000")
    found = state(box, "orphan")["State"]
    for pid in (found["ConmonPid"], found["Pid"]):
        os.kill(pid, 9)
    wait_for(lambda: "Exited (255)" in box.status("orphan"), "the end, which nobody recorded")
    assert box.ok("system", "boot") == "orphan\n"
    assert "Up" in box.status("orphan")


def test_a_container_that_cannot_start_does_not_keep_others_from_it(box: ContainerRoot) -> None:
    gone = box.root.parent / "gone"
    gone.mkdir()
    box.ok("create", "--name", "a", "--restart", "always", "-v", f"{gone}:/gone", IMAGE, "sleep",
           "1000")  # fmt: skip
    box.ok("create", "--name", "b", "--restart", "always", IMAGE, "sleep", "1000")
    gone.rmdir()
    done = box.call("system", "boot")
    assert (done.returncode, done.stdout) == (125, "b\n")
    assert "gone" in done.stderr


@pytest.mark.needs("conmon")
def test_conmon_restarts_and_checks_nothing(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "c", "--conmon", "conmon", "--restart", "on-failure:2", IMAGE,
           "false")  # fmt: skip
    wait_for_restarts(box, "c", 2)
    wait_for(lambda: not box.processes(), "its end")
    assert state(box, "c")["RestartCount"] == 2
    box.ok("run", "-d", "--name", "d", "--conmon", "conmon", "--restart", "always", IMAGE, "false")
    wait_for_restarts(box, "d", 1)
    box.ok("stop", "d")
    wait_for(lambda: not box.processes(), "its end")
    message = box.fails("run", "--conmon", "conmon", "--health-cmd", "true", IMAGE, "true")
    assert "runs no health checks, and systemd" in message
    assert "use pyconmon (--conmon), --health-interval disable, or --no-healthcheck" in message


UNDER_CONMON = ("--conmon", "conmon", "--health-cmd", "read x </state; echo $x; test $x = good",
                "--health-retries", "2")  # fmt: skip


def set_state(box: ContainerRoot, name: str, word: str) -> None:
    box.ok("exec", name, "sh", "-c", f"echo {word} >/state")


@pytest.mark.needs("conmon")
def test_under_conmon_a_user_may_check(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "u", *UNDER_CONMON, "--health-interval", "disable",
           "--health-on-failure", "kill", IMAGE, "sleep", "1000")  # fmt: skip
    done = box.call("healthcheck", "run", "u")
    assert (done.returncode, done.stdout) == (1, "starting\n")
    set_state(box, "u", "good")
    assert box.ok("healthcheck", "run", "u") == ""
    found = state(box, "u")["State"]["Health"]
    assert (found["Status"], found["FailingStreak"]) == ("healthy", 0)
    assert (found["Log"][1]["Output"], found["Log"][1]["ExitCode"]) == ("good\n", 0)
    set_state(box, "u", "bad")
    assert box.call("healthcheck", "run", "u").stdout == "healthy\n", "one failure is none"
    assert box.call("healthcheck", "run", "u").stdout == "unhealthy\n"
    assert box.ok("wait", "u") == "137\n"
    assert state(box, "u")["State"]["Health"]["FailingStreak"] == 2


@pytest.mark.needs("conmon")
def test_under_conmon_a_check_that_takes_too_long_is_ended(box: ContainerRoot) -> None:
    id_ = box.ok("run", "-d", "--conmon", "conmon", "--health-cmd", "echo begun; sleep 1000",
                 "--health-interval", "disable", "--health-timeout", "500ms", IMAGE, "sleep",
                 "2000").strip()  # fmt: skip
    assert box.call("healthcheck", "run", id_).returncode == 1
    entry = state(box, id_)["State"]["Health"]["Log"][0]
    assert (entry["ExitCode"], entry["Output"]) == (-1, "no result within 0.5 s\nbegun\n")


@pytest.mark.needs("conmon", "systemd")
def test_under_conmon_a_timer_of_systemd_checks(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "timed", *UNDER_CONMON, "--health-interval", "500ms",
           "--health-on-failure", "restart", "--stop-timeout", "0", IMAGE, "sh", "-c",
           "echo good >/state; exec sleep 1000")  # fmt: skip
    wait_for_health(box, "timed", "healthy")
    first = state(box, "timed")["State"]["StartedAt"]
    set_state(box, "timed", "bad")
    wait_for(lambda: state(box, "timed")["State"]["StartedAt"] > first, "the restart")
    wait_for_health(box, "timed", "healthy")
    box.ok("stop", "-t", "0", "timed")
    listed = subprocess.run(
        ["systemctl", "list-units", "--no-legend", "pyengine-health-*.timer"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert listed.stdout == ""


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--rm", "--restart", "always"], "the --rm option conflicts with --restart"),
        (["--restart", "bogus"], '"bogus" is not a valid restart policy'),
        (["--restart", "always:3"], "can only be specified with on-failure"),
        (["--restart", "on-failure:x"], "retry count as a number greater than 0"),
        (["--health-cmd", "x", "--health-interval", "1x"], "invalid healthcheck-interval"),
        (["--health-cmd", "x", "--health-retries", "0"], "healthcheck-retries must be greater"),
        (["--health-cmd", "x", "--health-timeout", "0s"], "healthcheck-timeout must be at least"),
        (["--health-cmd", "x", "--health-start-period", "-1s"], "must be 0 seconds or greater"),
        (["--health-cmd", "x", "--health-on-failure", "pray"], "none,kill,restart,stop"),
        (["--health-cmd", "x", "--no-healthcheck"], "both --no-healthcheck and --health-cmd"),
        (["--health-cmd", " "], "has no command"),
        (["--health-on-failure", "kill"], "to kill without a health check"),
        (["--health-startup-cmd", "x"], "no health check that it could precede"),
        (["--health-cmd", "x", "--health-log-destination", "/nowhere"], "no such directory"),
    ],
)
def test_supervision_that_makes_no_sense_is_refused(
    box: ContainerRoot, options: list[str], problem: str
) -> None:
    assert problem in box.fails("create", *options, IMAGE, "true")
