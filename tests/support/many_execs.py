"""Runs exec sessions under a monitor, several at once, and tells what is left of them.

    many_execs.py MONITOR DIRECTORY COUNT

A program of its own, as it becomes the parent of every process that a session leaves behind
(prctl(2), PR_SET_CHILD_SUBREAPER). The runtime is a script that does next to nothing: what is
looked at is the monitor. Prints a JSON object: how many sessions told the right exit code, how
many monitors ended well, how many other processes, zombies or not, were left, and how many sockets.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
AT_ONCE = 4
RUNTIME = """#!/bin/sh
# ... exec --pid-file FILE --process NUMBER --detach ID
while [ "$1" != --pid-file ]; do shift; done
exec 3<>"${2%/*}/fifo" 4<"${2%/*}/fifo"
# The process ends after this script, which might reap it otherwise.
(exec 3>&-; read word <&4; exit $(($4 % 200))) &
echo $! > "$2"
"""


def run_session(monitor: str, directory: Path, number: int) -> bool:
    """Run one session to its end; whether it told the pid and then the exit code."""
    place = directory / str(number)
    place.mkdir()
    os.mkfifo(place / "fifo")
    sync_read, sync_write = os.pipe()
    command = [
        monitor, "--api-version", "1", "-c", "c", "-u", str(number), "-n", "name", "-e",
        "-r", str(directory / "runtime"), "-b", str(place), "-p", str(place / "pid"),
        "--exit-dir", str(place), "-l", f"k8s-file:{place}/log", "--full-attach", "--no-sync-log",
        "--exec-process-spec", str(number), "-P", str(place / "monitor.pid"),
    ]  # fmt: skip
    with os.fdopen(sync_read) as sync:
        try:
            subprocess.run(
                command, check=True, pass_fds=(sync_write,),
                env={**os.environ, "_OCI_SYNCPIPE": str(sync_write)},
            )  # fmt: skip
        finally:
            os.close(sync_write)
        answers = [json.loads(line)["data"] for line in sync]
    code = number % 200
    told = answers == [int((place / "pid").read_text()), code]
    return told and (place / "c").read_text() == str(code)


def main() -> None:
    monitor, directory, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    runtime = directory / "runtime"
    runtime.write_text(RUNTIME)
    runtime.chmod(0o755)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        right = list(pool.map(lambda n: run_session(monitor, directory, n), range(count)))
    wanted = {
        int((directory / str(number) / "monitor.pid").read_text()): number % 200
        for number in range(count)
    }
    ended = left = 0
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            break
        if wanted.get(pid) == os.waitstatus_to_exitcode(status):
            ended += 1
        else:
            left += 1
    sockets = len(list(directory.glob("*/attach")))
    print(json.dumps({"right": sum(right), "ended": ended, "left": left, "sockets": sockets}))


if __name__ == "__main__":
    main()
