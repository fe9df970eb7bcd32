"""A peer's daemon with sockets and directories of its own, and its client."""

from __future__ import annotations

import os
import subprocess

import pytest

Done = subprocess.CompletedProcess[str]


class Daemon:
    """Runs from here until ``close``; called with words, it is its client."""

    def __init__(
        self, command: list[str], *, ready: str, client: str, environment: dict[str, str]
    ) -> None:
        """``ready`` stands in the line of stderr from which on it answers."""
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
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        self._log.wait(30)
