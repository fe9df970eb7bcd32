from __future__ import annotations

import re
import resource

import pytest

from pyengine.containers.configuring import resources
from pyengine.containers.configuring.resources import _ulimit
from pyengine.containers.options import ContainerOptions, ResourceOptions
from pyengine.errors import ConfigError
from pyengine.specgen import capabilities, cgroups, process
from support.configured import configured


def test_limits_in_the_kernels_units() -> None:
    wanted = ContainerOptions("image", memory="64m", cpus=0.5, pids_limit=-1)
    assert resources.configure(wanted) == {
        "memory_limit_bytes": 64 << 20,
        "cpu_quota_us": 50000,
        "cpu_period_us": 100000,
        "pids_limit": 0,
    }
    assert resources.configure(ContainerOptions("image", memory="0")) == {}


def test_a_section_is_asked_for_by_what_differs_from_the_default() -> None:
    assert not ContainerOptions("image", memory=None, name="web").asks(ResourceOptions)
    assert ContainerOptions("image", memory="0").asks(ResourceOptions)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("--memory 1m", "must be at least 6m"),
        ("--memory 64m --memory-reservation 128m", "cannot be less than memory reservation"),
        ("--memory-swap 64m", "you should always set a memory limit"),
        ("--memory 64m --memory-swap 32m", "should be larger than memory limit"),
        ("--memory-swappiness 200", "valid memory swappiness range is 0-100"),
        ("--cpus 1 --cpu-period 1000", "--cpu-period and --cpus cannot be set together"),
        ("--cpuset-cpus 0-9999", "requested 0-9999 are not available"),
        ("--cpuset-cpus a", "must be a list such as 0-2,4"),
        ("--blkio-weight 5", "a number from 10 to 1000"),
        ("--device-read-bps /dev/null:1m", "/dev/null is not a block device"),
        ("--device-write-iops /dev/nosuch:1", "No such file"),
        ("--device-write-iops sda", "must be /dev/NAME:VALUE"),
        ("--oom-score-adj 2000", "must be -1000 to 1000"),
        ("--ulimit foo=1", "invalid ulimit type: foo"),
        ("--ulimit nofile=9:1", "must be less than or equal to hard limit"),
        ("--ulimit nofile=x", "the limits must be numbers"),
        ("--cgroups foo", 'invalid cgroup mode "foo"'),
        ("--cgroups=disabled --memory 64m", "without a cgroup memory_limit_bytes"),
        ("--cgroups=disabled --cgroup-parent /a", "--cgroup-parent cannot be set with"),
        ("--cgroup-parent /a/../b", "must not contain .."),
    ],
)  # fmt: skip
def test_what_is_no_limit_is_named(line: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        configured(line)


@pytest.mark.parametrize(
    ("v2", "line", "problem"),
    [
        (False, "--cgroup-conf a=b", "cannot use --cgroup-conf without cgroup v2"),
        (False, "--cgroups=split", "only supported on cgroup v2"),
        (True, "--cgroup-conf a/b=c", "must be FILE=VALUE"),
        (True, "--memory-swappiness 1", "--memory-swappiness: cgroup v2"),
        (True, "--cpu-rt-period 1000", "--cpu-rt-period: cgroup v2"),
        (True, "--oom-kill-disable", "--oom-kill-disable: cgroup v2"),
    ],
)  # fmt: skip
def test_what_this_hosts_cgroups_do_not_know_is_named(
    v2: bool, line: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "is_v2", lambda: v2)
    with pytest.raises(ConfigError, match=re.escape(problem)):
        configured(line)


def test_a_limit_that_only_another_process_may_set_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capabilities, "bounding_set", list)
    monkeypatch.setattr(resource, "getrlimit", lambda _number: (100, 100))
    with pytest.raises(ConfigError, match="--ulimit nofile: the hard limit of this process is 100"):
        process.rlimits({"ulimits": {"RLIMIT_NOFILE": (100, 101)}})
    found = process.rlimits({"ulimits": {"RLIMIT_NOFILE": (1, 2)}, "ulimits_of_host": True})
    assert found == [{"type": "RLIMIT_NOFILE", "hard": 2, "soft": 1}]


def test_no_limit_is_the_largest_number() -> None:
    assert _ulimit("core=-1") == ("RLIMIT_CORE", (-1, -1))
    assert {"type": "RLIMIT_CORE", "hard": 2**64 - 1, "soft": 5} in process.rlimits(
        {"ulimits": {"RLIMIT_CORE": (5, -1)}}
    )
