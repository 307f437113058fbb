"""What the events table says of many keys at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from weir.consumers.events_table.bulk import read_all
from weir.consumers.events_table.mark import MARK_ATTRIBUTES, Mark, read_mark
from weir.consumers.events_table.port import READ_KEYS_MAX
from weir.consumers.events_table.store import AS_WRITTEN, send_as_written
from weir.operate.lookup.answers import as_json

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_CALLS_AT_ONCE = 8
_NAMES = {f"#{index}": name for index, name in enumerate(MARK_ATTRIBUTES)}
_OPTIONS = {"ConsistentRead": True, "ProjectionExpression": ",".join(_NAMES), "ExpressionAttributeNames": _NAMES}


class Marks:
    """Reads marks with a boto3 client, consistently, a hundred keys a call."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, sleep: Callable[[float], object] = time.sleep) -> None:
        send_as_written(dynamodb)
        self._batch_get = as_json(dynamodb, "batch_get_item")
        self._table = table
        self._sleep = sleep
        self._pool = ThreadPoolExecutor(_CALLS_AT_ONCE, "marks")  # its threads begin with the first large read

    def read(self, keys: Iterable[str]) -> dict[str, Mark]:
        """Return the marks that exist among the keys.

        Raises: StoreThrottled when the table refuses to be read for long.
        """
        wanted: list[Mapping[str, Any]] = [{"pk": {"S": key}} for key in dict.fromkeys(keys)]
        chunks = [wanted[start : start + READ_KEYS_MAX] for start in range(0, len(wanted), READ_KEYS_MAX)]
        read = self._pool.map if len(chunks) > 1 else map
        marks = [read_mark(item) for items in read(self._chunk, chunks) for item in items]
        return {mark.key: mark for mark in marks}

    def _chunk(self, keys: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return read_all(self._ask, self._table, {self._table: {"Keys": keys, **_OPTIONS}}, self._sleep)

    def _ask(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        body = json.dumps({"RequestItems": asked}).encode("ascii")
        return self._batch_get(**{AS_WRITTEN: body}, RequestItems={})  # type: ignore[no-any-return]
