"""The command line of ``spec-conformance/validation``."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import click

from conformance import validation

KNOWN_LIMITS = Path(__file__).resolve().parents[1] / "known-limits.toml"


@click.command()
@click.option(
    "--suite",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A tree of runtime-tools in which `runtimetest` and validation/*/*.t have been built.",
)
@click.option("--runtime", "runtimes", required=True, multiple=True, help="Path; may be repeated.")
@click.option(
    "--layout",
    type=click.Choice(list(validation.LAYOUTS)),
    default="host",
    help="The cgroup hierarchies the runtimes see; host is the machine's own.",
)
@click.option("--only", multiple=True, metavar="PROGRAM", help="Run this program; repeatable.")
@click.option("--timeout", "timeout_s", default=120.0, help="Seconds for one program.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write results there.")
@click.option("--details", is_flag=True, help="Print the assertions that failed.")
def main(
    suite: Path,
    runtimes: tuple[str, ...],
    layout: str,
    only: tuple[str, ...],
    timeout_s: float,
    json_path: Path | None,
    details: bool,
) -> None:
    """Print a table of what each validation program says about each runtime.

    Exits with 1 when the first runtime fails a program without an excuse in known-limits.toml.
    """
    found = [path for path in validation.programs(suite) if not only or path.stem in only]
    if not found or not (suite / "runtimetest").exists():
        raise click.ClickException(f"{suite}: build runtimetest and validation/*/*.t there first")
    reasons = validation.excuses(KNOWN_LIMITS, layout)
    results: dict[str, list[validation.Result]] = {}
    for runtime in runtimes:
        path = shutil.which(runtime)
        if path is None:
            raise click.ClickException(f"runtime {runtime}: no such program")
        for program in found:
            click.echo(f"{runtime}: {program.stem}", err=True)
            result = validation.run_program(suite.resolve(), program, path, layout, timeout_s)
            result.excused = reasons.get(program.stem, "")
            results.setdefault(runtime, []).append(result)
            for text in result.failed if details else []:
                click.echo(f"    not ok: {text}", err=True)
    click.echo(validation.table(results))
    if json_path:
        data = {
            name: [dataclasses.asdict(one) for one in column] for name, column in results.items()
        }
        json_path.write_text(json.dumps({"layout": layout, "results": data}, indent=1) + "\n")
    bad = [one for one in results[runtimes[0]] if not one.whole and not one.excused]
    sys.exit(1 if bad else 0)
