"""What ``quick`` understands, it understands as click does."""

from __future__ import annotations

import importlib
from typing import Any

import click
import pytest

from pyengine.cli import declare, quick, root, table

ORDINARY = [
    "run image",
    "run -it --rm -w/tmp -e A=1 -eB=2 --env C=3 --name=x image sh -c true --rm",
    "run -d --no-sig-proxy --cpus 1.5 --pids-limit -1 --net host image",
    "run --memory= -u -1 --stop-timeout 0 --pull never -- image --name y",
    "run --no-sig-proxy --sig-proxy --name a --name b image",
    "run --rm=1 --tty=T --sig-proxy=false image --rm=0",
    "run --rm --rm=false -itw /w --sig-proxy=false --sig-proxy=t -- image --rm=0",
    "run --name --rm=1 image",
    "ps --no-trunc=0 -a",
    "create --read-only --rootfs -v /a:/b -v /c:/d:ro --network none /dir true",
    "exec -it -u root web sh -c ls",
    "exec -l -- ls -l",
    "container exec web true",
    "ps",
    "ps -aq --no-trunc -f name=x --filter id=y",
    "ps --format json --noheading",
    "container ls -a",
    "rm -f -t 0 web db",
    "rm web -f",
    "container rm -ft3 web",
    "rm -af",
    "start -ai web",
    "start --no-sig-proxy web",
    "stop --timeout 7 -t3 web -- -x",
    "kill -s HUP web",
    "wait web db",
    "logs -f --tail -1 web",
    "logs -l",
    "stop -t -1 web",
    "restart --running -t 0",
    "pause -a",
    "unpause --filter name=x",
    "rename web db",
    "wait --condition running,paused -i 2s web",
    "container exists web",
    "inspect -t image -f {{.Id}} box",
    "container inspect -sl",
    "container prune -f --filter until=1h",
    "container cleanup 0123",
    "--root /r --runroot=/s --log-level debug --runtime-flag a --runtime-flag b ps",
]

CLICKS = [
    "", "--help", "ps --help", "run -h", "run --frob image", "run --cpus x image", "frob",
    "stop -t -2 web", "run --pull x image", "ps extra", "run --name", "container", "version",
    "--log-level DEBUG ps", "run --rm=yes image", "wait --rm=1", "images", "-v", "ps -aX",
    "--storage-driver btrfs ps", "logs --tail=x web",
]  # fmt: skip


def of_click(words: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values that click gives to the engine's options and to the command."""
    group = click.Group("pyengine")
    group.callback = declare.decorate(root.PARAMETERS, lambda **_values: None)
    group.params = list(reversed(group.callback.__click_params__))  # type: ignore[attr-defined]  # click's own
    context = group.make_context("pyengine", words)
    rest = [*context._protected_args, *context.args]
    rows = table.COMMANDS
    while not (place := rows[rest[0]][0]):
        rows = table.GROUPS[rest.pop(0)]
    module, _, attribute = place.partition(":")
    command = getattr(importlib.import_module(module), attribute).to_click()
    return context.params, command.make_context(rest[0], rest[1:]).params


@pytest.mark.parametrize("line", ORDINARY)
def test_an_ordinary_command_line_means_what_click_says(line: str) -> None:
    call = quick.Call(line.split())
    assert (call.roots, call.values) == of_click(line.split())


@pytest.mark.parametrize("line", CLICKS)
def test_everything_else_is_left_to_click(line: str) -> None:
    assert quick.main(line.split()) is None


def test_flags_take_the_values_that_go_takes() -> None:
    values = quick.Call(
        ["run", "--rm=true", "--tty=0", "--sig-proxy=false", "--read-only=T", "image"]
    ).values
    flags = [values[name] for name in ("auto_remove", "terminal", "sig_proxy", "read_only")]
    assert flags == [True, False, False, True]


def test_values_have_clicks_types() -> None:
    values = quick.Call(["run", "--cpus", "2", "--pids-limit", "3", "image"]).values
    assert (values["cpus"], values["pids_limit"]) == (2.0, 3)
    assert isinstance(values["cpus"], float)


@pytest.mark.parametrize("words", [["rm"], ["rm", "--bogus"]], ids=["quick", "click"])
def test_a_usage_error_names_the_command(words: list[str], tmp_path: Any, capsys: Any) -> None:
    from pyengine.cli import app

    words = ["--root", str(tmp_path), "--runroot", str(tmp_path), "container", *words]
    status = quick.main(words)
    if status is None:
        status = app.main(words)
    assert status == 125
    assert capsys.readouterr().err.endswith("\nSee 'pyengine container rm --help'\n")


def test_a_commands_failure_has_its_status(tmp_path: Any, capsys: Any) -> None:
    words = ["--root", str(tmp_path), "--runroot", str(tmp_path), "rm", "nothing"]
    assert quick.main(words) == 1
    assert 'no container with name or ID "nothing" found' in capsys.readouterr().err
