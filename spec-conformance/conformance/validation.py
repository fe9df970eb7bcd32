"""Runs the validation programs of opencontainers/runtime-tools against runtimes.

The programs are built elsewhere; each prints TAP (Test Anything Protocol) and takes the runtime's
path from ``RUNTIME``. Some end early and never report: they count as dead, whatever they had
reported until then.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

_RESULT = re.compile(r"^(?P<not>not )?ok\b\s*(?P<number>\d+)?\s*(?P<text>.*)$")
_PLAN = re.compile(r"^1\.\.(?P<count>\d+)")

LAYOUTS = {
    "host": 'exec "$@"',
    "v1": 'umount /sys/fs/cgroup/unified 2>/dev/null || true; exec "$@"',
    "v2": 'umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"',
}


@dataclass
class Result:
    """What one program said about one runtime.

    Attributes:
        program: its folder's name, such as ``linux_cgroups_pids``.
        passed: assertions reported ``ok``, without the skipped ones.
        skipped: assertions reported ``ok … # SKIP``.
        failed: the texts of the assertions reported ``not ok``.
        death: why it counts as dead; empty when it ran to its end.
        excused: why the failures are the machine's and not the runtime's; empty when they are not.
    """

    program: str
    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    death: str = ""
    excused: str = ""

    @property
    def whole(self) -> bool:
        """It ran to its end and no assertion failed."""
        return not self.failed and not self.death

    @property
    def words(self) -> str:
        """The cell of the table."""
        if self.whole:
            return f"whole ({self.passed})"
        parts = [f"{self.passed} ok", f"{len(self.failed)} not ok"]
        return ", ".join(parts + ([f"dead: {self.death}"] if self.death else []))


def parse(program: str, output: str) -> Result:
    """Read one program's TAP output."""
    result = Result(program)
    planned = None
    for line in output.splitlines():
        if plan := _PLAN.match(line):
            planned = int(plan["count"])
        elif found := _RESULT.match(line):
            text = found["text"].removeprefix("- ")
            if found["not"]:
                result.failed.append(text)
            elif "# SKIP" in text.upper():
                result.skipped += 1
            else:
                result.passed += 1
    reported = result.passed + result.skipped + len(result.failed)
    if planned is None:
        result.death = "it printed no plan"
    elif planned == 0 and reported == 0:
        result.death = "it ended before its first assertion"
    elif planned != reported:
        result.death = f"it reported {reported} of {planned} assertions"
    return result


def programs(suite: Path) -> list[Path]:
    """The built programs of a tree of runtime-tools, by name."""
    return sorted((suite / "validation").glob("*/*.t"))


def run_program(suite: Path, program: Path, runtime: str, layout: str, timeout_s: float) -> Result:
    """Run one program in its own session and private view of the cgroup hierarchies."""
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", LAYOUTS[layout], "sh"]
    child = subprocess.Popen(
        [*unshare, str(program)],
        cwd=suite,
        env={**os.environ, "RUNTIME": runtime},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        output, _ = child.communicate()
        result = parse(program.stem, output)
        result.death = f"it hung for {timeout_s:g} s"
        return result
    result = parse(program.stem, output)
    if child.returncode != 0 and not result.failed and not result.death:
        result.death = f"it exited with status {child.returncode}"
    return result


def excuses(path: Path, layout: str) -> dict[str, str]:
    """Programs that no runtime can pass whole on such a machine, with the reason of each.

    The file holds ``[[limit]]`` tables with ``program``, ``layouts`` and ``reason``.
    """
    limits = tomllib.loads(path.read_text()).get("limit", [])
    return {entry["program"]: entry["reason"] for entry in limits if layout in entry["layouts"]}


def table(results: dict[str, list[Result]]) -> str:
    """Markdown: a row for each program, a column for each runtime, and the sums."""
    runtimes = list(results)
    lines = [
        "| program | " + " | ".join(runtimes) + " |",
        "| --- |" + " --- |" * len(runtimes),
    ]
    for row in zip(*results.values(), strict=True):
        excuse = next((one.excused for one in row if one.excused and not one.whole), "")
        cells = " | ".join(one.words for one in row)
        lines.append(f"| {row[0].program} | {cells} |" + (f" ({excuse})" if excuse else ""))
    sums = []
    for column in results.values():
        whole = sum(one.whole for one in column)
        passed = sum(one.passed for one in column)
        failed = sum(len(one.failed) for one in column)
        dead = sum(bool(one.death) for one in column)
        sums.append(f"{whole} of {len(column)} whole; {passed} ok, {failed} not ok; {dead} dead")
    return "\n".join([*lines, "| **all** | " + " | ".join(sums) + " |"])
