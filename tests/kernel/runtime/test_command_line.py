"""What the command line promises to callers of runc and crun: statuses, logs, small options."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")


def test_an_unknown_command_is_status_3_and_help_is_0(pyrun: Runtime) -> None:
    unknown = pyrun.call("nosuch")
    assert (unknown.returncode, "there is no command 'nosuch'" in unknown.stderr) == (3, True)
    assert pyrun.call("help", "nosuch").returncode == 3
    shown = pyrun.call("help")
    assert (shown.returncode, "Commands:" in shown.stdout) == (0, True)
    assert pyrun.call("help", "run").stdout == pyrun.call("run", "--help").stdout
    assert pyrun.call("run", "--usage").stdout == pyrun.call("run", "--help").stdout
    assert pyrun.call("-V").stdout == pyrun.call("--version").stdout


@pytest.mark.needs("strace")
@pytest.mark.parametrize(
    ("module", "status", "said"),
    [("commands/settings", -2, ""), ("commands/start", 130, "interrupted")],
)
def test_a_ctrl_c_while_pyrun_loads_is_no_traceback(
    pyrun: Runtime, module: str, status: int, said: str
) -> None:
    """It ends the process at once, or, from where errors are told, with a line of its own."""
    (package,) = Path(pyrun.program).parent.glob("../lib/python3*/site-packages/pyrun")
    inject = ["-P", str(package / f"{module}.py"), "-e", "inject=/stat:signal=INT:when=1"]
    done = subprocess.run(
        ["strace", "-o", "/dev/null", *inject, *pyrun.command("start", "none")],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("command", [["list"], ["help"], ["run", "--help"]])
def test_output_that_cannot_be_written_is_an_error(pyrun: Runtime, command: list[str]) -> None:
    words = pyrun.command(*command)
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, "No space left on device" in done.stderr) == (1, True)


def test_an_error_in_the_json_log_has_level_msg_and_time(pyrun: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = ["--log", f"file:{log}", "--log-format", "json", "--criu", "/usr/bin/criu"]
    assert pyrun.call(*words, "state", "nosuch").returncode == 1
    (line,) = log.read_text().splitlines()
    found = json.loads(line)
    assert sorted(found) == ["level", "msg", "time"]
    assert (found["level"], "nosuch does not exist" in found["msg"]) == ("error", True)


def test_a_log_of_an_unknown_kind_is_refused(pyrun: Runtime, tmp_path: Path) -> None:
    done = pyrun.call("--log=graylog:/x", "list")
    assert (done.returncode, "--log is PATH, file:PATH" in done.stderr) == (1, True)
    log = tmp_path / "a:b"
    assert pyrun.call(f"--log={log}", "state", "nosuch").returncode == 1
    assert "nosuch does not exist" in log.read_text()


def test_the_version_names_what_is_built_in(pyrun: Runtime) -> None:
    shown = pyrun.call("--version").stdout.splitlines()
    assert shown[-1].split()[:2] == ["+SYSTEMD", "+SELINUX"]


def test_a_log_that_nobody_reads_is_told_beside_the_error(pyrun: Runtime) -> None:
    if os.path.exists("/run/systemd/journal/socket"):
        pytest.skip("there is a journal")
    done = pyrun.call("--log", "journald:pyrun", "state", "nosuch")
    assert done.returncode == 1
    assert "write the log journald:pyrun" in done.stderr
    assert "nosuch does not exist" in done.stderr


def test_kill_and_delete_take_a_regular_expression(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    first, second = pyrun.start(bundle), pyrun.start(bundle)
    both = f"^({first}|{second})$"
    assert pyrun.call("kill", "--regex", f"^{first[:-2]}..$", "KILL").returncode == 0
    pyrun.wait_until_stopped(first)
    assert pyrun.state(second)["status"] == "running"
    refused = pyrun.call("delete", "--regex", both)
    assert (refused.returncode, "status is running" in refused.stderr) == (1, True)
    assert pyrun.call("list", "--quiet").stdout.split() == [second]
    assert pyrun.call("delete", "--force", "--regex", both).returncode == 0
    assert pyrun.call("list", "--quiet").stdout == ""


@pytest.mark.parametrize("command", ["kill", "delete"])
def test_a_wrong_regular_expression_is_refused(pyrun: Runtime, command: str) -> None:
    done = pyrun.call(command, "--regex", "(")
    assert (done.returncode, "is no regular expression" in done.stderr) == (1, True)


def test_spec_writes_the_file_it_is_told(pyrun: Runtime, tmp_path: Path) -> None:
    assert pyrun.call("spec", "-b", str(tmp_path), "--file", "other.json").returncode == 0
    assert json.loads((tmp_path / "other.json").read_text())["ociVersion"]
    done = pyrun.call("spec", "--file", str(tmp_path / "other.json"))
    assert (done.returncode, "File exists" in done.stderr) == (1, True)


def test_list_has_the_formats_of_runc(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    head, row = (line.split() for line in pyrun.call("list").stdout.splitlines())
    assert head == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert row[0] == name
    (found,) = json.loads(pyrun.call("list", "--format", "json").stdout)
    assert (found["id"], found["status"], found["owner"]) == (name, "running", "root")
    done = pyrun.call("list", "--format", "yaml")
    assert (done.returncode, "table or json" in done.stderr) == (1, True)


def test_messages_go_to_the_journal(tmp_path: Path) -> None:
    from pyrun.commands import system_log

    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        place, system_log._JOURNAL = system_log._JOURNAL, str(path)
        try:
            system_log.write("journald:box", "warning", "two\nlines")
        finally:
            system_log._JOURNAL = place
        fields = journal.recv(4096).decode().splitlines()
    assert fields == ["MESSAGE=two lines", "PRIORITY=4", "SYSLOG_IDENTIFIER=box"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_debug_tells_in_the_log_what_a_command_does(
    pyrun: Runtime, tmp_path: Path, form: str
) -> None:
    log = tmp_path / "log"
    words = ["--debug", "--log", str(log), "--log-format", form, "--root", str(pyrun.root), "list"]
    done = subprocess.run([pyrun.program, *words], check=True, capture_output=True, text=True)
    level = '"level":"debug"' if form == "json" else "level=debug"
    assert [level in line for line in log.read_text().splitlines()] == [True, True]
    assert f"list: states in {pyrun.root}" in log.read_text()
    assert "debug" not in done.stderr


def test_debug_without_a_log_tells_it_to_standard_error(pyrun: Runtime) -> None:
    done = subprocess.run(
        [pyrun.program, "--debug", "--root", str(pyrun.root), "list"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr.count("level=debug") == 2
