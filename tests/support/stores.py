"""The same store on three engines: in this process, on the embedded stack's engine, on LocalStack."""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tests.support import aws
from tests.support.memory_store import EVENTS, KEYS, MemoryStore
from weir.consumers.events_table.actions import to_json
from weir.consumers.events_table.lean_session import session
from weir.consumers.events_table.port import Store, StoreLayout
from weir.consumers.events_table.store import DynamoStore, client_config
from weir.testing.memory_store import key_text

Item = Mapping[str, Mapping[str, Any]]


class Bench(Protocol):
    """A store, the real names of its tables, and a look into them."""

    @property
    def store(self) -> Store:
        """Return the store."""

    def table(self, name: str) -> str:
        """Return the real name of a table."""

    def items(self, name: str) -> dict[str, Item]:
        """Return the items of a table by key, in wire form."""

    def payload(self, key: str) -> bytes:
        """Return an object of the bucket."""


class MemoryBench:
    """The store in this process."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def table(self, name: str) -> str:
        return name

    def items(self, name: str) -> dict[str, Item]:
        return dict(self.store.tables[name])

    def payload(self, key: str) -> bytes:
        return self.store.payloads[key]


@dataclass
class RealBench:
    """A store on an engine with an endpoint; ``prefix`` keeps its tables apart from everybody else's."""

    store: Store
    endpoint: str
    prefix: str

    def table(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def items(self, name: str) -> dict[str, Item]:
        pages = aws.client("dynamodb", self.endpoint).get_paginator("scan")
        found = [item for page in pages.paginate(TableName=self.table(name)) for item in page["Items"]]
        keys = [{part: _written(item[part]) for part in KEYS[name]} for item in found]
        return {key_text(key): item for key, item in zip(keys, found, strict=True)}

    def payload(self, key: str) -> bytes:
        answer = aws.client("s3", self.endpoint).get_object(Bucket=f"{self.prefix}-payloads", Key=key)
        return bytes(answer["Body"].read())


def real_bench(endpoint: str) -> RealBench:
    """Make tables and a bucket of their own on an engine."""
    prefix = f"w{uuid.uuid4().hex[:12]}"
    admin = aws.client("dynamodb", endpoint)
    for name, key in KEYS.items():
        admin.create_table(
            TableName=f"{prefix}-{name}",
            KeySchema=[
                {"AttributeName": part, "KeyType": kind} for part, kind in zip(key, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": part, "AttributeType": kind} for part, kind in key.items()],
            BillingMode="PAY_PER_REQUEST",
        )
    aws.client("s3", endpoint).create_bucket(Bucket=f"{prefix}-payloads")
    return bench_at(endpoint, prefix)


def bench_at(endpoint: str, prefix: str) -> RealBench:
    """Return a store on tables that were made before."""
    tables = {name: f"{prefix}-{name}" for name in KEYS if name != EVENTS}
    place = StoreLayout(f"{prefix}-{EVENTS}", tables, has_bucket=True)
    client = session().create_client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=aws.ACCESS_KEY,
        aws_secret_access_key=aws.ACCESS_KEY,
        config=client_config(8),
    )
    store = DynamoStore(client, place, bucket=f"{prefix}-payloads", s3=lambda: aws.client("s3", endpoint))
    return RealBench(store, endpoint, prefix)


def _written(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value as it is sent: binary as base64, where boto3 gives bytes."""
    return {kind: b64encode(value).decode() if kind == "B" else value for kind, value in wire.items()}


def request(kind: str, table: str, **parameters: Any) -> str:
    """Write one action of a transaction."""
    return to_json({kind: {"TableName": table, **parameters}})


def fields(**attributes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Write an item as the store takes it."""
    return [(name, json.dumps(value)) for name, value in attributes.items()]
