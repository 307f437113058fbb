"""Reading what became of a run, from outside: the stream, the tables, the bucket, the engine's journal.

Shares no code with the pipeline: envelopes and blobs are decoded here a second time, from their description alone.
"""

from __future__ import annotations

import gzip
import json
import time
import zlib
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from weir.ingest.lines import whole
from weir.loadtest.judging.evidence import Commit, StoredItem, StoredRecord

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_kinesis import KinesisClient
    from types_boto3_kinesis.type_defs import RecordTypeDef, ShardTypeDef

_KEYS_IN_A_CALL = 100
_READERS = 4
_LEDGER = "balances"  # the table of examples/ledger, which load tests run on
_RECORDS_IN_A_CALL = 5000
_EMPTY_READS = 3  # a stream may answer with nothing and have more


class Outputs(Protocol):
    """Names and addresses of a stack's parts. ``consumer_log`` is the embedded stack's file, None elsewhere."""

    @property
    def endpoint(self) -> str: ...

    @property
    def stream_name(self) -> str: ...

    @property
    def events_table(self) -> str: ...

    @property
    def tables(self) -> str: ...

    @property
    def bucket(self) -> str: ...

    @property
    def secrets_prefix(self) -> str: ...

    @property
    def consumer_log_group(self) -> str: ...

    @property
    def consumer_log(self) -> Path | None: ...


class Place(Protocol):
    """Where Weir runs: its outputs by name and boto3 clients."""

    @property
    def label(self) -> str: ...

    @property
    def access_key(self) -> str: ...

    def outputs(self) -> Outputs: ...

    def client(self, service: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of one place. ``dictionary`` is what the items' blobs were deflated with: data, not code."""

    place: Place
    dictionary: bytes

    # --- the tables

    def items(self, keys: Iterable[str]) -> dict[str, StoredItem]:
        """Return the items that exist of these, by key."""
        table = self.place.outputs().events_table
        return {item["pk"]["S"]: self._item(item) for item in self._get(table, "pk", keys)}

    def balances(self, accounts: Iterable[str]) -> dict[str, dict[str, int]] | None:
        """Return the ledger's rows of these accounts: minor units by currency, and ``events``; None without one."""
        table = self._ledger()
        if table is None:
            return None
        return {
            row["account"]["S"]: {name: int(value["N"]) for name, value in row.items() if "N" in value}
            for row in self._get(table, "account", accounts)
        }

    def _get(self, table: str, name: str, keys: Iterable[str]) -> list[dict[str, Any]]:
        wanted = list(dict.fromkeys(keys))
        chunks = [wanted[start : start + _KEYS_IN_A_CALL] for start in range(0, len(wanted), _KEYS_IN_A_CALL)]
        client = self.place.client("dynamodb")
        with ThreadPoolExecutor(_READERS) as pool:
            parts = pool.map(lambda chunk: _batch_get(client, table, name, chunk), chunks)
            return [item for part in parts for item in part]

    def _item(self, item: Mapping[str, Any]) -> StoredItem:
        def text(name: str) -> str:
            return str(item[name]["S"]) if name in item else ""

        return StoredItem(
            pk=text("pk"),
            outcome=text("outcome"),
            reason=text("reason"),
            source=text("source"),
            event_id=text("event_id"),
            request_id=text("request_id"),
            key=text("key"),
            received_at_ms=int(item["received_at"]["N"]) if "received_at" in item else 0,
            applied_at_ms=int(item["applied_at"]["N"]) if "applied_at" in item else 0,
            body_sha256=bytes(item["body_sha256"]["B"]).hex() if "body_sha256" in item else "",
            bytes_sha256=self._bytes_sha256(item),
            scheme=text("scheme"),
            attempts=int(item["attempts"]["N"]) if "attempts" in item else 0,
        )

    def _bytes_sha256(self, item: Mapping[str, Any]) -> str:
        if "payload_s3" in item:
            bucket = self.place.outputs().bucket
            blob = self.place.client("s3").get_object(Bucket=bucket, Key=item["payload_s3"]["S"])["Body"].read()
        elif "envelope" in item:
            blob = bytes(item["envelope"]["B"])
        else:
            return ""
        body = body_of(blob, self.dictionary)
        return "" if body is None else sha256(body).hexdigest()

    # --- the stream

    def records(self, run: str, since_ms: int) -> list[StoredRecord]:
        """Return the deliveries of a run in the stream, in the order of each shard, parents first."""
        client, stream = self.place.client("kinesis"), self.place.outputs().stream_name
        found: list[StoredRecord] = []
        for shard in _parents_first(_shards(client, stream)):
            for record in _read_shard(client, stream, shard["ShardId"], since_ms):
                if (one := _delivery(record, run, shard["ShardId"], len(found))) is not None:
                    found.append(one)
        return found

    # --- the archive

    def archived(self, run: str) -> dict[str, str]:
        """Return the deliveries of a run in the archive: the hash of the body by request id."""
        s3, bucket = self.place.client("s3"), self.place.outputs().bucket
        found: dict[str, str] = {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="archive/"):
            for listed in page.get("Contents", []):
                content = s3.get_object(Bucket=bucket, Key=listed["Key"])["Body"].read()
                text = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
                one = (_read(line, run) for line in text.splitlines())
                found |= {delivered.request_id: delivered.body_sha256 for delivered in one if delivered is not None}
        return found

    # --- the journal

    def commits(self) -> list[Commit] | None:
        """Return the transactions of the embedded engine in the order in which they took effect; None elsewhere."""
        log = self.place.outputs().consumer_log
        journal = log.parent / "store" / "journal.jsonl" if log else None
        if journal is None or not journal.exists():
            return None
        outputs = self.place.outputs()
        return list(_commits(journal, outputs.events_table, self._ledger()))

    def _ledger(self) -> str | None:
        """Return the table of examples/ledger; None in a project that has none of its name."""
        name: str | None = json.loads(self.place.outputs().tables or "{}").get(_LEDGER)
        return name


def body_of(blob: bytes, dictionary: bytes) -> bytes | None:
    """Return the body that an item's blob keeps: first byte the form, then head, empty line and body, or a raw record.

    None for a form that is not known.
    """
    if blob[:1] in {b"\x01", b"\x03"}:
        inflater = zlib.decompressobj(-15, zdict=dictionary)
        content = inflater.decompress(blob[1:]) + inflater.flush()
    elif blob[:1] in {b"\x00", b"\x02"}:
        content = blob[1:]
    else:
        return None
    return content.partition(b"\n\n")[2] if blob[0] < 2 else content


def _batch_get(client: DynamoDBClient, table: str, name: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    asked: Mapping[str, Any] = {table: {"Keys": [{name: {"S": key}} for key in keys], "ConsistentRead": True}}
    found: list[dict[str, Any]] = []
    while asked:
        answer = client.batch_get_item(RequestItems=asked)
        found += answer["Responses"].get(table, [])
        asked = answer.get("UnprocessedKeys") or {}
        if asked:
            time.sleep(0.05)
    return found


def _shards(client: KinesisClient, stream: str) -> list[ShardTypeDef]:
    found: list[ShardTypeDef] = []
    asked: dict[str, Any] = {"StreamName": stream}
    while True:
        answer = client.list_shards(**asked)
        found += answer["Shards"]
        if not answer.get("NextToken"):
            return found
        asked = {"NextToken": answer["NextToken"]}


def _parents_first(shards: Sequence[ShardTypeDef]) -> list[ShardTypeDef]:
    left = {shard["ShardId"]: shard for shard in shards}
    ordered: list[ShardTypeDef] = []
    while left:
        ready = [
            shard
            for shard in left.values()
            if shard.get("ParentShardId") not in left and shard.get("AdjacentParentShardId") not in left
        ]
        ordered += [left.pop(shard["ShardId"]) for shard in ready]
    return ordered


def _read_shard(client: KinesisClient, stream: str, shard_id: str, since_ms: int) -> Iterator[RecordTypeDef]:
    start = datetime.fromtimestamp(since_ms / 1000, UTC)
    answer = client.get_shard_iterator(
        StreamName=stream, ShardId=shard_id, ShardIteratorType="AT_TIMESTAMP", Timestamp=start
    )
    iterator = answer["ShardIterator"]
    empty = 0
    while iterator and empty < _EMPTY_READS:
        page = client.get_records(ShardIterator=iterator, Limit=_RECORDS_IN_A_CALL)
        yield from page["Records"]
        behind = page["Records"] or page.get("MillisBehindLatest", 0) > 0
        empty = 0 if behind else empty + 1
        iterator = page.get("NextShardIterator", "")


def _delivery(record: Mapping[str, Any], run: str, shard_id: str, position: int) -> StoredRecord | None:
    """Return a record as a delivery of the run, None if it is not one."""
    found = _read(record["Data"], run)
    if found is None:
        return None
    return StoredRecord(
        seq=found.seq,
        request_id=found.request_id,
        partition_key=record["PartitionKey"],
        key=found.key,
        shard_id=shard_id,
        sequence_number=record["SequenceNumber"],
        position=position,
        arrived_at_ms=found.arrived_at_ms,
        body_sha256=found.body_sha256,
    )


class _Delivered(NamedTuple):
    seq: int
    request_id: str
    key: str
    arrived_at_ms: int
    body_sha256: str


def _read(data: bytes, run: str) -> _Delivered | None:
    """Read the envelope in a record or a line; None when it is none or of another run."""
    try:
        wire = json.loads(data)
        lines = b64decode(wire["headers"]).decode("utf-8").split("\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if headers.get("x-weir-run") != run:
            return None
        body, key = b64decode(wire["body"]), b64decode(wire["key"]).decode("utf-8")
        return _Delivered(int(headers["x-weir-seq"]), wire["id"], key, wire["at"], sha256(body).hexdigest())
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _commits(journal: Path, events_table: str, balances_table: str | None) -> Iterator[Commit]:
    tokens: set[str] = set()
    with journal.open("rb") as lines:
        for line in whole(lines):
            if b"TransactWriteItems" not in line[:2000]:
                continue
            call = json.loads(b64decode(json.loads(line)["body"]))
            token = call.get("ClientRequestToken", "")
            # The same call again under its token changed nothing the second time.
            if token and token in tokens:
                continue
            tokens.add(token)
            yield _commit(call["TransactItems"], events_table, balances_table)


def _commit(actions: Sequence[Mapping[str, Any]], events_table: str, balances_table: str | None) -> Commit:
    marks = []
    added: dict[tuple[str, str], int] = {}
    for action in actions:
        put, update = action.get("Put"), action.get("Update")
        if put and put["TableName"] == events_table:
            marks.append(put["Item"]["pk"]["S"])
        elif update and update["TableName"] == balances_table:
            account = update["Key"]["account"]["S"]
            for name, amount in _added(update).items():
                added[account, name] = added.get((account, name), 0) + amount
    return Commit(tuple(marks), added)


def _added(update: Mapping[str, Any]) -> dict[str, int]:
    """Read the pairs of an update expression's ADD clause."""
    names, values = update.get("ExpressionAttributeNames", {}), update["ExpressionAttributeValues"]
    _, _, clause = update["UpdateExpression"].partition("ADD ")
    pairs = (part.split() for part in clause.split(",") if part.strip())
    return {names.get(pair[0], pair[0]): int(values[pair[1]]["N"]) for pair in pairs}
