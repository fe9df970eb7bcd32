"""``process.apparmorProfile`` where the kernel has AppArmor (the guest of tools/vm)."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import pytest

from support.bundle import Bundle
from support.machine import APPARMOR_PARSER
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox", "apparmor")

RULES = """
profile {name} flags=(attach_disconnected,mediate_deleted) {{
  file,
  capability,
  network,
  signal,
  mount,
  deny {denied} r,
}}
"""
SHOW = "cat /proc/self/attr/current; cat /etc/passwd >/dev/null 2>&1 && echo read || echo refused"


def parser(rules: str, action: str) -> None:
    words = [APPARMOR_PARSER, f"--{action}", "--skip-cache", "--quiet"]
    subprocess.run(words, input=rules, text=True, check=True)


@pytest.fixture
def profiles() -> Iterator[list[str]]:
    """Two profiles in the kernel: the first one denies /etc/passwd, the second /etc/group."""
    names = [f"pyrun-test-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    denied = ["/etc/passwd", "/etc/group"]
    texts = [RULES.format(name=one, denied=path) for one, path in zip(names, denied, strict=True)]
    for text in texts:
        parser(text, "add")
    try:
        yield names
    finally:
        for text in texts:
            parser(text, "remove")


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_the_program_runs_under_the_profile(
    pyrun: Runtime, bundle: Bundle, profiles: list[str], no_new_privileges: bool
) -> None:
    bundle.process["apparmorProfile"] = profiles[0]
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.shell(SHOW)
    assert pyrun.output(bundle).splitlines() == [f"{profiles[0]} (enforce)", "refused"]


def test_exec_has_the_profile_of_the_container_or_its_own(
    pyrun: Runtime, bundle: Bundle, profiles: list[str]
) -> None:
    bundle.process["apparmorProfile"] = profiles[0]
    bundle.process["args"] = ["sleep", "1000"]
    name = pyrun.start(bundle)
    shown = pyrun.call("exec", name, "sh", "-c", SHOW).stdout
    assert shown.splitlines() == [f"{profiles[0]} (enforce)", "refused"]
    shown = pyrun.call("exec", "--apparmor", profiles[1], name, "sh", "-c", SHOW).stdout
    assert shown.splitlines() == [f"{profiles[1]} (enforce)", "read"]


@pytest.mark.parametrize("profile", ["", "unconfined"])
def test_without_a_profile_nothing_is_confined(
    pyrun: Runtime, bundle: Bundle, profile: str
) -> None:
    bundle.process["apparmorProfile"] = profile
    bundle.shell(SHOW)
    assert pyrun.output(bundle).splitlines() == ["unconfined", "read"]


def test_a_profile_that_is_not_loaded_is_named(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["apparmorProfile"] = "pyrun-no-such-profile"
    done = pyrun.run(bundle)
    assert (done.returncode, done.stdout) == (1, "")
    assert "set the AppArmor profile pyrun-no-such-profile: it is not loaded" in done.stderr
    assert pyrun.left(pyrun.ids[-1]) == []


def test_seccomp_and_a_user_namespace_go_with_a_profile(
    pyrun: Runtime, bundle: Bundle, profiles: list[str]
) -> None:
    bundle.process["apparmorProfile"] = profiles[0]
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 2000}]
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    bundle.shell(f"{SHOW}; mkdir /dev/shm/x 2>/dev/null || echo refused")
    shown = pyrun.output(bundle).splitlines()
    assert shown == [f"{profiles[0]} (enforce)", "refused", "refused"]
