"""Powertools for AWS Lambda as its documentation shows it: batch processor, idempotency, one transaction a record.

Source: https://docs.aws.amazon.com/powertools/python/latest/utilities/batch/ and .../idempotency/
"""

from __future__ import annotations

import json
from base64 import b64decode
from time import time
from typing import Any

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

from weir.loadtest.bench.bench_floor import _add, _mark

processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
dynamodb = boto3.client("dynamodb")
persistence = DynamoDBPersistenceLayer(table_name="idempotency")
config = IdempotencyConfig(event_key_jmespath="event_id")


@idempotent_function(data_keyword_argument="delivery", config=config, persistence_store=persistence)
def book(delivery: dict[str, Any]) -> dict[str, Any]:
    """Write one event and its balance."""
    body = b64decode(delivery["envelope"]["body"])
    data = json.loads(body)["data"]
    mark: Any = _mark(delivery["envelope"], delivery["event_id"], delivery["headers"], body)
    balance: Any = _add(data["account"], {"events": 1, data["currency"]: data["amount"]})
    dynamodb.transact_write_items(TransactItems=[mark, balance])
    return {"at": int(time())}


def record_handler(record: KinesisStreamRecord) -> dict[str, Any]:
    """Handle one record."""
    envelope = json.loads(record.kinesis.data_as_bytes())
    headers = b64decode(envelope["headers"]).decode()
    event_id = headers.partition("webhook-id: ")[2].partition("\n")[0]
    return book(delivery={"event_id": event_id, "envelope": envelope, "headers": headers})


def handler(event: dict[str, Any], context: Any) -> Any:
    """Handle a batch."""
    config.register_lambda_context(context)
    return process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)
