"""What no runtime can pass on such a machine: known-limits.toml, compared with what was seen."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.validation import Result

KINDS = ("machine", "program", "specification")


@dataclass(frozen=True)
class Limit:
    """One ``[[limit]]``.

    Attributes:
        programs: validation programs, which it meets in the same way.
        layouts: where it holds.
        kind: ``machine`` (it lacks something), ``program`` (a defect of the program), or
            ``specification`` (the program checks what the specification no longer says).
        fails: the texts of the assertions that fail.
        dead: it ends before it has reported everything.
        complains: its diagnostics hold an error that no assertion has.
        sometimes: not always, as the program depends on who is quicker; so it is never stale.
        reason: in a sentence.
    """

    programs: tuple[str, ...]
    layouts: tuple[str, ...]
    kind: str
    fails: tuple[str, ...]
    dead: bool
    complains: bool
    sometimes: bool
    reason: str

    def covers(self, result: Result) -> bool:
        """Whether everything that went wrong is what the limit says."""
        return (
            set(result.failed) <= set(self.fails)
            and (self.dead or not result.death)
            and (self.complains or not result.complaint)
        )

    def stale(self, result: Result) -> str:
        """What the limit names and did not happen; empty when all of it did, or need not."""
        if self.sometimes:
            return ""
        gone = [f"{text!r} passes" for text in self.fails if text not in result.failed]
        if self.dead and not result.death:
            gone.append("it runs to its end")
        if self.complains and not result.complaint:
            gone.append("it does not complain")
        return ", ".join(gone)


@dataclass(frozen=True)
class KnownLimits:
    """The data file.

    Attributes:
        limits: for one layout, by program.
        silent: programs that print nothing when they are content, with the reason of each.
    """

    limits: dict[str, Limit]
    silent: dict[str, str]


def read(path: Path, layout: str) -> KnownLimits:
    """The entries that hold for one layout.

    Raises:
        ValueError: an entry is not one.
    """
    data = tomllib.loads(path.read_text())
    limits: dict[str, Limit] = {}
    for entry in data.get("limit", []):
        limit = Limit(
            tuple(entry["programs"]),
            tuple(entry["layouts"]),
            entry["kind"],
            tuple(entry.get("fails", ())),
            entry.get("dead", False),
            entry.get("complains", False),
            entry.get("sometimes", False),
            " ".join(entry["reason"].split()),
        )
        if limit.kind not in KINDS or not (limit.fails or limit.dead or limit.complains):
            raise ValueError(f"{path}: the limit of {limit.programs} says no kind or no failure")
        if layout in limit.layouts:
            limits |= dict.fromkeys(limit.programs, limit)
    return KnownLimits(
        limits, {entry["program"]: entry["reason"] for entry in data.get("silent", [])}
    )


def report(known: KnownLimits, results: list[Result]) -> list[str]:
    """A line for each limit of the programs that ran: whether it still holds."""
    lines = []
    for result in results:
        limit = known.limits.get(result.program)
        if limit is None:
            continue
        stale = limit.stale(result)
        if not limit.covers(result):
            verdict = "FAILS IN OTHER WAYS TOO"
        elif stale:
            verdict = f"STALE ({stale})"
        elif limit.sometimes and result.whole and not result.complaint:
            verdict = "fails sometimes, and did not now"
        else:
            verdict = "still fails"
        lines.append(f"- {result.program}, {limit.kind}: {verdict}: {limit.reason}")
    return lines
