"""Filter criteria of an event source mapping: which records a function wants to see.

On Kinesis a pattern looks at ``data`` alone, and the data must be JSON: what is not is dropped in silence, as on AWS.

Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis-filtering.html
Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html#filtering-syntax
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from weir.ingest.errors import TemplateUnsupported

Filter = Callable[[bytes], bool]
Rule = Callable[[Any], bool]

_ABSENT = object()
_COMPARISONS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def compile_filters(criteria: Mapping[str, Any]) -> Filter | None:
    """Return a test of a record's data that passes when any of the filters does; None where there is no filter.

    Raises: TemplateUnsupported for a pattern that the embedded stack does not understand.
    """
    patterns = [_parse(given["Pattern"]) for given in criteria.get("Filters", [])]
    if not patterns:
        return None
    rules = [_compile(pattern["data"], "data") for pattern in patterns]
    return lambda data: _matches(rules, data)


def _matches(rules: list[Rule], data: bytes) -> bool:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):  # no JSON, or brackets without end
        return False
    return any(rule(document) for rule in rules)


def _parse(text: str | Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        pattern = json.loads(text) if isinstance(text, str) else text
    except ValueError as error:
        raise TemplateUnsupported(f"FilterCriteria: a pattern is not JSON: {error}") from error
    if not isinstance(pattern, dict) or list(pattern) != ["data"]:
        raise TemplateUnsupported("FilterCriteria: only patterns on `data` are understood.", pattern=text)
    return pattern


def _compile(pattern: Any, where: str) -> Rule:
    if isinstance(pattern, dict):
        rules = {name: _compile(inner, f"{where}.{name}") for name, inner in pattern.items()}
        return lambda value: all(rule(_member(value, name)) for name, rule in rules.items())
    if isinstance(pattern, list):
        choices = [_choice(choice, where) for choice in pattern]
        return lambda value: any(choice(value) for choice in choices)
    raise TemplateUnsupported(f"FilterCriteria: {where} must be an object or a list.")


def _member(value: Any, name: str) -> Any:
    return value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT


def _choice(choice: Any, where: str) -> Rule:
    if not isinstance(choice, dict):
        return lambda value: _same(value, choice)
    (operation, operand), *rest = choice.items()
    if operation == "prefix" and not rest:
        return lambda value: isinstance(value, str) and value.startswith(operand)
    if operation == "exists" and not rest:
        return lambda value: (value is not _ABSENT) == operand
    if operation == "anything-but" and not rest and isinstance(operand, list):
        return lambda value: value is not _ABSENT and not any(_same(value, other) for other in operand)
    if operation == "numeric" and not rest:
        return _numeric(operand, where)
    raise TemplateUnsupported(f"FilterCriteria: {where}: this comparison is not supported.", comparison=choice)


def _numeric(operand: list[Any], where: str) -> Rule:
    pairs = list(zip(operand[::2], operand[1::2], strict=False))
    if len(operand) % 2 or any(name not in _COMPARISONS for name, _ in pairs):
        raise TemplateUnsupported(f"FilterCriteria: {where}: a numeric comparison must be pairs like '>', 5.")
    tests = [(_COMPARISONS[name], bound) for name, bound in pairs]
    return lambda value: _is_number(value) and all(test(value, bound) for test, bound in tests)


def _same(value: Any, other: Any) -> bool:
    # Python's True == 1, JSON's does not.
    return value is not _ABSENT and isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
