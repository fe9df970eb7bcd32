"""``linux.seccomp`` on the real kernel, through the installed pyrun."""

from __future__ import annotations

import errno
import os
import platform
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyseccomp
import pytest

from pyrun.linux.seccomp import compiler, filters
from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = [
    pytest.mark.needs("root", "busybox"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers and names are x86_64's"),
]

CACHE = Path("/var/cache/pyrun/seccomp")


def profile(*rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"defaultAction": default, "syscalls": list(rules), **more}


def refuse(name: str, **more: Any) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ERRNO", **more}


@pytest.fixture
def own_profile() -> Iterator[dict[str, Any]]:
    """A profile that nobody else uses; its cache entry is removed at the end."""
    # The errno of a call that nobody makes tells profiles apart.
    unique = refuse("lookup_dcookie", errnoRet=os.getpid() % 4000 + 1)
    chosen = profile(refuse("mkdir"), unique)
    yield chosen
    entry_of(chosen).unlink(missing_ok=True)


def entry_of(chosen: dict[str, Any]) -> Path:
    """The cache entry of a profile."""
    return CACHE / filters._key(chosen)


def calls_but(without: str) -> list[str]:
    """The names of all system calls that libseccomp knows, but one."""
    found = []
    for number in range(600):
        try:
            found.append(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, number).decode())
        except ValueError:
            continue
    return [name for name in found if name != without]


def refused(pyrun: Runtime, bundle: Bundle) -> bool:
    """Whether mkdir is refused with EPERM in a container."""
    bundle.config["root"]["readonly"] = False
    bundle.shell("mkdir /tmp/made 2>&1; rmdir /tmp/made 2>/dev/null; true")
    return "Operation not permitted" in pyrun.output(bundle)


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_startcontainer_hook_is_under_the_profile(
    pyrun: Runtime, bundle: Bundle, no_new_privileges: bool
) -> None:
    """It is a program of the image, as the container's own is."""
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.config["root"]["readonly"] = False
    bundle.linux["seccomp"] = profile(refuse("mkdir"))
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/mkdir", "args": ["mkdir", "/x"]}]}
    done = pyrun.run(bundle)
    assert (done.returncode, "startContainer/0" in done.stderr) == (1, True)
    assert "Operation not permitted" in done.stderr
    assert not (bundle.rootfs / "x").exists()


def test_a_call_that_is_newer_than_the_profile_does_not_exist(
    pyrun: Runtime, bundle: Bundle
) -> None:
    bundle.host_python()
    script = "import ctypes; c = ctypes.CDLL(None, use_errno=True)"
    script += "; print([c.syscall(n) and ctypes.get_errno() for n in (83, 1000)])"
    bundle.process["args"] = ["/usr/bin/python3", "-I", "-c", script]
    others = {"names": calls_but("mkdir"), "action": "SCMP_ACT_ALLOW"}
    bundle.linux["seccomp"] = profile(others, default="SCMP_ACT_ERRNO")
    assert pyrun.output(bundle) == str([errno.EPERM, errno.ENOSYS])


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_profile_may_refuse_what_pyrun_itself_calls(
    pyrun: Runtime, bundle: Bundle, no_new_privileges: bool
) -> None:
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.process["capabilities"]["bounding"] = ["CAP_KILL"]
    bundle.linux["seccomp"] = profile(refuse("getcwd"), refuse("chdir"), refuse("close_range"))
    bundle.shell("readlink /proc/self/cwd; cd /tmp 2>/dev/null || echo refused")
    assert pyrun.output(bundle).split() == ["/", "refused"]


def waits_under_a_filter(pyrun: Runtime, name: str) -> bool:
    """Whether init has its filter before ``start``."""
    text = Path(f"/proc/{pyrun.state(name)['pid']}/status").read_text()
    return "\nSeccomp:\t2\n" in text


@pytest.fixture
def confined(bundle: Bundle) -> Bundle:
    """Under a profile that kills whoever calls more than init needs after ``created``."""
    bundle.process["noNewPrivileges"] = True
    newest = "close_range"  # what is newer than the newest of a profile does not kill
    calls = {"names": [*compiler._CALLED, newest], "action": "SCMP_ACT_ALLOW"}
    bundle.linux["seccomp"] = profile(calls, default="SCMP_ACT_KILL_PROCESS")
    bundle.process["args"] = ["true"]
    return bundle


def test_init_waits_for_start_under_the_filter_and_needs_no_more_calls(
    pyrun: Runtime, confined: Bundle
) -> None:
    name = pyrun.create(confined)
    assert waits_under_a_filter(pyrun, name)
    assert pyrun.call("start", name).returncode == 0


def test_signals_and_errors_are_handled_under_the_filter_too(
    pyrun: Runtime, confined: Bundle
) -> None:
    name = pyrun.create(confined)
    assert pyrun.call("kill", name, "TERM").returncode == 0
    pyrun.wait_until_stopped(name)
    program = confined.rootfs / "bin/nothing"
    program.write_text("no program\n")
    program.chmod(0o755)
    confined.process["args"] = ["/bin/nothing"]
    name = pyrun.create(confined)
    assert waits_under_a_filter(pyrun, name)
    done = pyrun.call("start", name)
    assert (done.returncode, "exec format error" in done.stderr) == (126, True)


@pytest.mark.parametrize("action", ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG"])
@pytest.mark.parametrize("name", ["openat", "rt_sigprocmask", "write"])
def test_a_filter_that_does_not_let_init_wait_is_loaded_at_the_start(
    pyrun: Runtime, bundle: Bundle, name: str, action: str
) -> None:
    bundle.process["noNewPrivileges"] = True
    bundle.linux["seccomp"] = profile({"names": [name], "action": action})
    bundle.process["args"] = ["sleep", "1000"]
    made = pyrun.create(bundle)
    assert not waits_under_a_filter(pyrun, made)
    done = pyrun.call("start", made)
    assert (done.returncode, done.stderr) == (0, "")
    assert waits_under_a_filter(pyrun, made)


def test_with_a_startcontainer_hook_the_filter_comes_after_it(
    pyrun: Runtime, confined: Bundle
) -> None:
    """The hook is forked by init, and has the filter for itself."""
    confined.linux["seccomp"] = profile(refuse("mkdir"))
    confined.config["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    name = pyrun.create(confined)
    assert not waits_under_a_filter(pyrun, name)
    assert pyrun.call("start", name).returncode == 0


def test_a_refused_call_fails_inside_and_others_work(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["seccomp"] = profile(refuse("mkdir"))
    assert refused(pyrun, bundle)
    bundle.shell("echo fine; grep Seccomp: /proc/self/status")
    assert pyrun.output(bundle).split() == ["fine", "Seccomp:", "2"]


def test_the_errno_is_the_profile_s(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.linux["seccomp"] = profile(refuse("mkdir", errnoRet=errno.EXDEV))
    bundle.shell("mkdir /tmp/made 2>&1; true")
    assert os.strerror(errno.EXDEV) in pyrun.output(bundle)


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_profile_older_than_close_range_is_no_obstacle(
    pyrun: Runtime, bundle: Bundle, no_new_privileges: bool
) -> None:
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.linux["seccomp"] = profile(refuse("close_range"))
    bundle.shell("echo started; sleep 100")
    assert pyrun.call("exec", pyrun.start(bundle), "echo", "entered").stdout == "entered\n"


def test_a_killing_action_ends_the_process(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["seccomp"] = profile({"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"})
    bundle.shell("mkdir /tmp/made; echo $?")
    assert pyrun.output(bundle) == str(128 + signal.SIGSYS)


def test_arguments_decide(pyrun: Runtime, bundle: Bundle) -> None:
    argument = {"index": 1, "value": signal.SIGUSR1, "op": "SCMP_CMP_EQ"}
    bundle.linux["seccomp"] = profile(refuse("kill", args=[argument]))
    bundle.shell("kill -0 $$ && echo zero; trap : USR1; kill -USR1 $$ 2>/dev/null || echo refused")
    assert pyrun.output(bundle).split() == ["zero", "refused"]


def test_a_list_of_allowed_calls_holds_for_exec_too(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.linux["seccomp"] = profile(refuse("mkdir"))
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    done = pyrun.call("exec", name, "mkdir", "/tmp/made")
    assert done.returncode == 1
    assert "Operation not permitted" in done.stderr


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_filter_needs_no_capability_of_the_container(
    pyrun: Runtime, bundle: Bundle, no_new_privileges: bool
) -> None:
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["capabilities"] = {}
    bundle.linux["seccomp"] = profile(refuse("mkdir"))
    bundle.shell("mkdir /tmp/made 2>&1; true")
    assert "Operation not permitted" in pyrun.output(bundle)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["SECCOMP_FILTER_FLAG_LOG"],
        ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
    ],
)
def test_flags_are_taken(pyrun: Runtime, bundle: Bundle, flags: list[str]) -> None:
    bundle.linux["seccomp"] = profile(refuse("mkdir"), flags=flags)
    assert refused(pyrun, bundle)


def test_another_architecture_works_beside_the_own(pyrun: Runtime, bundle: Bundle) -> None:
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    bundle.linux["seccomp"] = profile(refuse("mkdir"), architectures=architectures)
    assert refused(pyrun, bundle)


def test_an_unknown_call_is_skipped(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["seccomp"] = profile(refuse("no_such_call"), refuse("mkdir"))
    assert refused(pyrun, bundle)


@pytest.mark.parametrize("debug", [True, False])
def test_the_debug_log_names_the_skipped_call(
    pyrun_path: str, tmp_path: Path, bundle: Bundle, own_profile: dict[str, Any], debug: bool
) -> None:
    own_profile["syscalls"].append(refuse("no_such_call"))
    bundle.linux["seccomp"] = own_profile
    log = tmp_path / "log"
    options = ["--log", str(log), *(["--debug"] if debug else [])]
    with Runtime(pyrun_path, tmp_path / "state", *options) as runtime:
        assert runtime.output(bundle) == ""
    words = "libseccomp does not know the system call no_such_call: skipped"
    assert (words in log.read_text() if log.exists() else False) == debug


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (profile(default="SCMP_ACT_NOPE"), "/linux/seccomp/defaultAction: 'SCMP_ACT_NOPE' is not"),
        (profile(refuse("mkdir", action="NOPE")), "/linux/seccomp/syscalls/0/action"),
        (profile(architectures=["PDP11"]), "/linux/seccomp/architectures/0"),
        (
            profile({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}),
            "/linux/seccomp/listenerPath: is needed for SCMP_ACT_NOTIFY",
        ),
    ],
)
def test_a_broken_profile_is_refused_at_its_place(
    pyrun: Runtime, bundle: Bundle, broken: dict[str, Any], words: str
) -> None:
    bundle.linux["seccomp"] = broken
    done = pyrun.run(bundle)
    assert done.returncode == 1
    assert words in done.stderr
    assert pyrun.left(pyrun.ids[-1]) == []


def test_a_corrupt_cache_entry_is_replaced(
    pyrun: Runtime, bundle: Bundle, own_profile: dict[str, Any]
) -> None:
    bundle.linux["seccomp"] = own_profile
    assert refused(pyrun, bundle)
    entry = entry_of(own_profile)
    good = entry.read_bytes()
    allow_all = bytes.fromhex("060000000000ff7f")
    entry.write_bytes(good[:48] + allow_all)  # whoever could write it would lift the filter
    assert refused(pyrun, bundle)
    assert entry.read_bytes() == good


def test_an_entry_that_others_can_write_is_not_trusted(
    pyrun: Runtime, bundle: Bundle, own_profile: dict[str, Any]
) -> None:
    bundle.linux["seccomp"] = own_profile
    assert refused(pyrun, bundle)
    entry = entry_of(own_profile)
    entry.chmod(0o666)
    assert refused(pyrun, bundle)
    assert entry.stat().st_mode & 0o777 == 0o600
