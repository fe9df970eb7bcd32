"""Bad input: a message that names object and step, the right status, and nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")


def refused(runtime: Runtime, bundle: Bundle, *words: str) -> str:
    """The message of a ``run`` that fails with 1 and leaves nothing."""
    name = runtime.new_id()
    done = runtime.call("run", *words, "-b", str(bundle.path), name)
    assert done.returncode == 1, done
    assert runtime.left(name) == []
    return done.stderr


def unquoted(line: str) -> str:
    """A line of the log as text, without the quoting of its message."""
    return line.replace('\\"', '"')


def test_missing_config(pyrun: Runtime, bundle: Bundle) -> None:
    assert "config.json: No such file or directory" in refused(pyrun, bundle)


@pytest.mark.parametrize("text", ["", "{", '{"ociVersion": "1.0.2", "process', "[]", "{} {}"])
def test_broken_config(pyrun: Runtime, bundle: Bundle, text: str) -> None:
    (bundle.path / "config.json").write_text(text)
    assert f"{bundle.path}/config.json" in refused(pyrun, bundle)


def test_unknown_version(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["ociVersion"] = "9.0.0"
    bundle.save()
    assert "/ociVersion: 9.0.0 is not supported" in refused(pyrun, bundle)


def test_missing_root(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["root"]["path"] = "nowhere"
    bundle.save()
    assert "/root/path: there is no directory nowhere" in refused(pyrun, bundle)


@pytest.mark.parametrize("name", ["a/b", "..", "../up", "", ".", "a b", "x" * 300])
def test_invalid_id(pyrun: Runtime, bundle: Bundle, name: str) -> None:
    bundle.save()
    for words in (["run", "-b", str(bundle.path)], ["state"], ["delete", "--force"]):
        done = pyrun.call(*words, name)
        assert done.returncode == 1
        assert "invalid container ID format" in done.stderr
    assert not pyrun.root.exists()


def test_id_in_use(pyrun: Runtime, bundle: Bundle) -> None:
    name = pyrun.create(bundle)
    done = pyrun.call("create", "-b", str(bundle.path), name)
    assert done.returncode == 1
    assert f"container {name}: a container with this id exists already" in done.stderr
    assert pyrun.state(name)["status"] == "created"


def test_operations_that_the_status_does_not_allow(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.create(bundle)
    assert "status is created, must be stopped" in pyrun.call("delete", name).stderr
    assert pyrun.call("start", name).returncode == 0
    for words, message in (
        (["start", name], f"start container {name}: status is running, must be created"),
        (["delete", name], f"delete container {name}: status is running, must be stopped"),
    ):
        done = pyrun.call(*words)
        assert done.returncode == 1
        assert message in done.stderr
    assert pyrun.call("kill", name, "KILL").returncode == 0
    pyrun.wait_until_stopped(name)
    for words in (["start", name], ["kill", name], ["exec", name, "true"]):
        done = pyrun.call(*words)
        assert done.returncode == (255 if words[0] == "exec" else 1)
        assert "status is stopped" in done.stderr


def test_unknown_container(pyrun: Runtime) -> None:
    for words in (["start", "none"], ["state", "none"], ["kill", "none"], ["delete", "none"]):
        done = pyrun.call(*words)
        assert (done.returncode, "container none does not exist" in done.stderr) == (1, True)
    assert pyrun.call("delete", "--force", "none").returncode == 0


@pytest.mark.parametrize(
    ("program", "status", "words"),
    [
        ("nope", 127, 'exec: "nope": executable file not found in $PATH'),
        ("/nope", 127, 'exec: "/nope": no such file or directory'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
        ("/etc", 126, 'exec: "/etc": permission denied'),
    ],
)
def test_program_that_cannot_be_executed(
    pyrun: Runtime, bundle: Bundle, program: str, status: int, words: str
) -> None:
    bundle.process["args"] = [program]
    bundle.save()
    name = pyrun.new_id()
    done = pyrun.call("create", "-b", str(bundle.path), name)
    assert done.returncode == status
    assert words in unquoted(done.stderr)
    assert pyrun.left(name) == []


def test_program_without_its_interpreter_is_reported_by_start(
    pyrun: Runtime, bundle: Bundle
) -> None:
    script = bundle.rootfs / "script"
    script.write_text("#!/no/interpreter\n")
    script.chmod(0o755)
    bundle.process["args"] = ["/script"]
    name = pyrun.create(bundle)
    done = pyrun.call("start", name)
    assert done.returncode == 127
    assert 'exec: "/script": no such file or directory' in unquoted(done.stderr)
    pyrun.wait_until_stopped(name)
    assert pyrun.state(name)["status"] == "stopped"


def test_a_command_that_does_not_exist_has_the_status_of_runc(pyrun: Runtime) -> None:
    done = pyrun.call("frobnicate")
    assert done.returncode == 3
    assert "there is no command 'frobnicate'" in done.stderr


@pytest.mark.parametrize(
    "words",
    [["state"], ["state", "a", "b"], ["run", "--frob", "x"], ["--frob", "list"],
     ["run", "--bundle"], ["kill", "x", "SIGNONE"], ["--log-format", "xml", "list"]],
)  # fmt: skip
def test_wrong_command_line(pyrun: Runtime, words: list[str]) -> None:
    done = subprocess.run([pyrun.program, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_errors_go_to_the_log_as_json(pyrun: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = ["--log", str(log), "--log-format", "json", "--root", str(pyrun.root), "state", "none"]
    done = subprocess.run([pyrun.program, *words], check=False, capture_output=True, text=True)
    line = json.loads(log.read_text())
    assert line.keys() == {"level", "msg", "time"}
    assert line["level"] == "error"
    assert "container none does not exist" in line["msg"]
    assert "container none does not exist" in done.stderr


def test_create_that_fails_late_leaves_nothing(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {"net.ipv4.no_such_parameter": "1"}
    bundle.save()
    assert "net.ipv4.no_such_parameter" in refused(pyrun, bundle)


def test_after_sigkill_at_any_step_delete_and_create_work(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    bundle.save()
    name = pyrun.new_id()
    words = pyrun.command("create", "-b", str(bundle.path), name)
    began = time.monotonic()
    assert subprocess.run(words, check=False, timeout=60, stdin=subprocess.DEVNULL).returncode == 0
    whole_s = time.monotonic() - began
    assert pyrun.call("delete", "--force", name).returncode == 0
    for step in range(16):
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(whole_s * (step + 1) / 16)  # the point of the test: to stop it anywhere
        process.kill()
        process.wait()
        if step % 2 and process.returncode == -signal.SIGKILL and not recorded(pyrun, name):
            assert subprocess.run(words, check=False, timeout=60).returncode == 0
        done = pyrun.call("delete", "--force", name)
        assert done.returncode == 0, done.stderr
        assert pyrun.left(name) == []
        assert sleepers(bundle) == []


@pytest.mark.parametrize("command", ["start", "kill", "exec", "delete"])
def test_after_sigkill_of_a_later_command_delete_works(
    pyrun: Runtime, bundle: Bundle, command: str
) -> None:
    bundle.shell("sleep 1000")
    words = {
        "start": ["start"], "kill": ["kill"], "delete": ["delete", "--force"], "exec": ["exec"],
    }[command]  # fmt: skip
    for step in range(5):
        name = pyrun.create(bundle) if command == "start" else pyrun.start(bundle)
        line = pyrun.command(*words, name, *(["sleep", "1000"] if command == "exec" else []))
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.015 * (step + 1))  # the point of the test: to stop it anywhere
        process.kill()
        process.wait()
        done = pyrun.call("delete", "--force", name)
        assert done.returncode == 0, done.stderr
        assert pyrun.left(name) == []
        assert sleepers(bundle) == []


def recorded(runtime: Runtime, name: str) -> bool:
    """Whether the container was made as far as its record, so that its id is taken.

    It is ``stopped`` when the kill came between the record and letting its process stand alone.
    """
    done = runtime.call("state", name)
    return done.returncode == 0 and json.loads(done.stdout)["status"] in ("created", "stopped")


def sleepers(bundle: Bundle) -> list[str]:
    """Processes whose root is the bundle's; they end by themselves when their parent is killed."""
    deadline = time.monotonic() + 60
    while True:
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if str(bundle.rootfs) in Path(f"/proc/{pid}/mountinfo").read_text():
                    found.append(pid)
            except OSError:
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.02)
