"""Many items by their keys: BatchGetItem, again and again until no key is left unprocessed.

For the operator's tools. The commit reads marks in one call each and does its own waiting: `DynamoStore.read_marks`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weir.consumers.events_table.port import READ_KEYS_MAX
from weir.ingest.errors import StoreThrottled

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# Pauses double after each answer that brings nothing. An answer that brings some items is followed up at once: it may
# only have been cut at 16 MB.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
TRIES_MAX = 10
PAUSE_BASE_S = 0.05
PAUSE_CAP_S = 2.0


def read_items(
    dynamodb: DynamoDBClient,
    table: str,
    keys: Sequence[Mapping[str, Any]],
    *,
    attributes: Sequence[str] = (),
    sleep: Callable[[float], object] = time.sleep,
) -> list[Mapping[str, Any]]:
    """Return the items that exist among the keys, read consistently, in no order; with boto3's client and wire form.

    Keys must differ. ``attributes`` are the ones to read, all if there are none; any name will do, reserved or not.

    Raises: StoreThrottled when `TRIES_MAX` answers in a row bring nothing.
    """
    options: dict[str, Any] = {"ConsistentRead": True}
    if attributes:
        names = {f"#{index}": name for index, name in enumerate(attributes)}
        options |= {"ProjectionExpression": ",".join(names), "ExpressionAttributeNames": names}
    found: list[Mapping[str, Any]] = []
    for start in range(0, len(keys), READ_KEYS_MAX):
        asked = {table: {"Keys": list(keys[start : start + READ_KEYS_MAX]), **options}}
        found += read_all(lambda left: dynamodb.batch_get_item(RequestItems=left), table, asked, sleep)
    return found


def read_all(
    ask: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    table: str,
    asked: Mapping[str, Any],
    sleep: Callable[[float], object],
) -> list[Mapping[str, Any]]:
    """Return the items of a table that ``ask`` gives for its part of RequestItems, called until no key is left.

    Raises: StoreThrottled when `TRIES_MAX` answers in a row bring nothing.
    """
    found: list[Mapping[str, Any]] = []
    empty_count = 0
    while asked:
        answer = ask(asked)
        items = answer["Responses"].get(table, [])
        found += items
        asked = answer.get("UnprocessedKeys") or {}
        empty_count = 0 if items else empty_count + 1
        if asked and empty_count >= TRIES_MAX:
            raise StoreThrottled("The table leaves keys unread.", table=table)
        if asked and empty_count:
            sleep(min(PAUSE_CAP_S, PAUSE_BASE_S * 2**empty_count))
    return found
