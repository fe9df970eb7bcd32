"""Runs the validation programs of opencontainers/runtime-tools against runtimes.

The programs are built elsewhere; each prints TAP (Test Anything Protocol) and takes the runtime's
path from ``RUNTIME``. Some end early and never report: they count as dead, whatever they had
reported until then. Some have no assertion and only print an error among their diagnostics: they
run whole, as a TAP reader sees it, and are said to complain.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

_RESULT = re.compile(r"^(?P<not>not )?ok\b\s*(?P<number>\d+)?\s*(?P<text>.*)$")
_PLAN = re.compile(r"^1\.\.(?P<count>\d+)")
_COMPLAINT = re.compile(r'^ +"error": "(?P<text>.*)"')
# The programs' cgroupsPath begins with one of these; runtimes do not remove its parents.
_REMOVE_CGROUPS = (
    "cd /sys/fs/cgroup; for d in testdir cgrouptest */testdir */cgrouptest; do"
    " [ ! -d $d ] || find $d -depth -type d -exec rmdir {} ';'; done"
)

# The others have the container's id, a UUID; a runtime that was killed, or failed, leaves them.
_CGROUPS = Path("/sys/fs/cgroup")
_UUID = "-".join("[0-9a-f]" * count for count in (8, 4, 4, 4, 12))

# crun makes directories where cgroup2 was mounted; a tmpfs of the namespace takes them.
_V1 = (
    "if umount /sys/fs/cgroup/unified 2>/dev/null;"
    " then mount -t tmpfs tmpfs /sys/fs/cgroup/unified; fi;"
)
# A new tmpfs with the hierarchies of the old one, where these two find a place that goes with us.
_NET = (
    "d=$(mktemp -d) && mount -t tmpfs tmpfs $d;"
    ' for c in /sys/fs/cgroup/*/; do n=$d/$(basename "$c"); mkdir "$n"; mount --bind "$c" "$n";'
    " done; n=$d/net_cls,net_prio; mkdir $n; mount -t cgroup -o net_cls,net_prio cgroup $n ||"
    " exit 125; ln -s net_cls,net_prio $d/net_cls; ln -s net_cls,net_prio $d/net_prio;"
    " mount --rbind $d /sys/fs/cgroup; umount -l $d; rmdir $d;"
)
LAYOUTS = {
    "host": 'exec "$@"',
    "v1": f'{_V1} exec "$@"',
    "v1-net": f'{_V1} {_NET} exec "$@"',
    "v2": 'umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"',
}

# The kernel drops a hierarchy when it is unmounted and has had no cgroup for a moment.
_DROP_NET = (
    "d=$(mktemp -d); for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2;"
    " mount -t cgroup -o net_cls,net_prio cgroup $d && umount $d;"
    " grep -q net_cls /proc/self/cgroup || break; done; rmdir $d"
)

_OLDER = """#!/usr/bin/python3 -IS
import os, re, sys
words = sys.argv[1:]
if "create" in words and "--bundle" in words:
    path = words[words.index("--bundle") + 1] + "/config.json"
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(re.sub(r'("ociVersion": *")[0-9][^"]*', r"\\g<1>{version}", text))
os.execv({runtime!r}, [{runtime!r}, *words])
"""


@dataclass
class Result:
    """What one program said about one runtime.

    Attributes:
        program: its folder's name, such as ``linux_cgroups_pids``.
        passed: assertions reported ``ok``, without the skipped ones.
        skipped: assertions reported ``ok … # SKIP``.
        failed: the texts of the assertions reported ``not ok``.
        death: why it counts as dead; empty when it ran to its end.
        complaint: the error in its diagnostics, of a program without assertions.
        excused: why the failures are not the runtime's; empty when they are.
    """

    program: str
    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    death: str = ""
    complaint: str = ""
    excused: str = ""

    @property
    def whole(self) -> bool:
        """It ran to its end and no assertion failed."""
        return not self.failed and not self.death

    @property
    def words(self) -> str:
        """The cell of the table."""
        if self.whole:
            return f"whole ({self.passed}{', complains' if self.complaint else ''})"
        parts = [f"{self.passed} ok", f"{len(self.failed)} not ok"]
        return ", ".join(parts + ([f"dead: {self.death}"] if self.death else []))


def parse(program: str, output: str, *, silent: bool = False) -> Result:
    """Read one program's TAP output, which may be several documents.

    Args:
        program: its name.
        output: what it wrote.
        silent: it is content when it prints nothing.
    """
    result = Result(program)
    planned = None
    for line in output.splitlines():
        if plan := _PLAN.match(line):
            planned = (planned or 0) + int(plan["count"])
        elif found := _RESULT.match(line):
            text = found["text"].removeprefix("- ")
            if found["not"]:
                result.failed.append(text)
            elif "# SKIP" in text.upper():
                result.skipped += 1
            else:
                result.passed += 1
        elif complaint := _COMPLAINT.match(line):
            result.complaint = complaint["text"].replace("\\n", " ")
    reported = result.passed + result.skipped + len(result.failed)
    if reported:
        result.complaint = ""  # it belongs to an assertion
    if planned is None and not (silent and not output.strip()):
        result.death = "it printed no plan"
    elif (planned or 0) != reported:
        result.death = f"it reported {reported} of {planned} assertions"
    return result


def programs(suite: Path) -> list[Path]:
    """The built programs of a tree of runtime-tools, by name."""
    return sorted((suite / "validation").glob("*/*.t"))


def older(runtime: str, version: str, directory: Path) -> str:
    """A program that is ``runtime`` with another ociVersion in the programs' config.json."""
    path = directory / f"as-{version}"
    path.write_text(_OLDER.format(runtime=runtime, version=version))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def run_program(
    suite: Path,
    program: Path,
    runtime: str,
    layout: str,
    timeout_s: float,
    *,
    silent: bool = False,
) -> Result:
    """Run one program in its own session and private view of the cgroup hierarchies.

    Containers and cgroups that it leaves are removed.
    """
    before = named_cgroups()
    bundles = tempfile.mkdtemp(prefix="validation-bundles-")
    os.chmod(bundles, 0o755)  # a container with a user namespace must get through
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", LAYOUTS[layout], "sh"]
    child = subprocess.Popen(
        [*unshare, str(program)],
        cwd=suite,
        env={**os.environ, "RUNTIME": runtime, "TMPDIR": bundles},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    hung = False
    try:
        output, _ = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        hung = True
        os.killpg(child.pid, signal.SIGKILL)
        output, _ = child.communicate()
    result = parse(program.stem, output, silent=silent)
    if hung:
        result.death = f"it hung for {timeout_s:g} s"
    elif child.returncode != 0:
        result.death = f"it exited with status {child.returncode}"
    for name in containers(runtime, bundles):
        in_view = [*unshare, runtime, "delete", "--force", name]
        subprocess.run(in_view, check=False, capture_output=True, timeout=timeout_s)
    subprocess.run([*unshare, "sh", "-c", _REMOVE_CGROUPS], check=False, capture_output=True)
    remove_cgroups(named_cgroups() - before)
    shutil.rmtree(bundles, ignore_errors=True)
    return result


def named_cgroups(top: Path = _CGROUPS) -> set[Path]:
    """The cgroups of every hierarchy that have the id of a container of the programs."""
    return {*top.glob(_UUID), *top.glob(f"*/{_UUID}")}


def remove_cgroups(found: set[Path]) -> None:
    """Remove cgroups with those below them; one that is in use stays."""
    for path in found:
        for folder, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def leave(layout: str) -> None:
    """Undo what a layout changes for the whole machine."""
    if layout == "v1-net":
        unshare = ["unshare", "--mount", "--propagation", "private"]
        subprocess.run([*unshare, "sh", "-c", _DROP_NET], check=False, capture_output=True)


def containers(runtime: str, bundles: str) -> list[str]:
    """The ids of the runtime's containers whose bundles are below a directory."""
    words = [runtime, "list", "--format", "json"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout or "[]") if done.returncode == 0 else []
    return [one["id"] for one in found or [] if one["bundle"].startswith(f"{bundles}/")]


def table(results: dict[str, list[Result]]) -> str:
    """Markdown: a row for each program, a column for each runtime, and the sums."""
    runtimes = list(results)
    lines = [
        "| program | " + " | ".join(runtimes) + " |",
        "| --- |" + " --- |" * len(runtimes),
    ]
    for row in zip(*results.values(), strict=True):
        cells = " | ".join(one.words + (" (a known limit)" if one.excused else "") for one in row)
        lines.append(f"| {row[0].program} | {cells} |")
    sums = []
    for column in results.values():
        whole = sum(one.whole for one in column)
        complain = sum(one.whole and bool(one.complaint) for one in column)
        passed = sum(one.passed for one in column)
        failed = sum(len(one.failed) for one in column)
        dead = sum(bool(one.death) for one in column)
        sums.append(
            f"{whole} of {len(column)} whole ({complain} complain);"
            f" {passed} ok, {failed} not ok; {dead} dead"
        )
    lines.append("| **all** | " + " | ".join(sums) + " |")
    return "\n".join(lines)
