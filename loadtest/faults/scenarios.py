"""The fault matrix: named scenarios, each with the promise that it tries to break.

Every scenario sends signed traffic, breaks one thing meanwhile, and is judged like any run: nothing acknowledged is
lost, nothing applied twice, the others keep flowing within a bound, and it recovers by itself.
"""

from __future__ import annotations

import json
import secrets
import signal
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from weir.ingest.schemes import signatures
from weir.loadtest.faults import poison
from weir.loadtest.faults.fault_stack import Rig
from weir.loadtest.faults.proxy import (
    Call,
    Forward,
    Reply,
    Rule,
    conflict,
    cut,
    flood,
    late,
    lose_answer,
    once,
    pose,
    refuse,
    refuse_xml,
    rewrite,
    slow,
)
from weir.loadtest.faults.scenario import DATABASE, HELD_UP, LOOSE, OUTAGE, WRITES, broken, scenario
from weir.loadtest.faults.scenario_run import MIX, Bounds, Stage

_HOUR_MS = 3_600_000
_OUT_OF_MEMORY_BYTES = 280 << 20


def _total(runs: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(run[name] for run in runs)


# ---------------------------------------------------------------------------------------------- Kinesis


@scenario("kinesis-throttles", "bursts of throttled PutRecord reach the sender as 503, and it loses nothing")
def kinesis_throttles(stage: Stage) -> None:
    proxy = stage.broken.proxy
    throttled = Rule("kinesis", refuse("ProvisionedThroughputExceededException"), frozenset({"PutRecord"}))
    before = proxy.hits["kinesis"]
    with stage.traffic():
        for _ in range(4):
            with proxy.rules(throttled):
                stage.pass_time(0.5)
            stage.pass_time(0.5)
        stage.fault_ends()
    stage.bites["throttled calls"] = proxy.hits["kinesis"] - before


@scenario("kinesis-down", "no Kinesis at all: nothing is acknowledged meanwhile, nothing lost after")
def kinesis_down(stage: Stage) -> None:
    # Four seconds in the short run of the matrix; `--scale 15` makes a minute of them.
    broken(stage, 4, Rule("kinesis", cut))


# ---------------------------------------------------------------------------------------------- DynamoDB


@scenario("dynamodb-throttles", "half of all database calls throttled: retried within the invocation, then again")
def dynamodb_throttles(stage: Stage) -> None:
    throttled = refuse("ProvisionedThroughputExceededException")
    broken(stage, 3, Rule("dynamodb", throttled, DATABASE, share=0.5))


@scenario("dynamodb-conflicts", "transactions cancelled by conflicts are retried and change nothing twice")
def dynamodb_conflicts(stage: Stage) -> None:
    broken(stage, 3, Rule("dynamodb", conflict, frozenset({"TransactWriteItems"}), share=0.5))


_LATE = (
    Rule("dynamodb", late(7.0), WRITES, share=0.1, what="answers 7 s late"),
    Rule("dynamodb", slow(0.5), WRITES, share=0.5, what="calls 0.5 s late"),
)


@scenario("dynamodb-late", "answers later than anyone waits for: the write that happened counts once")
def dynamodb_late(stage: Stage) -> None:
    broken(stage, 3, *_LATE)


@scenario("dynamodb-lost-answers", "writes whose answer is lost are found out and count once")
def dynamodb_lost_answers(stage: Stage) -> None:
    broken(stage, 3, Rule("dynamodb", lose_answer, WRITES, share=0.4))


@scenario("dynamodb-fails", "database errors of its own are waited out", OUTAGE)
def dynamodb_fails(stage: Stage) -> None:
    broken(stage, 3, Rule("dynamodb", refuse("InternalServerError", status=500), DATABASE, share=0.9))


# ---------------------------------------------------------------------------------------------- the consumer


@dataclass(slots=True, eq=False)  # a rule is a key, and so its behaviour is
class _Strike:
    """Sends a signal to processes of the function when their write has happened, before they hear of it.

    So an invocation is met, not an idle process. ``left`` is how many to meet yet, ``met`` how many were.
    """

    rig: Rig
    number: int
    left: int = 0
    met: int = 0

    async def __call__(self, call: Call, forward: Forward) -> Reply:
        """Make the call and strike its caller."""
        reply = await forward(call)
        if self.left and self.rig.signal_caller("function", call.from_port, self.number):
            self.left, self.met = self.left - 1, self.met + 1
        return reply


@scenario("consumer-killed", "the consumer killed in the middle of batches leaves nothing half done")
def consumer_killed(stage: Stage) -> None:
    strike = _Strike(stage.broken, signal.SIGKILL)
    with stage.traffic(), stage.broken.proxy.rules(Rule("dynamodb", strike, WRITES)):
        for _ in range(8):
            stage.pass_time(0.45)
            strike.left += 1
        stage.await_bite(lambda: not strike.left)
        stage.fault_ends()
    stage.bites["killed processes"] = strike.met


@scenario("consumer-hung", "a consumer that hangs is ended by the function's timeout; the others go on")
def consumer_hung(stage: Stage) -> None:
    stage.shows_in_log("functions timed out", "Task timed out")
    strike = _Strike(stage.broken, signal.SIGSTOP, left=1)
    with stage.traffic():
        stage.pass_time(1)
        with stage.broken.proxy.rules(Rule("dynamodb", strike, WRITES)):
            stage.await_bite(lambda: bool(strike.met))
    stage.fault_ends()
    stage.bites["stopped processes"] = strike.met


@scenario("consumer-out-of-memory", "a consumer that takes more memory than it has is ended and replaced")
def consumer_out_of_memory(stage: Stage) -> None:
    stage.shows_in_log("functions out of memory", "Runtime.OutOfMemory")
    broken(stage, 3, Rule("dynamodb", once(flood(_OUT_OF_MEMORY_BYTES)), WRITES))


# ---------------------------------------------------------------------------------------------- records


def _poisoned(stage: Stage, kinds: list[tuple[list[bytes], str, str]]) -> None:
    """Put records into the stream amid traffic; each kind is records, the reason of their quarantine, their key."""
    place = stage.target.place
    kinesis, stream = place.client("kinesis"), place.outputs()["StreamName"]
    with stage.traffic(3):
        stage.pass_time(1)
        for records, reason, key in kinds:
            stage.poisons += poison.put(kinesis, stream, records, reason, key=key)
        stage.fault_ends()
    stage.bites["poisoned records"] = len(stage.poisons)


@scenario("poison-one", "one record that can never succeed is quarantined with its bytes", anywhere=True)
def poison_one(stage: Stage) -> None:
    _poisoned(stage, [(poison.malformed(1), "unreadable", "")])


@scenario("poison-many", "poison of every kind among good records stops none of them", anywhere=True)
def poison_many(stage: Stage) -> None:
    _poisoned(stage, [(poison.malformed(160), "unreadable", "")])


@scenario("poison-batch", "batches of nothing but poison, all under one key, hold nobody up", anywhere=True)
def poison_batch(stage: Stage) -> None:
    _poisoned(stage, [(poison.malformed(600), "unreadable", "poison")])


@scenario("damaged-aggregate", "broken KPL aggregates are quarantined whole, never dropped", anywhere=True)
def damaged_aggregate(stage: Stage) -> None:
    _poisoned(stage, [(poison.damaged_aggregates(20), "aggregate_damaged", "")])


@scenario("duplicate-storm", "four of five deliveries are duplicates, and each event counts once", anywhere=True)
def duplicate_storm(stage: Stage) -> None:
    with stage.traffic(4, mix=replace(MIX, duplicates=0.8)):
        stage.fault_ends()
    stage.shows["duplicates"] = lambda runs: _total(runs, "duplicates")


@scenario("reordered-delivery", "senders deliver seconds out of order, and sums are right all the same", anywhere=True)
def reordered_delivery(stage: Stage) -> None:
    with stage.traffic(4, disorder_s=2.0):
        stage.fault_ends()
    stage.shows["deliveries after a later one"] = lambda runs: _total(runs, "late_to_early")


@scenario("redelivery", "the stream is read again from an older place, and nothing counts twice")
def redelivery(stage: Stage) -> None:
    rig = stage.broken
    older = {path: path.read_bytes() for path in rig.checkpoints}
    with stage.traffic():
        stage.pass_time(3)
        rig.kill()
        stage.bites["checkpoints put back"] = sum(path.read_bytes() != content for path, content in older.items())
        for path, content in older.items():
            path.write_bytes(content)
        rig.start()
        stage.fault_ends()


# ---------------------------------------------------------------------------------------------- stream and secrets


@scenario("reshard", "a shard split and merged again in the middle of load loses nothing and keeps order")
def reshard(stage: Stage) -> None:
    place = stage.target.place
    kinesis, stream = place.client("kinesis"), place.outputs()["StreamName"]
    with stage.traffic(6):
        stage.pass_time(1.5)
        parent = next(shard for shard in _open_shards(kinesis, stream))
        low, high = (int(parent["HashKeyRange"][f"{end}HashKey"]) for end in ("Starting", "Ending"))
        middle = str((low + high) // 2)
        kinesis.split_shard(StreamName=stream, ShardToSplit=parent["ShardId"], NewStartingHashKey=middle)
        stage.pass_time(2)
        children = [shard for shard in _open_shards(kinesis, stream) if shard.get("ParentShardId") == parent["ShardId"]]
        children.sort(key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
        first, second = (shard["ShardId"] for shard in children)
        kinesis.merge_shards(StreamName=stream, ShardToMerge=first, AdjacentShardToMerge=second)
        stage.fault_ends()
    stage.bites["children of the split"] = len(children)


def _open_shards(kinesis: Any, stream: str) -> list[dict[str, Any]]:
    shards = kinesis.list_shards(StreamName=stream)["Shards"]
    return [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]


@scenario("secret-rotated", "a secret changed at the provider in the middle of load refuses nobody", anywhere=True)
def secret_rotated(stage: Stage) -> None:
    source, scheme = "stripe", stage.target.catalogue["stripe"].scheme
    pair = signatures.generate_secret(scheme, secrets.token_bytes(32))
    rotated = {**stage.target.signing_keys, source: pair.sign_with}
    mix = replace(MIX, sources={source: 1.0})
    with stage.traffic(4, mix=mix):
        stage.pass_time(1.5)
        _add_secret(stage, source, pair.verify_with)
        after = stage.begin_traffic(3, mix=mix, signing_keys=rotated)
        stage.fault_ends()
    after.join()
    stage.shows["deliveries signed with the new secret"] = lambda runs: runs[1]["acknowledged"]


def _add_secret(stage: Stage, source: str, value: str) -> None:
    """Make a secret live before the others, as `weir secrets set` does."""
    ssm, prefix = stage.target.place.client("ssm"), stage.target.place.outputs()["SecretsPrefix"]
    name = f"{prefix}/{source}"
    live = json.loads(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])["secrets"]
    changed = {"secrets": [{"value": value, "created_at_ms": live[0]["created_at_ms"] + 1}, *live]}
    ssm.put_parameter(Name=name, Value=json.dumps(changed), Type="SecureString", Overwrite=True)


@scenario("secret-store-down", "no secret can be read: events wait, none is taken for forged", OUTAGE)
def secret_store_down(stage: Stage) -> None:
    rig = stage.broken
    before = rig.proxy.hits["ssm"]
    with rig.proxy.rules(Rule("ssm", refuse("InternalServerError", status=500))):
        # What the running consumers have in memory goes with them.
        rig.signal("function", signal.SIGKILL)
        with stage.traffic():
            stage.pass_time(3)
            rig.signal("function", signal.SIGKILL)
            stage.pass_time(1)
    stage.fault_ends()
    stage.bites["refused secrets"] = rig.proxy.hits["ssm"] - before


# ---------------------------------------------------------------------------------------------- clocks


@scenario(
    "sender-clock",
    "senders an hour behind or ahead: what signs its time is quarantined as expired, the rest is applied",
    anywhere=True,
)
def sender_clock(stage: Stage) -> None:
    stage.expected_reasons = ("signature_expired",)
    with stage.traffic(3, sender_clock_ms=-_HOUR_MS), stage.traffic(3, sender_clock_ms=_HOUR_MS):
        stage.fault_ends()
    stage.shows["expired deliveries"] = lambda runs: min(run["quarantined"] for run in runs)


@scenario("consumer-clock", "a consumer whose clock is an hour ahead or behind all others refuses nobody", LOOSE)
def consumer_clock(stage: Stage) -> None:
    # Clocks are relative: senders and gateway an hour behind look to the consumer as its own clock an hour ahead would.
    proxy = stage.broken.proxy
    before = proxy.hits["kinesis"]
    for moved_ms in (-_HOUR_MS, _HOUR_MS):
        moved = Rule("kinesis", rewrite(partial(_moved_in_time, moved_ms)), frozenset({"PutRecord"}))
        with proxy.rules(moved), stage.traffic(2, sender_clock_ms=moved_ms):
            stage.fault_ends()
    stage.bites["records moved in time"] = proxy.hits["kinesis"] - before


def _moved_in_time(moved_ms: int, body: bytes) -> bytes:
    """Return a PutRecord call whose envelope arrived so much later."""
    call = json.loads(body)
    envelope = json.loads(b64decode(call["Data"]))
    envelope["at"] += moved_ms
    call["Data"] = b64encode(json.dumps(envelope, separators=(",", ":")).encode() + b"\n").decode("ascii")
    return json.dumps(call).encode()


# ---------------------------------------------------------------------------------------------- bucket and processes


@scenario(
    "bucket-refuses",
    "the bucket takes nothing, or a stranger answers for it: large bodies, what is behind them and the archive wait",
    HELD_UP,
)
def bucket_refuses(stage: Stage) -> None:
    rig, stage.is_archived = stage.broken, True
    writes = frozenset({"PUT"})
    rules = (
        Rule("s3", pose, writes, share=0.3, what="objects that a stranger took"),
        Rule("s3", refuse_xml("SlowDown", status=503), writes, what="refused objects"),
    )
    before = rig.proxy.met.copy()
    large = replace(MIX, sizes={1024: 9.0, 540 * 1024: 1.0}, incompressible=True)
    with stage.traffic(mix=large):
        with rig.proxy.rules(*rules):
            stage.pass_time(3)
            stage.await_bite(lambda: all(rig.proxy.met[rule] > before[rule] for rule in rules))
        stage.fault_ends()
    stage.bites |= {rule.what: rig.proxy.met[rule] - before[rule] for rule in rules}


@scenario(
    "gateway-killed", "the gateway killed: the rest stops in good order, and a new start goes on", Bounds(worst_s=40.0)
)
def gateway_killed(stage: Stage) -> None:
    rig = stage.broken
    with stage.traffic():
        stage.pass_time(2)
        stage.bites["killed gateways"] = rig.signal("gateway", signal.SIGKILL)
        rig.await_end()
        rig.start()
        stage.fault_ends()


@scenario("engine-killed", "the engine killed: what was answered is there after a new start", OUTAGE)
def engine_killed(stage: Stage) -> None:
    rig = stage.broken
    with stage.traffic():
        stage.pass_time(2)
        stage.bites["killed engines"] = rig.signal("engine", signal.SIGKILL)
        rig.await_end()
        rig.start()
        stage.fault_ends()


@scenario("all-killed", "everything killed at once, and started again", OUTAGE)
def all_killed(stage: Stage) -> None:
    rig = stage.broken
    with stage.traffic():
        stage.pass_time(2)
        stage.bites["killed processes"] = rig.kill()
        rig.start()
        stage.fault_ends()
