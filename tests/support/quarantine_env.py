"""Tables with the quarantine's index, and the consumer in this process that verifies what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from tests.support import aws
from tests.support.engine_env import Context, EngineEnv, kinesis_event
from weir.cli.stacks import consumer_target
from weir.consumers.batch.batch import Consumer, now_ms
from weir.infra.outputs import Outputs
from weir.ingest.envelope import Envelope
from weir.ingest.sources import mark_lives
from weir.operate.lookup.events import Table
from weir.operate.quarantine import Selection, verify
from weir.operate.replay.progress import Report
from weir.operate.replay.targets import in_process

if TYPE_CHECKING:
    from weir.infra.place import Place

# Two threads of CPython 3.11 cannot parse at the same time ("AST constructor recursion depth mismatch").
_PARSING = Lock()

_ATTRIBUTES = [
    {"AttributeName": "pk", "AttributeType": "S"},
    {"AttributeName": "quarantine", "AttributeType": "S"},
    {"AttributeName": "received_at", "AttributeType": "N"},
]
_INDEX = {
    "IndexName": "quarantine",
    "KeySchema": [
        {"AttributeName": "quarantine", "KeyType": "HASH"},
        {"AttributeName": "received_at", "KeyType": "RANGE"},
    ],
    "Projection": {
        "ProjectionType": "INCLUDE",
        "NonKeyAttributes": ["reason", "detail", "type", "event_id", "request_id"],
    },
}


class QuarantineEnv(EngineEnv):
    """Tables with a quarantine; they are a place, too, as commands see one."""

    kind = "embedded"

    def __init__(self, endpoint: str, folder: Path) -> None:
        super().__init__(endpoint, folder)
        self.endpoint = endpoint
        self.bucket = f"{self.name}-payloads"
        self.environment["PAYLOAD_BUCKET"] = self.bucket
        self.dynamodb.delete_table(TableName=self.events_table)
        self.dynamodb.create_table(
            TableName=self.events_table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=_ATTRIBUTES,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            GlobalSecondaryIndexes=[_INDEX],
        )
        self.client("s3").create_bucket(Bucket=self.bucket)
        mark_lives.save(self.client("s3"), self.bucket, mark_lives.begun(self.catalogue, now_ms()))

    @property
    def table(self) -> Table:
        return Table(self.dynamodb, self.events_table, self.client("s3"), self.bucket)

    def outputs(self) -> Outputs:
        return Outputs(
            events_table=self.events_table,
            tables=json.dumps({"balances": self.balances_table}),
            bucket=self.bucket,
            secrets_prefix=f"/{self.name}",
        )

    def client(self, service: str) -> Any:
        return self.client_with(service, None)

    def client_with(self, service: str, config: Any) -> Any:
        return aws.client(service, self.endpoint, config)

    def consume(self, *deliveries: Envelope | bytes, first: int = 100) -> None:
        """Feed deliveries to a consumer that starts now."""
        configured = in_process.settings_of(self.outputs())
        judge = in_process.make_judge(self.catalogue, self.client, configured)
        with Path("/dev/null").open("w") as stream:
            dynamodb = self.client_with("dynamodb", pipeline_config(configured))
            store = in_process.make_pipeline(judge, dynamodb, configured, s3=self.client("s3")).store
            consumer = Consumer(configured, judge, store, stream=stream)
            answer = consumer.consume(kinesis_event(*deliveries, first=first), invocation="i", left_s=lambda: 60.0)
        assert answer == {"batchItemFailures": []}

    def verify(self, source: str = "", **selected: Any) -> Report:
        """Verify the quarantine with a process that starts now."""
        with _PARSING:
            target = consumer_target(cast("Place", self), self.catalogue, past_marks=False)
        return verify(self.table, Selection(source, **selected), target, watch=lambda _: None, say=print)

    def quarantined(self) -> dict[str, str]:
        """Return the reason of what is in quarantine, by key."""
        return {key: item["reason"]["S"] for key, item in self.events().items() if "quarantine" in item}


def pipeline_config(configured: Any) -> Any:
    from weir.consumers.events_table.store import client_config

    return client_config(configured.commit_concurrency)


__all__ = ["Context", "QuarantineEnv", "now_ms"]
