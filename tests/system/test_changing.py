"""update, container clone, inspect: what a container is configured to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.containers import IMAGE, ContainerRoot
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


def inspected(box: ContainerRoot, name: str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(box.ok("inspect", *options, name))[0]
    return found


@pytest.mark.needs("cgroup_memory", "cgroup_cpu", "cgroup_pids")
def test_update_changes_limits_at_once_and_for_the_next_start(box: ContainerRoot) -> None:
    id_ = box.ok("run", "-d", "--name", "u", "-m", "64m", IMAGE, "sleep", "1000").strip()

    def value(controller: str, name: str) -> str:
        path = f"/sys/fs/cgroup/{controller}/libpod_parent/libpod-{id_}/{name}"
        return Path(path).read_text().strip()

    assert box.ok("update", "--cpus", "0.5", "--pids-limit", "33", "u") == f"{id_}\n"
    assert (value("cpu", "cpu.cfs_quota_us"), value("pids", "pids.max")) == ("50000", "33")
    box.ok("container", "update", "--memory", "128m", "--cpu-shares", "512", "u")
    assert value("memory", "memory.limit_in_bytes") == str(128 << 20)
    assert value("cpu", "cpu.shares") == "512"
    box.ok("update", "--pids-limit", "-1", "u")
    assert value("pids", "pids.max") == "max"
    shown = inspected(box, "u")["HostConfig"]
    assert (shown["Memory"], shown["NanoCpus"], shown["CpuShares"]) == (128 << 20, 5 * 10**8, 512)
    box.ok("stop", "-t", "0", "u")
    box.ok("update", "--memory", "96m", "u")
    box.ok("start", "u")
    assert value("memory", "memory.limit_in_bytes") == str(96 << 20)
    assert value("cpu", "cpu.cfs_quota_us") == "50000"
    for words, problem in [
        (["u"], "nothing to update"),
        (["-m", "1k", "u"], "must be at least 6m"),
        (["-m", "64m", "nosuch"], "no such container"),
        (["--memory-swap", "1m", "u"], "minimum memoryswap limit should be larger"),
        (["--restart", "bogus", "u"], "not a valid restart policy"),
        (["--cpus", "0.5"], ""),
    ]:
        assert problem in box.fails("update", *words)
    assert value("memory", "memory.limit_in_bytes") == str(96 << 20)


def test_update_of_the_restart_policy_holds(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "again", "--restart", "always", IMAGE, "sleep", "1000")
    box.ok("update", "--restart", "no", "again")
    box.ok("kill", "-s", "9", "again")
    assert box.ok("wait", "again") == "137\n"
    assert "Exited (137)" in box.status("again")
    box.ok("update", "--restart", "on-failure:1", "again")
    assert inspected(box, "again")["HostConfig"]["RestartPolicy"]["MaximumRetryCount"] == 1
    box.ok("rm", "-f", "-t", "0", "again")
    box.ok("create", "--name", "fails", IMAGE, "sh", "-c", "echo x >>/count; exit 3")
    box.ok("update", "--restart", "on-failure:2", "fails")
    box.ok("start", "fails")
    wait_for(lambda: inspected(box, "fails")["RestartCount"] == 2, "two restarts")
    box.ok("run", "-d", "--rm", "--name", "short", IMAGE, "sleep", "1000")
    assert "conflicts with --restart" in box.fails("update", "--restart", "always", "short")


def test_update_of_variables_limits_and_checks_holds_from_the_next_start_on(
    box: ContainerRoot,
) -> None:
    box.ok("run", "-d", "--name", "more", "-e", "A=1", "-e", "B=2", "--ulimit", "core=0",
           "--health-cmd", "test -e /up", "--health-interval", "1h", IMAGE,
           "sleep", "1000")  # fmt: skip
    changed = box.call("update", "--latest", "-e", "A=3", "--unsetenv", "B", "--unsetenv", "TERM",
                       "--ulimit", "nofile=100:200")  # fmt: skip
    assert changed.returncode == 0
    assert "hold from the next start of more on" in changed.stderr
    box.ok("stop", "-t", "0", "more")
    box.ok("update", "--health-retries", "7", "--health-startup-cmd", "true", "more")
    check = inspected(box, "more")["Config"]["Healthcheck"]
    assert (check["Test"], check["Retries"]) == (["CMD-SHELL", "test -e /up"], 7)
    assert check["Interval"] == 3600 * 10**9
    box.ok("start", "more")
    script = "echo $A.$B.$TERM; ulimit -n; ulimit -c"
    assert box.ok("exec", "more", "sh", "-c", script).split() == ["3..", "100", "0"]
    assert box.call("healthcheck", "run", "more").returncode == 0  # the startup check
    box.ok("stop", "-t", "0", "more")
    box.ok("update", "--health-startup-cmd", "none", "--health-interval", "disable", "more")
    box.ok("start", "more")
    assert box.call("healthcheck", "run", "more").returncode == 1
    assert box.call("healthcheck", "run", "--ignore-result", "more").returncode == 0
    box.ok("stop", "-t", "0", "more")
    box.ok("update", "--no-healthcheck", "more")
    assert "has no defined healthcheck" in box.fails("healthcheck", "run", "more")
    assert "without a health check" in box.fails("update", "--health-on-failure", "kill", "more")


def test_a_clone_has_the_options_and_nothing_that_was_written(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "web", "-m", "64m", "--stop-timeout", "0",
           "-e", "A=b", "--label", "k=v",
           "-v", "data:/data", IMAGE, "sh", "-c", "echo x >/written; exec sleep 1000")  # fmt: skip
    wait_for(lambda: box.call("exec", "web", "cat", "/written").stdout == "x\n", "the file")
    id_ = box.ok("container", "clone", "web").strip()
    copied = inspected(box, "web-clone")
    assert (copied["Id"], copied["State"]["Status"]) == (id_, "created")
    assert (copied["HostConfig"]["Memory"], copied["Config"]["Labels"]) == (64 << 20, {"k": "v"})
    box.ok("container", "clone", "--run", "--memory", "96m", "web", "second", IMAGE)
    assert box.ok("exec", "second", "sh", "-c", "echo $A; ls /").startswith("b\n")
    assert inspected(box, "second")["HostConfig"]["Memory"] == 96 << 20
    box.ok("container", "clone", "web")
    assert box.ok("ps", "-aq", "--filter", "name=^web-clone1$").strip()
    assert "use --force" in box.fails("container", "clone", "--destroy", "web")
    assert "already in use" in box.fails("container", "clone", "web", "second")
    assert "pinging" in box.fails("container", "clone", "web", "x", "localhost/nosuch")
    assert "without --destroy" in box.fails("container", "clone", "-f", "web")
    old = inspected(box, "web")["Id"]
    assert box.ok("container", "clone", "--destroy", "--force", "web").strip() != old
    assert inspected(box, "web")["State"]["Status"] == "created"
    assert box.call("container", "exists", old).returncode == 1


def test_inspect_has_podmans_fields_and_the_truth(box: ContainerRoot) -> None:
    id_ = box.ok("run", "-d", "--name", "i", "--cpus", "0.5", "--cap-drop", "CHOWN", "--add-host",
                 "h:10.0.0.1", "--shm-size", "1m", "-v", "data:/data", "--group-add", "5", IMAGE,
                 "sleep", "1000").strip()  # fmt: skip
    found = inspected(box, "i", "--size")
    assert found["ImageDigest"].startswith("sha256:")
    assert found["SizeRootFs"] > found["SizeRw"] >= 0
    state = found["State"]
    assert Path(f"/proc/{state['ConmonPid']}").exists()
    assert id_ in state["CgroupPath"]
    assert state["CheckpointedAt"] == state["FinishedAt"] == "0001-01-01T00:00:00Z"
    settings = found["HostConfig"]
    assert settings["ExtraHosts"] == ["h:10.0.0.1"]
    assert (settings["ShmSize"], settings["GroupAdd"]) == (1 << 20, ["5"])
    assert settings["CapDrop"] == ["CAP_CHOWN"]
    assert "CAP_CHOWN" not in found["EffectiveCaps"]
    assert found["NetworkSettings"]["SandboxKey"] == f"/proc/{state['Pid']}/ns/net"
    assert found["Mounts"][0]["Name"] == "data"
    by_type = box.ok("inspect", "--type", "volume", "--format", "{{.Driver}} {{.Name}}", "data")
    assert by_type == "local data\n"
    assert box.ok("inspect", "-t", "image", "-f", "{{.Os}}", IMAGE) == "linux\n"
    assert box.ok("inspect", "-l", "-f", "{{.Name}}") == "i\n"
    assert [one["Name"] for one in json.loads(box.ok("inspect", "i", "data"))] == ["i", "data"]
    for words, problem in [
        (["--type", "image", "i"], 'no such image: "i"'),
        (["--type", "bogus", "i"], '"bogus" is not a valid type'),
        (["--type", "image", "--size", IMAGE], "size is not supported for type image"),
        (["nosuch"], 'no such object: "nosuch"'),
        ([], "you must provide at least one name or id"),
    ]:
        assert problem in box.fails("inspect", *words)
    assert 'no such container "data"' in box.fails("container", "inspect", "data")


def test_a_label_of_an_image_is_run(box: ContainerRoot) -> None:
    box.ok("create", "--name", "l", IMAGE, "true")
    run = "podman run --rm --name ${NAME} -e I=IMAGE -e=P=$PWD IMAGE sh -c 'echo $0 $I' NAME"
    box.ok(
        "commit", "-q", "--change", f'LABEL run="{run}"', "--change", "LABEL fails=/bin/false",
        "--change", "LABEL gone=/no/such", "--change", 'LABEL broken="it\'s"', "l",
        "localhost/lab:1",
    )  # fmt: skip
    name = "localhost/lab:1"
    shown = box.ok("container", "runlabel", "--display", "--name", "n", "RUN", name, "x y")
    assert shown.startswith("command: podman run --rm --name n -e I=localhost/lab:1 -e=P=/")
    assert shown.endswith("localhost/lab:1 sh -c 'echo  ' n 'x y'\n")
    done = box.call("container", "runlabel", "run", name)
    assert done.returncode == 0, done.stderr
    assert box.call("container", "runlabel", "fails", name).returncode == 1
    assert "No such file" in box.fails("container", "runlabel", "gone", name)
    error = box.fails("container", "runlabel", "nosuch", name)
    assert f"cannot find the value of label: nosuch in image: {name}" in error
    assert "No closing quotation" in box.fails("container", "runlabel", "broken", name)
