"""Tokens of Go's text/template; no ``re``, because ``ps --format`` is a frequent command."""

from __future__ import annotations

from pyengine.errors import ConfigError

KEYWORDS = {"break", "continue", "else", "end", "if", "range", "with"}
# Go has these too; nobody writes named templates into --format.
UNSUPPORTED = {"block", "define", "template"}

_SPACE = " \t\r\n"
_DIGITS = set("0123456789")
_NUMBER = _DIGITS | set("abcdefABCDEFxXoObBpP_.")
_NAME = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_") | _DIGITS
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
            "\\": "\\", "'": "'", '"': '"'}  # fmt: skip
_HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}


class TemplateError(ConfigError):
    """The template cannot be understood, or asks for what is not there; in Go's words."""


class Token:
    """A piece of a template.

    Attributes:
        kind: text, open, close, space, name, keyword, field, variable, number, string, char, or
            the punctuation itself.
        text: as written; of a string its value.
        position: offset in the template.
    """

    __slots__ = ("kind", "position", "source", "text")

    def __init__(self, kind: str, text: str, position: int, source: str = "") -> None:
        self.kind, self.text, self.position = kind, text, position
        self.source = source or text


class Lexer:
    """Splits one template."""

    def __init__(self, name: str, template: str) -> None:
        self._name, self._template = name, template
        self._position = 0
        self._tokens: list[Token] = []

    def tokens(self) -> list[Token]:
        """All of them.

        Raises:
            TemplateError: a character has no place there, or an action has no end.
        """
        template, trim = self._template, False
        while True:
            start = template.find("{{", self._position)
            end = start if start >= 0 else len(template)
            text = template[self._position : end]
            if trim:
                text = text.lstrip(_SPACE)
            if start < 0:
                self._text(text)
                return self._tokens
            opened = start + 2
            if template[opened : opened + 1] == "-" and template[opened + 1 :][:1] in tuple(_SPACE):
                text = text.rstrip(_SPACE)
                opened += 1
            self._text(text)
            self._position = opened
            trims = self._comment()
            trim = self._action(start) if trims is None else trims

    def _text(self, text: str) -> None:
        if text:
            self._tokens.append(Token("text", text, self._position))

    def _comment(self) -> bool | None:
        """Skip a comment; whether it trims what follows, or None: this is none."""
        template = self._template
        start = self._position
        while template[start : start + 1] in tuple(_SPACE):
            start += 1
        if not template.startswith("/*", start):
            return None
        end = template.find("*/", start)
        if end < 0:
            raise self.error("unclosed comment", start)
        rest = template[end + 2 :]
        trims = rest.lstrip(_SPACE).startswith("-}}") and rest[:1] in tuple(_SPACE)
        if not trims and not rest.startswith("}}"):
            raise self.error("comment ends before closing delimiter", end)
        self._position = template.index("}}", end) + 2
        return trims

    def _action(self, start: int) -> bool:
        """The tokens of one action; whether it trims the text that follows."""
        template, depth = self._template, 0
        self._tokens.append(Token("open", "{{", start))
        while True:
            place = self._position
            if place >= len(template):
                raise self.error("unclosed action", start)
            one = template[place]
            rest = template[place:]
            if one in _SPACE:
                stripped = rest.lstrip(_SPACE)
                if stripped.startswith("-}}"):
                    self._close(place, stripped, depth)
                    self._position = len(template) - len(stripped) + 3
                    return True
                self._take("space", len(rest) - len(stripped))
            elif rest.startswith("}}"):
                self._close(place, rest, depth)
                self._position += 2
                return False
            elif rest.startswith(":="):
                self._take(":=", 2)
            elif one in "(),|=":
                depth += {"(": 1, ")": -1}.get(one, 0)
                if depth < 0:
                    raise self.error("unexpected right paren", place)
                self._take(one, 1)
            else:
                self._operand(one, rest)

    def _close(self, place: int, text: str, depth: int) -> None:
        if depth:
            raise self.error("unclosed left paren", place)
        self._tokens.append(Token("close", text[:2], place))

    def _operand(self, one: str, rest: str) -> None:
        following = rest[1:2]
        if one in "\"`'":
            self._quoted(one)
        elif one == "." and following not in _DIGITS:
            self._take("field", 1 + self._name_length(1))
        elif one == "$":
            self._take("variable", 1 + self._name_length(1))
        elif one in _DIGITS or (one in "+-." and (following in _DIGITS or following == ".")):
            self._number()
        elif one in _NAME or one.isalpha():
            length = self._name_length(0)
            text = rest[:length]
            if text in UNSUPPORTED:
                raise self.error(f"{text}: named templates are not supported", self._position)
            kind = "keyword" if text in KEYWORDS else "name"
            self._take(kind, length)
        else:
            code = f"U+{ord(one):04X} '{one}'"
            raise self.error(f"unexpected bad character {code}", self._position)

    def _take(self, kind: str, length: int) -> None:
        text = self._template[self._position : self._position + length]
        self._tokens.append(Token(kind, text, self._position))
        self._position += length

    def _name_length(self, skip: int) -> int:
        length = 0
        for one in self._template[self._position + skip :]:
            if one not in _NAME and not one.isalnum():
                break
            length += 1
        return length

    def _number(self) -> None:
        rest = self._template[self._position :]
        length = 1
        while length < len(rest) and (
            rest[length] in _NUMBER or (rest[length] in "+-" and rest[length - 1] in "eEpP")
        ):
            length += 1
        self._take("number", length)

    def _quoted(self, quote: str) -> None:
        start = self._position
        template = self._template
        end = start + 1
        while end < len(template) and template[end] != quote:
            if template[end] == "\\" and quote != "`":
                end += 1
            elif template[end] == "\n" and quote != "`":
                break
            end += 1
        if end >= len(template) or template[end] != quote:
            kind = {"`": "raw quoted string", '"': "quoted string", "'": "character constant"}
            raise self.error(f"unterminated {kind[quote]}", start)
        source = template[start : end + 1]
        value = source[1:-1]
        if quote != "`":
            value = self._unescaped(value, start)
        if quote == "'" and len(value) != 1:
            raise self.error(f"malformed character constant: {source}", start)
        self._tokens.append(Token("char" if quote == "'" else "string", value, start, source))
        self._position = end + 1

    def _unescaped(self, text: str, start: int) -> str:
        result, place = "", 0
        while place < len(text):
            one = text[place]
            place += 1
            if one != "\\":
                result += one
                continue
            kind = text[place : place + 1]
            place += 1
            length = _HEX_ESCAPES.get(kind, 0)
            if kind in _ESCAPES:
                result += _ESCAPES[kind]
                continue
            if kind in "01234567":
                digits, base, place = text[place - 1 : place + 2], 8, place + 2
            else:
                digits, base, place = text[place : place + length], 16, place + length
            try:
                result += chr(int(digits, base))
            except (ValueError, OverflowError):
                raise self.error(f"invalid syntax: \\{kind} in a string", start) from None
        return result

    def error(self, problem: str, position: int) -> TemplateError:
        """The exception for a problem at an offset."""
        line = self._template.count("\n", 0, position) + 1
        return TemplateError(f"template: {self._name}:{line}: {problem}")
