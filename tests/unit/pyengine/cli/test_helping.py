"""``--help`` of every command, and its examples."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest

from pyengine.cli import app, examples, quick, table


def commands() -> Iterator[tuple[str, ...]]:
    """The words of every command that is shown."""
    for name, (place, _) in table.COMMANDS.items():
        if not name.startswith("_"):
            yield (name,)
        if not place:
            yield from ((name, inner) for inner in table.GROUPS[name])


def context_of(words: tuple[str, ...]) -> click.Context:
    context = click.Context(app.pyengine, info_name="pyengine")
    command: click.Command | None = app.pyengine
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(context, word)
        assert command is not None
        context = click.Context(command, info_name=word, parent=context)
    return context


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_says_what_a_command_and_each_option_is_for(words: tuple[str, ...]) -> None:
    context = context_of(words)
    text = context.command.get_help(context)
    assert f"\nUsage:\n  pyengine {' '.join(words)} " in text
    assert "\nDescription:\n  " in text
    assert "\nOptions:\n" in text or "\nAvailable Commands:\n" in text
    assert max(map(len, text.splitlines())) <= 120
    hidden = [one for one in context.command.params if getattr(one, "hidden", False)]
    for one in context.command.params:
        if isinstance(one, click.Option) and one not in hidden:
            assert one.help, (words, one.name)


def test_the_programs_help_lists_its_commands() -> None:
    text = app.pyengine.get_help(click.Context(app.pyengine, info_name="pyengine"))
    assert "\n  ps           List containers\n" in text
    assert "__complete" not in text
    assert "--runroot DIR" in text


@pytest.mark.parametrize("line", [line for lines in examples.EXAMPLES.values() for line in lines])
def test_an_example_is_a_command_line_that_is_understood(line: str) -> None:
    words = shlex.split(line)
    try:
        quick.Call(words)
    except quick.UnusualError:
        path = tuple(words[: 2 if words[0] in table.GROUPS else 1])
        context = context_of(path)
        context.command.make_context(path[-1], words[len(path) :], parent=context.parent)


def test_a_command_below_its_noun_has_the_same_examples() -> None:
    assert examples.of("pyengine container rm")[0] == "container rm web"
    assert examples.of("pyengine rm")[0] == "rm web"
    assert examples.of("pyengine container ls") == examples.of("pyengine ps")
    assert examples.of("pyengine volume rm") == ()
