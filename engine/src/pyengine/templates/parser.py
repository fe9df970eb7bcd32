"""From tokens to nodes, with Go's rules and messages."""

from __future__ import annotations

from pyengine.templates import functions
from pyengine.templates.lexer import Lexer, TemplateError, Token
from pyengine.templates.nodes import (
    Action,
    Branch,
    Command,
    Constant,
    Function,
    Jump,
    Node,
    Operand,
    Path,
    Pipeline,
    Text,
)

_WORDS = {"true": True, "false": False, "nil": None}
_CALLABLE = (Function, Path)


class Parser:
    """One template on its way."""

    def __init__(self, name: str, template: str) -> None:
        self._lexer = Lexer(name, template)
        self._tokens = self._lexer.tokens()
        self._next = 0
        self._variables = ["$"]
        self._loops = 0

    def parse(self) -> list[Node]:
        """The template's nodes.

        Raises:
            TemplateError: it breaks the grammar or calls an unknown function.
        """
        nodes, ended_by = self._list()
        if ended_by is not None:
            raise self._error(f"unexpected {{{{{ended_by.text}}}}}", ended_by)
        return nodes

    def _list(self) -> tuple[list[Node], Token | None]:
        """Nodes up to ``else`` or ``end``, which is the second value, or up to the end."""
        nodes: list[Node] = []
        while self._next < len(self._tokens):
            token = self._take()
            if token.kind == "text":
                nodes.append(Text(token.position, token.text))
                continue
            first = self._peek()
            if first.kind != "keyword":
                nodes.append(Action(first.position, self._pipeline("command", "close")))
                continue
            self._take()
            if first.text in ("else", "end"):
                return nodes, first
            if first.text in ("break", "continue"):
                self._expect("close", first.text)
                if not self._loops:
                    raise self._error(f"{{{{{first.text}}}}} outside {{{{range}}}}", first)
                nodes.append(Jump(first.position, first.text))
                continue
            nodes.append(self._branch(first))
        return nodes, None

    def _branch(self, keyword: Token) -> Branch:
        known = len(self._variables)
        pipeline = self._pipeline(keyword.text, "close")
        self._loops += keyword.text == "range"
        body, ended_by = self._list()
        self._loops -= keyword.text == "range"
        otherwise: list[Node] = []
        if ended_by is not None and ended_by.text == "else":
            following = self._peek()
            if following.kind == "keyword" and following.text in ("if", "with"):
                if following.text != keyword.text:
                    raise self._error(f"unexpected <{following.text}> in input", following)
                self._take()
                otherwise = [self._branch(following)]
                del self._variables[known:]
                return Branch(keyword.position, keyword.text, pipeline, body, otherwise)
            self._expect("close", "else")
            otherwise, ended_by = self._list()
            if ended_by is not None and ended_by.text == "else":
                raise self._error("expected end; found {{else}}", ended_by)
        if ended_by is None:
            raise self._error("unexpected EOF", self._tokens[-1])
        self._expect("close", "end")
        del self._variables[known:]
        return Branch(keyword.position, keyword.text, pipeline, body, otherwise)

    def _pipeline(self, context: str, end: str) -> Pipeline:
        start = self._peek()
        variables, assigns = self._declarations(context)
        commands: list[Command] = []
        while True:
            token = self._peek()
            if token.kind == end:
                self._take()
                break
            if token.kind == "|" and commands:
                self._take()
                self._skip_space()
                if self._peek_raw().kind in (end, "|"):
                    raise self._error(f"missing value for {context}", token)
                continue
            commands.append(self._command(end))
        if not commands:
            raise self._error(f"missing value for {context}", start)
        for later in commands[1:]:
            if not isinstance(later.operands[0], _CALLABLE):
                place = commands.index(later) + 1
                what = f"non executable command in pipeline stage {place}"
                raise self._error(what, start)
        self._variables += [one for one in variables if not assigns]
        return Pipeline(start.position, variables, assigns, commands)

    def _declarations(self, context: str) -> tuple[list[str], bool]:
        """``$x :=``, ``$x =`` or, after range, ``$i, $x :=``; nothing is taken otherwise."""
        begin = self._next
        names: list[str] = []
        while self._peek().kind == "variable":
            token = self._take()
            names.append(token.text)
            following = self._peek()
            if following.kind == "," and context == "range" and len(names) == 1:
                self._take()
                continue
            if following.kind in (":=", "="):
                assigns = self._take().kind == "="
                for name in names if assigns else []:
                    self._check_variable(name, token)
                return names, assigns
            break
        self._next = begin
        return [], False

    def _command(self, end: str) -> Command:
        first = self._peek()
        operands: list[Operand] = []
        while True:
            self._skip_space()
            token = self._peek_raw()
            if token.kind in (end, "|"):
                break
            operands.append(self._operand())
            after = self._peek_raw()
            if after.kind not in ("space", "|", end):
                raise self._error(f"unexpected {_shown(after)} in operand", after)
        return Command(first.position, operands)

    def _operand(self) -> Operand:
        token = self._take_raw()
        base: str | Pipeline | None = None
        fields: list[str] = []
        if token.kind == "(":
            base = self._pipeline("parenthesized pipeline", ")")
        elif token.kind == "variable":
            self._check_variable(token.text, token)
            base = token.text
        elif token.kind == "field":
            fields = [token.text[1:]] if token.text != "." else []
        else:
            return self._constant(token)
        position = token.position
        while self._peek_raw().kind == "field":
            below = self._take_raw()
            if below.text == "." or (token.text == "." and token.kind == "field"):
                raise self._error("unexpected . after term", below)
            if position == token.position:
                position = below.position
            fields.append(below.text[1:])
        return Path(position, base, fields)

    def _constant(self, token: Token) -> Operand:
        if token.kind == "string":
            return Constant(token.position, token.text, token.source)
        if token.kind == "char":
            return Constant(token.position, ord(token.text), token.source)
        if token.kind == "number":
            return Constant(token.position, self._number(token), token.text)
        if token.kind == "name" and token.text in _WORDS:
            return Constant(token.position, _WORDS[token.text], token.text)
        if token.kind == "name":
            if token.text not in functions.NAMES:
                raise self._error(f'function "{token.text}" not defined', token)
            return Function(token.position, token.text)
        raise self._error(f"unexpected {_shown(token)} in command", token)

    def _number(self, token: Token) -> int | float:
        for read in (lambda text: int(text, 0), _old_octal, float, float.fromhex):
            try:
                return read(token.text)
            except ValueError:
                continue
        raise self._error(f"bad number syntax: {_quoted(token.text)}", token)

    def _check_variable(self, name: str, token: Token) -> None:
        if name not in self._variables:
            raise self._error(f"undefined variable {_quoted(name)}", token)

    def _take_raw(self) -> Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _peek_raw(self) -> Token:
        return self._tokens[self._next]

    def _skip_space(self) -> None:
        while self._tokens[self._next].kind == "space":
            self._next += 1

    def _take(self) -> Token:
        self._skip_space()
        return self._take_raw()

    def _peek(self) -> Token:
        self._skip_space()
        return self._peek_raw()

    def _expect(self, kind: str, context: str) -> None:
        token = self._take()
        if token.kind != kind:
            raise self._error(f"unexpected {_shown(token)} in {context}", token)

    def _error(self, problem: str, token: Token) -> TemplateError:
        return self._lexer.error(problem, token.position)


def _old_octal(text: str) -> int:
    return int(text, 8)


def _shown(token: Token) -> str:
    if token.kind == "keyword":
        return f"<{token.text}>"
    if token.kind == "close":
        return '"}}"'
    return _quoted(token.source)


def _quoted(text: str) -> str:
    return functions.quote(text)
