"""The life of containers through all three installed programs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot
from support.images import busybox_image
from support.machine import with_cgroup_layout
from support.registry import small_registry
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


def test_a_run_passes_on_both_streams_and_the_exit_code(box: ContainerRoot) -> None:
    done = box.call("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 42")
    assert (done.returncode, done.stdout, done.stderr) == (42, "out\n", "err\n")


def test_a_process_killed_by_a_signal_gives_128_and_its_number(box: ContainerRoot) -> None:
    assert box.call("run", "--rm", IMAGE, "sh", "-c", "kill -9 $$; sleep 9 & kill -9 $!; exit 3"
                    ).returncode == 3  # fmt: skip
    box.ok("run", "-d", "--name", "victim", IMAGE, "sleep", "1000")
    box.ok("kill", "victim")
    assert box.ok("wait", "victim") == "137\n"


def test_no_output_is_lost_however_much_there_is(box: ContainerRoot) -> None:
    output = box.sh("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")
    assert output.splitlines() == [f"line {number}" for number in range(20000)]


def test_stdin_reaches_the_container_and_its_end_too(box: ContainerRoot) -> None:
    data = os.urandom(700_000).hex().encode()
    assert box.ok("run", "-i", "--rm", IMAGE, "cat", stdin=data) == data.decode()
    assert box.ok("run", "--rm", IMAGE, "cat", stdin=b"not for it") == ""


def test_a_detached_container_shows_in_ps_and_keeps_its_log(box: ContainerRoot) -> None:
    script = "echo one; echo two >&2; exec sleep 1000"
    id_ = box.ok("run", "-d", "--name", "d1", IMAGE, "sh", "-c", script).strip()
    assert re.fullmatch("[0-9a-f]{64}", id_)
    wait_for(lambda: "two" in box.call("logs", "d1").stderr, "the container's second line")
    logs = box.call("logs", "d1")
    assert (logs.stdout, logs.stderr) == ("one\n", "two\n")
    header, row = box.ok("ps").splitlines()
    assert header.split("  ")[0] == "CONTAINER ID"
    assert re.fullmatch(rf"{id_[:12]}  {IMAGE}  +sh -c echo one; e\.\.\.  .* ago +Up .*  +d1", row)
    assert box.ok("stop", "-t", "0", "d1") == "d1\n"
    assert box.ok("ps", "-q") == ""
    assert "Exited (137)" in box.ok("ps", "-a")
    assert box.cgroups(id_) == []


def test_stop_asks_first_and_kills_only_when_it_must(box: ContainerRoot) -> None:
    trap = "trap 'echo asked; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    box.ok("run", "-d", "--name", "polite", IMAGE, "sh", "-c", trap)
    wait_for(lambda: "ready" in box.ok("logs", "polite"), "the trap")
    box.ok("stop", "polite")
    assert box.ok("wait", "polite") == "5\n"
    assert "asked" in box.ok("logs", "polite")


def test_create_then_start_attached_and_again(box: ContainerRoot) -> None:
    box.ok("create", "--name", "c1", IMAGE, "sh", "-c", "cat /seen; echo x >>/seen; exit 3")
    assert "Created" in box.status("c1")
    first = box.call("start", "-a", "c1")
    assert (first.returncode, first.stdout) == (3, "")
    second = box.call("start", "-a", "c1")
    assert (second.returncode, second.stdout) == (3, "x\n")


def test_a_detached_container_with_rm_removes_itself(box: ContainerRoot) -> None:
    id_ = box.ok("run", "-d", "--rm", "--name", "gone", IMAGE, "sleep", "1000").strip()
    waiting = box.popen("wait", "gone", stdout=subprocess.PIPE)
    box.ok("exec", "gone", "true")
    box.ok("kill", "-s", "TERM", "gone")
    box.ok("kill", "-s", "KILL", "gone")
    assert waiting.communicate(timeout=60)[0] == b"137\n"
    wait_for(lambda: box.ok("ps", "-aq") == "", "the removal")
    assert box.settled() == []
    assert box.cgroups(id_) == []


def test_exec_has_its_own_options_and_exit_codes(box: ContainerRoot, tmp_path: Path) -> None:
    cidfile = tmp_path / "cid"
    box.ok("run", "-d", "--cidfile", str(cidfile), "--name", "e", IMAGE, "sleep", "1000")
    words = ("exec", "--privileged", "e", "busybox", "grep", "CapEff", "/proc/self/status")
    bounding = next(line for line in Path("/proc/self/status").read_text().splitlines()
                    if line.startswith("CapBnd"))  # fmt: skip
    assert box.ok(*words).split()[1] == bounding.split()[1]
    assert box.ok("exec", "--cidfile", str(cidfile), "echo", "hi") == "hi\n"
    assert "reading CIDFile" in box.fails("exec", "--cidfile", "/no/such", "true")
    (tmp_path / "given").write_text("through\n")
    argv = box.argv("exec", "--preserve-fds", "1", "e", "sh", "-c", "cat <&3")
    shell = ["sh", "-c", 'exec 3<"$0"; exec "$@"', str(tmp_path / "given"), *argv]
    done = subprocess.run(shell, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"through\n", b"")
    error = box.fails("exec", "--preserve-fds", "9", "e", "true")
    assert "is not available - the preserve-fds option" in error
    assert box.call("exec", "e", "nosuch").returncode == 127
    assert box.call("exec", "e", "/etc/passwd").returncode == 126
    assert box.call("exec", "-w", "/nosuch", "e", "true").returncode in (126, 127)
    assert "non-empty command" in box.fails("exec", "e")
    assert "no such container" in box.fails("exec", "nosuch", "true")


def test_the_process_sees_what_its_options_say(box: ContainerRoot, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nFROM_FILE=f\nBOTH=file\n")
    output = box.sh(
        "pwd; id -u; id -g; busybox hostname;"
        " echo $FROM_FILE $BOTH $GIVEN $HOME $HOSTNAME $container",
        "--env-file", str(tmp_path / "env"), "-e", "BOTH=option", "-e", "GIVEN=g", "-w", "/tmp",
        "-u", "1000:0", "--hostname", "inside",
    )  # fmt: skip
    assert output.splitlines() == ["/tmp", "1000", "0", "inside", "f option g / inside podman"]


def test_users_are_looked_up_in_the_image(box: ContainerRoot) -> None:
    assert box.sh("id -u; id -g", "-u", "user") == "1000\n1000\n"
    error = box.fails("run", "--rm", "-u", "nobody", IMAGE, "true", status=126)
    assert "unable to find user nobody: no matching entries in passwd file" in error


def test_entrypoint_and_command_follow_dockers_rules(box: ContainerRoot) -> None:
    assert box.ok("run", "--rm", "--entrypoint", "echo", IMAGE, "a", "b") == "a b\n"
    assert box.ok("run", "--rm", "--entrypoint", '["echo", "x"]', IMAGE, "y") == "x y\n"
    assert "no command" in box.fails("run", "--rm", "--entrypoint", "", IMAGE)


def test_bind_mounts_volumes_and_tmpfs(box: ContainerRoot, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host\n")
    output = box.sh(
        "cat /rw/file; echo new >/rw/made; busybox touch /ro/x || echo refused;"
        " busybox grep ' /t ' /proc/mounts",
        "-v", f"{tmp_path}:/rw", "-v", f"{tmp_path}:/ro:ro", "--tmpfs", "/t:size=1m,mode=700",
    )  # fmt: skip
    assert output.splitlines()[:2] == ["host", "refused"]
    assert "tmpfs" in output
    assert "size=1024k" in output
    assert (tmp_path / "made").read_text() == "new\n"
    box.sh("echo kept >/data/f", "-v", "vol1:/data")
    assert box.sh("cat /data/f", "-v", "vol1:/data") == "kept\n"


def test_a_read_only_root_has_writable_tmp_run_and_var_tmp(box: ContainerRoot) -> None:
    script = (
        "busybox touch /x || echo refused; busybox touch /tmp/x /run/x /var/tmp/x && echo writable"
    )
    assert box.sh(script, "--read-only") == "refused\nwritable\n"


def test_capabilities_are_podmans_and_can_be_changed(box: ContainerRoot) -> None:
    script = "busybox grep -E '^Cap(Eff|Bnd|Amb)' /proc/self/status"

    def sets(*options: str) -> list[str]:
        return [line.split()[1].lstrip("0") for line in box.sh(script, *options).splitlines()]

    default = f"{0x800405FB:x}"
    assert sets() == [default, default, ""]
    assert sets("--cap-drop", "all") == ["", "", ""]
    assert sets("--cap-drop", "ALL", "--cap-add", "NET_ADMIN") == ["1000", "1000", ""]
    assert sets("-u", "1000") == ["", default, ""]
    assert sets("-u", "1000", "--cap-drop", "ALL", "--cap-add", "CHOWN") == ["1", "1", "1"]


def test_confinement_is_on_unless_taken_off(box: ContainerRoot) -> None:
    script = "busybox grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; ls /proc/acpi 2>/dev/null"
    assert box.sh(script).split() == ["NoNewPrivs:", "0", "Seccomp:", "2"]
    options = ("--security-opt", "seccomp=unconfined", "--security-opt", "no-new-privileges")
    assert box.sh(script, *options).split() == ["NoNewPrivs:", "1", "Seccomp:", "0"]
    assert box.sh("busybox chroot / true && echo may") == "may\n"
    refused = box.sh("busybox mount -t tmpfs x /tmp 2>&1 || echo refused")
    assert refused.endswith("refused\n")


def test_network_none_has_only_loopback_and_host_has_all(box: ContainerRoot) -> None:
    assert box.sh("ls /sys/class/net") == "lo\n"
    inside = set(box.sh("ls /sys/class/net", "--network", "host").split())
    assert inside == set(os.listdir("/sys/class/net"))
    assert box.sh("cat /etc/resolv.conf", "--network", "host")


@pytest.mark.needs("cgroup_memory", "cgroup_cpu", "cgroup_pids")
def test_limits_reach_the_cgroup(box: ContainerRoot) -> None:
    id_ = box.ok("run", "-d", "--memory", "64m", "--cpus", "0.5", "--pids-limit", "33", IMAGE,
                 "sleep", "1000").strip()  # fmt: skip

    def value(controller: str, name: str) -> str:
        return Path(f"/sys/fs/cgroup/{controller}/libpod_parent/libpod-{id_}/{name}").read_text()

    assert value("memory", "memory.limit_in_bytes") == f"{64 << 20}\n"
    assert value("cpu", "cpu.cfs_quota_us") == "50000\n"
    assert value("pids", "pids.max") == "33\n"


def test_the_engines_files_are_in_the_container(box: ContainerRoot) -> None:
    output = box.sh("cat /etc/hostname /etc/hosts; ls /run/.containerenv", "--name", "named")
    id_prefix = output.splitlines()[0]
    assert re.fullmatch("[0-9a-f]{12}", id_prefix)
    assert f"127.0.0.1\t{id_prefix} named" in output
    assert output.endswith("/run/.containerenv\n")


def test_signals_to_a_foreground_run_reach_the_container(box: ContainerRoot) -> None:
    script = "trap 'exit 42' USR1; echo ready; while :; do sleep 0.01; done"
    run = box.popen("run", "--rm", IMAGE, "sh", "-c", script, stdout=subprocess.PIPE)
    assert run.stdout is not None
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(signal.SIGUSR1)
    assert run.wait(60) == 42
    run.stdout.close()


def test_logs_can_be_followed_limited_and_stamped(box: ContainerRoot) -> None:
    script = (
        "echo one; echo two; busybox printf part; while [ ! -e /go ]; do sleep 0.01; done; echo end"
    )
    box.ok("run", "-d", "--name", "talker", IMAGE, "sh", "-c", script)
    follow = box.popen("logs", "-f", "talker", stdout=subprocess.PIPE, bufsize=0)
    assert follow.stdout is not None
    assert follow.stdout.readline() == b"one\n"
    box.ok("exec", "talker", "busybox", "touch", "/go")
    assert follow.stdout.read() == b"two\npartend\n"  # not communicate(): readline has read ahead
    assert follow.wait(60) == 0
    follow.stdout.close()
    assert box.ok("logs", "--tail", "1", "talker") == "partend\n"
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z one\n", box.ok("logs", "-t", "talker"))


def test_exec_runs_beside_the_container(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "host1", "-e", "OF=container", IMAGE, "sleep", "1000")
    done = box.call("exec", "host1", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert box.ok("exec", "-i", "host1", "cat", stdin=b"through") == "through"
    output = box.ok("exec", "-u", "user", "-w", "/tmp", "-e", "X=y", "host1", "sh", "-c",
                    "id -u; pwd; echo $X $OF $HOME")  # fmt: skip
    assert output.splitlines() == ["1000", "/tmp", "y container /"]
    box.ok("exec", "-d", "host1", "busybox", "touch", "/made")
    wait_for(lambda: box.call("exec", "host1", "ls", "/made").returncode == 0, "the file")
    assert "executable file" in box.fails("exec", "host1", "nosuch", status=127)
    box.fails("exec", "host1", "/etc/passwd", status=126)
    box.ok("stop", "-t", "0", "host1")
    assert "can only create exec sessions" in box.fails("exec", "host1", "true", status=255)


def test_inspect_uses_podmans_names(box: ContainerRoot) -> None:
    id_ = box.ok("create", "--name", "seen", "--label", "a=b", "--memory", "64m", IMAGE, "true")
    found = json.loads(box.ok("inspect", "seen"))[0]
    assert found["Id"] == id_.strip()
    assert found["State"]["Status"] == "created"
    assert found["Config"]["Cmd"] == ["true"]
    assert found["Config"]["Labels"] == {"a": "b"}
    assert found["HostConfig"]["Memory"] == 64 << 20
    assert found["ImageName"] == IMAGE
    box.ok("start", "seen")
    box.ok("wait", "seen")
    found = json.loads(box.ok("inspect", "seen"))[0]
    assert found["State"]["ExitCode"] == 0
    assert found["State"]["StartedAt"] < found["State"]["FinishedAt"]


def test_ps_filters_and_json(box: ContainerRoot) -> None:
    box.ok("create", "--name", "one", "--label", "k=v", IMAGE, "true")
    id_ = box.ok("run", "-d", "--name", "two", IMAGE, "sleep", "1000").strip()
    assert box.ok("ps", "-q", "--no-trunc") == f"{id_}\n"
    assert box.ok("ps", "-aq", "--filter", "status=running", "--no-trunc") == f"{id_}\n"
    names = [found["Names"] for found in json.loads(box.ok("ps", "-a", "--format", "json"))]
    assert names == [["one"], ["two"]]
    assert len(box.ok("ps", "-aq", "--filter", "label=k=v").splitlines()) == 1
    assert len(box.ok("ps", "-aq", "--filter", f"id={id_[:5]}").splitlines()) == 1


def test_a_cidfile_holds_the_id_and_goes_with_the_container(
    box: ContainerRoot, tmp_path: Path
) -> None:
    path = tmp_path / "cid"
    id_ = box.ok("run", "-d", "--cidfile", str(path), IMAGE, "true").strip()
    assert path.read_text() == id_
    assert "container id file exists" in box.fails("run", "--cidfile", str(path), IMAGE, "true")
    box.ok("wait", id_)
    box.ok("rm", id_)
    assert not path.exists()


def test_privileged_gives_capabilities_and_devices(box: ContainerRoot) -> None:
    script = (
        "busybox grep Seccomp: /proc/self/status; ls /dev; busybox grep CapEff /proc/self/status;"
        " busybox grep -E ' /(sys|proc)[/a-z]* ' /proc/mounts | busybox grep -v /sys/fs/"
    )
    output = box.sh(script, "--privileged")
    assert "Seccomp:\t0" in output
    ours = re.search(r"CapBnd:\s(\w+)", Path("/proc/self/status").read_text())
    assert ours
    assert ours[1] in output
    mounts = [line.split() for line in output.splitlines() if line.startswith(("sysfs", "proc"))]
    assert {(words[1], words[3][:2]) for words in mounts} == {("/sys", "rw"), ("/proc", "rw")}
    assert "loop-control" in output or not os.path.exists("/dev/loop-control")


@pytest.mark.needs("v2_view")
def test_containers_on_cgroup_v2_see_their_own_namespace(box: ContainerRoot) -> None:
    argv = box.argv("run", "--rm", IMAGE, "cat", "/proc/self/cgroup")
    done = subprocess.run(with_cgroup_layout("v2", argv), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert "0::/\n" in done.stdout.decode()


def test_run_pulls_an_image_that_is_missing(box: ContainerRoot) -> None:
    with small_registry() as registry:
        registry.add("1", busybox_image())
        name = f"{registry.host}/x:1"
        assert "image not known" in box.fails("run", "--rm", "--pull", "never", name, "true")
        done = box.call("run", "--rm", name, "echo", "pulled")
        assert (done.returncode, done.stdout) == (0, "pulled\n")
        assert f"Trying to pull {name}..." in done.stderr
        asked = len(registry.faults.requests)
        assert box.call("run", "--rm", name, "true").stderr == ""
        assert len(registry.faults.requests) == asked
        box.ok("run", "--rm", "--pull", "always", name, "true")
        assert len(registry.faults.requests) > asked
    box.ok("rmi", name)


def test_info_names_the_programs_and_counts_containers(
    box: ContainerRoot, pyrun_path: str, pyconmon_path: str
) -> None:
    box.ok("run", "-d", IMAGE, "sleep", "1000")
    box.ok("create", IMAGE, "true")
    found = json.loads(box.ok("info", "--format", "json"))
    assert found["host"]["ociRuntime"]["path"] == pyrun_path
    assert found["host"]["conmon"]["path"] == pyconmon_path
    counts = found["store"]["containerStore"]
    assert (counts["number"], counts["running"], counts["stopped"]) == (2, 1, 1)
    assert f"graphRoot: {box.root}" in box.ok("info")
