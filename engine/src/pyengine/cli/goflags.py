"""Boolean flags as Go programs take them: ``--flag`` alone, or ``--flag=false``."""

from __future__ import annotations

import click


class GoFlagsCommand(click.Command):
    """A command whose options of type bool may stand without a value, and then mean true.

    Click would take the next word for the value.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write ``--flag`` as ``--flag=true``."""
        flags = {
            name
            for option in self.params
            if isinstance(option, click.Option) and option.type is click.BOOL and not option.is_flag
            for name in option.opts
        }
        end = args.index("--") if "--" in args else len(args)
        options = [f"{word}=true" if word in flags else word for word in args[:end]]
        return super().parse_args(ctx, options + args[end:])
