"""The batches of the consumer's benchmark: signed payments as the gateway stores them and Lambda hands them over."""

from __future__ import annotations

import json
import random
import time
from base64 import b64encode
from bisect import bisect
from itertools import accumulate
from typing import Any

from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.schemes.signatures import sign
from weir.ingest.sources.catalogue import Source

SOURCE = "payments"
SECRET = "whsec_" + b64encode(b"a secret for benchmarks, no more").decode()
BATCH_RECORDS = 500
DUPLICATES = 0.05
ACCOUNTS = 1000

# Zipf's exponent: about 170 different accounts among the 475 events of a batch, the busiest of them in 80.
_ZIPF = 1.1
# Of today: what is older than marks live is judged in another way.
_ARRIVED_MS = int(time.time()) * 1000
_WORDS = [
    *("standard", "express", "priority", "gift", "wrapped", "blue", "green", "large"),
    *("small", "cotton", "leather", "monthly", "annual", "plan", "seat", "refill"),
]


class Workload:
    """Makes batches, the same ones for the same seed; every event has an id of its own but for the duplicates."""

    def __init__(self, source: Source, seed: int) -> None:
        self._source = source
        self._random = random.Random(seed)  # noqa: S311 - the same for all that are compared
        self._prefix = f"{seed:x}"
        self._weights = list(accumulate((rank + 1) ** -_ZIPF for rank in range(ACCOUNTS)))
        self._count = 0

    def batch(self, records_count: int = BATCH_RECORDS) -> dict[str, Any]:
        """Return a Kinesis event; its duplicates repeat events of the same batch."""
        fresh = [self._record() for _ in range(records_count - int(records_count * DUPLICATES))]
        again = [self._again(self._random.choice(fresh)) for _ in range(records_count - len(fresh))]
        records = fresh + again
        self._random.shuffle(records)
        return {"Records": [self._entry(envelope) for envelope in records]}

    def _record(self) -> Envelope:
        self._count += 1
        return self._envelope(f"msg_{self._prefix}{self._token(20)}{self._count}", self._body())

    def _again(self, envelope: Envelope) -> Envelope:
        """Return the same event, delivered once more: another request with the same id."""
        return self._envelope(envelope.header("webhook-id") or "", envelope.body)

    def _envelope(self, event_id: str, body: bytes) -> Envelope:
        signed = sign(self._source.scheme, SECRET, body, at_ms=_ARRIVED_MS - 200, message_id=event_id)
        headers = {
            "Accept": "*/*",
            "Accept-Encoding": "gzip, deflate",
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
            "Host": "q8f2k1xz7c.execute-api.eu-central-1.amazonaws.com",
            "User-Agent": "payments-webhooks/2.3.1",
            **signed,
            "X-Amzn-Trace-Id": f"Root=1-6ab2c1d0-{self._hex(24)}",
            "X-Forwarded-For": f"198.51.100.{self._random.randrange(256)}",
            "X-Forwarded-Port": "443",
            "X-Forwarded-Proto": "https",
        }
        return Envelope(
            request_id=RequestId(self._token(15) + "="),
            arrived_at_ms=_ARRIVED_MS + self._random.randrange(1000),
            source=SourceName(SOURCE),
            key="",
            source_ip=headers["X-Forwarded-For"],
            path=f"/v1/{SOURCE}",
            query={},
            headers=tuple(headers.items()),
            body=body,
        )

    def _body(self) -> bytes:
        """Return a payment of 1 to 2 KB: ids that do not compress and words that do."""
        size = self._random.randrange(1000, 2000)
        lines: list[dict[str, Any]] = []
        document = {
            "type": "payment.succeeded",
            "timestamp": "2026-09-21T14:13:19.800000Z",
            "data": {
                "id": f"pay_{self._token(22)}",
                "account": f"acct_{bisect(self._weights, self._random.random() * self._weights[-1]):04}",
                "amount": self._random.randrange(100, 100_000),
                "currency": self._random.choice(["EUR", "EUR", "EUR", "USD"]),
                "buyer": {"id": f"buy_{self._token(18)}", "email": f"{self._token(9).lower()}@mail.example"},
                "instrument": {"kind": "card", "mark": self._hex(32), "ends": f"{self._random.randrange(10_000):04}"},
                "lines": lines,
            },
        }
        while len(content := json.dumps(document, separators=(",", ":")).encode()) < size:
            lines.append(
                {
                    "sku": self._token(8).upper(),
                    "title": " ".join(self._random.choices(_WORDS, k=4)),
                    "pieces": self._random.randrange(1, 9),
                    "unit_price": self._random.randrange(100, 9900),
                }
            )
        return content

    def _entry(self, envelope: Envelope) -> dict[str, Any]:
        self._count += 1
        number = f"4966{self._count:052}"
        return {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": envelope.request_id,
                "sequenceNumber": number,
                "data": b64encode(encode(envelope)).decode(),
                "approximateArrivalTimestamp": envelope.arrived_at_ms / 1000,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"shardId-000000000000:{number}",
            "eventName": "aws:kinesis:record",
            "awsRegion": "eu-central-1",
            "eventSourceARN": "arn:aws:kinesis:eu-central-1:000000000000:stream/weir",
        }

    def _token(self, length: int) -> str:
        return b64encode(self._random.randbytes(length), b"AB").decode()[:length]

    def _hex(self, length: int) -> str:
        return self._random.randbytes(length // 2).hex()
