from __future__ import annotations

from pyengine.containers.configuring import resources
from pyengine.containers.options import ContainerOptions, ResourceOptions


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
