"""Long commands that run beside the other tests, one after the other; tests look at how they ended.

They are guests and suites of their own, which use one processor, and no other test looks at them. A
second process starts the first of them with the first test, so that little is left to wait for when
their turn comes. (A thread would be in the way of tests that fork or enter namespaces.) Run as a
program, this module is that process.
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
    """How a command ended, what it printed, and the directory it ran in."""

    status: int
    output: str
    directory: Path


class Queue:
    """Commands in a row, each in a new directory."""

    def __init__(self, commands: dict[str, list[str]]) -> None:
        """Start the first.

        Args:
            commands: argv by name; relative programs are those of the work tree as it is now.
        """
        self._names = list(commands)
        self._folder = Path(tempfile.mkdtemp(prefix="pyrun-beside-"))
        self._statuses: list[int] = []
        # Tests change the tree (compiled modules, installed programs) while guests copy it.
        tree = self._folder / "tree"
        try:
            shutil.copytree(TOP, tree, symlinks=True, ignore=LEFT_OUT)
        except BaseException:  # interrupted, perhaps
            shutil.rmtree(self._folder)
            raise
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", sys.executable, "-I", __file__, str(self._folder),
             json.dumps([[str(tree / words[0]), *words[1:]] for words in commands.values()])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def result(self, name: str) -> Done:
        """Wait until this command has ended."""
        assert self._process.stdout is not None
        number = self._names.index(name)
        while len(self._statuses) <= number:
            line = self._process.stdout.readline()
            assert line, f"the process that runs it ended before {name} did"
            self._statuses.append(int(line))
        directory = self._folder / str(number)
        output = (directory / "output").read_text(errors="replace")
        return Done(self._statuses[number], output, directory)

    def stop(self) -> None:
        """End what still runs; the process removes the folder."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # takes the command with it
            self._process.communicate()


def run_one(words: list[str], directory: Path) -> int:
    """The exit status of ``words``, which do not outlive this process."""
    directory.mkdir()
    with open(directory / "output", "wb") as output:
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "INT", *words],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            return child.wait()
        finally:
            child.send_signal(signal.SIGINT)  # as by Ctrl-C: it cleans up
            child.wait()


def main(folder: str, commands: list[list[str]]) -> None:
    """Run one after the other, print the status of each, and keep the folder until the end."""
    try:
        for number, words in enumerate(commands):
            print(run_one(words, Path(folder, str(number))), flush=True)
        signal.pause()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main(sys.argv[1], json.loads(sys.argv[2]))
