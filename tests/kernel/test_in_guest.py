"""Kernel tests of runtime and monitor where unified cgroup v2 and systemd are: in the guest."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

# What a monitor reads of cgroup v2 is not on every developer's machine either.
MONITOR = "tests/kernel/conmon/test_memory.py"
# How layers are mapped depends on the kernel, which is an older one there.
OWNERS = (
    "tests/system/test_user_namespace_options.py::test_what_leaves_such_a_container_has_its_own_ids"
)
TIMERS = "tests/system/test_supervision.py::test_under_conmon_a_timer_of_systemd_checks"
USERS = "tests/system/test_rootless_cgroups.py"
TOP = Path(__file__).resolve().parents[2]
# What differs by layout of cgroups, by manager and by AppArmor; the guest is slow, and a loaded
# machine makes it three times slower: what is the same everywhere has run outside.
GUEST = (
    "apparmor", "cgroup_managers", "cgroups", "events", "lifecycle", "pausing", "resources",
    "rootless", "systemd_driver", "systemd_podman", "updating",
)  # fmt: skip


@pytest.mark.timeout(1900)
@pytest.mark.needs("vm")
@pytest.mark.parametrize("user", ["root", "tester"])
def test_the_runtime_passes_its_kernel_tests_on_cgroup_v2_with_systemd(user: str) -> None:
    words = [".venv/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=300"]
    more = {"root": [TIMERS, OWNERS], "tester": [USERS]}
    words += ["--must-run=systemd,apparmor", MONITOR, *more[user]]
    words += [f"tests/kernel/runtime/test_{name}.py" for name in GUEST]
    command = [str(TOP / "tools/vm/run"), "--timeout", "1800", "--user", user, "--", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]


@pytest.mark.timeout(900)
@pytest.mark.needs("vm")
def test_labels_confine_containers_where_selinux_is() -> None:
    """The same kernel, started with another security module and with a policy of the tests."""
    words = ["--append", "security=selinux", "--timeout", "800", "--"]
    words += [".venv/bin/python3", "tests/support/selinux_policy.py"]
    words += [".venv/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=300"]
    words += ["--must-run=selinux", "tests/kernel/runtime/test_selinux.py"]
    words += ["tests/system/test_selinux.py"]
    command = [str(TOP / "tools/vm/run"), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]


@pytest.mark.timeout(1600)
@pytest.mark.needs("vm")
def test_criu_checkpoints_and_restores_where_it_works(pytestconfig: pytest.Config) -> None:
    """Neither in user-mode Linux nor on every host: so in an emulated machine, which is slow."""
    if not pytestconfig.getoption("--emulated"):
        pytest.skip("--emulated runs it, in a quarter of an hour")
    words = [".venv/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=300"]
    done = subprocess.run(
        [
            str(TOP / "tools/vm/run"), "--kind", "qemu", "--timeout", "1500", "--", *words,
            "--must-run=criu,podman,systemd", "tests/compat/test_podman_checkpoint.py",
            "tests/kernel/runtime/test_checkpoint.py",
            "tests/kernel/runtime/test_checkpoint_options.py",
            *(f"tests/system/test_checkpoint.py::test_the_real_criu_{what}"
              for what in ("saves_what_is_in_memory", "takes_a_container_elsewhere")),
        ],
        check=False,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
