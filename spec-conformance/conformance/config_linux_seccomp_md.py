"""config-linux.md: Seccomp and the container process state."""

from __future__ import annotations

import errno
import json
import os
import platform
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conformance.cases import Failure, NotApplicable, expect, expect_equal, requirement
from conformance.containers import TIMEOUT_S, Container, Machine

FILE = "config-linux.md"

# --- Seccomp


def profile(container: Container, rule: dict[str, Any], default: str = "SCMP_ACT_ALLOW") -> None:
    container.linux["seccomp"] = {"defaultAction": default, "syscalls": [rule]}


def mkdir_rule(**more: Any) -> dict[str, Any]:
    return {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", **more}


@requirement(FILE, "Seccomp", "SCMP_ACT_ERRNO refuses a system call with EPERM by default")
def seccomp_errno_is_eperm(machine: Machine) -> None:
    container = machine.container()
    profile(container, mkdir_rule())
    container.shell("mkdir /made 2>&1; exit 0")
    expect("Operation not permitted" in container.run(), "mkdir is not refused with EPERM")


@requirement(FILE, "Seccomp", "errnoRet is the errno return code to use")
def seccomp_errno_ret(machine: Machine) -> None:
    container = machine.container()
    profile(container, mkdir_rule(errnoRet=errno.EXDEV))
    container.shell("mkdir /made 2>&1; exit 0")
    seen = container.run()
    expect(os.strerror(errno.EXDEV) in seen, f"mkdir says {seen!r}")


@requirement(FILE, "Seccomp", "args: a rule applies only where its comparison holds")
def seccomp_args_are_compared(machine: Machine) -> None:
    if platform.machine() != "x86_64":
        raise NotApplicable("the arguments of kill are compared on x86_64")
    container = machine.container()
    argument = {"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}
    profile(container, {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [argument]})
    seen = container.run(
        "kill -0 $$ && echo zero; trap : USR1; kill -USR1 $$ 2>/dev/null || echo usr1 refused"
    )
    expect_equal(seen.splitlines(), ["zero", "usr1 refused"], "kills")


def register_operator(operator: str, refused: list[str], **more: int) -> None:
    @requirement(
        FILE,
        "Seccomp",
        f"op: {operator} compares the argument with value",
        f"seccomp_operator_{operator}",
    )
    def test(machine: Machine) -> None:
        if platform.machine() != "x86_64":
            raise NotApplicable("the arguments of kill are compared on x86_64")
        container = machine.container()
        argument = {"index": 1, "value": 12, "op": operator, **more}
        profile(container, {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [argument]})
        seen = container.run(
            "trap : 10 12 14; for n in 10 12 14; do kill -$n $$ 2>/dev/null || echo $n; done; true"
        )
        expect_equal(seen.split(), refused, "signals that are refused")


register_operator("SCMP_CMP_NE", ["10", "14"])
register_operator("SCMP_CMP_LT", ["10"])
register_operator("SCMP_CMP_LE", ["10", "12"])
register_operator("SCMP_CMP_EQ", ["12"])
register_operator("SCMP_CMP_GE", ["12", "14"])
register_operator("SCMP_CMP_GT", ["14"])
register_operator("SCMP_CMP_MASKED_EQ", ["12", "14"], value=4, valueTwo=4)


def register_flag(flag: str) -> None:
    @requirement(FILE, "Seccomp", f"flags: {flag} is a valid flag", f"seccomp_flag_{flag}")
    def test(machine: Machine) -> None:
        container = machine.container()
        profile(container, mkdir_rule())
        container.linux["seccomp"]["flags"] = [f"SECCOMP_FILTER_FLAG_{flag}"]
        expect_equal(container.run("mkdir /made 2>/dev/null || echo refused"), "refused\n", "mkdir")


for _flag in ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"):
    register_flag(_flag)


@requirement(FILE, "Seccomp", "If SCMP_ACT_NOTIFY is not used, listenerPath is ignored")
def seccomp_listener_without_notify(machine: Machine) -> None:
    container = machine.container()
    profile(container, mkdir_rule())
    container.linux["seccomp"]["listenerPath"] = str(container.bundle / "missing")
    expect_equal(container.run("echo fine"), "fine\n", "output")


@requirement(FILE, "Seccomp", "SCMP_ACT_KILL_PROCESS kills the process with SIGSYS")
def seccomp_kills(machine: Machine) -> None:
    container = machine.container()
    profile(container, {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"})
    seen = container.run("mkdir /made; echo $?")
    expect_equal(seen.strip(), "159", "exit status of mkdir")


@requirement(FILE, "Seccomp", "architectures is the list of architectures used for system calls")
def seccomp_architectures(machine: Machine) -> None:
    container = machine.container()
    profile(container, mkdir_rule())
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    container.linux["seccomp"]["architectures"] = architectures
    expect_equal(container.run("echo fine"), "fine\n", "output")


@requirement(FILE, "Seccomp", "names: a system call that is not known does not stop the container")
def seccomp_unknown_names(machine: Machine) -> None:
    container = machine.container()
    profile(container, mkdir_rule(names=["no_such_call", "mkdir", "mkdirat"]))
    expect_equal(container.run("mkdir /made 2>/dev/null || echo refused"), "refused\n", "output")


def register_invalid_profile(words: str, change: dict[str, Any], top: dict[str, Any]) -> None:
    @requirement(FILE, "Seccomp", words, "seccomp_" + words.replace(" ", "_"))
    def test(machine: Machine) -> None:
        container = machine.container()
        profile(container, mkdir_rule(**change))
        container.linux["seccomp"].update(top)
        container.refused("the profile")


register_invalid_profile("names MUST contain at least one entry", {"names": []}, {})
register_invalid_profile("an unknown action is an invalid value", {"action": "SCMP_ACT_TEST"}, {})
register_invalid_profile(
    "errnoRet with an action that does not support it MUST fail",
    {"action": "SCMP_ACT_KILL", "errnoRet": 1},
    {},
)
register_invalid_profile(
    "an unknown operator is an invalid value",
    {"args": [{"index": 0, "value": 1, "op": "SCMP_CMP_TEST"}]},
    {},
)
register_invalid_profile(
    "listenerMetadata MUST NOT be set if listenerPath is not set", {}, {"listenerMetadata": "x"}
)


# --- The Container Process State


@contextmanager
def listening(container: Container) -> Iterator[socket.socket]:
    """A socket as the profile's listener; mkdir is its matter."""
    path = str(container.bundle / "listener")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)
        made.listen()
        made.settimeout(TIMEOUT_S)
        profile(container, {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"})
        container.linux["seccomp"].update(listenerPath=path, listenerMetadata="metadata")
        yield made


def received(listener: socket.socket) -> tuple[dict[str, Any], list[str]]:
    """The message, and what its descriptors are open on."""
    try:
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(TIMEOUT_S)
            data, fds, _, _ = socket.recv_fds(peer, 65536, 4)
            while more := peer.recv(65536):  # to the end: the connection MUST be closed
                data += more
    except TimeoutError:
        raise Failure("listenerPath got nothing, or was not closed after it") from None
    kinds = [os.readlink(f"/proc/self/fd/{fd}") for fd in fds]
    for fd in fds:
        os.close(fd)
    message: dict[str, Any] = json.loads(data)
    return message, kinds


@requirement(FILE, "The Container Process State", "It MUST be sent as JSON, the fds by SCM_RIGHTS")
def container_process_state_is_sent(machine: Machine) -> None:
    container = machine.container()
    container.config["annotations"] = {"key": "value"}
    with listening(container) as listener:
        container.must_start()  # when the filter is loaded is the runtime's to choose
        message, kinds = received(listener)
    expect_equal(message.get("fds"), ["seccompFd"], "fds")
    expect_equal(kinds, ["anon_inode:seccomp notify"], "descriptors")
    pid = container.state()["pid"]
    expect_equal(message.get("pid"), pid, "pid")
    expect_equal(message.get("metadata"), "metadata", "metadata")
    expect("ociVersion" in message, "ociVersion is missing")
    state = message.get("state") or {}
    expect_equal(state.get("id"), container.id, "id in the state")
    expect_equal(state.get("pid"), pid, "pid in the state")
    expect_equal(state.get("annotations"), {"key": "value"}, "annotations in the state")


@requirement(FILE, "Seccomp", "A listenerPath that cannot be reached MUST be an error")
def seccomp_listener_must_be_there(machine: Machine) -> None:
    container = machine.container()
    with listening(container):
        container.linux["seccomp"]["listenerPath"] = str(container.bundle / "missing")
        container.refused("a listenerPath that is not there")
