"""The command line of ``spec-conformance/validation``."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import click

from conformance import known_limits, validation

KNOWN_LIMITS = Path(__file__).resolve().parents[1] / "known-limits.toml"


@click.command()
@click.option(
    "--suite",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A tree of runtime-tools in which `runtimetest` and validation/*/*.t have been built.",
)
@click.option(
    "--runtime",
    "runtimes",
    required=True,
    multiple=True,
    metavar="PATH[@VERSION]",
    help="A runtime; repeatable. With a version, config.json says that one to it: for runtimes"
    " older than the programs, such as crun@1.0.2.",
)
@click.option(
    "--layout",
    type=click.Choice(list(validation.LAYOUTS)),
    default="host",
    help="The cgroup hierarchies the runtimes see; host is the machine's own, and v1-net adds"
    " net_cls and net_prio to those of v1 (all processes of the machine see them meanwhile).",
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

    Exits with 1 when the first runtime fails a program in a way that known-limits.toml does not
    excuse. Below the table is a line for each known limit: whether it still holds.
    """
    found = [path for path in validation.programs(suite) if not only or path.stem in only]
    if not found or not (suite / "runtimetest").exists():
        raise click.ClickException(f"{suite}: build runtimetest and validation/*/*.t there first")
    known = known_limits.read(KNOWN_LIMITS, layout)
    results: dict[str, list[validation.Result]] = {}
    with tempfile.TemporaryDirectory(prefix="validation-") as directory:
        paths = {name: runtime_path(name, Path(directory)) for name in runtimes}
        for name, path in paths.items():
            for program in found:
                click.echo(f"{name}: {program.stem}", err=True)
                silent = program.stem in known.silent
                result = validation.run_program(
                    suite.resolve(), program, path, layout, timeout_s, silent=silent
                )
                limit = known.limits.get(program.stem)
                if limit and limit.covers(result) and (not result.whole or result.complaint):
                    result.excused = limit.reason
                results.setdefault(name, []).append(result)
                for text in result.failed if details else []:
                    click.echo(f"    not ok: {text}", err=True)
                if details and result.complaint:
                    click.echo(f"    complains: {result.complaint}", err=True)
    validation.leave(layout)
    click.echo(validation.table(results))
    first = results[runtimes[0]]
    if lines := known_limits.report(known, first):
        click.echo("\n".join(["", f"Known limits, as {runtimes[0]} meets them:", "", *lines]))
    if json_path:
        data = {
            name: [dataclasses.asdict(one) for one in column] for name, column in results.items()
        }
        json_path.write_text(json.dumps({"layout": layout, "results": data}, indent=1) + "\n")
    sys.exit(any((not one.whole or one.complaint) and not one.excused for one in first))


def runtime_path(name: str, directory: Path) -> str:
    """The absolute path of a runtime; of a stand-in that changes the version, when one is named."""
    program, _, version = name.partition("@")
    path = shutil.which(program)
    if path is None:
        raise click.ClickException(f"runtime {program}: no such program")
    path = os.path.abspath(path)
    return validation.older(path, version, directory) if version else path
