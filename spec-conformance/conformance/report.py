"""Results as a side-by-side table and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conformance.cases import Requirement

PASS, FAIL, NOT_APPLICABLE = "pass", "FAIL", "n/a"


@dataclass(frozen=True)
class Outcome:
    """What one test on one runtime came to."""

    result: str
    reason: str = ""


# runtime to test name to outcome
Results = dict[str, dict[str, Outcome]]


def counts(outcomes: dict[str, Outcome]) -> dict[str, int]:
    """How many of each kind."""
    found = dict.fromkeys((PASS, FAIL, NOT_APPLICABLE), 0)
    for outcome in outcomes.values():
        found[outcome.result] += 1
    return found


def markdown(requirements: list[Requirement], results: Results, versions: dict[str, str]) -> str:
    """One row per requirement, one column per runtime, the reasons below."""
    runtimes = list(results)
    lines = ["# Runtime specification, side by side", ""]
    lines += [f"- {runtime}: {versions[runtime]}" for runtime in runtimes]
    for file in dict.fromkeys(one.file for one in requirements):
        lines += ["", f"## {file}", ""]
        lines.append(f"| section | requirement | {' | '.join(runtimes)} |")
        lines.append("| --- " * (2 + len(runtimes)) + "|")
        for one in requirements:
            if one.file == file:
                cells = [one.section, one.words.replace("|", "\\|")]
                cells += [results[runtime][one.name].result for runtime in runtimes]
                lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Totals", "", "| runtime | pass | FAIL | n/a |", "| --- | --- | --- | --- |"]
    for runtime in runtimes:
        numbers = counts(results[runtime]).values()
        lines.append(f"| {runtime} | {' | '.join(map(str, numbers))} |")
    reasons = [
        f"- {runtime}, {one.name}: {outcome.result}: {' '.join(outcome.reason.split())}"
        for one in requirements
        for runtime in runtimes
        if (outcome := results[runtime][one.name]).result != PASS
    ]
    if reasons:
        lines += ["", "## Reasons", "", *reasons]
    return "\n".join(lines) + "\n"


def as_json(
    requirements: list[Requirement], results: Results, versions: dict[str, str]
) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "runtimes": {
            runtime: {"version": versions[runtime], **counts(results[runtime])}
            for runtime in results
        },
        "requirements": [
            {
                "name": one.name,
                "file": one.file,
                "section": one.section,
                "words": one.words,
                "results": {
                    runtime: {
                        "result": results[runtime][one.name].result,
                        "reason": results[runtime][one.name].reason,
                    }
                    for runtime in results
                },
            }
            for one in requirements
        ],
    }
