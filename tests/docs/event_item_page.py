"""docs/reference/event-item.md: the attributes of an item of the events table."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

import json
import re
from pathlib import Path

from tests.docs import markdown

_ROOT = Path(__file__).parents[2]

# Name: (DynamoDB's type, when it is there, meaning). tests/docs/test_references.py holds it to what the code writes.
ATTRIBUTES = {
    "pk": ("S", "always", "`SOURCE#EVENT_ID` of what was verified, or `SOURCE#=DIGEST` where the sender does not sign the id, `SOURCE!REQUEST_ID` of what is quarantined or waits (`.INDEX` behind it for one event of several), `!SHARD:SEQUENCE` of a record without an envelope; a long or unclean event id goes in as its SHA-256"),
    "outcome": ("S", "always", "`applied`, `ignored`, `quarantined`, `waiting`; `fenced` for the mark of an event whose changes were refused"),
    "received_at": ("N", "always, not in a fence", "arrival at the gateway, milliseconds since the epoch; of a record without an envelope, at the stream"),
    "applied_at": ("N", "always, not in a fence", "when this item was written, milliseconds since the epoch"),
    "expires_at": ("N", "always", "when DynamoDB may delete the item (TTL), seconds since the epoch"),
    "body_sha256": ("B", "always, not in a fence", "SHA-256 of the body, or of the whole record if it is not an envelope"),
    "envelope": ("B", "unless `payload_s3`", "the packed envelope: the delivery, without redacted headers (see `consumers/events_table/blob.py`)"),
    "payload_s3": ("S", "large deliveries", "key of the object in the bucket that holds the packed envelope instead; under `unproven/` if no secret has proven the delivery and it has more than 8 KiB"),
    "source": ("S", "if known", "name of the source"),
    "event_id": ("S", "if known", "the provider's id of the event, at most 1,024 characters of it"),
    "sent_id": ("S", "if `pk` has a digest", "`SOURCE#EVENT_ID`, by which the index `sent_id` finds the item"),
    "request_id": ("S", "if known", "id of the delivery: what the sender got as `id`"),
    "type": ("S", "if known", "type of the event"),
    "key": ("S", "if known", "the ordering key"),
    "scheme": ("S", "once verified", "the scheme that proved the delivery"),
    "secret": ("N", "once verified", "which of the live secrets proved it, counted from 0, the newest first"),
    "event_at": ("N", "if the source says where it is", "the event's own time, milliseconds since the epoch"),
    "quarantine": ("S", "quarantined, until discarded", "hash key of the index `quarantine`: the source, `!` if unknown, then `#` and which of 16 parts of the index the request id falls into"),
    "waits": ("S", "waiting", "hash key of the index `waits`: one of 4 parts"),
    "due_at": ("N", "waiting", "when it is tried next, milliseconds since the epoch; range key of that index"),
    "waits_until": ("N", "waiting, and after", "when its time is over, milliseconds since the epoch"),
    "attempts": ("N", "waiting, and after", "how often it was tried"),
    "attempts_max": ("N", "waiting, and after", "how often it is tried at most"),
    "mark": ("S", "waiting, and after", "the key of the mark that it gets when it is applied"),
    "index": ("N", "waiting, and after", "its place among the events of its delivery"),
    "reason": ("S", "quarantined, waiting; in a fence", "the error's code (see [errors.md](errors.md))"),
    "detail": ("S", "quarantined, waiting", "what a person should read of the error, at most 1,000 characters"),
    "refused": ("SS", "in a fence, and in what was applied after one", "the deliveries of this event that were refused, with a `~` behind those that wait: each keeps its outcome when it is read again"),
    "discarded": ("S", "after `weir quarantine discard`", "the reason that the operator gave"),
    "discarded_at": ("N", "after `weir quarantine discard`", "when, milliseconds since the epoch"),
    "confirmed": ("S", "after `weir sources confirm`", "ARN of the subscription that AWS SNS confirmed"),
    "confirmed_at": ("N", "after `weir sources confirm`", "when, milliseconds since the epoch"),
}  # fmt: skip

_UPDATES = re.compile(r'UpdateExpression"?[=:] ?"([^"]+)"')
_SET_OR_ADD = re.compile(r"(?:SET|ADD|,)\s+(#?\w+)(?= [=:])")


def page() -> str:
    """Return the page."""
    return markdown.page(
        "Attributes of an event",
        "An item of the events table is the mark that makes an event count once, the record of its outcome and the stored delivery in one. `consumers/events_table/item.py`\n"
        "writes it, in the transaction that holds the event's changes. `weir events ID` shows it. For what readers may rely on see [compatibility](../compatibility.md).",
        markdown.table(
            ["attribute", "type", "there", "meaning"],
            [
                (markdown.code(name), kind, when, markdown.sentence(text))
                for name, (kind, when, text) in ATTRIBUTES.items()
            ],
        ),
    )


def updated() -> set[str]:
    """Return the attributes of items that an update expression in the rooms sets or adds to."""
    found = set()
    for path in [*(_ROOT / "consumers").rglob("*.py"), *(_ROOT / "operate").rglob("*.py")]:
        for expression in _UPDATES.findall(path.read_text(encoding="utf-8")):
            found |= {name.removeprefix("#") for name in _SET_OR_ADD.findall(expression)}
    return found


def types_of(fields: list[tuple[str, str]]) -> dict[str, str]:
    """Return DynamoDB's type of each written attribute."""
    return {name: next(iter(json.loads(value))) for name, value in fields}
