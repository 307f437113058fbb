"""Tables and stream on the engine follow the template: made, changed in place, and never replaced."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from weir.consumers.business.tables import Index, Table
from weir.infra.local.engine.engine import Engine
from weir.infra.local.provision import provision
from weir.infra.outputs import Outputs
from weir.infra.place import Place
from weir.infra.template import Resource
from weir.ingest.errors import StackFailed

pytestmark = pytest.mark.engine


@pytest.fixture
def place(engine: Engine) -> Place:
    return Place("embedded", "t", endpoint=engine.endpoint)


def resource(name: str, **declared: Any) -> Resource:
    properties = {**Table("t", **declared).described(), "BillingMode": "PAY_PER_REQUEST"}
    return Resource("TTable", "AWS::DynamoDB::Table", name, properties)


def described(place: Place, name: str) -> Any:
    return place.client("dynamodb").describe_table(TableName=name)["Table"]


def test_a_table_is_as_it_is_declared(place: Place) -> None:
    """Key, index, TTL and stream."""
    name = f"t{uuid.uuid4().hex[:8]}"
    indexes = [Index("by_sku", {"sku": str, "n": int}, "keys_only")]
    made = resource(name, key={"a": str, "n": int}, indexes=indexes, ttl="gone_at", stream="new_image")
    provision(place, {"TTable": made})
    found = described(place, name)
    assert [part["AttributeName"] for part in found["KeySchema"]] == ["a", "n"]
    assert [index["IndexName"] for index in found["GlobalSecondaryIndexes"]] == ["by_sku"]
    assert found["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE"
    ttl = place.client("dynamodb").describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert ttl["AttributeName"] == "gone_at"
    provision(place, {"TTable": made})  # and again: nothing happens


def test_a_table_that_is_there_gets_what_is_new(place: Place) -> None:
    """An index and a TTL are added; what is stored stays."""
    name, dynamodb = f"t{uuid.uuid4().hex[:8]}", place.client("dynamodb")
    provision(place, {"TTable": resource(name, key={"a": str})})
    dynamodb.put_item(TableName=name, Item={"a": {"S": "x"}, "sku": {"S": "7"}})
    provision(place, {"TTable": resource(name, key={"a": str}, indexes=[Index("by_sku", {"sku": str})], ttl="gone_at")})
    found = dynamodb.query(
        TableName=name,
        IndexName="by_sku",
        KeyConditionExpression="sku = :s",
        ExpressionAttributeValues={":s": {"S": "7"}},
    )
    assert [item["a"]["S"] for item in found["Items"]] == ["x"]
    ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert ttl["AttributeName"] == "gone_at"


@pytest.mark.parametrize("key", [{"b": str}, {"a": int}, {"a": str, "n": int}])
def test_another_key_is_refused(place: Place, key: Any) -> None:
    """With both keys, and what to do: nothing is replaced."""
    name = f"t{uuid.uuid4().hex[:8]}"
    provision(place, {"TTable": resource(name, key={"a": str})})
    with pytest.raises(StackFailed, match=r"has the key a \(S\), and .* is declared: a key cannot change"):
        provision(place, {"TTable": replace(resource(name, key=key))})


def test_an_index_with_another_key_is_made_anew(place: Place) -> None:
    """What is stored is in it; another type of the same attribute is refused before anything is changed."""
    name, dynamodb = f"t{uuid.uuid4().hex[:8]}", place.client("dynamodb")
    provision(place, {"TTable": resource(name, key={"a": str}, indexes=[Index("by_it", {"sku": str})])})
    dynamodb.put_item(TableName=name, Item={"a": {"S": "x"}, "sku": {"S": "7"}, "shop": {"S": "s"}})
    provision(place, {"TTable": resource(name, key={"a": str}, indexes=[Index("by_it", {"shop": str})])})
    found = dynamodb.query(
        TableName=name,
        IndexName="by_it",
        KeyConditionExpression="shop = :s",
        ExpressionAttributeValues={":s": {"S": "s"}},
    )
    assert [item["a"]["S"] for item in found["Items"]] == ["x"]
    other = resource(f"{name}-2", key={"a": str})
    with pytest.raises(StackFailed, match="shop is of type S in an index, and N is declared"):
        provision(place, {"A": other, "B": resource(name, key={"a": str}, indexes=[Index("by_it", {"shop": int})])})
    assert f"{name}-2" not in dynamodb.list_tables()["TableNames"]


def test_a_table_takes_another_mode(place: Place) -> None:
    """From on demand to provisioned, to other units, and back; what is stored stays, and its indexes follow."""
    name, dynamodb = f"t{uuid.uuid4().hex[:8]}", place.client("dynamodb")
    made = resource(name, key={"a": str}, indexes=[Index("by_sku", {"sku": str})])
    provision(place, {"TTable": made})
    dynamodb.put_item(TableName=name, Item={"a": {"S": "x"}})
    for number in (5, 7, 0):
        wanted = json.loads(json.dumps(made.properties))
        if number:
            units = {"ReadCapacityUnits": number, "WriteCapacityUnits": number}
            for one in (wanted, *wanted["GlobalSecondaryIndexes"]):
                one["ProvisionedThroughput"] = units
            wanted["BillingMode"] = "PROVISIONED"
        for _ in range(2):  # the second time nothing happens
            provision(place, {"TTable": replace(made, properties=wanted)})
        found = described(place, name)
        assert found["BillingModeSummary"]["BillingMode"] == wanted["BillingMode"]
        for one in (found, *(found["GlobalSecondaryIndexes"] if number else ())):
            assert one["ProvisionedThroughput"]["WriteCapacityUnits"] == number
    assert dynamodb.scan(TableName=name)["Count"] == 1


def stream(name: str, *, shards: int | None = 2, hours: int = 24, mode: str = "PROVISIONED", kib: int = 1024) -> Any:
    properties: dict[str, Any] = {"StreamModeDetails": {"StreamMode": mode}, "RetentionPeriodHours": hours}
    properties |= {"MaxRecordSizeInKiB": str(kib)} | ({"ShardCount": shards} if shards else {})
    return {"Stream": Resource("Stream", "AWS::Kinesis::Stream", name, properties)}


def with_home(place: Place, name: str, home: Path) -> Place:
    """Return the place with a stream's name and a folder for its state."""
    return Place("embedded", "t", endpoint=place.endpoint, outputs=Outputs(stream_name=name, home=home))


def test_a_stream_takes_other_parameters(place: Place, tmp_path: Path) -> None:
    """Shards up and down, however many; mode, retention and record size; what was in it stays in it."""
    name, kinesis = f"t{uuid.uuid4().hex[:8]}", place.client("kinesis")
    place = with_home(place, name, tmp_path)
    provision(place, stream(name))
    kinesis.put_record(StreamName=name, PartitionKey="k", Data=b"first")
    for wanted in (
        stream(name, shards=7),
        stream(name, shards=1),
        stream(name, shards=1, hours=72, kib=2048),
        stream(name, shards=None, hours=48, mode="ON_DEMAND", kib=4096),
        stream(name, shards=3, hours=48),
    ):
        for _ in range(2):  # the second time nothing happens
            provision(place, wanted)
        properties = wanted["Stream"].properties
        found: Any = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        assert found["OpenShardCount"] == properties.get("ShardCount", 1)
        assert found["StreamModeDetails"] == properties["StreamModeDetails"]
        assert found["RetentionPeriodHours"] == properties["RetentionPeriodHours"]
        assert found["MaxRecordSizeInKiB"] == int(properties["MaxRecordSizeInKiB"])
    assert texts(place, name) == [b"first"]


def texts(place: Place, name: str) -> list[bytes]:
    """Return the data of every record of a stream."""
    kinesis, found = place.client("kinesis"), []
    for shard in kinesis.list_shards(StreamName=name)["Shards"]:
        given: Any = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(StreamName=name, **given)["ShardIterator"]
        found += [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]]
    return found


@pytest.mark.parametrize("call", ["put_record", "put_records"])
def test_a_stream_takes_records_as_large_as_it_says(place: Place, call: str) -> None:
    """With 2 MiB a record of 1.5 MiB is stored whole and read, one of more is refused in the words of Kinesis."""
    name, kinesis = f"t{uuid.uuid4().hex[:8]}", place.client("kinesis")
    provision(place, stream(name, shards=1))
    large, too_large = b"l" * (3 << 19), b"t" * (2 << 20) + b"t"

    def put(data: bytes) -> None:
        if call == "put_record":
            kinesis.put_record(StreamName=name, PartitionKey="k", Data=data)
        else:
            kinesis.put_records(StreamName=name, Records=[{"PartitionKey": "k", "Data": one} for one in (b"s", data)])

    with pytest.raises(kinesis.exceptions.ClientError, match="less than or equal to"):
        put(large)
    provision(place, stream(name, shards=1, kib=2048))
    put(large)
    with pytest.raises(kinesis.exceptions.ClientError, match="less than or equal to"):
        put(too_large)
    assert texts(place, name) == ([large] if call == "put_record" else [b"s", large])


def test_a_retention_that_would_drop_what_is_not_read_is_refused(place: Place, tmp_path: Path) -> None:
    """With a record that is older and unread the stream stays as it is; once it is read the retention is taken."""
    name, kinesis = f"t{uuid.uuid4().hex[:8]}", place.client("kinesis")
    there = with_home(place, name, tmp_path)
    provision(there, stream(name, shards=1, hours=72))
    put = kinesis.put_record(StreamName=name, PartitionKey="k", Data=b"first")
    shorter, now_s = stream(name, shards=4, hours=24), time.time()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("weir.infra.local.adapt.time.time", lambda: now_s + 25 * 3600)
        with pytest.raises(StackFailed, match=r"RetentionHours=24: .*Start with RetentionHours=72"):
            provision(there, shorter)
        found = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        assert (found["RetentionPeriodHours"], found["OpenShardCount"]) == (72, 1)
        position = {"kind": "AFTER_SEQUENCE_NUMBER", "sequence_number": put["SequenceNumber"], "at_s": None}
        (tmp_path / "checkpoints").mkdir()
        known = {"shards": {put["ShardId"]: {"position": position}}}
        (tmp_path / "checkpoints" / f"{name}.json").write_text(json.dumps(known))
        provision(there, shorter)
    found = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert (found["RetentionPeriodHours"], found["OpenShardCount"]) == (24, 4)
