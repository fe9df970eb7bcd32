"""Entries of ``mounts`` of the type cgroup, in every layout of the host."""

from __future__ import annotations

import pytest

from support.bundle import Bundle
from support.mountinfo import MountInfo
from support.runtime import InLayout, Runtime

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.mark.parametrize("own", [True, False], ids=["own namespace", "the host's namespace"])
@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_the_cgroup_mount_has_its_options_in_every_layout(
    runtime: InLayout, bundle: Bundle, own: bool, mode: str
) -> None:
    if not own:
        entries = bundle.linux["namespaces"]
        bundle.linux["namespaces"] = [one for one in entries if one["type"] != "cgroup"]
    strict = ["nosuid", "noexec", "nodev"]
    bundle.change_mount("/sys/fs/cgroup", options=[*strict, mode])
    bundle.linux["readonlyPaths"] = []
    bundle.shell(
        "cat /proc/self/mountinfo; echo ---; d=/sys/fs/cgroup; [ -e $d/pids ] && d=$d/pids;"
        "[ -e $d/cgroup.controllers ] && d=$d$(grep ^0:: /proc/self/cgroup | cut -d: -f3);"
        "cat $d/cgroup.procs; mkdir $d/below 2>/dev/null && rmdir $d/below && echo made"
    )
    bundle.config["root"]["readonly"] = False
    text = runtime.output(bundle) if mode == "rw" else runtime.run(bundle).stdout
    mountinfo, _, rest = text.partition("---\n")
    mounts = MountInfo(mountinfo)
    pids, made = rest.split()[:-1] if mode == "rw" else rest.split(), rest.split()[-1:] == ["made"]
    assert pids[0] == "1"
    assert made == (mode == "rw")
    if mounts.type("/sys/fs/cgroup") == "cgroup2":
        places = ["/sys/fs/cgroup"]
    else:
        assert mounts.type("/sys/fs/cgroup") == "tmpfs"
        places = mounts.below("/sys/fs/cgroup")
        assert {f"/sys/fs/cgroup/{name}" for name in ("memory", "pids")} <= set(places)
        assert ("/sys/fs/cgroup/unified" in places) == (runtime.layout == "host")
    for place in places:
        assert {mode, *strict} <= mounts.options(place), place


def test_controllers_that_share_a_hierarchy_are_links(runtime: InLayout, bundle: Bundle) -> None:
    bundle.shell(
        "cd /sys/fs/cgroup; for d in *; do if [ -L $d ]; then echo $d $(readlink $d); fi; done;"
        "echo ---; ls"
    )
    links, _, there = runtime.output(bundle).partition("---\n")
    shared = [name for name in there.split() if "," in name]  # such as cpu,cpuacct
    expected = [[name, both] for both in shared for name in both.split(",")]
    assert sorted(line.split() for line in links.splitlines()) == sorted(expected)


@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
def test_both_words_mount_what_the_host_has(runtime: InLayout, bundle: Bundle, kind: str) -> None:
    bundle.change_mount("/sys/fs/cgroup", type=kind)
    bundle.shell("ls /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/pids/cgroup.procs 2>/dev/null")
    assert runtime.run(bundle).stdout.count("cgroup.procs") == 1


def test_cgroup_goes_wherever_it_is_asked_for(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.change_mount("/sys/fs/cgroup", destination="/elsewhere/groups")
    bundle.shell("cat /elsewhere/groups/cgroup.procs /elsewhere/groups/pids/cgroup.procs")
    assert pyrun.run(bundle).stdout.split()[0] == "1"


def test_cgroup2_hears_of_every_option(runtime: InLayout, bundle: Bundle) -> None:
    if runtime.layout != "v2":
        pytest.skip("the cgroups are of v1")
    options = bundle.config["mounts"]
    place = next(one for one in options if one["destination"] == "/sys/fs/cgroup")
    place["options"] = [*place["options"], "not_an_option"]
    done = runtime.run(bundle)
    assert (done.returncode, "on /sys/fs/cgroup: Invalid argument" in done.stderr) == (1, True)
