"""What the kernel knows of the container's process: scheduling, processors, memory, identity."""

from __future__ import annotations

import os
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")

FIFO, RR, BATCH, IDLE, RESET_ON_FORK = 1, 2, 3, 5, 0x40000000


def refused(runtime: Runtime, bundle: Bundle) -> str:
    done = runtime.run(bundle)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert runtime.left(runtime.ids[-1]) == []
    return done.stderr


def of_running(runtime: Runtime, bundle: Bundle) -> int:
    bundle.process["args"] = ["sleep", "1000"]
    return int(runtime.state(runtime.start(bundle))["pid"])


# --- scheduler, ioPriority


@pytest.mark.parametrize(
    ("scheduler", "policy", "nice"),
    [
        ({"policy": "SCHED_OTHER", "nice": 7}, 0, 7),
        ({"policy": "SCHED_BATCH", "nice": -3}, BATCH, -3),
        ({"policy": "SCHED_IDLE"}, IDLE, None),
        ({"policy": "SCHED_BATCH", "nice": None, "priority": None, "runtime": None}, BATCH, 0),
        ({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_KEEP_POLICY"], "nice": 2}, 0, 2),
    ],
)
def test_the_scheduling_policy_is_the_process_s(
    pyrun: Runtime,
    bundle: Bundle,
    scheduler: dict[str, Any],
    policy: int,
    nice: int | None,
) -> None:
    bundle.process["scheduler"] = scheduler
    pid = of_running(pyrun, bundle)
    assert os.sched_getscheduler(pid) == policy
    callers = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, pid) == (callers if nice is None else nice)


@pytest.mark.needs("realtime")
@pytest.mark.parametrize(
    ("scheduler", "policy", "priority"),
    [
        ({"policy": "SCHED_FIFO", "priority": 10}, FIFO, 10),
        ({"policy": "SCHED_RR", "priority": 20}, RR, 20),
        (
            {"policy": "SCHED_RR", "priority": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
            RR | RESET_ON_FORK,
            5,
        ),
    ],
)
def test_a_realtime_policy_is_the_process_s(
    pyrun: Runtime, bundle: Bundle, scheduler: dict[str, Any], policy: int, priority: int
) -> None:
    bundle.process["scheduler"] = scheduler
    if os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"):
        bundle.linux["cgroupsPath"] = f"/{pyrun.new_id()}"
        bundle.linux["resources"]["cpu"] = {"realtimeRuntime": 1000, "realtimePeriod": 1000000}
    pid = of_running(pyrun, bundle)
    assert os.sched_getscheduler(pid) == policy
    assert os.sched_getparam(pid).sched_priority == priority


def test_a_deadline_is_the_process_s(pyrun: Runtime, bundle: Bundle) -> None:
    times = {"runtime": 1_000_000, "deadline": 10_000_000, "period": 10_000_000}
    bundle.process["scheduler"] = {"policy": "SCHED_DEADLINE", **times}
    done = pyrun.run(bundle)
    if done.returncode:  # a process that does not run on every processor may not have one
        assert "set the scheduling policy SCHED_DEADLINE: Operation not permitted" in done.stderr
        return
    pid = of_running(pyrun, bundle)
    assert os.sched_getscheduler(pid) == 6


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ({"policy": "SCHED_FIFO", "priority": 100}, "set the scheduling policy SCHED_FIFO: Inv"),
        ({"policy": "SCHED_ISO"}, "set the scheduling policy SCHED_ISO: Invalid argument"),
        ({"policy": "SCHED_DEADLINE"}, "/process/scheduler/runtime: SCHED_DEADLINE: 0 is not"),
        ({"policy": "SCHED_OTHER", "nice": 20}, "/process/scheduler/nice: is not between"),
        ({"policy": "SCHED_NONE"}, "/process/scheduler/policy: 'SCHED_NONE' is not one of"),
        ({"policy": "SCHED_OTHER", "flags": ["X"]}, "/process/scheduler/flags/0: 'X' is not one"),
    ],
)
def test_a_policy_that_makes_no_sense_is_named(
    pyrun: Runtime, bundle: Bundle, scheduler: dict[str, Any], words: str
) -> None:
    bundle.process["scheduler"] = scheduler
    assert words in refused(pyrun, bundle)


@pytest.mark.parametrize(
    ("kind", "priority", "shown"),
    [("RT", 3, "realtime: prio 3"), ("BE", 6, "best-effort: prio 6"), ("IDLE", 0, "idle")],
)
def test_the_io_priority_is_the_process_s(
    pyrun: Runtime, bundle: Bundle, kind: str, priority: int, shown: str
) -> None:
    bundle.process["ioPriority"] = {"class": f"IOPRIO_CLASS_{kind}", "priority": priority}
    pid = of_running(pyrun, bundle)
    seen = subprocess.run(["ionice", "-p", str(pid)], check=True, capture_output=True, text=True)
    assert seen.stdout.strip() == shown


def test_an_io_priority_that_makes_no_sense_is_named(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 8}
    assert "/process/ioPriority/priority: is not between 0 and 7" in refused(pyrun, bundle)


# --- execCPUAffinity


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="only one processor may be used")
def test_a_container_is_not_kept_on_the_processors_of_its_caller(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """A daemon may be pinned, by systemd for one; its containers have what their cgroup allows."""
    first = min(os.sched_getaffinity(0))
    shown = ["grep", "Cpus_allowed_list", "/proc/self/status"]
    bundle.process["args"] = shown
    bundle.save()
    pinned = ["taskset", "-c", str(first)]
    words = [*pinned, *pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[1] != str(first)
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    words = [*pinned, *pyrun.command("exec", name, *shown)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[1] != str(first)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="only one processor may be used")
@pytest.mark.needs("cgroup_cpuset")
def test_processors_beyond_those_of_the_cgroup_stay_closed(pyrun: Runtime, bundle: Bundle) -> None:
    first = str(min(os.sched_getaffinity(0)))
    bundle.linux["resources"]["cpu"] = {"cpus": first}
    bundle.process["args"] = ["grep", "Cpus_allowed_list", "/proc/self/status"]
    assert pyrun.output(bundle).split()[1] == first


def processors(text: str) -> str:
    for line in text.splitlines():
        if line.startswith("Cpus_allowed_list:"):
            return line.split()[1]
    raise AssertionError(text)


STATUS = ["cat", "/proc/self/status"]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors")
@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        ({"initial": "0", "final": "1"}, "1"),
        ({"final": "0"}, "0"),
        ({"initial": "1"}, "1"),
        ({}, processors(Path("/proc/self/status").read_text())),
    ],
)
def test_exec_runs_on_the_processors_of_the_config(
    pyrun: Runtime, bundle: Bundle, affinity: dict[str, str], expected: str
) -> None:
    if affinity.get("initial") == "0":  # where another process stands between
        bundle.linux["namespaces"].append({"type": "user"})
        for kind in ("uidMappings", "gidMappings"):
            bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 2000}]
    bundle.process["execCPUAffinity"] = affinity
    bundle.process["args"] = ["sleep", "1000"]
    name = pyrun.start(bundle)
    init = Path(f"/proc/{pyrun.state(name)['pid']}/status").read_text()
    assert processors(init) == processors(Path("/proc/self/status").read_text())
    done = pyrun.call("exec", name, *STATUS)
    assert processors(done.stdout) == expected, done.stderr


def test_processors_that_are_not_there_are_named(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["args"] = ["sleep", "1000"]
    bundle.process["execCPUAffinity"] = {"final": "8000"}
    name = pyrun.start(bundle)
    done = pyrun.call("exec", name, *STATUS)
    assert done.returncode == 255
    assert "run on the processors 8000 (execCPUAffinity): Invalid argument" in done.stderr


@pytest.mark.parametrize("text", ["x", "3-1", "0,", "1-", "-1", "0-99999999"])
def test_what_is_no_list_of_processors_is_refused(
    pyrun: Runtime, bundle: Bundle, text: str
) -> None:
    bundle.process["execCPUAffinity"] = {"initial": text}
    assert "/process/execCPUAffinity/initial: " in refused(pyrun, bundle)


# --- memoryPolicy, intelRdt


@pytest.mark.needs("numa")
@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
         "interleave=static:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]},
         "prefer=relative:0"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
    ],
)  # fmt: skip
def test_the_memory_policy_is_that_of_every_process(
    pyrun: Runtime, bundle: Bundle, policy: dict[str, Any], shown: str
) -> None:
    bundle.linux["memoryPolicy"] = policy
    bundle.shell("head -n 1 /proc/self/numa_maps; exec sleep 1000")
    bundle.process["args"] = ["sleep", "1000"]
    name = pyrun.start(bundle)
    pid = pyrun.state(name)["pid"]
    assert f" {shown} " in Path(f"/proc/{pid}/numa_maps").read_text().splitlines()[0]
    done = pyrun.call("exec", name, "head", "-n", "1", "/proc/self/numa_maps")
    assert f" {shown} " in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"mode": "MPOL_BIND"}, "/linux/memoryPolicy/nodes: MPOL_BIND needs at least one"),
        ({"mode": "MPOL_LOCAL", "nodes": "0"}, "/linux/memoryPolicy/nodes: MPOL_LOCAL takes none"),
        ({"mode": "MPOL_BIND", "nodes": "a"}, "/linux/memoryPolicy/nodes: 'a' is not a list"),
    ],
)
def test_a_memory_policy_that_makes_no_sense_is_named(
    pyrun: Runtime, bundle: Bundle, policy: dict[str, Any], words: str
) -> None:
    bundle.linux["memoryPolicy"] = policy
    assert words in refused(pyrun, bundle)


@pytest.mark.needs("numa")
def test_a_memory_node_that_is_not_there_is_named(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "1000"}
    assert "set the memory policy MPOL_BIND 1000: Invalid argument" in refused(pyrun, bundle)


@pytest.mark.parametrize("settings", [{}, {"closID": "gold", "schemata": ["MB:0=50"]}])
def test_intel_rdt_without_resctrl_is_refused(
    pyrun: Runtime, bundle: Bundle, settings: dict[str, Any]
) -> None:
    if " - resctrl " in Path("/proc/self/mountinfo").read_text():
        pytest.skip("this machine has resctrl")
    bundle.linux["intelRdt"] = settings
    assert "/linux/intelRdt: this host has no resctrl file system" in refused(pyrun, bundle)


# --- personality, user, terminal


def test_personality_without_flags(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["personality"] = {"domain": "LINUX32"}
    pid = of_running(pyrun, bundle)
    assert Path(f"/proc/{pid}/personality").read_text() == "00000008\n"
    shown = pyrun.call("exec", pyrun.ids[-1], "uname", "-m").stdout
    asked = ["setarch", "linux32", "uname", "-m"]  # user-mode Linux shows no other machine
    assert shown == subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    bundle.linux["personality"] = {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}
    assert "/linux/personality/flags/0: 'ADDR_NO_RANDOMIZE' is not one" in refused(pyrun, bundle)


@pytest.mark.parametrize("umask", [0, 0o077, 0o27])
def test_umask_of_run_and_exec(pyrun: Runtime, bundle: Bundle, umask: int) -> None:
    bundle.process["user"] = {"uid": 0, "gid": 0, "umask": umask}
    pid = of_running(pyrun, bundle)
    assert f"Umask:\t{umask:04o}\n" in Path(f"/proc/{pid}/status").read_text()
    assert pyrun.call("exec", pyrun.ids[-1], "sh", "-c", "umask").stdout == f"{umask:04o}\n"


def test_the_terminal_has_the_size_asked_for(pyrun: Runtime, bundle: Bundle) -> None:
    """Without a caller's terminal, whose size would win with ``run``."""
    bundle.process["terminal"] = True
    bundle.process["consoleSize"] = {"height": 31, "width": 91}
    bundle.shell("stty size")
    assert pyrun.output(bundle).strip() == "31 91"
    bundle.process["consoleSize"] = {"height": 70000, "width": 1}
    assert "/process/consoleSize/height: 70000 is not between 0 and 65535" in refused(pyrun, bundle)


def test_the_size_of_the_callers_terminal_wins(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.shell("stty size")
    bundle.save()
    ours, theirs = os.openpty()
    try:
        termios.tcsetwinsize(ours, (17, 71))
        words = pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())
        done = subprocess.run(words, check=False, stdin=theirs, stdout=theirs, timeout=60)
        assert (done.returncode, os.read(ours, 100).split()) == (0, [b"17", b"71"])
    finally:
        os.close(ours)
        os.close(theirs)


# --- time


@pytest.mark.needs("time_namespace")
def test_both_clocks_of_a_time_namespace_are_moved(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {
        "monotonic": {"secs": 86400, "nanosecs": 5},
        "boottime": {"secs": 604800},
    }
    pid = of_running(pyrun, bundle)
    shown = Path(f"/proc/{pid}/timens_offsets").read_text().split()
    assert shown == ["monotonic", "86400", "5", "boottime", "604800", "0"]
    done = pyrun.call("exec", pyrun.ids[-1], "readlink", "/proc/self/ns/time")
    assert done.stdout.strip() == os.readlink(f"/proc/{pid}/ns/time")


@pytest.mark.needs("time_namespace")
def test_an_offset_that_the_kernel_refuses_is_named(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": -(2**40)}}
    assert "set the offsets of the time namespace: " in refused(pyrun, bundle)
