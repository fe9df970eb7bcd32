"""pyconmon with each runtime: output, exit code, terminal, exec, failures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.monitors import Container, ExecSession, container, receive_all
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")

# crun refuses the hybrid layout.
RUNTIMES = [
    pytest.param(("pyrun", "host"), id="pyrun"),
    pytest.param(("runc", "host"), id="runc", marks=pytest.mark.needs("runc")),
    pytest.param(("crun", "v1"), id="crun", marks=pytest.mark.needs("crun")),
]


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> tuple[str, str]:
    name, layout = request.param
    return (request.getfixturevalue("pyrun_path") if name == "pyrun" else name), layout


@pytest.fixture
def made(pyconmon_path: str, runtime: tuple[str, str], tmp_path: Path) -> Iterator[Container]:
    path, layout = runtime
    with container(pyconmon_path, path, tmp_path / "c", ["sleep", "1000"]) as made:
        made.layout = layout
        yield made


def set_process(made: Container, arguments: list[str], *, terminal: bool = False) -> None:
    path = made.bundle / "config.json"
    config = json.loads(path.read_text())
    config["process"].update(args=arguments, terminal=terminal)
    path.write_text(json.dumps(config))


def test_output_and_exit_code(made: Container) -> None:
    set_process(made, ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert made.run() == "7"
    assert sorted(made.log_lines()) == [("stderr", "F", "err"), ("stdout", "F", "out")]


def test_terminal(made: Container) -> None:
    set_process(made, ["sh", "-c", "read word; echo got $word; exit 5"], terminal=True)
    made.create("-t", "-i")
    client = made.attach()
    made.start()
    client.send(b"it\n")
    assert receive_all(client) == {2: b"it\r\ngot it\r\n"}
    assert made.wait() == "5"


def test_exec_and_kill(made: Container) -> None:
    made.create()
    made.start()
    session = ExecSession(made, ["sh", "-c", "echo in; exit 4"])
    pid, code = session.run()
    assert pid["data"] > 0
    assert code == {"data": 4}
    assert session.log.read_text().endswith("stdout F in\n")
    made.run_runtime("kill", made.id, "KILL")
    assert made.wait() == "137"


def test_a_failed_create_says_why(made: Container) -> None:
    (made.bundle / "config.json").write_text("{")
    failure = made.create()
    assert failure["data"] == -1
    assert failure["message"]


def test_a_failed_exec_says_why(made: Container) -> None:
    made.create()
    made.start()
    (failure,) = ExecSession(made, ["nosuch"]).run()
    assert failure["data"] == -1
    assert "nosuch" in failure["message"]


def test_health_checks(made: Container) -> None:
    """A failing one too: it needs the runtime's exec, its pid file and its state."""
    (made.bundle / "rootfs/tmp").chmod(0o777)
    script = "echo checked; [ -e /tmp/sick ] && sleep 1000"
    words = ["--health-cmd", "sh", "--health-cmd=-c", f"--health-cmd={script}; exit 0"]
    made.create(
        *words, "--health-interval", "0.05", "--health-timeout", "2", "--health-retries", "1",
        "--health-on-failure", "kill",
    )  # fmt: skip
    made.start()

    def status() -> str:
        return str(json.loads((made.persist_dir / "health.json").read_text())["Status"])

    wait_for(lambda: status() == "healthy", "the first check")
    (made.bundle / "rootfs/tmp/sick").touch()
    assert made.wait() == "137"
    made.wait_for_monitor()
    log = json.loads((made.persist_dir / "health.json").read_text())["Log"]
    assert log[0]["Output"] == "checked\n"
    assert log[-1]["ExitCode"] == -1
    assert made.record()["cause"] == "health"
