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
from typing import TYPE_CHECKING, Any

from weir.ingest.schemes import signatures
from weir.loadtest.faults import poison
from weir.loadtest.faults.fault_stack import FaultStack
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
from weir.loadtest.faults.scenario import DATABASE, HELD_UP, LOOSE, OUTAGE, WRITES, break_calls, scenario
from weir.loadtest.faults.scenario_run import MIX, Bounds, ScenarioRun

if TYPE_CHECKING:
    from types_boto3_kinesis import KinesisClient
    from types_boto3_kinesis.type_defs import ShardTypeDef

_HOUR_MS = 3_600_000
_OUT_OF_MEMORY_BYTES = 280 << 20
_TRIES = 3


def _total(runs: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(one[name] for one in runs)


# ---------------------------------------------------------------------------------------------- Kinesis


@scenario("kinesis-throttles", "bursts of throttled PutRecord reach the sender as 503, and it loses nothing")
def kinesis_throttles(run: ScenarioRun) -> None:
    proxy = run.own_stack.proxy
    throttled = Rule("kinesis", refuse("ProvisionedThroughputExceededException"), frozenset({"PutRecord"}))
    before = proxy.hits["kinesis"]
    with run.traffic():
        for _ in range(4):
            with proxy.rules(throttled):
                run.pass_time(0.5)
            run.pass_time(0.5)
        run.fault_ends()
    run.hits["throttled calls"] = proxy.hits["kinesis"] - before


@scenario("kinesis-down", "no Kinesis at all: nothing is acknowledged meanwhile, nothing lost after")
def kinesis_down(run: ScenarioRun) -> None:
    # Four seconds in the short run of the matrix; `--scale 15` makes a minute of them.
    break_calls(run, 4, Rule("kinesis", cut))


# ---------------------------------------------------------------------------------------------- DynamoDB


@scenario("dynamodb-throttles", "half of all database calls throttled: retried within the invocation, then again")
def dynamodb_throttles(run: ScenarioRun) -> None:
    throttled = refuse("ProvisionedThroughputExceededException")
    break_calls(run, 3, Rule("dynamodb", throttled, DATABASE, share=0.5))


@scenario("dynamodb-conflicts", "transactions cancelled by conflicts are retried and change nothing twice")
def dynamodb_conflicts(run: ScenarioRun) -> None:
    break_calls(run, 3, Rule("dynamodb", conflict, frozenset({"TransactWriteItems"}), share=0.5))


_LATE = (
    Rule("dynamodb", late(7.0), WRITES, share=0.1, what="answers 7 s late"),
    Rule("dynamodb", slow(0.5), WRITES, share=0.5, what="calls 0.5 s late"),
)


@scenario("dynamodb-late", "answers that come after the timeout: a write that happened counts once")
def dynamodb_late(run: ScenarioRun) -> None:
    break_calls(run, 3, *_LATE)


@scenario("dynamodb-lost-answers", "writes whose answer is lost are found and count once")
def dynamodb_lost_answers(run: ScenarioRun) -> None:
    break_calls(run, 3, Rule("dynamodb", lose_answer, WRITES, share=0.4))


@scenario("dynamodb-fails", "internal errors of the database are waited out", OUTAGE)
def dynamodb_fails(run: ScenarioRun) -> None:
    break_calls(run, 3, Rule("dynamodb", refuse("InternalServerError", status=500), DATABASE, share=0.9))


# ---------------------------------------------------------------------------------------------- the consumer


@dataclass(slots=True, eq=False)  # a rule is a key, and so its behaviour is
class _Strike:
    """Sends a signal to processes of the function when their write has happened, before they hear of it.

    So an invocation is met, not an idle process. ``left`` is how many to meet yet, ``met`` how many were.
    """

    stack: FaultStack
    number: int
    left: int = 0
    met: int = 0

    async def __call__(self, call: Call, forward: Forward) -> Reply:
        """Make the call and strike its caller."""
        reply = await forward(call)
        if self.left and self.stack.signal_caller("function", call.from_port, self.number):
            self.left, self.met = self.left - 1, self.met + 1
        return reply


@scenario("consumer-killed", "the consumer killed in the middle of batches leaves nothing half done")
def consumer_killed(run: ScenarioRun) -> None:
    strike = _Strike(run.own_stack, signal.SIGKILL)
    with run.traffic(), run.own_stack.proxy.rules(Rule("dynamodb", strike, WRITES)):
        for _ in range(8):
            run.pass_time(0.45)
            strike.left += 1
        run.await_hit(lambda: not strike.left)
        run.fault_ends()
    run.hits["killed processes"] = strike.met


@scenario("consumer-hung", "a consumer that hangs is ended by the function's timeout; the others go on")
def consumer_hung(run: ScenarioRun) -> None:
    run.shows_in_log("functions timed out", "Task timed out")
    strike = _Strike(run.own_stack, signal.SIGSTOP, left=1)
    with run.traffic():
        run.pass_time(1)
        with run.own_stack.proxy.rules(Rule("dynamodb", strike, WRITES)):
            run.await_hit(lambda: bool(strike.met))
    run.fault_ends()
    run.hits["stopped processes"] = strike.met


@scenario("consumer-out-of-memory", "a consumer that takes more memory than it has is ended and replaced")
def consumer_out_of_memory(run: ScenarioRun) -> None:
    what, proxy = "functions out of memory", run.own_stack.proxy
    run.shows_in_log(what, "Runtime.OutOfMemory")
    with run.traffic():
        run.pass_time(1)
        for _ in range(_TRIES):  # on a busy machine a function may time out before it has read so much
            with proxy.rules(Rule("dynamodb", once(flood(_OUT_OF_MEMORY_BYTES)), WRITES)):
                run.pass_time(3)
                run.await_hit(lambda: bool(run.shows[what](())))
            if run.shows[what](()):
                break
        run.fault_ends()


# ---------------------------------------------------------------------------------------------- records


def _poisoned(run: ScenarioRun, kinds: list[tuple[list[bytes], str, str]]) -> None:
    """Put records into the stream amid traffic; each kind is records, the reason of their quarantine, their key."""
    place = run.target.place
    kinesis, stream = place.client("kinesis"), place.outputs().stream_name
    with run.traffic(3):
        run.pass_time(1)
        for records, reason, key in kinds:
            run.poisons += poison.put(kinesis, stream, records, reason, key=key)
        run.fault_ends()
    run.hits["poisoned records"] = len(run.poisons)


@scenario("poison-one", "one record that can never succeed is quarantined with its bytes", anywhere=True)
def poison_one(run: ScenarioRun) -> None:
    _poisoned(run, [(poison.malformed(1), "unreadable", "")])


@scenario("poison-many", "poison of every kind among good records stops none of them", anywhere=True)
def poison_many(run: ScenarioRun) -> None:
    _poisoned(run, [(poison.malformed(160), "unreadable", "")])


@scenario("poison-batch", "batches of nothing but poison, all under one key, delay no other event", anywhere=True)
def poison_batch(run: ScenarioRun) -> None:
    _poisoned(run, [(poison.malformed(600), "unreadable", "poison")])


@scenario("damaged-aggregate", "broken KPL aggregates are quarantined whole, never dropped", anywhere=True)
def damaged_aggregate(run: ScenarioRun) -> None:
    _poisoned(run, [(poison.damaged_aggregates(20), "aggregate_damaged", "")])


@scenario("duplicate-storm", "four of five deliveries are duplicates, and each event counts once", anywhere=True)
def duplicate_storm(run: ScenarioRun) -> None:
    with run.traffic(4, mix=replace(MIX, duplicates=0.8)):
        run.fault_ends()
    run.shows["duplicates"] = lambda runs: _total(runs, "duplicates")


@scenario("reordered-delivery", "senders deliver seconds out of order, and sums are still right", anywhere=True)
def reordered_delivery(run: ScenarioRun) -> None:
    with run.traffic(4, disorder_s=2.0):
        run.fault_ends()
    run.shows["deliveries after a later one"] = lambda runs: _total(runs, "late_to_early")


@scenario("redelivery", "the stream is read again from an older place, and nothing counts twice")
def redelivery(run: ScenarioRun) -> None:
    stack = run.own_stack
    older = {path: path.read_bytes() for path in stack.checkpoints}
    with run.traffic():
        run.pass_time(3)
        stack.kill()
        run.hits["checkpoints put back"] = sum(path.read_bytes() != content for path, content in older.items())
        for path, content in older.items():
            path.write_bytes(content)
        stack.start()
        run.fault_ends()


# ---------------------------------------------------------------------------------------------- stream and secrets


@scenario("reshard", "a shard split and merged again in the middle of load loses nothing and keeps order")
def reshard(run: ScenarioRun) -> None:
    place = run.target.place
    kinesis, stream = place.client("kinesis"), place.outputs().stream_name
    with run.traffic(6):
        run.pass_time(1.5)
        parent = next(shard for shard in _open_shards(kinesis, stream))
        keys = parent["HashKeyRange"]
        middle = str((int(keys["StartingHashKey"]) + int(keys["EndingHashKey"])) // 2)
        kinesis.split_shard(StreamName=stream, ShardToSplit=parent["ShardId"], NewStartingHashKey=middle)
        run.pass_time(2)
        children = [shard for shard in _open_shards(kinesis, stream) if shard.get("ParentShardId") == parent["ShardId"]]
        children.sort(key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
        first, second = (shard["ShardId"] for shard in children)
        kinesis.merge_shards(StreamName=stream, ShardToMerge=first, AdjacentShardToMerge=second)
        run.fault_ends()
    run.hits["children of the split"] = len(children)


def _open_shards(kinesis: KinesisClient, stream: str) -> list[ShardTypeDef]:
    shards = kinesis.list_shards(StreamName=stream)["Shards"]
    return [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]


# How long a refusal keeps others from having the secrets read again (consumers/judging/secrets.py), and a second.
_REREAD_PAUSE_S = 31.0


@scenario("secret-rotated", "a secret changed at the provider during load makes no delivery fail", anywhere=True)
def secret_rotated(run: ScenarioRun) -> None:
    source, scheme = "stripe", run.target.catalogue["stripe"].scheme
    pair = signatures.generate_secret(scheme, secrets.token_bytes(32))
    rotated = {**run.target.signing_keys, source: pair.sign_with}
    # Forgeries have the secrets read again at most twice a minute, so that a new one may be seen so much later. Here
    # nothing is forged, and what was forged before is long enough ago.
    mix = replace(MIX, sources={source: 1.0}, bad_signatures=0.0)
    run.pass_time(_REREAD_PAUSE_S)
    with run.traffic(4, mix=mix):
        run.pass_time(1.5)
        _add_secret(run, source, pair.verify_with)
        after = run.begin_traffic(3, mix=mix, signing_keys=rotated)
        run.fault_ends()
    after.join()
    run.shows["deliveries signed with the new secret"] = lambda runs: runs[1]["acknowledged"]


def _add_secret(run: ScenarioRun, source: str, value: str) -> None:
    """Make a secret live before the others, as `weir secrets set` does."""
    ssm, prefix = run.target.place.client("ssm"), run.target.place.outputs().secrets_prefix
    name = f"{prefix}/{source}"
    live = json.loads(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])["secrets"]
    changed = {"secrets": [{"value": value, "created_at_ms": live[0]["created_at_ms"] + 1}, *live]}
    ssm.put_parameter(Name=name, Value=json.dumps(changed), Type="SecureString", Overwrite=True)


@scenario("secret-store-down", "no secret can be read: events wait, none is taken for forged", OUTAGE)
def secret_store_down(run: ScenarioRun) -> None:
    stack = run.own_stack
    before = stack.proxy.hits["ssm"]
    with stack.proxy.rules(Rule("ssm", refuse("InternalServerError", status=500))):
        # What the running consumers have in memory goes with them.
        stack.signal("function", signal.SIGKILL)
        with run.traffic():
            run.pass_time(3)
            stack.signal("function", signal.SIGKILL)
            run.pass_time(1)
            run.await_hit(lambda: stack.proxy.hits["ssm"] > before)
    run.fault_ends()
    run.hits["refused secrets"] = stack.proxy.hits["ssm"] - before


# ---------------------------------------------------------------------------------------------- clocks


@scenario(
    "sender-clock",
    "senders an hour behind or ahead: signatures with a time are quarantined as expired, the rest is applied",
    anywhere=True,
)
def sender_clock(run: ScenarioRun) -> None:
    run.expected_reasons = ("signature_expired",)
    with run.traffic(3, sender_clock_ms=-_HOUR_MS), run.traffic(3, sender_clock_ms=_HOUR_MS):
        run.fault_ends()
    run.shows["expired deliveries"] = lambda runs: min(one["quarantined"] for one in runs)


@scenario("consumer-clock", "a consumer whose clock is an hour ahead or behind refuses no good delivery", LOOSE)
def consumer_clock(run: ScenarioRun) -> None:
    # Clocks are relative: senders and gateway an hour behind look to the consumer as its own clock an hour ahead would.
    proxy = run.own_stack.proxy
    before = proxy.hits["kinesis"]
    for moved_ms in (-_HOUR_MS, _HOUR_MS):
        moved = Rule("kinesis", rewrite(partial(_moved_in_time, moved_ms)), frozenset({"PutRecord"}))
        with proxy.rules(moved), run.traffic(2, sender_clock_ms=moved_ms):
            run.fault_ends()
    run.hits["records moved in time"] = proxy.hits["kinesis"] - before


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
def bucket_refuses(run: ScenarioRun) -> None:
    stack, run.is_archived = run.own_stack, True
    writes = frozenset({"PUT"})
    rules = (
        Rule("s3", pose, writes, share=0.3, what="objects that a stranger took"),
        Rule("s3", refuse_xml("SlowDown", status=503), writes, what="refused objects"),
    )
    before = stack.proxy.met.copy()
    large = replace(MIX, sizes={1024: 9.0, 540 * 1024: 1.0}, incompressible=True)
    with run.traffic(mix=large):
        with stack.proxy.rules(*rules):
            run.pass_time(3)
            run.await_hit(lambda: all(stack.proxy.met[rule] > before[rule] for rule in rules))
        run.fault_ends()
    run.hits |= {rule.what: stack.proxy.met[rule] - before[rule] for rule in rules}


@scenario(
    "gateway-killed", "the gateway killed: the rest stops in order, and a new start goes on", Bounds(worst_s=40.0)
)
def gateway_killed(run: ScenarioRun) -> None:
    stack = run.own_stack
    with run.traffic():
        run.pass_time(2)
        run.hits["killed gateways"] = stack.signal("gateway", signal.SIGKILL)
        stack.await_end()
        stack.start()
        run.fault_ends()


@scenario("engine-killed", "the engine killed: what was answered is there after a new start", OUTAGE)
def engine_killed(run: ScenarioRun) -> None:
    stack = run.own_stack
    with run.traffic():
        run.pass_time(2)
        run.hits["killed engines"] = stack.signal("engine", signal.SIGKILL)
        stack.await_end()
        stack.start()
        run.fault_ends()


@scenario("disk-full", "a disk without room ends the stack before it answers; with room again all is there", OUTAGE)
def disk_full(run: ScenarioRun) -> None:
    stack = run.own_stack
    with run.traffic():
        run.pass_time(2)
        run.hits["engines without room"] = stack.fill_disk()
        stack.await_end()
        stack.start()
        run.fault_ends()


@scenario("disk-full-then-killed", "no room, and then everything is killed: what was answered is there", OUTAGE)
def disk_full_then_killed(run: ScenarioRun) -> None:
    stack = run.own_stack
    with run.traffic():
        run.pass_time(2)
        run.hits["engines without room"] = stack.fill_disk()
        run.pass_time(0.3)
        run.hits["killed processes"] = stack.kill()
        stack.start()
        run.fault_ends()


@scenario("all-killed", "everything killed at once, and started again", OUTAGE)
def all_killed(run: ScenarioRun) -> None:
    stack = run.own_stack
    with run.traffic():
        run.pass_time(2)
        run.hits["killed processes"] = stack.kill()
        stack.start()
        run.fault_ends()
