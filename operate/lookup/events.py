"""What the events table holds, read for people and for other programs: list, find, bytes, history.

Reads with the caller's clients; changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weir.consumers.events_table import blob as codec
from weir.consumers.events_table.attributes import from_wire
from weir.consumers.events_table.item import UNPROVEN_PREFIX
from weir.consumers.events_table.mark import SENT_ID, mark_key, quarantined_key
from weir.consumers.outcome import Outcome
from weir.ingest.envelope import Envelope
from weir.ingest.errors import IdUnknown, StackFailed
from weir.ingest.ids import EventId, RequestId, SourceName
from weir.operate.lookup.times import show_time

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

# The attributes that `summary` shows.
SUMMARY = (
    *("pk", "source", "event_id", "request_id", "outcome", "reason", "detail", "type", "key"),
    *("received_at", "applied_at", "event_at", "body_sha256", "scheme", "secret", "expires_at", "payload_s3"),
    *("discarded", "discarded_at", "attempts", "due_at", "waits_until"),
)
# Every name goes through a placeholder: several are DynamoDB's reserved words.
_NAMES = {f"#{name}": name for name in SUMMARY}
_KEYS_IN_A_CALL = 100


@dataclass(frozen=True, slots=True)
class Table:
    """The events table and the bucket of large payloads, with boto3 clients for both."""

    dynamodb: DynamoDBClient
    name: str
    s3: S3Client
    bucket: str

    def scan(self, *, source: str | None = None, outcome: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield a summary of each item, in the table's order, without its bytes."""
        wanted = {"source": source, "outcome": outcome}
        tests = [f"#{name} = :{name}" for name, value in wanted.items() if value]
        options: dict[str, Any] = {}
        if tests:
            options["FilterExpression"] = " AND ".join(tests)
            options["ExpressionAttributeValues"] = {f":{name}": {"S": value} for name, value in wanted.items() if value}
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.name,
            ConsistentRead=True,
            ProjectionExpression=",".join(_NAMES),
            ExpressionAttributeNames=_NAMES,
            **options,
        )
        for page in pages:
            # A fenced mark is not an event: it guards the id of one that is quarantined under its request id.
            yield from (summary(item) for item in page["Items"] if item["outcome"]["S"] != Outcome.FENCED)

    def find(self, identifier: str, sources: Iterable[str]) -> list[dict[str, Any]]:
        """Return the items with this event id, request id or key, the verified one first.

        Direct reads answer for ids of the given sources, and the index for those that their senders do not sign; only
        if they find nothing is the whole table read.

        Raises: IdUnknown when nothing has the id.
        """
        keys = [identifier, *(f"{source}{mark}{identifier}" for source in sources for mark in "#!")]
        direct = [item for item in map(self.item, dict.fromkeys(keys)) if item is not None]
        direct += [] if direct else list(self._by_sent_id(identifier, sources))
        found = list({item["pk"]["S"]: item for one in direct for item in self._deliveries(one)}.values())
        if not found:
            matching = (one for one in self.scan() if identifier in {one["event_id"], one["request_id"]})
            found = [item for item in (self.item(one["pk"]) for one in matching) if item is not None]
        if not found:
            raise IdUnknown(
                f"The events table has no event and no request with the id {identifier!r}. Is it still in the stream, "
                f"or older than the table keeps? `weir replay --from stream --dry-run --id={identifier!r}` looks there "
                "and says what would become of it; --from archive does the same."
            )
        return sorted(found, key=lambda item: "!" in item["pk"]["S"].partition("#")[0])

    def _by_sent_id(self, identifier: str, sources: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the items whose mark is a digest and whose unsigned id is this; a moment after they were written."""
        for source in sources:
            try:
                pages = self.dynamodb.get_paginator("query").paginate(
                    TableName=self.name,
                    IndexName=SENT_ID,
                    KeyConditionExpression=f"{SENT_ID} = :id",
                    ExpressionAttributeValues={":id": {"S": mark_key(SourceName(source), EventId(identifier))}},
                )
                found = [self.item(one["pk"]["S"]) for page in pages for one in page["Items"]]
            except self.dynamodb.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "ValidationException":
                    raise
                return  # the table is older than the index
            yield from (item for item in found if item is not None)

    def _deliveries(self, item: dict[str, Any]) -> list[dict[str, Any]]:
        """Return an event's item; for a fence, which keeps no bytes, the quarantined deliveries that it keeps out."""
        if item["outcome"]["S"] != Outcome.FENCED:
            return [item]
        source = item["pk"]["S"].partition("#")[0]
        refused = [self.item(quarantined_key(source, name)) for name in item["refused"]["SS"]]
        return [one for one in refused if one is not None]

    def item(self, key: str) -> dict[str, Any] | None:
        """Return the whole item with this partition key, as DynamoDB gives it; None if there is none."""
        if not key or len(key.encode("utf-8")) > 2048:
            return None
        answer = self.dynamodb.get_item(TableName=self.name, Key={"pk": {"S": key}}, ConsistentRead=True)
        return answer.get("Item")

    def outcome(self, source: SourceName, identities: Iterable[EventId], request_id: RequestId) -> str | None:
        """Say in one line what became of a delivery, by what its events are marked by; None while nothing has."""
        refused = self.item(quarantined_key(source, request_id))
        if refused is not None:
            return f"{refused['outcome']['S']}: {refused['reason']['S']}" + (
                f": {refused['detail']['S']}" if "detail" in refused else ""
            )
        marks = [self.item(mark_key(source, identity)) for identity in identities]
        if not marks or None in marks:
            return None
        writers = [(item["request_id"]["S"], item["outcome"]["S"]) for item in marks if item is not None]
        said = [outcome if writer == request_id else f"{Outcome.DUPLICATE} of {writer}" for writer, outcome in writers]
        return ", ".join(said)

    def stored(self, item: Mapping[str, Any]) -> Envelope | bytes:
        """Return the delivery an item keeps: an envelope, or the raw record where that was none.

        Raises: StackFailed when the bytes are not where the item says.
        """
        if "payload_s3" in item:
            blob = self._object(item)
        elif "envelope" in item:
            blob = bytes(item["envelope"]["B"])
        else:
            raise StackFailed("This item holds no stored delivery.", pk=item["pk"]["S"])
        if not codec.is_envelope(blob):
            return codec.unpack_raw(blob)
        return codec.unpack(
            blob,
            request_id=item["request_id"]["S"],
            arrived_at_ms=int(item["received_at"]["N"]),
            source=item["source"]["S"],
            key=item["key"]["S"] if "key" in item else "",
        )

    def _object(self, item: Mapping[str, Any]) -> bytes:
        key = item["payload_s3"]["S"]
        try:
            return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except self.s3.exceptions.NoSuchKey as error:
            request_id = item["request_id"]["S"] if "request_id" in item else "-"
            kept = "what no secret has proven is kept for UnprovenDays" if key.startswith(UNPROVEN_PREFIX) else ""
            raise StackFailed(
                f"The bucket no longer has the bytes of this delivery{kept and ': '}{kept}. "
                f"`weir replay --from archive --id {request_id}` finds them if the archive still has them.",
                key=key,
            ) from error

    def body(self, item: Mapping[str, Any]) -> bytes:
        """Return the exact bytes of a delivery's body; of an unreadable record, its data."""
        stored = self.stored(item)
        return stored if isinstance(stored, bytes) else stored.body


def summary(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item's facts as plain values; what it lacks is None, times are ISO 8601 beside milliseconds."""
    facts: dict[str, Any] = {name: _plain(item.get(name)) for name in SUMMARY}
    if facts["expires_at"] is not None:
        facts["expires_at"] *= 1000  # DynamoDB wants seconds
    for name in ("received_at", "applied_at", "event_at", "discarded_at", "expires_at", "due_at", "waits_until"):
        facts[f"{name}_ms"] = facts[name]
        facts[name] = iso(facts[name])
    return facts


def iso(at_ms: int | None) -> str | None:
    """Write epoch milliseconds as ISO 8601 in UTC."""
    return None if at_ms is None else show_time(at_ms)


def sha256(body: bytes) -> str:
    """Return the hash that an item's ``body_sha256`` is compared with."""
    return hashlib.sha256(body).hexdigest()


def _plain(value: Mapping[str, Any] | None) -> Any:
    found = None if value is None else from_wire(value)
    return found.hex() if isinstance(found, bytes) else found
