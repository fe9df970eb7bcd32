from __future__ import annotations

import posix

import pytest

from pyconmon import cli, runtime_call
from pyconmon.errors import MonitorError
from pyconmon.options import parse

GOOD = ["-c", "id", "-u", "uuid", "-r", "/bin/sh"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "id"], "Container UUID not provided. Use --cuuid"),
        (["-c", "id", "-u", "u"], "Runtime path not provided. Use --runtime"),
        (["-c", "id", "-u", "u", "-r", "/no"],
         "Runtime path /no is not valid: No such file or directory"),
        (["-c", "id", "-u", "u", "-r", "/etc/passwd"],
         "Runtime path /etc/passwd is not valid: it is not executable"),
        ([*GOOD, "-e", "--restore", "x"], "Cannot use 'exec' and 'restore' at the same time"),
        ([*GOOD, "--exec-attach"], "Attach can only be specified with exec"),
        ([*GOOD, "-e", "--exec-attach"],
         "Attach can only be specified for a non-legacy exec session"),
        ([*GOOD, "-e"], "Exec process spec path not provided. Use --exec-process-spec"),
        ([*GOOD, "--log-level", "loud"], "No such log level loud"),
        ([*GOOD, "--exit-delay", "-1"],
         "Delay before invoking exit command must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_monitored_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(MonitorError) as caught:
        cli.check(parse(arguments))
    assert str(caught.value) == message


def test_a_seccomp_socket_needs_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MonitorError, match="seccomp notify socket specified without any plugin"):
        cli.check(parse([*GOOD, "--seccomp-notify-socket", "/s"]))
    monkeypatch.setattr(posix, "environ", {b"CONMON_SECCOMP_NOTIFY_PLUGINS": b"p.so"})
    given = parse([*GOOD, "--seccomp-notify-socket", "/s"])
    cli.check(given)
    assert given.seccomp_notify_plugins == "p.so"


def test_an_old_exec_needs_no_uuid() -> None:
    cli.check(parse(["-e", "-c", "id", "-r", "/bin/sh", "--exec-process-spec", "p"]))


def test_create_is_called_in_conmons_order() -> None:
    given = parse(
        [
            *GOOD, "-b", "/b", "-p", "/pid", "-s", "--runtime-arg", "--root", "--runtime-arg", "/r",
            "--no-pivot", "--no-new-keyring", "--runtime-opt", "--preserve-fds=1",
        ]
    )  # fmt: skip
    assert runtime_call.command_line(given, "/sock") == [
        "/bin/sh", "--systemd-cgroup", "--root", "/r", "create", "--bundle", "/b",
        "--pid-file", "/pid", "--no-pivot", "--no-new-keyring", "--preserve-fds=1",
        "--console-socket", "/sock", "id",
    ]  # fmt: skip


def test_exec_is_called_in_conmons_order() -> None:
    given = parse([*GOOD, "-e", "-t", "-s", "--exec-process-spec", "/spec", "-p", "/pid"])
    assert runtime_call.command_line(given, "/sock") == [
        "/bin/sh", "exec", "--pid-file", "/pid", "--process", "/spec", "--detach", "--tty",
        "--console-socket", "/sock", "id",
    ]  # fmt: skip


def test_restore_is_called_in_conmons_order() -> None:
    given = parse([*GOOD, "--restore", "/image", "-b", "/b", "-p", "/pid"])
    assert runtime_call.command_line(given, None) == [
        "/bin/sh", "restore", "--bundle", "/b", "--pid-file", "/pid", "--detach",
        "--image-path", "/image", "--work-path", "/b", "id",
    ]  # fmt: skip
