"""The quarantine's index, read: what is refused, of one source in order of time or of all sources.

A source's items lie in several parts of the index, so that no sender can make one part hot; they are merged here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from weir.consumers.events_table.mark import quarantine_parts

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

INDEX = "quarantine"
_COUNTED_PAGES = 20
_PARTS_AT_ONCE = 8

IndexEntry = Mapping[str, Any]  # what the index projects of an item, in wire form


def count_refused(dynamodb: DynamoDBClient, table: str) -> tuple[int, bool]:
    """Count what is quarantined in a few calls; return the count and whether that is all."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, IndexName=INDEX, Select="COUNT")
    counts = [page["Count"] for page in islice(pages, _COUNTED_PAGES)]
    return sum(counts), len(counts) < _COUNTED_PAGES


def refused_of_all(dynamodb: DynamoDBClient, table: str) -> Iterator[IndexEntry]:
    """Yield what is quarantined of every source, those of no known source too, in the index's order."""
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, IndexName=INDEX):
        yield from page["Items"]


def refused_of(
    dynamodb: DynamoDBClient, table: str, source: str, *, newest_first: bool = False
) -> Iterator[IndexEntry]:
    """Yield what is quarantined of one source by time of arrival; pages are read as they are needed."""

    def part(key: str) -> Iterator[IndexEntry]:
        pages = dynamodb.get_paginator("query").paginate(
            TableName=table,
            IndexName=INDEX,
            KeyConditionExpression="quarantine = :part",
            ExpressionAttributeValues={":part": {"S": key}},
            ScanIndexForward=not newest_first,
        )
        return (item for page in pages for item in page["Items"])

    def begun(key: str) -> Iterator[IndexEntry]:
        entries = part(key)
        first = next(entries, None)
        return iter(()) if first is None else chain([first], entries)

    # The first page of each part at once: one after another they would be seventeen times the way to AWS.
    with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
        parts = list(pool.map(begun, quarantine_parts(source)))
    return heapq.merge(*parts, key=_arrival, reverse=newest_first)


def _arrival(entry: IndexEntry) -> tuple[int, str]:
    return int(entry["received_at"]["N"]), entry["pk"]["S"]
