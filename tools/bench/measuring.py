"""Timing commands in interleaved rounds, and telling the result."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BIN = TOP / ".venv" / "bin"
BUSYBOX = Path("/bin/busybox")
LAYOUT = 'umount /sys/fs/cgroup/unified 2>/dev/null || true; exec "$@"'

Sample = dict[str, list[float]]


def enter_v1_view() -> None:
    """Run this script again inside a mount namespace without the unified hierarchy."""
    if os.environ.get("BENCH_INSIDE") == "1":
        return
    os.environ["BENCH_INSIDE"] = "1"
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", LAYOUT, "sh"]
    os.execvp("unshare", [*unshare, sys.executable, "-I", *sys.argv])


def make_rootfs(folder: Path) -> None:
    """A root file system that holds busybox and nothing else."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (folder / name).mkdir(parents=True)
    shutil.copy2(BUSYBOX, folder / "bin" / "busybox")
    for name in ("sh", "true", "sleep", "echo"):
        (folder / "bin" / name).symlink_to("busybox")


def call(command: list[str]) -> float:
    """Milliseconds that one command takes; a failing one ends the benchmark with its words."""
    # Not pipes: a created container keeps them open, and reading them would wait for its end.
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        elapsed = (time.perf_counter() - start) * 1000
        if done.returncode != 0:
            output.seek(0)
            words = output.read().decode(errors="replace").strip()
            sys.exit(f"bench: {' '.join(command)}: exit {done.returncode}: {words}")
    return elapsed


def interleave(
    candidates: dict[str, Callable[[], dict[str, float]]], rounds: int
) -> dict[str, Sample]:
    """Operation -> candidate -> milliseconds; one warm-up round is thrown away."""
    names = list(candidates)
    result: dict[str, Sample] = {}
    for number in range(rounds + 1):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            for operation, value in candidates[name]().items():
                if number:
                    result.setdefault(operation, {}).setdefault(name, []).append(value)
    return result


def first_line(command: list[str]) -> str:
    """The first line a command prints."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return ((done.stdout or done.stderr).splitlines() or [""])[0]


def machine(programs: dict[str, str]) -> dict[str, object]:
    """What the figures depend on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load": Path("/proc/loadavg").read_text().split()[0],
        **{name: first_line([path, "--version"]) for name, path in programs.items()},
    }


def report(kind: str, facts: dict[str, object], result: dict[str, Sample], peer: list[str]) -> None:
    """Print the table and write the same, with every sample, as JSON."""
    print(", ".join(f"{key}: {value}" for key, value in facts.items()))
    heads = ["operation", "program", "median ms", "min ms", *(f"to {name}" for name in peer)]
    print("| " + " | ".join(heads) + " |")
    print("|" + " --- |" * len(heads))
    rows = []
    for operation, sample in result.items():
        medians = {name: statistics.median(values) for name, values in sample.items()}
        for name, values in sample.items():
            ratios = {other: round(medians[name] / medians[other], 3) for other in peer}
            rows.append(
                {
                    "operation": operation,
                    "program": name,
                    "median_ms": round(medians[name], 2),
                    "min_ms": round(min(values), 2),
                    "ratios": ratios,
                    "samples_ms": [round(value, 3) for value in values],
                }
            )
            shown = [f"{ratio:.2f}" for ratio in ratios.values()]
            cells = [operation, name, f"{medians[name]:.1f}", f"{min(values):.1f}", *shown]
            print("| " + " | ".join(cells) + " |")
    write_json(kind, {"machine": facts, "rows": rows})


def write_json(kind: str, record: dict[str, object]) -> None:
    folder = TOP / "bench-results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{kind}-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written: {path.relative_to(TOP)}")
