"""Patches to MiniStack's DynamoDB, put in place inside the engine's process before it serves.

As it comes (1.5.33) BatchExecuteStatement parses every statement twice, and each time from its first character, though
the texts are few and only the parameters change: a third of the store's time under load. Here the tokens of a text are
kept, and the second parsing gets what the first one made.
"""

from __future__ import annotations

import importlib
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
