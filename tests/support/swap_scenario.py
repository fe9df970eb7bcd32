"""One container's life with a given engine, runtime and monitor, told as JSON.

usage: swap_scenario.py IMAGE ENGINE [OPTION...]

A program of its own, because for crun the whole of it runs in a private mount namespace.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

IMAGE, ENGINE = sys.argv[1], sys.argv[2:]
DETACHED = "echo one; echo two >&2; trap 'exit 5' TERM; while :; do sleep 0.02; done"


def call(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*ENGINE, *words], input=stdin, capture_output=True, check=False)


def told(*words: str, stdin: bytes = b"") -> list[Any]:
    """Exit code, output and complaints; a message is only its beginning, which all share."""
    done = call(*words, stdin=stdin)
    complaints = done.stderr.decode()
    if complaints.startswith("Error: "):
        complaints = "Error: ..."
    return [done.returncode, done.stdout.decode(), complaints]


def run(*words: str, stdin: bytes = b"") -> list[Any]:
    return told("run", "--network", "none", *words, stdin=stdin)


def states() -> list[list[Any]]:
    listed = json.loads(call("ps", "-a", "--format", "json").stdout)
    return [[row["Names"], row["State"], row["ExitCode"], row["Command"][:1]] for row in listed]


def log_lines() -> tuple[bytes, bytes]:
    done = call("logs", "d")
    return done.stdout, done.stderr


def scenario() -> dict[str, Any]:
    shell = (IMAGE, "sh", "-c")
    result: dict[str, Any] = {
        "streams": run("--rm", *shell, "echo out; echo err >&2; exit 3"),
        "stdin": run("--rm", "-i", IMAGE, "cat", stdin=b"through\n"),
        "terminal": run("--rm", "-t", *shell, "busybox tty; exit 4"),
        "environment": run("--rm", "-e", "A=b", "-w", "/tmp", "-u", "1000:1000",
                           *shell, "echo $A $HOME; pwd; id -u; id -g"),
        "confinement": run("--rm", *shell,
                           "busybox grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status;"
                           " ls /sys/class/net; ls /proc/acpi 2>/dev/null;"
                           " echo >/proc/sys/kernel/hostname"),
        "read only": run("--rm", "--read-only", *shell, "busybox touch /x; busybox touch /tmp/x"),
        "not found": run("--rm", IMAGE, "nosuch"),
        "not executable": run("--rm", IMAGE, "/etc/passwd"),
    }  # fmt: skip
    result["detached"] = run("-d", "--name", "d", *shell, DETACHED)[0]
    deadline = time.monotonic() + 60
    while not all(log_lines()) and time.monotonic() < deadline:
        time.sleep(0.05)
    result["logs"] = told("logs", "d")
    result["up"] = states()
    result["exec"] = told("exec", "-i", "d", "sh", "-c", "cat; echo e >&2; exit 7", stdin=b"in\n")
    result["exec not found"] = told("exec", "d", "nosuch")
    result["rm refused"] = told("rm", "d")[0]
    result["stopped"] = told("stop", "d")
    result["code"] = told("wait", "d")
    result["down"] = states()
    result["started"] = told("start", "d")
    result["killed"] = told("kill", "d")
    result["killed code"] = told("wait", "d")
    result["removed"] = told("rm", "-f", "d")[0]
    result["nothing left"] = states()
    return result


print(json.dumps(scenario(), indent=1))
