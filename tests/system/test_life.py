"""What changes a container between its start and its end, and the commands that choose several."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")

TICKING = "i=0; while :; do i=$((i+1)); echo $i >/count; sleep 0.02; done"


@pytest.fixture
def three(box: ContainerRoot) -> ContainerRoot:
    """One that runs, one that has ended with 3, one that was only created."""
    box.ok("run", "-d", "--name", "runs", "--label", "k=v", IMAGE, "sleep", "1000")
    box.call("run", "--name", "ended", IMAGE, "sh", "-c", "exit 3")
    box.ok("create", "--name", "made", "--label", "k=w", IMAGE, "true")
    return box


def state(box: ContainerRoot, name: str) -> str:
    return box.ok("inspect", "--format", "{{.State.Status}}", name).strip()


def test_a_paused_container_stands_still_until_it_is_unpaused(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "p", IMAGE, "sh", "-c", TICKING)
    assert box.ok("pause", "p") == "p\n"
    assert (state(box, "p"), "Paused" in box.ok("ps")) == ("paused", True)
    count = box.root / "containers"
    path = next(count.glob("*/merged/count"))
    before = path.read_text()
    time.sleep(0.2)  # nothing tells that something did not happen
    assert path.read_text() == before
    assert "already paused" in box.fails("pause", "p")
    assert "can only create exec sessions on running" in box.fails("exec", "p", "true", status=255)
    assert "is paused" in box.fails("stop", "p")
    assert "is paused" in box.fails("start", "p")
    assert "cannot remove container" in box.fails("rm", "p", status=2)
    assert box.ok("unpause", "-a") == box.ok("ps", "-q", "--no-trunc")
    wait_for(lambda: path.read_text() != before, "the container to go on")
    assert "not paused, can't unpause" in box.fails("unpause", "p")
    box.ok("pause", "p")
    box.ok("kill", "p")
    assert box.ok("wait", "p") == "137\n"
    assert "not running, can't pause" in box.fails("pause", "p")
    box.ok("start", "p")
    box.ok("pause", "p")
    assert box.ok("rm", "-f", "p") == "p\n"


def test_a_pause_that_was_killed_half_way_is_seen_as_it_is(
    box: ContainerRoot, pyrun_path: str
) -> None:
    id_ = box.ok("run", "-d", "--name", "half", IMAGE, "sleep", "1000").strip()
    subprocess.run([pyrun_path, "pause", id_], check=True)
    box.execute(
        "INSERT INTO intents (kind, object, owner, owner_pid, started_at, data)"
        " VALUES ('container-pause', ?, 'owner-0', 1, 0, '{}')", id_
    )  # fmt: skip
    assert "Paused" in box.status("half")
    assert box.rows("SELECT * FROM intents") == []


def test_a_stale_intent_of_a_start_ends_no_container_that_runs(box: ContainerRoot) -> None:
    """Who takes a start back may be killed before the intent is gone; others start it again."""
    ids = [box.ok("run", "-d", *rm, IMAGE, "sleep", "1000").strip() for rm in ([], ["--rm"])]
    pids = box.ok("inspect", "--format", "{{.State.Pid}}", *ids)
    for id_ in ids:
        box.execute(
            "INSERT INTO intents (kind, object, owner, owner_pid, started_at, data)"
            " VALUES ('container-start', ?, 'owner-0', 1, 0, '{}')", id_
        )  # fmt: skip
    assert set(box.ok("ps", "-q", "--no-trunc").split()) == set(ids)
    assert box.rows("SELECT * FROM intents") == []
    assert box.ok("inspect", "--format", "{{.State.Pid}}", *ids) == pids
    assert box.ok("exec", ids[1], "echo", "alive") == "alive\n"
    box.ok("stop", "-t", "0", *ids)


def test_init_does_all_but_start_the_program(box: ContainerRoot) -> None:
    box.ok("create", "--name", "i", IMAGE, "sh", "-c", "echo ran; exit 4")
    assert box.ok("init", "i") == "i\n"
    assert (state(box, "i"), "Initialized" in box.status("i")) == ("initialized", True)
    assert box.ok("inspect", "--format", "{{.State.Pid}}", "i") != "0\n"
    assert box.ok("logs", "i") == box.ok("ps", "-q") == ""
    assert "has already been created in runtime" in box.fails("init", "i")
    assert "only kill running" in box.fails("kill", "i")
    started = box.call("start", "-a", "i")
    assert (started.returncode, started.stdout) == (4, "ran\n")
    box.ok("init", "i")
    box.ok("stop", "i")
    assert "Exited (137)" in box.status("i")
    box.ok("init", "--all")
    assert box.ok("rm", "i") == "i\n"
    assert box.settled() == []


def test_restart_starts_what_runs_and_what_does_not(three: ContainerRoot) -> None:
    pid = three.ok("inspect", "--format", "{{.State.Pid}}", "runs")
    assert three.ok("restart", "-t", "0", "runs", "made") == "runs\nmade\n"
    assert three.ok("inspect", "--format", "{{.State.Pid}}", "runs") != pid
    assert three.ok("wait", "made") == "0\n"
    id_ = three.ok("ps", "-q", "--no-trunc")
    assert three.ok("restart", "-t", "0", "--running") == id_
    assert "Exited (3)" in three.status("ended")
    assert "no such container" in three.fails("restart", "nosuch")
    three.ok("run", "-d", "--rm", "--name", "kept", IMAGE, "sleep", "1000")
    three.ok("restart", "-t", "0", "kept")
    assert "Up" in three.status("kept")


def test_a_new_name_must_be_free_and_a_name(three: ContainerRoot) -> None:
    three.ok("rename", "runs", "renamed")
    assert "Up" in three.status("renamed")
    assert "already in use by" in three.fails("rename", "renamed", "ended")
    assert "names must match" in three.fails("rename", "renamed", "a/b")
    assert "accepts 2 arg(s), received 1" in three.fails("rename", "renamed")
    three.call("container", "exists", "renamed").check_returncode()
    assert three.call("container", "exists", "runs").returncode == 1


def test_wait_knows_conditions_and_missing_containers(three: ContainerRoot) -> None:
    assert three.ok("wait", "--condition", "running", "runs") == "-1\n"
    assert three.ok("wait", "--condition", "exited,paused", "ended") == "3\n"
    waiting = three.popen(
        "wait", "--condition", "paused", "--interval", "20ms", "runs", stdout=subprocess.PIPE
    )
    three.ok("pause", "runs")
    assert waiting.communicate(timeout=60)[0] == b"-1\n"
    assert three.ok("wait", "--ignore", "nosuch", "ended") == "-1\n3\n"
    assert three.ok("wait", "--exit-first-match", "runs", "ended") == "3\n"
    assert "unknown container state: bogus" in three.fails("wait", "--condition", "bogus", "runs")
    assert "--interval x: invalid duration" in three.fails("wait", "-i", "x", "runs")
    assert "requires a name, id, or" in three.fails("wait")


def test_prune_asks_and_removes_what_does_not_run(three: ContainerRoot) -> None:
    asked = three.call("container", "prune", stdin=b"n\n")
    assert (asked.returncode, asked.stdout.count("[y/N]")) == (0, 1)
    assert "EOF" in three.fails("container", "prune")
    assert "invalid filter" in three.fails("container", "prune", "-f", "--filter", "name=x")
    assert three.ok("container", "prune", "-f", "--filter", "until=24h") == ""
    pruned = three.ok("container", "prune", "-f", "--filter", "label!=k=w").split()
    assert (len(pruned), len(three.ok("ps", "-aq").split())) == (1, 2)
    said = three.call("container", "prune", stdin=b"y\n").stdout
    assert len(said.split("[y/N] ")[1].split()) == 1
    assert "Up" in three.status("runs")


def test_containers_are_chosen_by_filters_cidfiles_and_all(
    three: ContainerRoot, tmp_path: Path
) -> None:
    cidfile = tmp_path / "cid"
    cidfile.write_text(f"{three.ok('ps', '-q', '--no-trunc')}")
    id_ = cidfile.read_text().strip()
    assert three.ok("pause", "--cidfile", cidfile) == f"{id_}\n"
    assert three.ok("unpause", "--filter", "label=k") == f"{id_}\n"
    assert three.ok("stop", "-t0", "--cidfile", cidfile) == f"{id_}\n"
    assert three.ok("start", "--filter", "label=k=v") == f"{id_}\n"
    assert three.ok("kill", "--cidfile", cidfile) == f"{id_}\n"
    three.ok("wait", "runs")
    assert len(three.ok("start", "--all").split()) == 3
    three.ok("stop", "-t0", "--all")
    assert three.ok("stop", "--ignore", "--cidfile", tmp_path / "no") == ""
    assert "reading CIDFile: open" in three.fails("rm", "--cidfile", tmp_path / "no")
    assert three.ok("rm", "--filter", "name=^(runs|made)$").count("\n") == 2
    for words, problem in [
        (["stop", "-a", "-l"], "--all and --latest cannot be used together"),
        (["pause", "-a", "x"], "no arguments are needed with --all"),
        (["rm", "-l", "x"], "--latest and containers cannot be used together"),
        (["kill", "-l", "--cidfile", "x"], "cannot be used together"),
        (["restart"], "you must provide at least one name or id"),
        (["start", "--filter", "x"], 'invalid filter "x"'),
        (["stop", "--filter", "a=b", "x"], "--filter takes no arguments"),
    ]:
        assert problem in three.fails(*words)


def _is_ready(box: ContainerRoot, name: str) -> bool:
    return "ready" in box.ok("logs", name)


def test_stubborn_containers_are_asked_together_and_killed_together(box: ContainerRoot) -> None:
    stubborn = "trap '' TERM; echo ready; while :; do sleep 1000 & wait; done"
    names = [f"s{number}" for number in range(4)]
    for name in names:
        box.ok("run", "-d", "--name", name, IMAGE, "sh", "-c", stubborn)
    for name in names:
        wait_for(functools.partial(_is_ready, box, name), f"the trap of {name}")
    before = time.monotonic()
    stopped = box.call("stop", "-t", "4", *names, "nosuch")
    assert time.monotonic() - before < 15  # one after the other they would take sixteen
    assert (stopped.returncode, stopped.stdout.split()) == (125, names)
    assert stopped.stderr.count("resorting to SIGKILL") == 4
    assert box.ok("ps", "-aq", "--filter", "exited=137").count("\n") == 4


def test_ps_filters_by_everything_podman_knows(three: ContainerRoot) -> None:
    def names(*filters: str) -> str:
        options = [word for text in filters for word in ("--filter", text)]
        return " ".join(three.ok("ps", "-a", "--format", "{{.Names}}", *options).split())

    id_ = three.ok("ps", "-q", "--no-trunc").strip()
    image_id = three.ok("images", "-q").strip()
    assert names(f"id={id_[:4]}") == "runs"
    assert names("name=^r", "name=^m") == "runs made"
    assert names("label=k", "label=k=v") == "runs"
    assert names("label!=k") == "ended"
    assert names("status=running", "status=created") == "runs made"
    assert names("status=stopped") == "ended"
    assert names("exited=3") == "ended"
    assert names("before=ended") == "runs"
    assert names("since=runs") == "ended made"
    assert names(f"ancestor={IMAGE}") == names("ancestor=box:1") == "runs ended made"
    assert names(f"ancestor={image_id}") == "runs ended made"
    assert names("ancestor=box") == ""
    assert names("until=24h") == names("until=2020-01-01") == names("volume=/x") == ""
    assert names("until=2999-01-01T00:00:00Z", "network=none") == "runs ended made"
    assert names("command=^sl") == "runs"
    assert names("restart-policy=always") == names("pod=x") == names("health=healthy") == ""
    assert names("health=none") == "runs ended made"
    for text, problem in [
        ("bogus=1", "bogus is an invalid filter"),
        ("status=bogus", '"bogus" is not a valid status'),
        ("exited=x", "is no exit code"),
        ("until=x", "is no time and no duration"),
        ("name=(", "not a regular expression"),
        ("before=nosuch", "no such container"),
        ("health=ill", "is not a state of health"),
    ]:
        assert problem in three.fails("ps", "--filter", text)


def test_ps_shows_what_its_options_ask_for(three: ContainerRoot) -> None:
    three.ok("exec", "runs", "sh", "-c", "echo 1234567 >/written")
    pid = three.ok("inspect", "--format", "{{.State.Pid}}", "runs").strip()
    sized = three.ok("ps", "-s", "--noheading").strip()
    assert re.search(r"runs +\S+ \(virtual [\d.]+MB\)$", sized)
    net = os.readlink(f"/proc/{pid}/ns/net").strip("net:[]")
    header, row = three.ok("ps", "--ns").splitlines()
    assert header.split()[:4] == ["CONTAINER", "ID", "NAMES", "PID"]
    assert row.split()[1:3] == ["runs", pid]
    assert net in row.split()
    assert "POD ID" in three.ok("ps", "--pod")
    assert three.ok("ps", "--last", "2", "--format", "{{.Names}}") == "ended\nmade\n"
    assert (
        three.ok("ps", "-a", "--sort", "names", "--format", "{{.Names}}") == "ended\nmade\nruns\n"
    )
    assert three.ok("ps", "-a", "--sort", "size", "-q", "--external", "--sync").count("\n") == 3
    (found,) = json.loads(three.ok("ps", "--ns", "--format", "json"))
    assert (found["Names"], found["Namespaces"]["Net"], found["Size"]) == (["runs"], net, None)
    (found,) = json.loads(three.ok("ps", "--size", "--format", "json"))
    assert found["Size"]["rwSize"] >= 8
    watching = three.popen("ps", "--watch", "1", "--noheading", stdout=subprocess.PIPE)
    try:
        assert watching.stdout is not None
        assert b"runs" in watching.stdout.readline()
        assert b"runs" in watching.stdout.readline()
    finally:
        watching.kill()
        watching.communicate()
    for words, problem in [
        (["-q", "-s"], "quiet conflicts with size and namespace"),
        (["--ns", "-s"], "size and namespace options conflict"),
        (["-l", "-n", "1"], "last and latest are mutually exclusive"),
        (["--sort", "bogus"], "bogus"),
        (["--format", "{{.Bogus}}"], "can't evaluate field Bogus"),
    ]:
        assert problem in three.fails("ps", *words)


def test_ps_sync_believes_the_runtime(box: ContainerRoot, pyrun_path: str) -> None:
    id_ = box.ok("run", "-d", "--name", "s", IMAGE, "sleep", "1000").strip()
    subprocess.run([pyrun_path, "pause", id_], check=True)
    assert "Up" in box.status("s")
    assert "Paused" in box.ok("ps", "--sync")
    box.ok("unpause", "s")


def test_rm_depend_removes_those_that_need_it_first(box: ContainerRoot) -> None:
    box.ok("create", "--name", "base", IMAGE, "true")
    box.ok("create", "--name", "middle", "--requires", "base", IMAGE, "true")
    top = box.ok("create", "--name", "top", "--requires", "middle", IMAGE, "true").strip()
    assert "has dependent containers" in box.fails("rm", "base", status=2)
    removed = box.ok("rm", "--depend", "base").split()
    assert (len(removed), removed[0], removed[-1]) == (3, top, "base")
    assert "no such container" in box.fails("rm", "--depend", "base", status=1)
