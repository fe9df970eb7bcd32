"""Runs a frequent command without click, when its command line is an ordinary one.

What the words mean is in the command's declaration; what is not plain here is left to click.
"""

from __future__ import annotations

import sys

from pyengine.cli import declare, outcome, root, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyengine.cli.declare import Command, Parameter


class UnusualError(Exception):
    """Click must see this command line."""


class Call:
    """A command, and what its function is to be called with."""

    __slots__ = ("attribute", "command", "path", "roots", "values")

    def __init__(self, arguments: list[str]) -> None:
        """Read argv without the program's name.

        Raises:
            UnusualError: see there.
        """
        self.roots, words = read(root.PARAMETERS, arguments, interspersed=False)
        self.path, rows = "pyengine", table.COMMANDS
        place = ""
        while not place:
            if not words or words[0] not in rows:
                raise UnusualError
            name = words.pop(0)
            self.path += f" {name}"
            place = rows[name][0]
            rows = table.GROUPS.get(name, {})
        module, _, self.attribute = place.partition(":")
        if module not in table.DECLARED:
            raise UnusualError
        found = __import__(module, fromlist=(self.attribute,))
        self.command: Command = getattr(found, self.attribute)
        options = [one for one in self.command.parameters if one.is_option]
        arguments_wanted = [one for one in self.command.parameters if not one.is_option]
        self.values, rest = read(options, words, interspersed=self.command.interspersed)
        self.values.update(_arguments(arguments_wanted, rest))

    def run(self) -> Any:
        """Do it."""
        engine = root.make_engine(**self.roots)
        try:
            return self.command.function(engine, **self.values)
        finally:
            engine.close()


def main(arguments: list[str]) -> int | None:
    """Run one command; the answer is the exit status, or None: click must see the arguments."""
    try:
        call = Call(arguments)
    except UnusualError:
        return None
    try:
        status = call.run()
        sys.stdout.flush()
    except outcome.EXPECTED as error:
        return outcome.tell(error, call.attribute, call.path)
    return status if isinstance(status, int) else 0


def read(
    options: Iterable[Parameter], words: list[str], *, interspersed: bool
) -> tuple[dict[str, Any], list[str]]:
    """The options' values by parameter, and the other words.

    Raises:
        UnusualError: an unknown option, or a value that is missing or wrong.
    """
    options = list(options)
    values = {one.dest: one.default for one in options}
    on = {name: one for one in options for name in one.on_names}
    off = {name: one for one in options for name in one.off_names}
    others: list[str] = []
    queue = words[::-1]
    while queue:
        word = queue.pop()
        if word == "--":
            return values, others + queue[::-1]
        if len(word) < 2 or word[0] != "-":
            others.append(word)
            if not interspersed:
                return values, others + queue[::-1]
            continue
        if word[1] != "-" and len(word) > 2 and word[2] != "=":
            _split_letters(word, on, queue)
            continue
        name, equals, text = word.partition("=")
        one = on.get(name) or off.get(name)
        if one is None:
            raise UnusualError
        if one.is_flag:
            if equals and text not in declare.BOOLEANS:
                raise UnusualError
            values[one.dest] = (name in on) is (not equals or declare.BOOLEANS[text])
            continue
        if not equals:
            if not queue:
                raise UnusualError
            text = queue.pop()
        value = _convert(one, text)
        values[one.dest] = (*values[one.dest], value) if one.is_multiple else value
    return values, others


def _split_letters(word: str, on: dict[str, Parameter], queue: list[str]) -> None:
    """Put ``-itw/dir`` back as ``-i -t -w /dir``."""
    pieces: list[str] = []
    for place, letter in enumerate(word[1:], 2):
        one = on.get(f"-{letter}")
        if one is None:
            raise UnusualError
        pieces.append(f"-{letter}")
        if not one.is_flag:
            if word[place:]:
                pieces.append(word[place:])
            break
    queue += pieces[::-1]


def _convert(one: Parameter, text: str) -> Any:
    try:
        return one.convert(text)
    except ValueError:
        raise UnusualError from None


def _arguments(wanted: list[Parameter], words: list[str]) -> dict[str, Any]:
    """The words by argument; a variadic one is the last."""
    values: dict[str, Any] = {}
    for one in wanted:
        if one.is_multiple:
            values[one.dest], words = tuple(words), []
        elif words:
            values[one.dest] = _convert(one, words.pop(0))
        elif one.settings.get("required") is False:
            values[one.dest] = one.default
        else:
            raise UnusualError
    if words:
        raise UnusualError
    return values
