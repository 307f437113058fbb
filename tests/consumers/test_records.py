from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from typing import Any

import pytest
from aws_kinesis_agg.aggregator import AggRecord, messages_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from weir.consumers.judging import records
from weir.consumers.judging.aggregate import MAX_RECORD_BYTES, aggregate, disaggregate
from weir.ingest.errors import AggregateDamaged, ConfigError, EnvelopeMalformed
from weir.ingest.ids import SequenceNumber

MAGIC = b"\xf3\x89\x9a\xc2"


def entry(data: bytes | str, sequence_number: str = "100", **kinesis: Any) -> dict[str, Any]:
    text = data if isinstance(data, str) else b64encode(data).decode()
    return {
        "eventID": f"shardId-000000000003:{sequence_number}",
        "eventSource": "aws:kinesis",
        "kinesis": {"partitionKey": "k", "sequenceNumber": sequence_number, "data": text, **kinesis},
    }


def read(*entries: dict[str, Any]) -> list[records.Record]:
    return records.read({"Records": list(entries)})


def packed(*parts: bytes) -> bytes:
    whole = AggRecord()
    for part in parts:
        assert whole.add_user_record(b"key", part)
    data: bytes = whole.get_contents()[2]
    return data


def framed(protobuf: bytes) -> bytes:
    return MAGIC + protobuf + hashlib.md5(protobuf).digest()


def one_bad_key_index() -> bytes:
    message = messages_pb2.AggregatedRecord(partition_key_table=["key"])
    message.records.add(partition_key_index=0, data=b"first")
    message.records.add(partition_key_index=7, data=b"top secret payload")
    message.records.add(partition_key_index=0, data=b"last")
    return framed(message.SerializeToString())


def test_a_plain_record_gives_its_bytes_and_its_place() -> None:
    """A plain record is read byte for byte and knows its shard and sequence number."""
    [record] = read(entry(bytes(range(256))))
    assert record.data == bytes(range(256))
    assert record.position == "shardId-000000000003:100.0"
    assert record.damage is None


def test_the_records_of_an_aggregate_share_a_sequence_number_and_are_numbered() -> None:
    """An aggregate opens into its records, in order, between its neighbours."""
    found = read(entry(b"before", "1"), entry(packed(b"a", b"b", b"c"), "2"), entry(b"after", "3"))
    assert [record.data for record in found] == [b"before", b"a", b"b", b"c", b"after"]
    assert [record.position.partition(":")[2] for record in found] == ["1.0", "2.0", "2.1", "2.2", "3.0"]


@pytest.mark.parametrize(
    "data",
    [
        packed(b"a", b"b")[:-1] + b"\x00",
        packed(b"a", b"b")[:-20] + bytes(20),
        framed(b"\xff\xff not protobuf at all"),
        one_bad_key_index(),
        framed(messages_pb2.AggregatedRecord(partition_key_table=["k"]).SerializeToString()),
    ],
    ids=["digest", "tail", "not protobuf", "key index", "no record"],
)
def test_a_damaged_aggregate_is_one_record_with_its_exact_bytes(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong with an aggregate, it is kept whole, its neighbours are read, and nothing of it is printed."""
    found = read(entry(b"before", "1"), entry(data, "2"), entry(b"after", "3"))
    assert [type(record.damage) for record in found] == [type(None), AggregateDamaged, type(None)]
    assert [record.data for record in found] == [b"before", data, b"after"]
    assert capfd.readouterr() == ("", "")


def test_the_reason_of_a_damaged_aggregate_does_not_quote_it() -> None:
    """What is said about a damaged aggregate holds nothing of its data."""
    [record] = read(entry(one_bad_key_index()))
    assert "secret" not in str(record.damage)
    assert "readable_count=1" in str(record.damage)


@pytest.mark.parametrize("data", [MAGIC, MAGIC + b"short", framed(b"")])
def test_bytes_that_merely_begin_with_the_magic_are_a_plain_record(data: bytes) -> None:
    """Data too short for an aggregate's frame is left as it came."""
    [record] = read(entry(data))
    assert (record.data, record.damage) == (data, None)


@pytest.mark.parametrize("text", ["not base64!", "QUJ", "QU JD", "QUJD\n", "-_-_", "Ωmega", None, 7])
def test_data_that_is_not_base64_is_kept_as_it_came(text: str) -> None:
    """Text that no event source mapping sends is not guessed at: it is kept, and its neighbours are read."""
    odd = entry(b"", "2")
    odd["kinesis"]["data"] = text
    found = read(entry(b"before", "1"), odd, entry(b"after", "3"))
    assert [type(record.damage) for record in found] == [type(None), EnvelopeMalformed, type(None)]
    assert found[1].data == str(text).encode()


@pytest.mark.parametrize("event", [{}, {"Records": None}, {"Records": {}}, None, [], {"records": []}])
def test_an_event_without_records_says_what_the_function_is_for(event: Any) -> None:
    """An invocation by anything but an event source mapping gets a sentence."""
    with pytest.raises(ConfigError, match="Kinesis event source mapping"):
        records.read(event)


@pytest.mark.parametrize(
    "odd", [{}, {"kinesis": {}}, {"Sns": {}}, 3, None, {"kinesis": {"sequenceNumber": "x", "data": ""}}]
)
def test_an_entry_of_another_service_is_a_set_up_error(odd: Any) -> None:
    """A record that has no sequence number could not be reported, so the event is refused whole."""
    with pytest.raises(ConfigError, match="not a Kinesis record"):
        records.read({"Records": [odd]})


def test_no_records_is_no_work() -> None:
    """An empty batch is read as one."""
    assert records.read({"Records": []}) == []


def test_sequence_numbers_compare_as_integers() -> None:
    """The lowest sequence number is the lowest integer, not the first text."""
    assert records.lowest(set(map(SequenceNumber, ("100", "99", "1000")))) == "99"
    assert records.lowest({SequenceNumber("9" * 120), SequenceNumber("1" + "0" * 120)}) == "9" * 120


def opened(entries: list[Any]) -> list[tuple[str, bytes]]:
    return [
        (entry.partition_key, part)
        for entry in entries
        for part in (disaggregate(entry.data) if entry.data.startswith(MAGIC) else [entry.data])
    ]


def test_a_thousand_records_make_few_entries_and_lose_none() -> None:
    """Small records are packed by the hundred, and what comes out is what went in."""
    sent = [(f"key-{number % 50}", json.dumps({"number": number}).encode()) for number in range(1000)]
    entries = list(aggregate(sent))
    assert len(entries) <= 16
    assert sum(entry.record_count for entry in entries) == 1000
    assert sorted(data for _, data in opened(entries)) == sorted(data for _, data in sent)


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=40), st.binary(max_size=300)), max_size=60),
    st.integers(1, 5),
    st.integers(400, 900),
)
@example([("k", b"x" * n) for n in range(280, 300)], 1, 400)
def test_a_key_keeps_its_order_and_an_entry_its_limit(
    sent: list[tuple[str, bytes]], lanes: int, max_record_bytes: int
) -> None:
    """Records of one key come out in their order through one partition key, and no entry is larger than allowed."""
    numbered = [(key, f"{number}:".encode() + data) for number, (key, data) in enumerate(sent)]
    entries = list(aggregate(numbered, lanes=lanes, max_record_bytes=max_record_bytes))
    assert all(len(entry.data) + len(entry.partition_key) <= max_record_bytes for entry in entries)
    received = opened(entries)
    assert sorted(data for _, data in received) == sorted(data for _, data in numbered)
    for wanted in {key for key, _ in numbered}:
        of_key = {data for key, data in numbered if key == wanted}
        assert [data for _, data in received if data in of_key] == [data for key, data in numbered if key == wanted]
        assert len({lane for lane, data in received if data in of_key}) == 1


@pytest.mark.parametrize("slack", range(45))
def test_a_record_just_below_the_limit_is_not_dropped(slack: int) -> None:
    """A record of nearly 1 MiB, which the library drops without a word, is sent on its own."""
    data = b"x" * (MAX_RECORD_BYTES - len("lane-0") - slack)
    entries = list(aggregate([("kk", b"before"), ("kk", data), ("kk", b"after")], lanes=1))
    assert [part for _, part in opened(entries)] == [b"before", data, b"after"]
    assert all(len(entry.data) + len(entry.partition_key) <= MAX_RECORD_BYTES for entry in entries)


def test_a_record_that_the_stream_cannot_hold_is_refused_with_the_remedy() -> None:
    """A record above the stream's limit names the setting to raise."""
    with pytest.raises(ConfigError, match="MaxRecordSizeInKiB"):
        list(aggregate([("k", b"x" * MAX_RECORD_BYTES)]))


def test_a_repeated_long_key_does_not_fill_an_aggregate() -> None:
    """A key of 200 characters is counted once, so that a hundred records of it share one entry of 25 KB."""
    sent = [("k" * 200, b"data")] * 100
    assert len(list(aggregate(sent, max_record_bytes=4000))) == 1


def test_every_record_carries_the_hash_key_of_its_lane() -> None:
    """A reader that checks hash ranges finds every record in the shard of its aggregate."""
    [packed_entry] = aggregate([(f"key-{number}", b"x") for number in range(9)], lanes=1)
    message = messages_pb2.AggregatedRecord()
    message.ParseFromString(packed_entry.data[4:-16])
    expected = int(hashlib.md5(packed_entry.partition_key.encode()).hexdigest(), 16)
    assert list(message.explicit_hash_key_table) == [str(expected)]
    assert {record.explicit_hash_key_index for record in message.records} == {0}


def test_the_library_leaves_the_search_path_alone() -> None:
    """Importing aws-kinesis-agg does not put its generic module names before everybody's."""
    import subprocess
    import sys

    script = "import sys; from weir.consumers.judging import aggregate; before = list(sys.path)\n"
    script += "aggregate.disaggregate(list(aggregate.aggregate([('k', b'x')]))[0].data); assert sys.path == before"
    subprocess.run([sys.executable, "-c", script], check=True)
