"""Health checks by the monitor: own to pyconmon."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.monitors import Container, container, is_running, read_if_there
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "runc", "busybox")

FAST = ("--health-interval", "0.05", "--health-timeout", "20")


@pytest.fixture
def made(tmp_path: Path, pyconmon_path: str) -> Any:
    arguments = ["sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done"]
    with container(pyconmon_path, "runc", tmp_path / "c", arguments) as made:
        yield made


def check(*argv: str) -> list[str]:
    return [word for argument in argv for word in ("--health-cmd", argument)]


def health(made: Container) -> dict[str, Any]:
    return dict(json.loads((made.persist_dir / "health.json").read_text()))


def wait_for_health(made: Container, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        now = health(made)
        return now if condition(now) else None

    return dict(wait_for(look, "the state of health"))


def test_a_passing_check_makes_a_container_healthy(made: Container) -> None:
    made.create(*check("sh", "-c", "echo fine; echo too >&2"), *FAST)
    assert health(made) == {"Status": "starting", "FailingStreak": 0, "Log": []}
    made.start()
    now = wait_for_health(made, lambda now: now["Status"] == "healthy")
    entry = now["Log"][0]
    assert entry["ExitCode"] == 0
    assert sorted(entry["Output"].splitlines()) == ["fine", "too"]
    assert entry["Start"] < entry["End"]
    assert now["FailingStreak"] == 0


def log_calls(made: Container) -> Callable[[], list[str]]:
    """Let the monitor's runtime write down what it is called for."""
    log = made.directory / "calls"
    wrapper = made.directory / "logging-runtime"
    wrapper.write_text(f'#!/bin/sh\necho "$3" >> {log}\nexec {made.real_runtime} "$@"\n')
    wrapper.chmod(0o755)
    made.runtime = str(wrapper)
    return lambda: log.read_text().split()


def test_no_check_is_run_before_the_container_runs(made: Container) -> None:
    calls = log_calls(made)
    made.create(*check("sh", "-c", "exit 1"), *FAST, "--health-retries", "1")
    wait_for(lambda: calls().count("state") >= 3, "the monitor's questions")
    assert "exec" not in calls()
    assert health(made)["Log"] == []
    made.start()
    assert wait_for_health(made, lambda now: now["Log"] != [])["Status"] == "unhealthy"


def test_failures_in_a_row_make_it_unhealthy_and_a_success_healthy_again(
    made: Container,
) -> None:
    flag = made.bundle / "rootfs/tmp/ok"
    made.create(*check("sh", "-c", "cat /tmp/ok"), *FAST, "--health-retries", "3")
    made.start()
    now = wait_for_health(made, lambda now: now["Status"] != "starting")
    assert (now["Status"], now["FailingStreak"]) == ("unhealthy", 3)
    assert "No such file" in now["Log"][0]["Output"]
    flag.write_text("")
    assert wait_for_health(made, lambda now: now["Status"] == "healthy")["FailingStreak"] == 0


def test_failures_in_the_start_period_do_not_count(made: Container) -> None:
    made.create(
        *check("sh", "-c", "cat /tmp/ok"), "--health-interval", "1000",
        "--health-start-period", "1000", "--health-start-interval", "0.05", "--health-retries", "1",
    )  # fmt: skip
    made.start()
    now = wait_for_health(made, lambda now: len(now["Log"]) >= 3)
    assert (now["Status"], now["FailingStreak"]) == ("starting", 0)
    (made.bundle / "rootfs/tmp/ok").write_text("")
    wait_for_health(made, lambda now: now["Status"] == "healthy")


def test_a_command_that_takes_too_long_has_failed_and_is_gone(made: Container) -> None:
    made.create(
        *check("sh", "-c", "echo waiting; sleep 1000"), "--health-interval", "0.05",
        "--health-timeout", "0.5", "--health-retries", "1",
    )  # fmt: skip
    made.start()
    now = wait_for_health(made, lambda now: now["Log"] != [])
    assert now["Log"][0]["ExitCode"] == -1
    assert now["Log"][0]["Output"] == "no result within 0.5 s\nwaiting\n"
    processes = made.run_runtime("ps", made.id, "-o", "args").stdout
    assert processes.count("sleep 1000") <= 1, "only of the check that runs now"


def test_the_log_is_bounded(made: Container) -> None:
    made.create(
        *check("seq", "1", "100000"),
        *FAST,
        "--health-max-log-count",
        "2",
        "--health-max-log-size",
        "10",
    )
    made.start()
    now = wait_for_health(made, lambda now: len(now["Log"]) == 2)
    first = now["Log"][0]["Start"]
    now = wait_for_health(made, lambda now: now["Log"][0]["Start"] != first)
    assert [entry["Output"] for entry in now["Log"]] == ["1\n2\n3\n4\n5\n"] * 2


@pytest.mark.needs("cgroup_freezer")
def test_a_failing_check_of_a_paused_container_does_not_count(made: Container) -> None:
    calls = log_calls(made)
    # A check that the pause catches in the middle stands still until its time is up.
    made.create(*check("true"), *FAST, "--health-timeout", "5", "--health-retries", "1")
    made.start()
    wait_for_health(made, lambda now: now["Status"] == "healthy")
    # runc gives up on v1 when processes come and go meanwhile, as the checks do.
    wait_for(lambda: made.run_runtime("pause", made.id).returncode == 0, "the pause")
    asked = calls().count("state")
    # The second question comes after the answer to the first one.
    wait_for(lambda: calls().count("state") > asked + 1, "a check that fails as nothing runs")
    last = health(made)["Log"][-1]["Start"]
    assert made.run_runtime("resume", made.id).returncode == 0
    now = wait_for_health(made, lambda now: now["Log"][-1]["Start"] > last)
    assert {entry["ExitCode"] for entry in now["Log"]} == {0}


@pytest.mark.needs("cgroup_freezer")
def test_a_check_that_a_pause_catches_goes_on_after_it(made: Container) -> None:
    script = "until [ -e /tmp/go ]; do sleep 0.05; done; echo late"
    made.create(
        *check("sh", "-c", script), "--health-interval", "0.05", "--health-timeout", "1",
        "--health-retries", "1",
    )  # fmt: skip
    made.start()
    wait_for(lambda: read_if_there(made.persist_dir / "health.pid"), "the check")
    wait_for(lambda: made.run_runtime("pause", made.id).returncode == 0, "the pause")
    before = timers(made)
    wait_for(lambda: timers(made) >= before + 2, "the end of its time, twice")
    assert health(made)["Log"] == []
    (made.bundle / "rootfs/tmp/go").write_text("")
    assert made.run_runtime("resume", made.id).returncode == 0
    now = wait_for_health(made, lambda now: now["Log"] != [])
    assert (now["Status"], now["Log"][0]["Output"]) == ("healthy", "late\n")


def timers(made: Container) -> int:
    """How often the monitor went to sleep, which in a paused container is once for each timer."""
    text = Path(f"/proc/{made.monitor_pid}/status").read_text()
    return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_a_check_can_be_asked_for(made: Container) -> None:
    calls = log_calls(made)
    made.create(*check("echo", "asked"), "--health-interval", "0")
    made.start()
    with (made.bundle / "ctl").open("w") as ctl:
        ctl.write("3 0 0\n")
    now = wait_for_health(made, lambda now: now["Log"] != [])
    assert (now["Status"], now["Log"][0]["Output"]) == ("healthy", "asked\n")
    assert calls().count("exec") == 1


def test_the_health_log_may_be_anywhere(made: Container) -> None:
    log = made.directory / "elsewhere.json"
    made.create(*check("true"), *FAST, "--health-log", str(log))
    made.start()
    wait_for(lambda: json.loads(log.read_text())["Status"] == "healthy", "the state of health")
    assert not (made.persist_dir / "health.json").exists()


def unhealthy(action: str, *more: str) -> list[str]:
    return [*check("sh", "-c", "exit 1"), *FAST, "--health-retries", "1",
            "--health-on-failure", action, *more]  # fmt: skip


def test_an_unhealthy_container_can_be_killed(made: Container) -> None:
    made.create(*unhealthy("kill"))
    made.start()
    assert made.wait() == "137"
    made.wait_for_monitor()
    record = made.record()
    assert (record["cause"], record["restart"]) == ("health", None)
    assert not (made.persist_dir / "health.pid").exists()
    assert health(made)["Status"] == "unhealthy"


def test_an_unhealthy_container_can_be_stopped(made: Container) -> None:
    made.create(*unhealthy("stop"))
    made.start()
    assert made.wait() == "5"
    assert made.record()["cause"] == "health"


def test_a_container_that_does_not_stop_is_killed(tmp_path: Path, pyconmon_path: str) -> None:
    with container(pyconmon_path, "runc", tmp_path / "c", ["sleep", "1000"]) as made:
        made.create(*unhealthy("stop", "--stop-timeout", "0.5"))
        made.start()
        assert made.wait() == "137"
        assert len(health(made)["Log"]) == 1, "no check follows the one that ended it"


def exit_command(made: Container) -> list[str]:
    """An exit command that writes down whether it has to start the container again."""
    script = f'echo "${{PYCONMON_RESTART-none}}" > {made.directory}/asked.new;' \
        f" mv {made.directory}/asked.new {made.directory}/asked"  # fmt: skip
    words = ["--exit-command", "/bin/sh", "--exit-command-arg=-c"]
    return [*words, f"--exit-command-arg={script}"]


def asked(made: Container) -> str:
    return str(wait_for(lambda: read_if_there(made.directory / "asked"), "the exit command"))


def test_an_unhealthy_container_can_be_restarted_whatever_the_policy(made: Container) -> None:
    made.create(*unhealthy("restart"), *exit_command(made))
    made.start()
    assert made.wait() == "5"
    assert asked(made) == "1\n"
    assert made.record()["restart"] == {"count": 1, "delaySeconds": 0.1}


def test_a_startup_check_comes_first(made: Container) -> None:
    made.create(
        *check("true"), *FAST, "--health-startup-cmd", "cat", "--health-startup-cmd", "/tmp/up",
        "--health-startup-interval", "0.05",
    )  # fmt: skip
    made.start()
    now = wait_for_health(made, lambda now: len(now["Log"]) >= 3)
    assert now["Status"] == "starting"
    (made.bundle / "rootfs/tmp/up").write_text("")
    wait_for_health(made, lambda now: now["Status"] == "healthy")


def test_a_container_that_does_not_come_up_is_restarted(made: Container) -> None:
    made.create(
        *check("true"), "--health-startup-cmd", "false", "--health-startup-interval", "0.05",
        "--health-startup-retries", "2", *exit_command(made),
    )  # fmt: skip
    made.start()
    assert asked(made) == "1\n"
    assert health(made)["FailingStreak"] == 2


def test_an_end_during_a_check_leaves_no_process(made: Container) -> None:
    made.create(*check("sleep", "1000"), "--health-interval", "0.05", "--health-timeout", "500")
    made.start()
    pid = int(wait_for(lambda: read_if_there(made.persist_dir / "health.pid"), "a check"))
    made.run_runtime("kill", made.id, "KILL")
    assert made.wait() == "137"
    made.wait_for_monitor()
    assert not is_running(pid)


# Restart policies


@pytest.mark.parametrize(
    ("policy", "code", "so_far", "answer"),
    [
        ("no", 1, None, "none"),
        ("on-failure", 0, None, "none"),
        ("on-failure", 1, None, "1"),
        ("on-failure:2", 1, "1 200", "2"),
        ("on-failure:2", 1, "2 400", "none"),
        ("always", 0, "7 100", "8"),
        ("unless-stopped", 0, None, "1"),
        ("always", 0, "nonsense", "1"),
    ],
)
def test_the_exit_command_is_asked_to_restart(
    made: Container, policy: str, code: int, so_far: str | None, answer: str
) -> None:
    set_command(made, f"exit {code}")
    if so_far:
        (made.persist_dir / "restarts").write_text(so_far)
    made.run("--restart-policy", policy, *exit_command(made))
    assert asked(made) == f"{answer}\n"
    if answer != "none":
        assert (made.persist_dir / "restarts").read_text().split()[0] == answer


def set_command(made: Container, script: str) -> None:
    path = made.bundle / "config.json"
    config = json.loads(path.read_text())
    config["process"]["args"] = ["sh", "-c", script]
    path.write_text(json.dumps(config))


def test_each_restart_waits_twice_as_long(made: Container) -> None:
    set_command(made, "exit 1")
    (made.persist_dir / "restarts").write_text("3 200")
    made.run("--restart-policy", "always", *exit_command(made))
    assert asked(made) == "4\n"
    assert made.record()["restart"] == {"count": 4, "delaySeconds": 0.4}
    assert (made.persist_dir / "restarts").read_text() == "4 400\n"


def test_a_stopped_container_stays_stopped(made: Container) -> None:
    made.create("--restart-policy", "always", *exit_command(made))
    made.start()
    (made.persist_dir / "stopped").touch()
    made.run_runtime("kill", made.id, "KILL")
    assert asked(made) == "none\n"


def test_a_stop_during_the_back_off_calls_the_restart_off(made: Container) -> None:
    set_command(made, "exit 1")
    (made.persist_dir / "restarts").write_text("9 60000")
    made.create("--restart-policy", "always", *exit_command(made))
    made.start()
    made.wait()
    monitor = made.monitor_pid
    wait_for(lambda: "epoll" in Path(f"/proc/{monitor}/wchan").read_text(), "the back-off")
    os.kill(monitor, 15)
    assert asked(made) == "none\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--restart-policy", "sometimes"], "No such restart policy sometimes"),
        (["--restart-policy", "always:3"], "No such restart policy always:3"),
        (["--restart-policy", "always"], "A restart is asked for by the exit command"),
        ([*check("true"), "--health-on-failure", "pray"], "No such health action pray"),
        ([*check("true"), "--health-startup-interval", "0"], "must be longer than 0 seconds"),
        ([*check("true"), "--health-interval", "1h"], "Cannot parse seconds “1h”"),
        ([*check("true"), "--health-retries", "0"], "--health-retries must be at least 1"),
        (["--health-startup-cmd", "true"], "A startup check needs --health-cmd as well"),
    ],
)
def test_supervision_that_makes_no_sense_is_refused(
    made: Container, options: list[str], reason: str
) -> None:
    done, fd = made.launch(made.command(*options))
    os.close(fd)
    assert done.returncode == 1
    assert reason in done.stderr
