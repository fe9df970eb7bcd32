"""Commands declared in click's words, and given to click only where click is needed.

Importing click takes longer than most commands work (docs/adr/0008). So a frequent command's
declaration is plain data. ``quick`` reads an ordinary command line with it; whatever is not
ordinary (help, completion, a mistake) goes to the click command that ``Command.to_click`` makes
of the same words.
"""

from __future__ import annotations

from pyengine.errors import PyengineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

# strconv.ParseBool, for --flag=VALUE.
BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class UsageError(PyengineError):
    """The command line makes no sense; the face adds where to read how it would."""


class IntRange:
    """A whole number that is at least ``minimum``."""

    __slots__ = ("minimum",)

    def __init__(self, minimum: int) -> None:
        self.minimum = minimum

    def __call__(self, text: str) -> int:
        """The number, or ValueError."""
        number = int(text)
        if number < self.minimum:
            raise ValueError(text)
        return number

    def to_click(self) -> Any:
        """Click's type."""
        import click

        return click.IntRange(self.minimum)


class Choice:
    """One of a few words."""

    __slots__ = ("case_sensitive", "words")

    def __init__(self, words: Iterable[str], *, case_sensitive: bool = True) -> None:
        self.words, self.case_sensitive = list(words), case_sensitive

    def __call__(self, text: str) -> str:
        """The word, or ValueError."""
        if text not in self.words:
            raise ValueError(text)
        return text

    def to_click(self) -> Any:
        """Click's type."""
        import click

        return click.Choice(self.words, case_sensitive=self.case_sensitive)


class Parameter:
    """An option or an argument; ``settings`` are click's."""

    __slots__ = ("declarations", "dest", "is_option", "off_names", "on_names", "settings")

    on_names: tuple[str, ...]
    off_names: tuple[str, ...]

    def __init__(self, is_option: bool, declarations: tuple[str, ...], settings: Any) -> None:
        self.is_option, self.declarations, self.settings = is_option, declarations, settings
        first = declarations[0]
        if len(declarations) == 1 and is_option and "/" not in first:  # nearly all; quicker
            self.on_names, self.off_names = declarations, ()
            self.dest = first.lstrip("-").replace("-", "_").lower()
            return
        named = [text for text in declarations if not text.startswith("-")]
        pairs = [text.partition("/") for text in declarations if text.startswith("-")]
        self.on_names = tuple([on for on, _, _ in pairs])
        self.off_names = tuple([off for _, _, off in pairs if off])
        long_first = sorted(self.on_names, key=lambda name: not name.startswith("--"))
        self.dest = (named or long_first)[0].lstrip("-").replace("-", "_").lower()

    def without(self, *names: str) -> Parameter:
        """The same option without some of its names."""
        left = tuple(text for text in self.declarations if text not in names)
        return Parameter(self.is_option, left, self.settings)

    @property
    def order(self) -> tuple[bool, str]:
        """Sorts options by their long names, as podman does, and arguments last."""
        longest = max(self.on_names, key=len, default="")
        return (not self.is_option, longest.lstrip("-"))

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return bool(self.off_names) or bool(self.settings.get("is_flag"))

    @property
    def is_multiple(self) -> bool:
        """Whether its value is a tuple."""
        return bool(self.settings.get("multiple")) or self.settings.get("nargs") == -1

    @property
    def default(self) -> Any:
        """The value where none is given."""
        if self.is_multiple:
            return ()
        return self.settings.get("default", False if self.is_flag else None)

    def convert(self, text: str) -> Any:
        """The value that ``text`` stands for, or ValueError."""
        kind = self.settings.get("type")
        return text if kind is None else kind(text)

    def to_click(self) -> Decorator:
        """Click's decorator."""
        import click

        make: Any = click.option if self.is_option else click.argument
        settings = dict(self.settings)
        if isinstance(settings.get("type"), (Choice, IntRange)):
            settings["type"] = settings["type"].to_click()
        if not self.is_option and self.is_multiple:
            settings["type"] = click.UNPROCESSED
        decorator: Decorator = make(*self.declarations, **settings)
        return decorator


def option(*declarations: str, **settings: Any) -> Parameter:
    """As ``click.option``."""
    return Parameter(True, declarations, settings)


def argument(name: str, **settings: Any) -> Parameter:
    """As ``click.argument``."""
    return Parameter(False, (name,), settings)


class Command:
    """A function, called with the engine and the parameters' values; it answers a status or None.

    Without ``interspersed`` what follows the first argument is no option of ours.
    """

    __slots__ = ("function", "interspersed", "parameters", "settings")

    def __init__(
        self,
        function: Callable[..., Any],
        parameters: tuple[Parameter, ...],
        *,
        interspersed: bool,
        settings: Any,
    ) -> None:
        """``settings`` are those of ``click.command``."""
        self.function, self.parameters = function, parameters
        self.interspersed, self.settings = interspersed, settings

    def to_click(self) -> Any:
        """The same as a click command."""
        import functools

        import click

        from pyengine.cli.govalues import GoValuesCommand

        @functools.wraps(self.function)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return self.function(*args, **kwargs)
            except UsageError as error:
                raise click.UsageError(str(error)) from error

        parameters = sorted(self.parameters, key=lambda one: one.order)
        function = decorate(parameters, click.pass_obj(call))
        settings = dict(self.settings)
        if not self.interspersed:  # such a command may have an -h of its own
            settings["context_settings"] = {
                "allow_interspersed_args": False, "help_option_names": ["--help"]
            }  # fmt: skip
        return click.command(cls=GoValuesCommand, **settings)(function)


def command(
    *parameters: Parameter, interspersed: bool = True, **settings: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command; ``--help`` sorts the options."""

    def declare(function: Callable[..., Any]) -> Command:
        return Command(function, parameters, interspersed=interspersed, settings=settings)

    return declare


def decorate(parameters: Iterable[Parameter], function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the parameters to a function that becomes a click command."""
    for parameter in reversed(list(parameters)):
        function = parameter.to_click()(function)
    return function
