"""config-linux.md: Control groups, IntelRdt, Memory policy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from conformance.cases import Failure, NotApplicable, expect, expect_equal, requirement
from conformance.containers import Container, Machine, cgroup_file, cgroups_left

FILE = "config-linux.md"

# --- Control groups


def cgroup_paths(container: Container) -> list[str]:
    pid = container.must_create().state()["pid"]
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return [line.split(":", 2)[2] for line in lines if line.split(":", 2)[1] != ""]


@requirement(FILE, "Cgroups Path", "An absolute path MUST be relative to the cgroups mount point")
def absolute_cgroups_path(machine: Machine) -> None:
    container = machine.container()
    path = f"/{container.id}/inner"
    container.linux["cgroupsPath"] = path
    try:
        lines = Path(f"/proc/{container.must_create().state()['pid']}/cgroup").read_text()
        paths = {line.split(":", 2)[2] for line in lines.splitlines()}
        expect(path in paths, f"its cgroups are {sorted(paths)}")
    finally:
        container.delete("--force")
        for left in cgroups_left(container.id):
            os.rmdir(left)  # the runtime may leave what is above its own


@requirement(FILE, "Cgroups Path", "The same cgroupsPath MUST consistently give the same place")
def cgroups_path_is_consistent(machine: Machine) -> None:
    container = machine.container()
    container.linux["cgroupsPath"] = container.id
    first = cgroup_paths(container)
    container.kill("KILL")
    container.wait_for_status("stopped")
    container.delete()
    expect_equal(cgroup_paths(container), first, "cgroups of the second container")


def limited(machine: Machine, resources: dict[str, Any], files: list[tuple[str, str]]) -> str:
    """The first of ``files`` (controller and name, v1 and v2) that the container's cgroup has."""
    container = machine.container()
    container.linux["resources"] = resources
    done = container.create()
    pid = container.state()["pid"] if done.code == 0 else os.getpid()
    for controller, name in files:
        try:
            seen = cgroup_file(pid, controller, name)
        except NotApplicable:
            continue
        if done.code != 0:
            raise Failure(f"create failed: {done.words}")
        return seen
    # Neither hierarchy can do it here; then creating the container must have been refused.
    if done.code == 0:
        raise Failure("this machine has no such controller, and create succeeds")
    raise NotApplicable(f"this machine has none of {', '.join(name for _, name in files)}")


def register_limit(
    section: str,
    words: str,
    resources: dict[str, Any],
    files: list[tuple[str, str]],
    *wanted: str,
    suffix: str = "",
) -> None:
    ((controller, value),) = resources.items()
    first = next(iter(value)) if isinstance(value, dict) else "list"
    name = f"limit_{controller}_{first}{suffix}"

    @requirement(FILE, section, words, name)
    def test(machine: Machine) -> None:
        seen = limited(machine, resources, files)
        expect(seen in wanted, f"the cgroup has {seen!r}, not {wanted[0]!r}")


register_limit(
    "Memory",
    "limit sets the limit of memory usage",
    {"memory": {"limit": 67108864}},
    [("memory", "memory.limit_in_bytes"), ("", "memory.max")],
    "67108864",
)
register_limit(
    "Memory",
    "reservation sets the soft limit of memory usage",
    {"memory": {"reservation": 33554432}},
    [("memory", "memory.soft_limit_in_bytes"), ("", "memory.low")],
    "33554432",
)
register_limit(
    "CPU",
    "shares sets the relative share of CPU time",
    {"cpu": {"shares": 512}},
    [("cpu", "cpu.shares"), ("", "cpu.weight")],
    "512",
    "20",
    "59",
)
register_limit(
    "CPU",
    "quota sets the CPU time in a period",
    {"cpu": {"quota": 50000}},
    [("cpu", "cpu.cfs_quota_us"), ("", "cpu.max")],
    "50000",
    "50000 100000",
)
register_limit(
    "CPU",
    "period sets the period of a quota",
    {"cpu": {"period": 50000}},
    [("cpu", "cpu.cfs_period_us"), ("", "cpu.max")],
    "50000",
    "max 50000",
)
register_limit(
    "CPU",
    "cpus is the list of CPUs the container runs on",
    {"cpu": {"cpus": "0"}},
    [("cpuset", "cpuset.cpus"), ("", "cpuset.cpus")],
    "0",
)
register_limit(
    "PIDs",
    "limit sets the maximum number of tasks",
    {"pids": {"limit": 42}},
    [("pids", "pids.max"), ("", "pids.max")],
    "42",
)
register_limit(
    "PIDs",
    "0 is a valid limit and SHOULD be treated as such",
    {"pids": {"limit": 0}},
    [("pids", "pids.max"), ("", "pids.max")],
    "0",
    "1",  # is the same to a container, which has one process
    suffix="_zero",
)
register_limit(
    "PIDs",
    "-1 indicates no limit",
    {"pids": {"limit": -1}},
    [("pids", "pids.max"), ("", "pids.max")],
    "max",
    suffix="_none",
)
register_limit(
    "Memory",
    "-1 is unlimited memory",
    {"memory": {"limit": -1}},
    [("memory", "memory.limit_in_bytes"), ("", "memory.max")],
    "9223372036854771712",
    "max",
    suffix="_none",
)
register_limit(
    "Memory",
    "swap sets the limit of memory+Swap usage",
    {"memory": {"swap": 134217728, "limit": 67108864}},
    [("memory", "memory.memsw.limit_in_bytes"), ("", "memory.swap.max")],
    "134217728",
    "67108864",
)
register_limit(
    "CPU",
    "burst sets the time that may be accumulated",
    {"cpu": {"burst": 10000, "quota": 50000}},
    [("cpu", "cpu.cfs_burst_us"), ("", "cpu.max.burst")],
    "10000",
)
register_limit(
    "CPU",
    "idle 1 is SCHED_IDLE",
    {"cpu": {"idle": 1}},
    [("cpu", "cpu.idle"), ("", "cpu.idle")],
    "1",
)
register_limit(
    "CPU",
    "mems is the list of memory nodes",
    {"cpu": {"mems": "0"}},
    [("cpuset", "cpuset.mems"), ("", "cpuset.mems")],
    "0",
)
register_limit(
    "Block IO",
    "weight is the weight of the cgroup",
    {"blockIO": {"weight": 500}},
    [("blkio", "blkio.bfq.weight"), ("blkio", "blkio.weight"), ("", "io.bfq.weight")],
    "500",
    "default 500",
)
register_limit(
    "Huge page limits",
    "limit sets the limit in bytes of huge pages",
    {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]},
    [("hugetlb", "hugetlb.2MB.limit_in_bytes"), ("", "hugetlb.2MB.max")],
    "4194304",
)
register_limit(
    "Network",
    "classID is the class identifier of packets",
    {"network": {"classID": 1048577}},
    [("net_cls", "net_cls.classid")],
    "1048577",
)


def register_device_rules(words: str, rules: list[dict[str, Any]], script: str, seen: str) -> None:
    @requirement(FILE, "Allowed Device list", words, words.replace(" ", "_"))
    def test(machine: Machine) -> None:
        container = machine.container()
        container.linux["resources"] = {"devices": rules}
        for names in container.process["capabilities"].values():
            names += ["CAP_MKNOD", "CAP_SYSLOG"]  # to make /dev/kmsg, and to read it
        expect_equal(container.run(script).strip(), seen, "outcome")


DENY_ALL = {"allow": False, "access": "rwm"}
KMSG = "mknod /dev/kmsg c 1 11; dd if=/dev/kmsg of=/dev/null bs=8192 count=1 2>/dev/null"
register_device_rules(
    "a device that is denied cannot be read", [DENY_ALL], f"{KMSG} && echo yes || echo no", "no"
)
register_device_rules(
    "entries MUST be applied in the listed order",
    [DENY_ALL, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}],
    f"{KMSG} && echo yes || echo no",
    "yes",
)
register_device_rules(
    "default devices work under a rule that denies all",
    [DENY_ALL],
    "echo x > /dev/null && head -c 1 /dev/zero | od -An -tx1",
    "00",
)


# --- IntelRdt, Memory policy


@requirement(FILE, "IntelRdt", "Without a mounted resctrl the runtime MUST generate an error")
def intel_rdt_needs_resctrl(machine: Machine) -> None:
    if " - resctrl " in Path("/proc/self/mountinfo").read_text():
        raise NotApplicable("this machine has resctrl mounted")
    container = machine.container()
    container.linux["intelRdt"] = {"closID": "conformance", "schemata": ["MB:0=50"]}
    container.refused("intelRdt without resctrl")


@requirement(FILE, "IntelRdt", "memBwSchema MUST start with MB: and MUST NOT contain newlines")
def intel_rdt_schemas_are_checked(machine: Machine) -> None:
    for value in ("L3:0=1", "MB:0=20\nL3:0=1"):
        container = machine.container()
        container.linux["intelRdt"] = {"memBwSchema": value}
        container.refused(f"memBwSchema {value!r}")


def register_memory_policy(mode: str, nodes: str, shown: str) -> None:
    @requirement(
        FILE,
        "Memory policy",
        f"memoryPolicy sets the NUMA memory policy for the container ({mode})",
        f"memory_policy_{mode}",
    )
    def test(machine: Machine) -> None:
        if not os.path.exists("/proc/self/numa_maps"):
            raise NotApplicable("this kernel knows no NUMA")
        container = machine.container()
        container.linux["memoryPolicy"] = {"mode": mode, "nodes": nodes}
        pid = container.must_start().state()["pid"]
        words = Path(f"/proc/{pid}/numa_maps").read_text().splitlines()[0].split()
        expect_equal(words[1], shown, "policy in numa_maps")


register_memory_policy("MPOL_BIND", "0", "bind:0")
register_memory_policy("MPOL_INTERLEAVE", "0", "interleave:0")
register_memory_policy("MPOL_LOCAL", "", "local")


def register_invalid_policy(words: str, policy: dict[str, Any]) -> None:
    @requirement(FILE, "Memory policy", words, words.replace(" ", "_").replace(",", ""))
    def test(machine: Machine) -> None:
        container = machine.container()
        container.linux["memoryPolicy"] = policy
        container.refused(words)


register_invalid_policy(
    "MPOL_DEFAULT requires that there are no nodes", {"mode": "MPOL_DEFAULT", "nodes": "0"}
)
register_invalid_policy("MPOL_BIND requires at least one node", {"mode": "MPOL_BIND"})
register_invalid_policy(
    "flags are of the list of constants",
    {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_TEST"]},
)


@requirement(FILE, "Memory policy", "an unknown mode is an invalid value")
def unknown_memory_policy_is_an_error(machine: Machine) -> None:
    container = machine.container()
    container.linux["memoryPolicy"] = {"mode": "MPOL_TEST"}
    container.refused("the mode MPOL_TEST")
