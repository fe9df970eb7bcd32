"""The sentence that says why a container ended."""

from __future__ import annotations

from typing import Any

import pytest

from pyengine.containers.reasons import sentence


def asked(command: str, *signals: int) -> list[dict[str, Any]]:
    return [{"command": command, "signal": number} for number in signals]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ({"cause": "exit", "exitCode": 0}, "ended by itself with exit code 0"),
        ({"cause": "exit", "exitCode": 127},
         "ended by itself with exit code 127 (its command was not found)"),
        ({"cause": "exit", "exitCode": 5, "asked": asked("stop", 15)},
         "ended by itself with exit code 5 after `stop`"),
        ({"cause": "signal", "exitCode": 137, "signal": 9, "asked": asked("kill", 9)},
         "was ended by SIGKILL (9) because of `kill`"),
        ({"cause": "signal", "exitCode": 137, "signal": 9, "asked": asked("stop", 15, 9)},
         "was ended by SIGKILL (9) because of `stop`, whose first signal did not end it"),
        ({"cause": "signal", "exitCode": 137, "signal": 9, "asked": asked("rm", 9)},
         "was ended by SIGKILL (9) because of `rm`"),
        ({"cause": "signal", "exitCode": 137, "signal": 9, "asked": asked("kill", 10)},
         "was ended by SIGKILL (9), which did not come from this engine"),
        ({"cause": "forwarded-signal", "exitCode": 143, "signal": 15},
         "was ended by SIGTERM (15), which its monitor got and passed on"),
        ({"cause": "signal", "exitCode": 139, "signal": 11},
         "was killed by SIGSEGV (11): an invalid memory access"),
        ({"cause": "signal", "exitCode": 159, "signal": 31},
         "was killed by SIGSYS (31): it made a system call, which its seccomp profile forbids"),
        ({"cause": "signal", "exitCode": 159, "signal": 31, "systemCall": "mkdir"},
         "was killed by SIGSYS (31): it made the system call mkdir, which its seccomp profile"
         " forbids"),
        ({"cause": "oom", "exitCode": 137, "signal": 9, "oomKilled": True,
          "peakMemoryBytes": 8_000_000},
         "was killed by the kernel because its memory ran out (it used up to 8.0 MB)"),
        ({"cause": "exit", "exitCode": 1, "oomKilled": True},
         "ended with exit code 1 after the kernel had killed one of its processes because its"
         " memory ran out"),
        ({"cause": "timeout", "exitCode": -1},
         "was killed because it ran longer than --timeout allows"),
        ({"cause": "health", "exitCode": 137}, "was ended because its health check failed"),
        ({"cause": "reboot", "error": "x"}, "was ended by a restart of the host"),
        ({"cause": "unknown", "error": "its monitor was killed"},
         "ended, and nobody knows how: its monitor was killed"),
        ({"cause": "start", "error": "no such file"}, "did not start: no such file"),
    ],
)  # fmt: skip
def test_each_cause_has_its_words(end: dict[str, Any], expected: str) -> None:
    assert sentence(end) == expected
