"""Go's text/template as ``--format`` takes it: parsed once, executed on JSON-like values.

The package knows nothing of containers or images; ``cli/fields.py`` says what a template is
applied to. No PyPI package serves: those there wrap a compiled Go library (docs/adr/0019).
"""

from __future__ import annotations

from pyengine.templates import functions
from pyengine.templates.lexer import TemplateError
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
from pyengine.templates.parser import Parser
from pyengine.templates.values import NO_VALUE, Heading, Map, field, text, truth, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_TYPE_WORDS = {str: "string", int: "int", list: "[]string"}


class Template:
    """A parsed template."""

    def __init__(self, name: str, source: str) -> None:
        """Parse ``source``; ``name`` is in messages, where podman has its command's.

        Raises:
            TemplateError: the template breaks Go's grammar.
        """
        self._name, self._source = name, source
        self._nodes = Parser(name, source).parse()

    def render(self, data: Any, type_of_data: str = "") -> str:
        """The text for ``data``.

        Args:
            data: what the dot is at first.
            type_of_data: its type's name in messages.

        Raises:
            TemplateError: a field or an argument is not there or of the wrong type.
        """
        run = _Execution(self, data, type_of_data)
        run.walk(self._nodes, data)
        return "".join(run.output)

    def error(self, node: object, position: int, problem: str) -> TemplateError:
        """The exception for a problem with one node, in Go's words."""
        before = self._source[:position]
        line = before.count("\n") + 1
        column = len(before) - before.rfind("\n") - 1
        where = f"template: {self._name}:{line}:{column}: executing {functions.quote(self._name)}"
        return TemplateError(f"{where} at <{node}>: {problem}")


class _JumpError(Exception):
    """break or continue, on its way to its loop."""


class _Execution:
    """One rendering."""

    def __init__(self, template: Template, data: Any, type_of_data: str) -> None:
        self._template = template
        self._data, self._type_of_data = data, type_of_data
        self._variables: list[tuple[str, Any]] = [("$", data)]
        self.output: list[str] = []

    def walk(self, nodes: list[Node], dot: Any) -> None:
        """Execute nodes; what they declare ends with them."""
        known = len(self._variables)
        for node in nodes:
            if isinstance(node, Text):
                self.output.append(node.text)
            elif isinstance(node, Action):
                value = self._pipeline(node.pipeline, dot)
                if not node.pipeline.variables:
                    self.output.append(text(value))
            elif isinstance(node, Branch):
                self._branch(node, dot)
            elif isinstance(node, Jump):
                raise _JumpError(node.keyword)
        del self._variables[known:]

    def _branch(self, node: Branch, dot: Any) -> None:
        known = len(self._variables)
        value = self._pipeline(node.pipeline, dot)
        if node.keyword == "range":
            self._range(node, value, dot)
        elif truth(value):
            self.walk(node.body, value if node.keyword == "with" else dot)
        else:
            self.walk(node.otherwise, dot)
        del self._variables[known:]

    def _range(self, node: Branch, value: Any, dot: Any) -> None:
        names = node.pipeline.variables
        pairs = list(self._pairs(node, value))
        if not pairs:
            self.walk(node.otherwise, dot)
        for key, one in pairs:
            known = len(self._variables)
            bound = [one] if len(names) == 1 else [key, one]
            self._bind(node.pipeline, list(zip(names, bound, strict=False)))
            try:
                self.walk(node.body, one)
            except _JumpError as jump:
                if str(jump) == "break":
                    break
            finally:
                del self._variables[known:]

    def _pairs(self, node: Branch, value: Any) -> Iterable[tuple[Any, Any]]:
        if isinstance(value, list | tuple):
            return enumerate(value)
        if isinstance(value, Map):
            return sorted(value.items())
        if value is None or value is NO_VALUE:
            return []
        problem = f"range can't iterate over {text(value)}"
        raise self._template.error(node.pipeline, node.pipeline.position, problem)

    def _bind(self, pipeline: Pipeline, pairs: list[tuple[str, Any]]) -> None:
        for name, value in pairs:
            if not pipeline.assigns:
                self._variables.append((name, value))
                continue
            for place in range(len(self._variables) - 1, -1, -1):
                if self._variables[place][0] == name:
                    self._variables[place] = (name, value)
                    break

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        value: tuple[Any, ...] = ()
        for command in pipeline.commands:
            value = (self._command(command, dot, value),)
        if len(pipeline.variables) == 1:
            self._bind(pipeline, [(pipeline.variables[0], value[0])])
        return value[0]

    def _command(self, command: Command, dot: Any, final: tuple[Any, ...]) -> Any:
        first, *others = command.operands
        if isinstance(first, Function):
            return self._call(command, first, others, dot, final)
        if others or final:
            if isinstance(first, Path) and first.fields:
                problem = f"{first.fields[-1]} has arguments but cannot be invoked as function"
            else:
                problem = f"can't give argument to non-function {first}"
            raise self._template.error(first, first.position, problem)
        if isinstance(first, Constant) and first.value is None:
            raise self._template.error(first, first.position, "nil is not a command")
        return self._operand(first, dot)

    def _operand(self, node: Operand, dot: Any) -> Any:
        if isinstance(node, Constant):
            return node.value
        if isinstance(node, Function):
            return self._call(Command(node.position, [node]), node, [], dot, ())
        value = dot
        if isinstance(node.base, Pipeline):
            value = self._pipeline(node.base, dot)
        elif node.base is not None:
            value = next(one for name, one in reversed(self._variables) if name == node.base)
        for name in node.fields:
            value = self._field(node, value, name)
        return value

    def _field(self, node: Path, value: Any, name: str) -> Any:
        if value is None:
            problem = f"nil pointer evaluating interface {{}}.{name}"
            raise self._template.error(node, node.position, problem)
        if value is NO_VALUE:
            return NO_VALUE
        try:
            return field(value, name)
        except KeyError:
            there = f"; it has {', '.join(sorted(value))}"
        except TypeError:
            there = ""
        kind = type_name(value)
        if value is self._data and self._type_of_data:
            kind = self._type_of_data
        problem = f"can't evaluate field {name} in type {kind}{there}"
        raise self._template.error(node, node.position, problem)

    def _call(
        self,
        command: Command,
        function: Function,
        others: list[Operand],
        dot: Any,
        final: tuple[Any, ...],
    ) -> Any:
        count = len(others) + len(final)
        if function.name in functions.LAZY:
            if not count:
                problem = f"wrong number of args for {function.name}: want at least 1 got 0"
                raise self._template.error(function, function.position, problem)
            value = None
            for place in range(count):
                value = self._operand(others[place], dot) if place < len(others) else final[0]
                if truth(value) == (function.name == "or"):
                    break
            return value
        call, types = functions.FUNCTIONS[function.name]
        self._check_count(function, types, count)
        values = [*(self._operand(one, dot) for one in others), *final]
        self._check_types([*others, command], types, values)
        try:
            return call(*values)
        except functions.CallError as error:
            problem = f"error calling {function.name}: {error}"
            raise self._template.error(command, command.position, problem) from error

    def _check_count(self, function: Function, types: tuple[Any, ...], count: int) -> None:
        fixed = types[:-2] if types[-1] is ... else types
        least = max(len(fixed), 1) if function.name in ("eq", "index", "slice") else len(fixed)
        if types[-1] is ... and count >= least:
            return
        if count != least or types[-1] is ...:
            wanted = f"at least {least}" if types[-1] is ... else str(least)
            problem = f"wrong number of args for {function.name}: want {wanted} got {count}"
            raise self._template.error(function, function.position, problem)

    def _check_types(self, nodes: list[Any], types: tuple[Any, ...], values: list[Any]) -> None:
        for place, value in enumerate(values):
            wanted = types[place] if place < len(types) and types[place] is not ... else object
            if wanted is ... or wanted is object:
                continue
            good = isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))
            if good or (wanted is list and isinstance(value, tuple | Heading)):
                continue
            node = nodes[min(place, len(nodes) - 1)]
            if value is None or value is NO_VALUE:
                problem = f"invalid value; expected {_TYPE_WORDS[wanted]}"
            elif isinstance(node, Constant):
                problem = f"expected {_TYPE_WORDS[wanted]}; found {node}"
                problem = problem.replace("expected int;", "expected integer;")
            else:
                problem = (
                    f"wrong type for value; expected {_TYPE_WORDS[wanted]}; got {type_name(value)}"
                )
            raise self._template.error(node, node.position, problem)
