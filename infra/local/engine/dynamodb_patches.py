"""Patches to MiniStack's DynamoDB, put in place inside the engine's process before it serves.

As it comes (1.5.33) BatchExecuteStatement parses every statement twice, and each time from its first character, though
the texts are few and only the parameters change: a third of the store's time under load. Here the tokens of a text are
kept, and the second parsing gets what the first one made.

It takes a Put within a transaction that lacks the sort key, and puts the item where no one finds it. DynamoDB refuses
that.
Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Put.html
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_TEXTS = 1024


def install() -> None:
    """Put the patches in place, once. Raises: AttributeError when MiniStack no longer has what they replace."""
    dynamodb: Any = importlib.import_module("ministack.services.dynamodb")
    language: Any = importlib.import_module("ministack.services._dynamodb_keywords")
    if isinstance(dynamodb._parse_partiql, _ParsedOnce):
        return
    dynamodb._parse_partiql = _ParsedOnce(dynamodb._parse_partiql)
    language._tokenize = lru_cache(_TEXTS)(language._tokenize)
    mismatch: Callable[[Any, Any], Any] = dynamodb._key_type_mismatch_reason
    dynamodb._key_type_mismatch_reason = lambda table, key: mismatch(table, key) or _missing_key(table, key)


def _missing_key(table: Any, key: Any) -> str | None:
    """Return what DynamoDB says of a key that lacks an attribute; None if it lacks none."""
    names = [table[name] for name in ("pk_name", "sk_name") if table.get(name)]
    missing = next((name for name in names if name not in key), None)
    return missing and f"One or more parameter values were invalid: Missing the key {missing} in the item"


class _ParsedOnce:
    """Parses, unless the same two objects were parsed just before; no caller changes what is returned."""

    def __init__(self, parse: Any) -> None:
        self._parse = parse
        self._last: tuple[Any, Any, Any] = (None, None, None)

    def __call__(self, statement: Any, parameters: Any) -> Any:
        last_statement, last_parameters, parsed = self._last
        if statement is last_statement and parameters is last_parameters:
            self._last = (None, None, None)  # what was inserted is the table's now
            return parsed
        parsed = self._parse(statement, parameters)
        self._last = (statement, parameters, parsed)
        return parsed
