"""Guests that run beside the other tests, one after the other, for tests that look at the results.

A guest is slow and uses one processor, and no other test looks at it: a second process starts the
guests when the first test starts, so that little is left to wait for when their turn comes. (A
thread would be in the way of tests that fork or enter namespaces.) Run as a program, this module
is that process.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parents[2]
# What tools/vm/run leaves out as well.
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".mypy_cache", ".ruff_cache", ".hypothesis", "bench-results", "mypy", "mypyc", "ruff",
    "pip", "uv", "uvx",
)  # fmt: skip
PATIENCE_S = 60.0


class Done(NamedTuple):
    """How ``tools/vm/run`` ended, and what it printed."""

    status: int
    output: str


class Guests:
    """A queue of guests, which all see the work tree as it was when the queue started."""

    def __init__(self, commands: dict[str, list[str]]) -> None:
        """Start the first.

        Args:
            commands: each guest's name and its arguments of ``tools/vm/run``.
        """
        self._names = list(commands)
        self._folder = Path(tempfile.mkdtemp(prefix="pyrun-guests-"))
        self._statuses: list[int] = []
        # Tests change the tree (compiled modules, installed programs) while a guest reads it.
        tree = self._folder / "tree"
        shutil.copytree(TOP, tree, symlinks=True, ignore=LEFT_OUT)
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", sys.executable, "-I", __file__, str(self._folder),
             json.dumps([[str(tree / "tools/vm/run"), *words] for words in commands.values()])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def result(self, name: str) -> Done:
        """Wait until this guest has ended."""
        assert self._process.stdout is not None
        number = self._names.index(name)
        while len(self._statuses) <= number:
            line = self._process.stdout.readline()
            assert line, f"the process that runs the guests ended before {name} did"
            self._statuses.append(int(line))
        output = self._folder / str(number)
        return Done(self._statuses[number], output.read_text(errors="replace"))

    def stop(self) -> None:
        """End what still runs; the process removes the folder."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # takes the guest with it
            self._process.communicate()


def run_one(words: list[str], output_path: str) -> int:
    """The exit status of ``words``, which do not outlive this process."""
    with open(output_path, "wb") as output:
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            return child.wait()
        finally:
            child.terminate()
            child.wait()


def main(folder: str, commands: list[list[str]]) -> None:
    """Run one after the other, print the status of each, and keep the folder until the end."""
    try:
        for number, words in enumerate(commands):
            print(run_one(words, f"{folder}/{number}"), flush=True)
        signal.pause()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main(sys.argv[1], json.loads(sys.argv[2]))
