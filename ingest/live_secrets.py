"""The text in which a source's live secrets are kept, in Parameter Store or in Secrets Manager: written and read here.

`{"secrets": [{"value": ..., "created_at_ms": ...}]}`, the newest first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple


class LiveSecret(NamedTuple):
    """One live secret; its value stays out of its repr."""

    value: str
    created_at_ms: int

    def __repr__(self) -> str:
        return f"LiveSecret(created_at_ms={self.created_at_ms})"


def secret_values(text: str) -> tuple[str, ...]:
    """Return the values alone, newest first: what proves a delivery. A text that a person wrote may lack the times.

    Raises: ValueError that says what is wrong with the text and never quotes it.
    """
    return tuple(entry["value"] for entry in _entries(text))


def parse_secrets(text: str) -> list[LiveSecret]:
    """Read what `secrets_text` wrote. Raises: ValueError that says what is wrong and never quotes the text."""
    entries = _entries(text)
    if not all(isinstance(entry.get("created_at_ms"), int) for entry in entries):
        raise ValueError("a secret in it has no created_at_ms")
    return [LiveSecret(entry["value"], entry["created_at_ms"]) for entry in entries]


def secrets_text(secrets: Iterable[LiveSecret]) -> str:
    """Write the text that `parse_secrets` reads."""
    return json.dumps({"secrets": [secret._asdict() for secret in secrets]}, separators=(",", ":"))


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        entries = [dict(entry) for entry in json.loads(text)["secrets"]]
    except (ValueError, TypeError, KeyError):
        raise ValueError('it is not of the form {"secrets": [{"value": ...}]}') from None
    if not all(isinstance(entry.get("value"), str) and entry["value"] for entry in entries):
        raise ValueError("a secret in it is not text, or is empty")
    return entries
