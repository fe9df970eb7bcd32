"""The command line: which runtimes, which requirements, where the results go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from conformance import (
    config_linux_cgroups_md,
    config_linux_md,
    config_linux_namespaces_md,
    config_linux_seccomp_md,
    config_md,
    config_mounts_md,
    config_options_md,
    config_process_md,
    features_md,
    runtime_md,
)
from conformance.cases import REQUIREMENTS, Failure, NotApplicable, Requirement
from conformance.containers import Machine
from conformance.report import FAIL, NOT_APPLICABLE, PASS, Outcome, Results, as_json, markdown

# Importing them registers their tests.
MODULES = (
    runtime_md,
    config_md,
    config_mounts_md,
    config_options_md,
    config_process_md,
    config_linux_md,
    config_linux_namespaces_md,
    config_linux_cgroups_md,
    config_linux_seccomp_md,
    features_md,
)
VIEWS = {
    # crun makes directories where cgroup2 was mounted; a tmpfs of the namespace takes them.
    "v1": (
        "if umount /sys/fs/cgroup/unified 2>/dev/null;"
        " then mount -t tmpfs tmpfs /sys/fs/cgroup/unified; fi;"
        ' exec "$@"'
    ),
    "v2": 'umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"',
}
INSIDE_VIEW = "CONFORMANCE_INSIDE_VIEW"


@click.command()
@click.option("--runtime", "runtimes", multiple=True, required=True, help="A runtime; repeatable.")
@click.option("--only", "files", multiple=True, help="A file of the specification; repeatable.")
@click.option("-k", "pattern", default="", help="Only tests with this in their name.")
@click.option(
    "--view",
    type=click.Choice(["host", "v1", "v2"]),
    default="host",
    show_default=True,
    help="The cgroup layout to show, in a private mount namespace.",
)
@click.option(
    "--busybox",
    type=click.Path(path_type=Path),
    default=Path("/bin/busybox"),
    show_default=True,
    help="A static busybox.",
)
@click.option(
    "--markdown",
    "markdown_path",
    type=click.Path(path_type=Path),
    help="Write the table there instead of to standard output.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write JSON there.")
@click.option("--list", "list_only", is_flag=True, help="Print the requirements and stop.")
def main(
    runtimes: tuple[str, ...],
    files: tuple[str, ...],
    pattern: str,
    view: str,
    busybox: Path,
    markdown_path: Path | None,
    json_path: Path | None,
    list_only: bool,
) -> None:
    """Check OCI runtimes against the runtime specification, one test per requirement."""
    chosen = [
        one for one in REQUIREMENTS if (not files or one.file in files) and pattern in one.name
    ]
    if not chosen:
        raise click.ClickException("no requirement is left of --only and -k")
    if list_only:
        for one in chosen:
            click.echo(f"{one.file}\t{one.name}\t{one.words}")
        return
    paths = {name: find_runtime(name) for name in runtimes}
    check_machine(busybox)
    enter_view(view)
    results: Results = {name: run_all(path, busybox, chosen) for name, path in paths.items()}
    versions = {name: version(path) for name, path in paths.items()}
    table = markdown(chosen, results, versions)
    if markdown_path:
        markdown_path.write_text(table)
    else:
        click.echo(table, nl=False)
    if json_path:
        json_path.write_text(json.dumps(as_json(chosen, results, versions), indent=2) + "\n")
    failed = any(
        outcome.result == FAIL for outcomes in results.values() for outcome in outcomes.values()
    )
    sys.exit(1 if failed else 0)


def find_runtime(name: str) -> str:
    """The absolute path of a runtime given by name or path."""
    path = shutil.which(name)
    if not path:
        raise click.ClickException(f"there is no runtime {name}")
    return os.path.abspath(path)


def check_machine(busybox: Path) -> None:
    """What every test needs."""
    if os.geteuid() != 0:
        raise click.ClickException("namespaces, mounts and cgroups need root: run it as root")
    if not busybox.is_file():
        message = f"there is no {busybox}: install busybox-static or pass --busybox"
        raise click.ClickException(message)


def enter_view(view: str) -> None:
    """Start again in a mount namespace that shows the chosen cgroup layout."""
    if view == "host" or os.environ.get(INSIDE_VIEW):
        return
    os.environ[INSIDE_VIEW] = "1"
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", VIEWS[view], "sh"]
    os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])


def version(path: str) -> str:
    """The first line that the runtime says about its version."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def run_all(path: str, busybox: Path, chosen: list[Requirement]) -> dict[str, Outcome]:
    """Every test on one runtime."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # a container with a user namespace must get through
        copy = directory / "busybox"
        shutil.copy(busybox, copy)
        copy.chmod(0o755)
        machine = Machine(path, directory, copy)
        return {one.name: run_one(one, machine) for one in chosen}


def run_one(one: Requirement, machine: Machine) -> Outcome:
    """One test; whatever it leaves is removed."""
    try:
        one.test(machine)
    except Failure as failure:
        return Outcome(FAIL, str(failure))
    except NotApplicable as reason:
        return Outcome(NOT_APPLICABLE, str(reason))
    except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        return Outcome(FAIL, f"{type(error).__name__}: {error}")
    finally:
        machine.clean_up()
    return Outcome(PASS)
