"""Kernel tests of runtime and monitor where unified cgroup v2 and systemd are: in the guest.

The guests of the marks run beside the other tests (``support.beside``).
"""

from __future__ import annotations

import pytest

from support.beside import Done

# What a monitor reads of cgroup v2 is not on every developer's machine either.
MONITOR = "tests/kernel/conmon/test_memory.py"
# How layers are mapped depends on the kernel, which is an older one there.
OWNERS = (
    "tests/system/test_user_namespace_options.py::test_what_leaves_such_a_container_has_its_own_ids"
)
TIMERS = "tests/system/test_supervision.py::test_under_conmon_a_timer_of_systemd_checks"
# User-mode Linux has no io.weight.
WEIGHTS = (
    "tests/kernel/runtime/test_systemd_driver.py"
    "::test_weights_of_block_devices_are_those_of_the_scope"
)
USERS = "tests/system/test_rootless_cgroups.py"
# What differs by layout of cgroups, by manager and by AppArmor; the guest is slow, and a loaded
# machine makes it three times slower: what is the same everywhere has run outside.
GUEST = (
    "apparmor", "cgroup_managers", "cgroups", "events", "lifecycle", "pausing", "resources",
    "rootless", "systemd_driver", "systemd_podman", "updating",
)  # fmt: skip


PYTEST = (".venv/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=300")
MANAGERS = (
    "--timeout", "1800", "--", *PYTEST, "--must-run=systemd,apparmor", MONITOR,
    *(f"tests/kernel/runtime/test_{name}.py" for name in GUEST),
)  # fmt: skip
# The same kernel, started with another security module and with a policy of the tests.
SELINUX = (
    "--timeout", "800", "--append", "security=selinux", "--",
    ".venv/bin/python3", "tests/support/selinux_policy.py", *PYTEST, "--must-run=selinux",
    "tests/kernel/runtime/test_selinux.py", "tests/system/test_selinux.py",
)  # fmt: skip
# CRIU works neither in user-mode Linux nor on every host: so in an emulated machine, which is slow.
CRIU = (
    "--timeout", "1500", "--kind", "qemu", "--", *PYTEST,
    "--must-run=criu,podman,systemd,cgroup2_io_weight", WEIGHTS,
    "tests/compat/test_podman_checkpoint.py", "tests/kernel/runtime/test_checkpoint.py",
    "tests/kernel/runtime/test_checkpoint_options.py",
    *(f"tests/system/test_checkpoint.py::test_the_real_criu_{what}"
      for what in ("saves_what_is_in_memory", "takes_a_container_elsewhere")),
)  # fmt: skip
# A test may have to wait for all the guests before its own.
pytestmark = [pytest.mark.needs("vm"), pytest.mark.timeout(6000)]


@pytest.mark.beside("tools/vm/run", *MANAGERS, TIMERS, OWNERS)
def test_root_runs_containers_on_cgroup_v2_with_systemd(done: Done) -> None:
    assert done.status == 0, done.output[-9000:]


@pytest.mark.beside("tools/vm/run", "--user", "tester", *MANAGERS, USERS)
def test_a_user_runs_containers_on_cgroup_v2_with_systemd(done: Done) -> None:
    assert done.status == 0, done.output[-9000:]


@pytest.mark.beside("tools/vm/run", *SELINUX)
def test_labels_confine_containers_where_selinux_is(done: Done) -> None:
    assert done.status == 0, done.output[-9000:]


@pytest.mark.emulated
@pytest.mark.beside("tools/vm/run", *CRIU)
def test_criu_checkpoints_and_restores_where_it_works(done: Done) -> None:
    assert done.status == 0, done.output[-9000:]
