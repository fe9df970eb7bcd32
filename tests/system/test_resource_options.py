"""What run's limits make of the container's cgroup and of its process."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot
from support.machine import with_cgroup_layout

pytestmark = pytest.mark.needs("root", "busybox")

V1 = "/sys/fs/cgroup"


def block_device() -> str:
    for name in sorted(os.listdir("/sys/block")):
        if os.path.exists(f"/dev/{name}"):
            return f"/dev/{name}"
    pytest.skip("there is no block device in /dev")


@pytest.mark.needs("cgroup_memory", "cgroup_cpu", "cgroup_pids", "cgroup_blkio", "cgroup_cpuset")
def test_every_limit_reaches_its_file(box: ContainerRoot) -> None:
    disk = block_device()
    parent = f"pyengine-{box.root.parent.name}"
    id_ = box.ok(
        "run", "-d", "--cgroup-parent", f"/{parent}", "--memory", "64m", "--memory-swap", "96m",
        "--memory-reservation", "32m", "--memory-swappiness", "10", "--oom-kill-disable",
        "--cpu-period", "50000", "--cpu-quota", "25000", "--cpu-shares", "512",
        "--cpuset-cpus", "0", "--cpuset-mems", "0", "--pids-limit", "33",
        "--device-read-bps", f"{disk}:1mb", "--device-write-iops", f"{disk}:100",
        "--oom-score-adj", "500", "--ulimit", "nofile=100:200", "--ulimit", "core=0", IMAGE,
        "sleep", "1000",
    ).strip()  # fmt: skip

    def value(controller: str, name: str) -> str:
        return Path(f"{V1}/{controller}/{parent}/libpod-{id_}/{name}").read_text().strip()

    memory = {
        "memory.limit_in_bytes": str(64 << 20), "memory.soft_limit_in_bytes": str(32 << 20),
        "memory.swappiness": "10",
    }  # fmt: skip
    assert {name: value("memory", name) for name in memory} == memory
    assert "oom_kill_disable 1" in value("memory", "memory.oom_control")
    swap = Path(f"{V1}/memory/{parent}/libpod-{id_}/memory.memsw.limit_in_bytes")
    assert not swap.exists() or swap.read_text() == f"{96 << 20}\n"
    cpu = {"cpu.cfs_period_us": "50000", "cpu.cfs_quota_us": "25000", "cpu.shares": "512"}
    assert {name: value("cpu", name) for name in cpu} == cpu
    assert value("cpuset", "cpuset.cpus") == value("cpuset", "cpuset.mems") == "0"
    assert value("pids", "pids.max") == "33"
    numbers = os.stat(disk).st_rdev
    name = f"{os.major(numbers)}:{os.minor(numbers)}"
    assert value("blkio", "blkio.throttle.read_bps_device") == f"{name} {1 << 20}"
    assert value("blkio", "blkio.throttle.write_iops_device") == f"{name} 100"
    pid = box.ok("inspect", "--format", "{{.State.Pid}}", id_).strip()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
    limits = {line[:26].strip(): line[26:].split()[:2]
              for line in Path(f"/proc/{pid}/limits").read_text().splitlines()}  # fmt: skip
    assert limits["Max open files"] == ["100", "200"]
    assert limits["Max core file size"] == ["0", "0"]
    box.remove_everything()
    for controller in os.listdir(V1):
        directory = Path(f"{V1}/{controller}/{parent}")
        if directory.exists():
            directory.rmdir()  # the container's own is gone


def test_limits_of_the_host_are_inherited(box: ContainerRoot) -> None:
    script = "ulimit -n; ulimit -Hn"
    ours = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode()
    assert box.sh(script, "--ulimit", "host") == ours


def test_a_container_can_do_without_a_cgroup(box: ContainerRoot) -> None:
    id_ = box.ok("run", "-d", "--cgroups=disabled", IMAGE, "sleep", "1000").strip()
    pid = box.ok("inspect", "--format", "{{.State.Pid}}", id_).strip()
    assert id_ not in Path(f"/proc/{pid}/cgroup").read_text()
    assert box.ok("exec", id_, "echo", "beside") == "beside\n"
    box.ok("rm", "-f", "-t", "0", id_)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.needs("runc")
def test_a_runtime_that_always_makes_cgroups_is_named(box: ContainerRoot) -> None:
    error = box.fails("--runtime", "runc", "run", "--rm", "--cgroups=disabled", IMAGE, "true")
    assert "runc is not compatible with NoCgroups" in error


@pytest.mark.needs("v2_view")
def test_files_of_cgroup_v2_and_a_split_cgroup(box: ContainerRoot) -> None:
    script = "cat /sys/fs/cgroup/cgroup.max.depth"
    argv = box.argv("run", "--rm", "--cgroup-conf", "cgroup.max.depth=5", IMAGE, "sh", "-c", script)
    done = subprocess.run(with_cgroup_layout("v2", argv), capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"5\n", b"")
    name = f"split-{box.root.parent.name}"
    run = box.argv("run", "--rm", "--cgroups=split", "--cgroupns=host", IMAGE, "cat",
                   "/proc/self/cgroup")  # fmt: skip
    inside = f'mkdir /sys/fs/cgroup/{name}; echo $$ >/sys/fs/cgroup/{name}/cgroup.procs; exec "$@"'
    argv = with_cgroup_layout("v2", ["sh", "-c", inside, "sh", *run])
    try:
        done = subprocess.run(argv, capture_output=True, check=False)
        assert f"0::/{name}/libpod-payload-" in done.stdout.decode(), done.stderr
    finally:
        clean = f"for d in /sys/fs/cgroup/{name}/*/ /sys/fs/cgroup/{name}; do rmdir $d; done"
        subprocess.run(with_cgroup_layout("v2", ["sh", "-c", clean]), check=True)
