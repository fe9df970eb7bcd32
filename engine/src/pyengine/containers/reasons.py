"""Why a container ended, in a sentence."""

from __future__ import annotations

from pyengine.containers.signals import name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIGKILL, SIGSYS = 9, 31
# What a program itself means by dying of it.
OWN_FAULTS = {4: "an illegal instruction", 6: "its own abort", 7: "a bus error",
              8: "an arithmetic error", 11: "an invalid memory access"}  # fmt: skip
REASONS = {
    125: "the engine or the runtime failed",
    126: "its command could not be executed",
    127: "its command was not found",
}


def sentence(end: dict[str, Any]) -> str:
    """What follows the container's name: ``was killed ...``."""
    cause, code = end["cause"], end.get("exitCode")
    if cause == "start":
        return f"did not start: {end['error']}"
    if cause == "reboot":
        return "was ended by a restart of the host"
    if cause == "oom" or end.get("oomKilled"):
        if cause != "exit":
            return f"was killed by the kernel because its memory ran out{_limit(end)}"
        return (
            f"ended with exit code {code} after the kernel had killed one of its processes"
            " because its memory ran out"
        )
    if cause == "timeout":
        return "was killed because it ran longer than --timeout allows"
    if cause == "health":
        return "was ended because its health check failed"
    if cause == "unknown":
        return f"ended, and nobody knows how: {end.get('error') or 'its exit code was not seen'}"
    signal_number = end.get("signal")
    request = _request(end)
    if signal_number is None:
        asked = f" after {request}" if request else ""
        meaning = f" ({REASONS[code]})" if code in REASONS else ""
        return f"ended by itself with exit code {code}{meaning}{asked}"
    shown = f"{name(signal_number)} ({signal_number})"
    if request:
        return f"was ended by {shown} because of {request}"
    if signal_number == SIGSYS:
        call = f"the system call {end['systemCall']}" if end.get("systemCall") else "a system call"
        return f"was killed by {shown}: it made {call}, which its seccomp profile forbids"
    if signal_number in OWN_FAULTS:
        return f"was killed by {shown}: {OWN_FAULTS[signal_number]}"
    if cause == "forwarded-signal":
        return f"was ended by {shown}, which its monitor got and passed on"
    return f"was ended by {shown}, which did not come from this engine"


def _limit(end: dict[str, Any]) -> str:
    peak = end.get("peakMemoryBytes")
    return f" (it used up to {peak / 1e6:.1f} MB)" if peak else ""


def _request(end: dict[str, Any]) -> str:
    """The command that sent the last signal, if that can have been the cause."""
    asked = end.get("asked") or []
    if not asked:
        return ""
    last = asked[-1]
    if end.get("signal") not in (None, last["signal"]):
        return ""
    if end.get("signal") is None and last["signal"] == SIGKILL:
        return ""
    forced = last["signal"] == SIGKILL and len(asked) > 1 and asked[0]["command"] == last["command"]
    patience = ", whose first signal did not end it" if forced else ""
    return f"`{last['command']}`{patience}"
