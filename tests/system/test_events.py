"""Exactly one event for each step of a life, in podman's order, and following them."""

from __future__ import annotations

import json
import select
import subprocess
import time

import pytest

from support.containers import IMAGE, ContainerRoot
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")

START = ["init", "start"]
END = ["died", "cleanup"]


def told(box: ContainerRoot, name: str, *options: str) -> list[str]:
    form = ("--format", "{{.Status}}", "--filter", f"container={name}")
    return box.ok("events", "--stream=false", "--since", "1h", *form, *options).split()


def test_each_step_of_a_life_is_one_event(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--label", "k=v", "--name", "one", IMAGE, "sleep", "1000")
    box.call("exec", "one", "sh", "-c", "exit 3")
    box.ok("kill", "-s", "CONT", "one")
    box.ok("stop", "-t", "0", "one")
    box.ok("restart", "one")
    box.ok("rm", "-f", "-t", "0", "one")
    life = ["create", *START, "exec", "exec_died", "kill", "stop", *END]
    life += ["restart", *START, *END, "remove"]
    assert told(box, "one") == life
    lines = box.ok(
        "events", "--stream=false", "--since", "1h", "--format", "json",
        "--filter", "event=died", "--filter", "event=exec_died", "--filter", "label=k=v",
    ).splitlines()  # fmt: skip
    assert [json.loads(line)["ContainerExitCode"] for line in lines] == [3, 137, 137]
    last = box.ok("events", "--stream=false", "--since", "1h", "--no-trunc=false").splitlines()[-1]
    assert last.endswith(f" (image={IMAGE}, name=one, k=v)")


def test_short_lives_and_failed_starts(box: ContainerRoot) -> None:
    box.ok("run", "--rm", "--name", "short", IMAGE, "true")
    assert told(box, "short") == ["create", *START, "attach", "died", "remove"]
    box.fails("run", "--name", "stays", IMAGE, "nosuch", status=127)
    assert told(box, "stays") == ["create", "cleanup"]
    box.fails("run", "--rm", "--name", "goes", IMAGE, "nosuch", status=127)
    assert told(box, "goes") == ["create", "remove"]
    box.ok("run", "-d", "--rm", "--name", "alone", IMAGE, "true")
    wait_for(lambda: "remove" in told(box, "alone"), "the monitor's clean-up")
    assert told(box, "alone") == ["create", *START, "died", "remove"]


def test_volumes_have_their_own_events(box: ContainerRoot) -> None:
    box.ok("volume", "create", "mine")
    box.ok("run", "--rm", "-v", "mine:/m", "-v", "yours:/y", "-v", "/anonymous", IMAGE, "true")
    box.ok("volume", "rm", "mine", "yours")
    wanted = ("--filter", "type=volume", "--format", "{{.Status}} {{.Name}}")
    told = box.ok("events", "--stream=false", "--since", "1h", *wanted).splitlines()
    named = [line for line in told if line.split()[1] in ("mine", "yours")]
    assert named == ["create mine", "create yours", "remove mine", "remove yours"]
    other = [line.split() for line in told if line not in named]
    assert [status for status, _ in other] == ["create", "remove"]
    assert other[0][1] == other[1][1]


def test_health_checks_and_prunes_are_told(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "h", "--health-cmd", "test -e /tmp/up", "--health-retries", "1",
           "--health-interval", "disable", IMAGE, "sleep", "1000")  # fmt: skip
    box.call("healthcheck", "run", "h")
    box.ok("rename", "h", "renamed")
    box.ok("exec", "renamed", "busybox", "touch", "/tmp/up")
    box.ok("healthcheck", "run", "renamed")
    wanted = ("events", "--stream=false", "--since", "1h", "--filter", "event=health_status")
    form = ("--format", "{{.Name}} {{.HealthStatus}}")
    assert box.ok(*wanted, *form).splitlines() == ["h unhealthy", "renamed healthy"]
    event = json.loads(box.ok(*wanted, "--format", "json").splitlines()[-1])
    assert (event["health_status"], event["Image"]) == ("healthy", IMAGE)
    assert event["timeNano"] // 10**9 == event["time"] <= time.time()
    assert "Time" not in event
    assert box.ok(*wanted).splitlines()[-1].endswith("name=renamed, health_status=healthy)")
    box.ok("volume", "create", "loose")
    box.ok("volume", "prune", "-f")
    loose = ("--filter", "volume=loose", "--format", "{{.Status}}")
    told = box.ok("events", "--stream=false", "--since", "1h", *loose).split()
    assert told == ["create", "remove", "prune"]


def test_events_are_followed_until_a_time(box: ContainerRoot) -> None:
    box.ok("tag", IMAGE, "before:1")
    with box.popen("events", "--filter", "type=image", stdout=subprocess.PIPE) as follower:
        try:
            assert follower.stdout is not None
            while not select.select([follower.stdout], [], [], 0)[0]:  # it watches some time
                box.ok("tag", IMAGE, "during:1")
            line = follower.stdout.readline().decode()
        finally:
            follower.terminate()
    assert " image tag " in line
    assert line.endswith(" localhost/during:1\n")
    box.ok("untag", IMAGE, "before:1", "during:1")
    assert box.ok("events", "--until", "10ms", "--filter", "event=nothing") == ""


def test_events_can_be_left_out(box: ContainerRoot) -> None:
    box.ok("--events-backend", "none", "run", "-d", "--rm", "--name", "quiet", IMAGE, "true")
    wait_for(lambda: box.ok("ps", "-aq") == "", "its removal")
    assert told(box, "quiet") == []
    error = box.fails("--events-backend", "none", "events")
    assert "events are not kept" in error


def test_events_refuse_what_has_no_meaning(box: ContainerRoot) -> None:
    assert "bogus is an invalid filter" in box.fails("events", "--filter", "bogus=1")
    assert "unable to interpret time value" in box.fails("events", "--since", "bogus")
    assert "bogus" in box.fails("--events-backend", "bogus", "events")
