"""A peer's daemon with sockets and directories of its own, and its client."""

from __future__ import annotations

import os
import subprocess

import pytest

from support import cgroups

Done = subprocess.CompletedProcess[str]


class Daemon:
    """Runs from here until ``close``; called with words, it is its client."""

    def __init__(
        self, command: list[str], *, ready: str, client: str, environment: dict[str, str],
        parent: str,
    ) -> None:  # fmt: skip
        """Start it.

        Args:
            command: argv.
            ready: stands in the line of stderr from which on it answers.
            client: the program that ``environment`` leads to it.
            environment: for the client.
            parent: the cgroup that it makes for its containers and leaves behind.
        """
        self._parent = parent
        self._client, self._environment = client, {**os.environ, **environment}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr
        said = []
        for line in self._process.stderr:
            said.append(line)
            if ready in line:
                break
        else:
            pytest.fail(f"{command[0]} ends: {''.join(said)}")
        # nobody reads on: it must not wait for us
        self._log = subprocess.Popen(["cat"], stdin=self._process.stderr, stdout=subprocess.DEVNULL)
        self._process.stderr.close()

    def __call__(self, *words: str) -> Done:
        """The client with these words."""
        return subprocess.run(
            [self._client, *words], env=self._environment, check=False, capture_output=True,
            text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def must(self, *words: str) -> str:
        """The output of a client that succeeds."""
        done = self(*words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.strip()

    def close(self) -> None:
        """End it, and what it leaves of cgroups."""
        self._process.terminate()
        self._process.wait(60)
        self._log.wait(60)
        for folder in cgroups.directories():
            if os.path.basename(folder) == self._parent:
                os.rmdir(folder)
