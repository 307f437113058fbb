"""What the consumer lives in, on the shared engine: tables, secrets, compiled sources, and deliveries to feed it."""

from __future__ import annotations

import json
import time
import uuid
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import aws, ledger
from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.schemes import signatures
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.sources_file import load

SECRET = "whsec_" + b64encode(b"the secret of every test source ").decode()
SHARD = "shardId-000000000000"
AT_MS = round(time.time() * 1000) - 60_000  # lately: marks of what is older would have expired

SOURCES = """
payments: {preset: standard-webhooks}
quiet: {preset: standard-webhooks, redact: [Cookie, Authorization, X-Tracking], silent_after_hours: 6}
unset: {preset: standard-webhooks}
probe: {preset: standard-webhooks}
stored: {preset: standard-webhooks, effects: false}
batches:
  scheme: {signature: {at: "header:X-Signature"}, content: "{body}"}
  event: {split: "$.events", id: $.id, type: $.type}
"""


class Context:
    """An invocation with time to spare."""

    aws_request_id = "invocation-1"

    def __init__(self, left_s: float = 60) -> None:
        self.left_s = left_s

    def get_remaining_time_in_millis(self) -> int:
        return int(self.left_s * 1000)


class EngineEnv:
    """The engine's tables and parameters under names of their own, and what the handler's environment says of them."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.name = f"w{uuid.uuid4().hex[:12]}"
        self.events_table = f"{self.name}-events"
        self.balances_table = f"{self.name}-balances"
        (folder / "sources.yaml").write_text(SOURCES)
        self.catalogue: Catalogue = load(folder / "sources.yaml")
        compiled = folder / "sources.json"
        compiled.write_text(self.catalogue.dump())
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": aws.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": aws.ACCESS_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "EVENTS_TABLE": self.events_table,
            "TABLES": json.dumps({"balances": self.balances_table}),
            **ledger.SETTINGS,
            "SECRETS_PREFIX": f"/{self.name}",
            "SOURCES_FILE": str(compiled),
            "STACK": self.name,
        }
        self.dynamodb = aws.client("dynamodb", endpoint)
        self.ssm = aws.client("ssm", endpoint)
        waits: Any = {
            "IndexName": "waits",
            "KeySchema": [
                {"AttributeName": "waits", "KeyType": "HASH"},
                {"AttributeName": "due_at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
        for table, types, more in (
            (self.events_table, {"pk": "S", "waits": "S", "due_at": "N"}, {"GlobalSecondaryIndexes": [waits]}),
            (self.balances_table, {"account": "S"}, {}),
        ):
            self.dynamodb.create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()],
                KeySchema=[{"AttributeName": next(iter(types)), "KeyType": "HASH"}],
                **more,
            )
        for source in self.catalogue:
            if source != "unset":
                self.put_secret(source, SECRET)

    def put_secret(self, source: str, *values: str) -> None:
        text = json.dumps({"secrets": [{"value": value, "created_at_ms": 1} for value in values]})
        self.ssm.put_parameter(Name=f"/{self.name}/{source}", Value=text, Type="SecureString", Overwrite=True)

    def delivery(
        self,
        body: bytes,
        *,
        source: str = "payments",
        message_id: str = "",
        at_ms: int = AT_MS,
        key: str = "",
        secret: str = SECRET,
        headers: Mapping[str, str] | None = None,
    ) -> Envelope:
        """Return what the gateway stores of a correctly signed delivery."""
        message_id = message_id or f"msg_{uuid.uuid4().hex}"
        scheme = self.catalogue[source].scheme
        proof = signatures.sign(scheme, secret, body, at_ms=at_ms, message_id=message_id)
        given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {}), **proof}
        request_id = f"req-{uuid.uuid4().hex}"
        return Envelope(
            RequestId(request_id),
            at_ms,
            SourceName(source),
            key,
            "192.0.2.1",
            f"/v1/{source}",
            {},
            tuple(given.items()),
            body,
        )

    def payment(self, account: str, cents: int, **options: Any) -> Envelope:
        """Return a delivery that credits an account."""
        data = {"account": account, "amount": cents, "currency": "EUR"}
        return self.delivery(json.dumps({"type": "payment.succeeded", "data": data}).encode(), **options)

    def events(self) -> dict[str, dict[str, Any]]:
        """Return the items of the events table by key."""
        items = self.dynamodb.scan(TableName=self.events_table, ConsistentRead=True)["Items"]
        return {item["pk"]["S"]: item for item in items}

    def balances(self) -> dict[str, int]:
        """Return the balance of each account."""
        items = self.dynamodb.scan(TableName=self.balances_table, ConsistentRead=True)["Items"]
        return {item["account"]["S"]: int(item["EUR"]["N"]) for item in items}


def kinesis_event(*data: bytes | Envelope, first: int = 100) -> dict[str, Any]:
    """Return the event that an event source mapping sends for these records, numbered from ``first``."""
    entries = []
    for number, record in enumerate(data, first):
        raw = encode(record) if isinstance(record, Envelope) else record
        kinesis = {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "k",
            "sequenceNumber": str(number),
            "data": b64encode(raw).decode(),
            "approximateArrivalTimestamp": AT_MS / 1000,
        }
        entries.append({"eventID": f"{SHARD}:{number}", "eventSource": "aws:kinesis", "kinesis": kinesis})
    return {"Records": entries}
