"""stats, top and port."""

from __future__ import annotations

import json
import re

import pexpect
import pytest

from support.containers import IMAGE, ContainerRoot

pytestmark = pytest.mark.needs("root", "busybox", "memory_limit")


def test_what_a_container_uses_and_runs(box: ContainerRoot) -> None:
    script = "sleep 1000 & exec sleep 1001"
    id_ = box.ok("run", "-d", "-m", "64m", "-u", "user", "--name", "s", IMAGE, "sh", "-c", script)
    box.ok("create", "--name", "idle", IMAGE)
    header, row = box.ok("stats", "--no-stream").splitlines()
    assert re.split("  +", header) == [
        "ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET IO", "BLOCK IO", "PIDS",
        "CPU TIME", "AVG CPU %",
    ]  # fmt: skip
    cells = re.split("  +", row)
    assert cells[:2] == [id_[:12], "s"]
    assert re.fullmatch(r"\d\S*B / 67.11MB", cells[3])
    assert cells[7] == "2"
    (listed,) = json.loads(box.ok("stats", "--no-stream", "--format", "json", "s"))
    assert listed["pids"] == "2"
    assert float(listed["mem_percent"].rstrip("%")) > 0
    form = "{{.ID}} {{.MemLimit}} {{.PIDs}}"
    shown = box.ok("stats", "-a", "--no-stream", "--no-trunc", "--format", form).splitlines()
    assert sorted(shown)[-1].split()[1:] in (["0", "0"], ["67108864", "2"])
    assert f"{id_.strip()} 67108864 2" in shown
    assert "cannot be used together" in box.fails("stats", "-a", "s")
    assert "no such container" in box.fails("stats", "--no-stream", "nosuch")

    header, *rows = box.ok("top", "s").splitlines()
    assert header.split() == ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]
    first, second = (re.split("  +", row) for row in rows)
    assert (first[:3], first[-1]) == (["user", "1", "0"], "sleep 1001")
    assert (second[2], second[-1]) == ("1", "sleep 1000")
    inside = box.ok("top", "s", "hpid,user", "seccomp", "capeff", "state").splitlines()
    pid = box.ok("inspect", "--format", "{{.State.Pid}}", "s").strip()
    assert re.split("  +", inside[1]) == [pid, "user", "filter", "none", "S"]
    assert "top can only be used on running containers" in box.fails("top", "idle")
    assert "no such container" in box.fails("top", "nosuch")

    assert box.ok("port", "s") == box.ok("port", "--all") == ""
    assert "not a port" in box.fails("port", "s", "http")
    assert "no such container" in box.fails("port", "nosuch")


@pytest.mark.needs("ps")
def test_options_of_ps_work_without_a_ps_in_the_image(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "p", IMAGE, "sleep", "1000")
    header, row = box.ok("top", "p", "-eo", "pid,args").splitlines()
    assert header.split()[0] == "PID"
    assert row.endswith("sleep 1000")
    assert "no column PID" in box.fails("top", "p", "-eo", "args")


def test_a_terminal_is_refreshed(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "r", IMAGE, "sleep", "1000")
    program, *rest = box.argv("stats", "--interval", "1", "r")
    child = pexpect.spawn(program, rest, timeout=60, dimensions=(20, 200), encoding="utf-8")
    for _ in range(2):
        child.expect_exact("\x1b[2J\x1b[H")
        child.expect(r"CPU %.*\br\b")
    child.sendcontrol("c")
    child.expect(pexpect.EOF)
