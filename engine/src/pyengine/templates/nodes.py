"""What a template consists of once it is parsed; ``str()`` gives it back as Go writes it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Node:
    """Anything with a place in the template."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


class Text(Node):
    """Text outside of actions."""

    __slots__ = ("text",)

    def __init__(self, position: int, text: str) -> None:
        super().__init__(position)
        self.text = text


class Constant(Node):
    """A number, string, boolean or nil, with how it was written."""

    __slots__ = ("source", "value")

    def __init__(self, position: int, value: Any, source: str) -> None:
        super().__init__(position)
        self.value, self.source = value, source

    def __str__(self) -> str:
        return self.source


class Path(Node):
    """``.A.B``, ``$x.A``, ``(pipeline).A``: fields of the cursor, a variable or a pipeline.

    ``base`` is None for the cursor, a variable's name with its dollar sign, or a ``Pipeline``.
    """

    __slots__ = ("base", "fields")

    def __init__(self, position: int, base: str | Pipeline | None, fields: list[str]) -> None:
        super().__init__(position)
        self.base, self.fields = base, fields

    def __str__(self) -> str:
        below = "".join(f".{name}" for name in self.fields)
        if self.base is None:
            return below or "."
        return f"({self.base}){below}" if isinstance(self.base, Pipeline) else self.base + below


class Function(Node):
    """A function's name."""

    __slots__ = ("name",)

    def __init__(self, position: int, name: str) -> None:
        super().__init__(position)
        self.name = name

    def __str__(self) -> str:
        return self.name


Operand = Constant | Path | Function


class Command(Node):
    """Operands separated by spaces: a value, or a function and its arguments."""

    __slots__ = ("operands",)

    def __init__(self, position: int, operands: list[Operand]) -> None:
        super().__init__(position)
        self.operands = operands

    def __str__(self) -> str:
        return " ".join(map(str, self.operands))


class Pipeline(Node):
    """Commands separated by bars, and the variables that take the result."""

    __slots__ = ("assigns", "commands", "variables")

    def __init__(
        self, position: int, variables: list[str], assigns: bool, commands: list[Command]
    ) -> None:
        super().__init__(position)
        self.variables, self.assigns, self.commands = variables, assigns, commands

    def __str__(self) -> str:
        left = f"{', '.join(self.variables)} {'=' if self.assigns else ':='} "
        return (left if self.variables else "") + " | ".join(map(str, self.commands))


class Action(Node):
    """A pipeline whose value is printed unless it declares or assigns."""

    __slots__ = ("pipeline",)

    def __init__(self, position: int, pipeline: Pipeline) -> None:
        super().__init__(position)
        self.pipeline = pipeline


class Branch(Node):
    """if, with or range, by ``keyword``."""

    __slots__ = ("body", "keyword", "otherwise", "pipeline")

    def __init__(
        self,
        position: int,
        keyword: str,
        pipeline: Pipeline,
        body: list[Node],
        otherwise: list[Node],
    ) -> None:
        super().__init__(position)
        self.keyword, self.pipeline = keyword, pipeline
        self.body, self.otherwise = body, otherwise


class Jump(Node):
    """break or continue."""

    __slots__ = ("keyword",)

    def __init__(self, position: int, keyword: str) -> None:
        super().__init__(position)
        self.keyword = keyword
