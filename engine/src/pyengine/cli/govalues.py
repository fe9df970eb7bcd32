"""Flags with a value, as Go programs take them: ``--rm=false``; click knows only ``--rm``."""

from __future__ import annotations

import click

from pyengine.cli.declare import BOOLEANS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class GoValuesCommand(click.Command):
    """A command whose flags may have a value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write flags with a value as click has them."""
        options = [one for one in self.params if isinstance(one, click.Option)]
        return super().parse_args(
            ctx, _plain(options, args, interspersed=ctx.allow_interspersed_args)
        )


def _plain(options: Iterable[click.Option], args: list[str], *, interspersed: bool) -> list[str]:
    """The arguments with ``--flag=false`` and its like as click has them."""
    by_name = {name: one for one in options for name in (*one.opts, *one.secondary_opts)}
    found: list[str] = []
    queue = args[::-1]
    while queue:
        word = queue.pop()
        name, equals, text = word.partition("=")
        one = by_name.get(name)
        if word == "--" or (not interspersed and (word == "-" or not word.startswith("-"))):
            return [*found, word, *queue[::-1]]
        if one is not None and one.is_flag and equals and text in BOOLEANS:
            if BOOLEANS[text]:
                found.append(name)
            elif one.secondary_opts:
                found.append(one.secondary_opts[0] if name in one.opts else one.opts[0])
            else:  # its default
                found = [other for other in found if by_name.get(other) is not one]
            continue
        found.append(word)
        if _wants_value(word, one, by_name) and queue:
            found.append(queue.pop())
    return found


def _wants_value(word: str, one: click.Option | None, by_name: dict[str, click.Option]) -> bool:
    """Whether the next word is the value of this one's option."""
    if one is not None:
        return not one.is_flag and "=" not in word
    if word.startswith("--") or len(word) < 3 or word[0] != "-":
        return False
    for place, letter in enumerate(word[1:], 2):  # -itw
        short = by_name.get(f"-{letter}")
        if short is None or not short.is_flag:
            return short is not None and place == len(word)
    return False
