"""Options by hand: argparse would cost more than everything else together (docs/adr/0002)."""

from __future__ import annotations

import sys

from pyrun.commands.settings import wrong

FLAG, VALUE, LIST = "flag", "value", "list"


class Options:
    """What was given.

    Attributes:
        arguments: the positional ones.
    """

    __slots__ = ("_values", "arguments")

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self._values: dict[str, list[str]] = {}

    def add(self, name: str, value: str) -> None:
        """Note one more value of ``name``."""
        self._values.setdefault(name, []).append(value)

    def flag(self, name: str) -> bool:
        """Whether the switch is on."""
        return self._values.get(name, ["false"])[-1] == "true"

    def text(self, name: str, default: str = "") -> str:
        """The last value."""
        return self._values.get(name, [default])[-1]

    def number(self, name: str, default: int = 0) -> int:
        """The last value as a number.

        Raises:
            UsageError: it is none.
        """
        word = self.text(name, str(default))
        if not is_number(word):
            raise wrong(f"option --{name} needs a number, not {word!r}")
        return int(word)

    def all(self, name: str) -> list[str]:
        """Every value in order."""
        return self._values.get(name, [])


def is_number(word: str) -> bool:
    """Whether ``word`` is what int() takes, and of a size that a kernel could take."""
    return word.isascii() and word.isdigit() and len(word) < 20


def is_true(word: str, option: str) -> bool:
    """The value of a switch, in the words that Go programs take.

    Raises:
        UsageError: it is none.
    """
    if word in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if word in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise wrong(f"option {option} is true or false, not {word!r}")


class Syntax:
    """What one command takes.

    Args:
        usage: the line after "usage: pyrun".
        options: "--name" or "--name/-n" to a kind and a line of help.
        positional: fewest and most arguments; most may be None.
        ordered: options end at the first argument, because the rest is another command line.
    """

    __slots__ = ("_fewest", "_kinds", "_most", "_ordered", "_short", "_texts", "usage")

    def __init__(
        self,
        usage: str,
        options: dict[str, tuple[str, str]],
        positional: tuple[int, int | None],
        *,
        ordered: bool = False,
    ) -> None:
        self.usage = usage
        self._fewest, self._most = positional
        self._ordered = ordered
        self._kinds: dict[str, str] = {}
        self._short: dict[str, str] = {}
        self._texts: list[tuple[str, str]] = []
        for names, (kind, text) in options.items():
            long, _, short = names.partition("/")
            name = long.removeprefix("--")
            self._kinds[name] = kind
            if short:
                self._short[short.removeprefix("-")] = name
            shown = f"{short}, {long}" if short else f"    {long}"
            self._texts.append((shown + ("" if kind == FLAG else " VALUE"), text))

    def help(self) -> str:
        """The text of --help."""
        lines = [f"usage: pyrun {self.usage}", "", "Options:"]
        lines += [f"  {shown:<32}{text}" for shown, text in self._texts]
        return "\n".join(lines) + "\n"

    def parse(self, words: list[str]) -> Options:
        """Read a command line.

        Raises:
            UsageError: an option or the number of arguments is wrong.
            HelpShown: it asked for help.
        """
        options = Options()
        rest = words[::-1]
        while rest:
            word = rest.pop()
            if word == "--":
                options.arguments += rest[::-1]
                break
            if word in ("--help", "-h", "--usage", "-?") and "h" not in self._short:
                from pyrun.commands.usage import HelpShown

                sys.stdout.write(self.help())
                raise HelpShown
            if word.startswith("--"):
                self._long(word[2:], rest, options)
            elif word.startswith("-") and len(word) > 1 and not word[1].isdigit():
                self._letters(word[1:], rest, options)
            else:
                options.arguments.append(word)
                if self._ordered and len(options.arguments) >= self._fewest:
                    options.arguments += rest[::-1]
                    break
        count = len(options.arguments)
        if count < self._fewest or (self._most is not None and count > self._most):
            raise wrong(f"wrong number of arguments: usage: pyrun {self.usage}")
        return options

    def _long(self, word: str, rest: list[str], options: Options) -> None:
        name, equals, value = word.partition("=")
        if name not in self._kinds:
            raise wrong(f"there is no option --{name}: usage: pyrun {self.usage}")
        if self._kinds[name] == FLAG:
            on = is_true(value if equals else "true", f"--{name}")
            options.add(name, "true" if on else "false")
        elif equals:
            options.add(name, value)
        elif rest:
            options.add(name, rest.pop())
        else:
            raise wrong(f"option --{name} needs a value")

    def _letters(self, letters: str, rest: list[str], options: Options) -> None:
        """``-it``, ``-u0``, ``-u 0``; and ``-bundle``, which Go programs take like ``--bundle``."""
        if letters.partition("=")[0] in self._kinds:
            self._long(letters, rest, options)
            return
        while letters:
            letter, letters = letters[0], letters[1:]
            name = self._short.get(letter)
            if name is None:
                raise wrong(f"there is no option -{letter}: usage: pyrun {self.usage}")
            if self._kinds[name] == FLAG:
                value, letters = (letters[1:], "") if letters[:1] == "=" else ("true", letters)
                options.add(name, "true" if is_true(value, f"-{letter}") else "false")
                continue
            if not letters and not rest:
                raise wrong(f"option -{letter} needs a value")
            options.add(name, letters.removeprefix("=") or rest.pop())
            return
