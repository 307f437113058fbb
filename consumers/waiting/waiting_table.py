"""The events table as far as waiting concerns it: what is due, and what a try leaves of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weir.consumers.commit.fences import readmit
from weir.consumers.events_table import blob as codec
from weir.consumers.events_table.bulk import read_items
from weir.consumers.events_table.item import EventResult, JudgedEvent, next_try_ms, quarantine_key, refusal_key
from weir.consumers.events_table.mark import mark_key, quarantine_part, waiting_parts
from weir.consumers.outcome import Outcome
from weir.ingest.envelope import Envelope
from weir.ingest.ids import RequestId, SourceName

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

INDEX = "waits"
_PAGE = 200

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event that waits: its delivery as it was proven, and how far its waiting is. ``mark`` is its mark's key."""

    key: str
    mark: str
    index: int
    scheme: str
    secret_index: int
    type: str
    envelope: Envelope
    attempts: int
    attempts_max: int
    due_at_ms: int
    until_ms: int

    @classmethod
    def read(cls, item: Item, blob: bytes) -> WaitingEvent:
        """Read an event from its item and its blob."""
        envelope = codec.unpack(
            blob,
            request_id=RequestId(item["request_id"]["S"]),
            arrived_at_ms=int(item["received_at"]["N"]),
            source=SourceName(item["source"]["S"]),
            key=item["key"]["S"] if "key" in item else "",
        )
        return cls(
            key=item["pk"]["S"],
            mark=item["mark"]["S"],
            index=int(item["index"]["N"]),
            scheme=item["scheme"]["S"] if "scheme" in item else "",
            secret_index=int(item["secret"]["N"]) if "secret" in item else 0,
            type=item["type"]["S"] if "type" in item else "",
            envelope=envelope,
            attempts=int(item["attempts"]["N"]),
            attempts_max=int(item["attempts_max"]["N"]),
            due_at_ms=int(item["due_at"]["N"]),
            until_ms=int(item["waits_until"]["N"]),
        )

    def is_over(self, now_ms: int) -> bool:
        """Return whether the try that is made now is the last."""
        return now_ms >= self.until_ms or self.attempts + 1 >= self.attempts_max


@dataclass(frozen=True, slots=True)
class WaitingTable:
    """Reads what waits and writes what became of it, with boto3's clients.

    ``unreadable`` is called with the key of an item whose event cannot be read, and why.
    """

    dynamodb: DynamoDBClient
    name: str
    s3: S3Client | None = None
    bucket: str = ""
    unreadable: Callable[[str, Exception], object] = lambda _, __: None

    def due(self, now_ms: int) -> Iterator[str]:
        """Yield the keys of what is due, of each part of the index the longest due first; pages as they are needed."""
        for part in waiting_parts():
            pages = self.dynamodb.get_paginator("query").paginate(
                TableName=self.name,
                IndexName=INDEX,
                KeyConditionExpression="waits = :part AND due_at <= :now",
                ExpressionAttributeValues={":part": {"S": part}, ":now": {"N": str(now_ms)}},
                PaginationConfig={"PageSize": _PAGE},
            )
            yield from (item["pk"]["S"] for page in pages for item in page["Items"])

    def read(self, keys: Sequence[str], now_ms: int) -> list[WaitingEvent]:
        """Return those of the keys that wait and are due, oldest arrival first; the index may be behind the table.

        What cannot be read now, since its bytes are in a bucket that does not answer, say, is left out and said: it
        holds up no other.
        """
        items = read_items(self.dynamodb, self.name, [{"pk": {"S": key}} for key in keys])
        found = []
        for item in items:
            if item["outcome"]["S"] != Outcome.WAITING or int(item["due_at"]["N"]) > now_ms:
                continue
            try:
                found.append(WaitingEvent.read(item, self._blob(item)))
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this event alone
                self.unreadable(item["pk"]["S"], error)
        return sorted(found, key=lambda event: (event.envelope.arrived_at_ms, event.key))

    def release(self, judged: JudgedEvent, result: EventResult) -> None:
        """Take away the item of an event that is done. First its delivery is no longer named as refused."""
        if result.outcome is Outcome.DUPLICATE:
            key = mark_key(judged.source, judged.identity)
            self._update(readmit(self.name, key, refusal_key(judged)))
        with suppress(self.dynamodb.exceptions.ConditionalCheckFailedException):
            self.dynamodb.delete_item(
                TableName=self.name,
                Key={"pk": {"S": quarantine_key(judged)}},
                ConditionExpression="#outcome = :waiting",
                ExpressionAttributeNames={"#outcome": "outcome"},
                ExpressionAttributeValues={":waiting": {"S": Outcome.WAITING}},
            )

    def put_off(self, event: WaitingEvent, words: str, now_ms: int) -> None:
        """Let an event wait on after a try; a try that another invocation made meanwhile counts once."""
        attempts = event.attempts + 1
        due_ms = next_try_ms(attempts, now_ms, event.until_ms)
        self._change(
            event,
            "SET attempts = :attempts, due_at = :due, detail = :detail",
            {":attempts": {"N": str(attempts)}, ":due": {"N": str(due_ms)}, ":detail": {"S": words}},
        )

    def give_up(self, event: WaitingEvent, reason: str, words: str, *, expires_at_s: int) -> None:
        """Move an event to the quarantine; it keeps its bytes, its mark's key and how often it was tried."""
        values = {
            ":quarantined": {"S": Outcome.QUARANTINED},
            ":part": {"S": quarantine_part(event.envelope.source, event.envelope.request_id)},
            ":reason": {"S": reason},
            ":detail": {"S": words},
            ":attempts": {"N": str(event.attempts + 1)},
            ":expires": {"N": str(expires_at_s)},
        }
        self._change(
            event,
            "SET #outcome = :quarantined, quarantine = :part, reason = :reason, detail = :detail, "
            "attempts = :attempts, expires_at = :expires REMOVE waits, due_at",
            values,
        )

    def _change(self, event: WaitingEvent, update: str, values: dict[str, Any]) -> None:
        self._update(
            {
                "TableName": self.name,
                "Key": {"pk": {"S": event.key}},
                "UpdateExpression": update,
                "ConditionExpression": "#outcome = :waiting AND attempts = :before",
                "ExpressionAttributeNames": {"#outcome": "outcome"},
                "ExpressionAttributeValues": {
                    **values,
                    ":waiting": {"S": Outcome.WAITING},
                    ":before": {"N": str(event.attempts)},
                },
            }
        )

    def _update(self, call: Mapping[str, Any]) -> None:
        with suppress(self.dynamodb.exceptions.ConditionalCheckFailedException):
            self.dynamodb.update_item(**call)

    def _blob(self, item: Item) -> bytes:
        if "envelope" in item:
            return bytes(item["envelope"]["B"])
        if self.s3 is None:
            raise ValueError("the item points to a bucket, and there is none")
        return self.s3.get_object(Bucket=self.bucket, Key=item["payload_s3"]["S"])["Body"].read()


def batches(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield the keys in parts."""
    part: list[str] = []
    for key in keys:
        part.append(key)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
