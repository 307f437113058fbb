"""Event source mapping: where it starts, which shards it reads, and what one shard means to another."""

from __future__ import annotations

import time

from tests.conformance.bench import Bench
from tests.conformance.probe import Function, flat
from tests.conformance.scenarios import KINESIS, LAMBDA, LAMBDA_API, MAPPING, Observation, scenario

CREATE = LAMBDA + "services-kinesis-create.html"
RESHARDING = KINESIS + "kinesis-using-sdk-java-after-resharding.html"
KEYS = "abcdefgh"


@scenario(
    MAPPING,
    documents="TRIM_HORIZON starts with the oldest record of the stream.",
    page=CREATE,
    expected={"delivered": ["before", "after"]},
)
async def trim_horizon(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await stream.put(["before"], key=lambda _: "one")
    await bench.mapping(stream, function)
    await function.texts(1)
    await stream.put(["after"], key=lambda _: "one")
    return {"delivered": await function.texts(2, settle_s=1)}


@scenario(
    MAPPING,
    documents="LATEST leaves out what was in the stream before.",
    page=CREATE,
    expected={"delivered": ["after"]},
)
async def latest(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await stream.put(["before"], key=lambda _: "one")
    await bench.mapping(stream, function, StartingPosition="LATEST")
    # A mapping is on before it has looked at the stream, on AWS by minutes; what is put meanwhile may be left out.
    # Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html
    for _ in range(10):
        await bench.aws.pause(3)
        await stream.put(["after"], key=lambda _: "one")
        if await function.texts(1, within_s=3):
            break
    return {"delivered": sorted(set(await function.texts(1, within_s=0, settle_s=1)))}


@scenario(
    MAPPING,
    documents="AT_TIMESTAMP starts with the first record that arrived at or after a time.",
    page=CREATE,
    expected={"delivered": ["late"]},
    known={"localstack": "LocalStack hands the time to Kinesis as a sequence number, and the mapping reads nothing."},
)
async def at_timestamp(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await stream.put(["early"], key=lambda _: "one")
    # The more patience a place has, the more may its clock and this machine's differ.
    await bench.aws.pause(2)
    at_s = int(time.time() - (bench.aws.patience - 1))
    await stream.put(["late"], key=lambda _: "one")
    await bench.mapping(stream, function, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=at_s)
    return {"delivered": await function.texts(1, within_s=15, settle_s=1)}


@scenario(
    MAPPING,
    documents="A batch holds records of one shard only.",
    page=LAMBDA + "with-kinesis.html",
    expected={"delivered": 8, "shards_in_a_batch": [1]},
    shards=2,
)
async def one_shard_a_batch(bench: Bench) -> Observation:
    stream, function = await bench.stream(shards=2), await bench.function()
    await stream.put(KEYS)
    await bench.mapping(stream, function, MaximumBatchingWindowInSeconds=1)
    found = await function.invocations(lambda seen: len(flat(seen)) >= len(KEYS))
    return {"delivered": len(flat(found)), "shards_in_a_batch": sorted({len(each.shards) for each in found})}


@scenario(
    MAPPING,
    documents="A batch that fails holds up its own shard; the others are read on.",
    page=LAMBDA + "kinesis-on-failure-destination.html",
    expected={"other_shard": "read on"},
    known={"localstack": "LocalStack deals with one shard after the other in one thread, retries included."},
    shards=2,
)
async def failing_shard_and_the_others(bench: Bench) -> Observation:
    source = 'def behave(texts, records, call):\n    if "poison" in texts:\n        raise ValueError("poison")\n'
    stream, function = await bench.stream(shards=2), await bench.function(source)
    await bench.mapping(stream, function)
    failing = (await stream.put(["poison"]))[0]
    await function.invocations()
    shards = dict(zip(KEYS, await stream.put(KEYS), strict=True))
    wanted = {key for key, shard in shards.items() if shard != failing}
    found = await function.invocations(lambda seen: wanted <= set(flat(seen)), within_s=8)
    return {"other_shard": "read on" if wanted <= set(flat(found)) else "held up"}


@scenario(
    MAPPING,
    documents="After a split the parent is read to its end before its children, so every key stays in order.",
    page=RESHARDING,
    expected={"in_order": True},
    known={"localstack": "LocalStack reads a closed parent and its children in turn, a batch of each."},
    shards=3,
)
async def parent_before_child(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await stream.put(_numbered(0, 3), key=lambda text: text[0])
    await stream.split()
    await stream.put(_numbered(3, 6), key=lambda text: text[0])
    await bench.mapping(stream, function, BatchSize=5)
    return {"in_order": (await _order(function, 6))["in_order"]}


@scenario(
    MAPPING,
    documents="A mapping follows a split that happens while it reads.",
    page=RESHARDING,
    expected={"in_order": True, "repeated": False},
    known={"localstack": "LocalStack starts over with all shards when one comes to its end, so records come again."},
    shards=3,
)
async def split_under_a_running_mapping(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await bench.mapping(stream, function, BatchSize=5)
    await stream.put(_numbered(0, 3), key=lambda text: text[0])
    await function.texts(3 * len(KEYS))
    await stream.split()
    await stream.put(_numbered(3, 6), key=lambda text: text[0])
    return await _order(function, 6)


@scenario(
    MAPPING,
    documents="A mapping that was disabled goes on where it stopped when it is enabled again.",
    page=LAMBDA_API + "API_UpdateEventSourceMapping.html",
    expected={"delivered": ["a", "b", "c"]},
    known={"localstack": "LocalStack keeps no checkpoint: an enabled mapping starts over at its StartingPosition."},
)
async def restart(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await stream.put(["a"], key=lambda _: "one")
    mapping = await bench.mapping(stream, function)
    await function.texts(1)
    await mapping.pause()
    await stream.put(["b"], key=lambda _: "one")
    await mapping.resume()
    await function.invocations(lambda seen: "b" in flat(seen))
    await stream.put(["c"], key=lambda _: "one")
    found = await function.invocations(lambda seen: "c" in flat(seen), settle_s=1)
    return {"delivered": flat(found)}


def _numbered(first: int, end: int) -> list[str]:
    return [f"{key}{number}" for number in range(first, end) for key in KEYS]


async def _order(function: Function, count: int) -> Observation:
    """Wait for so many records of every key; say whether each key's came in order, and whether any came again."""
    found = await function.invocations(lambda seen: len(set(flat(seen))) >= count * len(KEYS), settle_s=3)
    texts = flat(found)
    firsts = list(dict.fromkeys(texts))
    in_order = all([text for text in firsts if text[0] == key] == [f"{key}{n}" for n in range(count)] for key in KEYS)
    return {"in_order": in_order, "repeated": len(firsts) != len(texts)}


@scenario(
    MAPPING,
    documents="After a merge both parents are read to their end before their child.",
    page=RESHARDING,
    expected={"in_order": True},
    known={"localstack": "LocalStack reads closed parents and their child in turn, a batch of each."},
    shards=3,
)
async def parents_before_a_merged_child(bench: Bench) -> Observation:
    stream, function = await bench.stream(shards=2), await bench.function()
    await stream.put(_numbered(0, 3), key=lambda text: text[0])
    await stream.merge()
    await stream.put(_numbered(3, 6), key=lambda text: text[0])
    await bench.mapping(stream, function, BatchSize=5)
    return {"in_order": (await _order(function, 6))["in_order"]}


@scenario(
    MAPPING,
    documents="A mapping made with Enabled false reads nothing until it is enabled.",
    page=LAMBDA_API + "API_CreateEventSourceMapping.html",
    expected={"before": [], "after": ["a"]},
)
async def disabled_mapping(bench: Bench) -> Observation:
    stream, function = await bench.stream(), await bench.function()
    await stream.put(["a"])
    mapping = await bench.mapping(stream, function, Enabled=False)
    await bench.aws.pause(2)
    before = await function.texts(0)
    await mapping.resume()
    return {"before": before, "after": await function.texts(1, settle_s=1)}
