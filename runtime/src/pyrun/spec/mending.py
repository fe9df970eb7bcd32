"""Lets rules beyond types read a config.json in which types are wrong, so that all is told at once.

Only of use where ``shapes.walk`` has found something, so an ordinary container never loads it.
"""

from __future__ import annotations

from pyrun.spec import shapes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def mend(value: Any, rule: Any) -> Any:
    """``value`` with everything in its place that ``rule`` describes, and nothing else.

    What is wrong is left out where it may be, and otherwise replaced by ``_least``; entries of
    arrays keep their numbers.
    """
    if isinstance(rule, shapes.Object):
        if type(value) is not dict:
            return _least(rule)
        kept = {
            key: mend(entry, rule.properties[key])
            for key, entry in value.items()
            if key in rule.properties and _is_kind(entry, rule.properties[key])
        }
        missing = [key for key in rule.required if key not in kept]
        return {**kept, **{key: _least(rule.properties[key]) for key in missing}}
    if isinstance(rule, shapes.Map):
        return {key: mend(entry, rule.rule) for key, entry in value.items()}
    if isinstance(rule, list):
        return [mend(entry, rule[0]) for entry in value]
    return value if _is_kind(value, rule) else _least(rule)


def _is_kind(value: Any, rule: Any) -> bool:
    """Whether ``value`` itself is right, whatever it holds."""
    if isinstance(rule, shapes.Object | shapes.Map):
        return type(value) is dict
    if isinstance(rule, list):
        return type(value) is list
    found: list[shapes.Finding] = []
    shapes.walk(value, rule, "", found)
    return not found


def _least(rule: Any) -> Any:
    """The least that is of a rule's kind; an empty word stands for one of those allowed."""
    if isinstance(rule, shapes.Object):
        return {key: _least(rule.properties[key]) for key in rule.required}
    if isinstance(rule, shapes.Map):
        return {}
    if isinstance(rule, list):
        return []
    if rule == "bool":
        return False
    if rule in shapes.INTEGERS:
        return 0
    return "/" if rule == "string" else ""
