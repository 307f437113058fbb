"""Out of quarantine: a refused delivery may be tried again, and once its event is done its quarantined item goes.

A refusal by DynamoDB leaves a fence on the event's id, which makes it final for that delivery. The fence is lifted
first; the quarantined item is deleted last. A crash between the two leaves the delivery in quarantine, never lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from weir.consumers.commit.fences import lift_fence, readmit, remove_fence
from weir.consumers.events_table.item import EventResult, JudgedEvent, quarantine_key
from weir.consumers.events_table.mark import UNREADABLE, Mark, delivery_name, quarantined_key, refusals
from weir.consumers.outcome import Outcome
from weir.ingest.ids import MarkKey
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.marks import Marks
from weir.operate.lookup.preview import Preview

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


class Release:
    """Lifts fences and deletes quarantined items of one events table."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, marks: Marks) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._marks = marks
        self._done: dict[str, None] = {}

    def lift(
        self, previews: Iterable[Preview], known: dict[str, Mark], *, is_too_old: Callable[[Preview], bool]
    ) -> None:
        """Let these deliveries be judged again where a fence keeps them out, or a mark calls them refused.

        With a mark, another delivery of the event was applied since, and they are duplicates of it. A delivery that
        ``is_too_old`` to tell stays behind a fence.
        """
        for preview in previews:
            if preview.envelope is None:
                continue
            request_id = preview.envelope.request_id
            for keys in preview.mark_keys():
                for index, key in enumerate(keys):
                    refused = delivery_name(request_id, index, len(keys))
                    mark = known.get(key)
                    if mark is None or not mark.has_refused(refused):
                        continue
                    if mark.is_done:
                        self._update(readmit(self._table, key, refused))
                        continue
                    if is_too_old(preview):
                        continue
                    for name in mark.refused.intersection(refusals(refused)):
                        self._lift(key, name, alone=mark.refused == {name})

    def note_done(self, delivery: Delivery, judged: JudgedEvent) -> None:
        """Remember that an event is done, whose quarantined item, if there is one, `flush` deletes."""
        key = delivery.facts.get("pk", "")
        if key.startswith(UNREADABLE):  # it can be read by now
            self._done[key] = None
        self._done[quarantined_key(judged.source, judged.request_id)] = None
        self._done[quarantine_key(judged)] = None

    def renew(self, delivery: Delivery, judged: JudgedEvent, result: EventResult) -> None:
        """Let a quarantined item say why it is refused today, which may be another reason than at first."""
        key = delivery.facts.get("pk", "")
        if key != quarantine_key(judged) or result.reason in {"", delivery.facts.get("reason")}:
            return
        with suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):  # discarded or released meanwhile
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"pk": {"S": key}},
                UpdateExpression="SET reason = :reason, detail = :detail",
                ConditionExpression="attribute_exists(quarantine)",
                ExpressionAttributeValues={
                    ":reason": {"S": result.reason},
                    ":detail": {"S": result.detail or result.reason},
                },
            )

    def flush(self) -> None:
        """Delete the quarantined items of what is done."""
        done, self._done = list(self._done), {}
        for key, mark in self._marks.read(done).items():
            if mark.outcome == Outcome.QUARANTINED:
                self.discard(key)

    def discard(self, key: str) -> None:
        """Delete one quarantined item, if it still is one."""
        try:
            self._dynamodb.delete_item(
                TableName=self._table,
                Key={"pk": {"S": key}},
                ConditionExpression="#outcome = :quarantined",
                ExpressionAttributeNames={"#outcome": "outcome"},
                ExpressionAttributeValues={":quarantined": {"S": Outcome.QUARANTINED}},
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return

    def _lift(self, key: MarkKey, refused: str, *, alone: bool) -> None:
        """Take a delivery out of a fence; a fence that keeps out no other goes with it."""
        if not (alone and self._remove(key, refused)):
            self._update(lift_fence(self._table, key, refused))

    def _update(self, parameters: dict[str, Any]) -> None:
        """Change a fence or a mark that is still what it was."""
        with suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):  # applied or removed meanwhile
            self._dynamodb.update_item(**parameters)

    def _remove(self, key: MarkKey, refused: str) -> bool:
        try:
            self._dynamodb.delete_item(**remove_fence(self._table, key, refused))
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False  # another delivery was refused or applied meanwhile
        return True
