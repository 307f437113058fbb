"""What the events table says of many keys at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from weir.consumers.events_table.port import READ_KEYS_MAX
from weir.consumers.outcome import DONE, Outcome
from weir.ingest.errors import StoreThrottled

_NAMES = ("pk", "request_id", "outcome", "reason", "applied_at", "refused", "type", "event_id", "received_at")
_PROJECTION = {f"#{index}": name for index, name in enumerate(_NAMES)}
_TRIES = 10
_CALLS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Mark:
    """One item without its bytes. ``applied_at_ms`` is when it was written, whatever the outcome."""

    key: str
    request_id: str
    outcome: str
    reason: str
    applied_at_ms: int
    refused: frozenset[str]
    type: str = ""
    event_id: str = ""
    received_at_ms: int = 0

    @property
    def is_done(self) -> bool:
        """Tell whether the event has taken its effect, or is stored because nobody wants one."""
        return self.outcome in DONE

    @property
    def is_fence(self) -> bool:
        return self.outcome == Outcome.FENCED


class Marks:
    """Reads marks with a boto3 client, consistently, a hundred keys a call."""

    def __init__(self, dynamodb: Any, table: str, sleep: Callable[[float], object] = time.sleep) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._sleep = sleep
        self._pool = ThreadPoolExecutor(_CALLS_AT_ONCE, "marks")  # its threads begin with the first large read

    def read(self, keys: Iterable[str]) -> dict[str, Mark]:
        """Return the marks that exist among the keys.

        Raises: StoreThrottled when the table refuses to be read for long.
        """
        wanted = list(dict.fromkeys(keys))
        chunks = [wanted[start : start + READ_KEYS_MAX] for start in range(0, len(wanted), READ_KEYS_MAX)]
        read = self._pool.map if len(chunks) > 1 else map
        found = read(self._batch, chunks)
        marks = (read_mark(item) for items in found for item in items)
        return {mark.key: mark for mark in marks}

    def _batch(self, keys: list[str]) -> list[Mapping[str, Any]]:
        asked: Mapping[str, Any] = {
            self._table: {
                "Keys": [{"pk": {"S": key}} for key in keys],
                "ProjectionExpression": ",".join(_PROJECTION),
                "ExpressionAttributeNames": _PROJECTION,
                "ConsistentRead": True,
            }
        }
        found: list[Mapping[str, Any]] = []
        vain = 0
        while vain < _TRIES:
            answer = self._dynamodb.batch_get_item(RequestItems=asked)
            items = answer["Responses"].get(self._table, [])
            found += items
            asked = answer.get("UnprocessedKeys") or {}
            if not asked:
                return found
            vain = 0 if items else vain + 1
            self._sleep(min(2.0, 0.05 * 2**vain))
        raise StoreThrottled("The events table leaves keys unread.", table=self._table)


def read_mark(item: Mapping[str, Any]) -> Mark:
    """Read a mark from an item, which may be a projection of it."""
    return Mark(
        key=item["pk"]["S"],
        request_id=_text(item, "request_id"),
        outcome=_text(item, "outcome"),
        reason=_text(item, "reason"),
        applied_at_ms=_number(item, "applied_at"),
        refused=frozenset(item.get("refused", {}).get("SS", ())),
        type=_text(item, "type"),
        event_id=_text(item, "event_id"),
        received_at_ms=_number(item, "received_at"),
    )


def _text(item: Mapping[str, Any], name: str) -> str:
    return str(item.get(name, {}).get("S", ""))


def _number(item: Mapping[str, Any], name: str) -> int:
    return int(item.get(name, {}).get("N", 0))
