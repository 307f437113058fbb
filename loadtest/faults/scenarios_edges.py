"""Faults at the edges: answers that are none, reads that fail, engines that hang, senders that misbehave."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import sha256
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

from weir.loadtest.faults.proxy import Rule, bad_gateway, conflict_over, cut_short, garble, pose, refuse
from weir.loadtest.faults.scenario import DATABASE, OUTAGE, break_calls, scenario
from weir.loadtest.faults.scenario_run import MIX, Bounds, ScenarioRun
from weir.loadtest.judging.stores import Stores

_BODY = b'{"id":"evt_edge","type":"edge","pad":"' + b"x" * 2000 + b'"}'
_DIGEST = sha256(_BODY).hexdigest()
_CONNECTIONS = 1000
_WAIT_S = 20.0


@scenario(
    "dynamodb-garbage",
    "answers cut short, in HTML, of a bad gateway, of an impostor: what was written counts once, the rest is not lost",
)
def dynamodb_garbage(run: ScenarioRun) -> None:
    break_calls(
        run,
        3,
        Rule("dynamodb", pose, frozenset({"TransactWriteItems"}), share=0.3, what="successes that were none"),
        Rule("dynamodb", cut_short, DATABASE, share=0.2, what="answers cut in their middle"),
        Rule("dynamodb", garble, DATABASE, share=0.3, what="answers in HTML"),
        Rule("dynamodb", bad_gateway, DATABASE, share=0.4, what="bad gateways"),
    )


@scenario("dynamodb-hot-item", "one account's item held by others all the time: its events wait, and no others")
def dynamodb_hot_item(run: ScenarioRun) -> None:
    proxy = run.own_stack.proxy
    with run.traffic(mix=replace(MIX, account_count=200)) as traffic:
        held = Rule("dynamodb", conflict_over(f"load-{traffic.plan.run}-0"), what="conflicts over one account")
        with proxy.rules(held):
            run.pass_time(4)
        run.fault_ends()
    run.hits["calls to dynamodb"] = proxy.met[held]


# Who reads the stream waits longer after each failure, and all keys of a shard with it.
@scenario(
    "kinesis-reads-fail",
    "iterators expire, reads are throttled, cut short or in HTML: nothing is skipped",
    Bounds(typical_s=6.0),
)
def kinesis_reads_fail(run: ScenarioRun) -> None:
    reads = frozenset({"GetRecords"})
    break_calls(
        run,
        4,
        Rule("kinesis", refuse("ExpiredIteratorException"), reads, share=0.1, what="expired iterators"),
        Rule("kinesis", cut_short, reads, share=0.2, what="reads cut in their middle"),
        Rule("kinesis", garble, reads, share=0.3, what="reads answered in HTML"),
        Rule("kinesis", refuse("ProvisionedThroughputExceededException"), reads, share=0.4, what="throttled reads"),
    )


@scenario("engine-hangs", "engines that hang and go on: senders wait or try again, and nothing is done twice", OUTAGE)
def engine_hangs(run: ScenarioRun) -> None:
    stack = run.own_stack
    with run.traffic():
        run.pass_time(1)
        run.hits["stopped engines"] = stack.signal("engine", signal.SIGSTOP)
        run.pass_time(4)
        stack.signal("engine", signal.SIGCONT)
        run.fault_ends()


@scenario("senders-misbehave", "a thousand senders that send nothing, a half, or everything slowly delay no one else")
def senders_misbehave(run: ScenarioRun) -> None:
    name = f"edge-{token_hex(4)}"
    with run.traffic(), ExitStack() as held:
        run.pass_time(1)
        address = urlsplit(run.target.endpoint)
        silent = [held.enter_context(_connection(address)) for _ in range(_CONNECTIONS)]
        slow = [held.enter_context(_sent(address, name, number, b"")) for number in range(50)]
        for number in range(50, 100):  # gone in the middle of a body
            with _sent(address, name, number, _BODY[:1000]):
                pass
        chunked = [_chunked(address, name, number) for number in range(100, 110)]
        for place in range(10):  # one byte at a time
            for connection in slow:
                connection.send(_BODY[place : place + 1])
            run.pass_time(0.1)
        run.hits["connections that say nothing"] = len(silent)
        run.hits["bodies in chunks that were stored"] = sum(status == 200 for status in chunked)
    run.fault_ends()
    run.hits["whole bodies in the stream"] = _only_whole(run, name, len(chunked))


@contextmanager
def _connection(address: Any) -> Iterator[socket.socket]:
    with socket.create_connection((address.hostname, address.port), timeout=_WAIT_S) as connection:
        yield connection


@contextmanager
def _sent(address: Any, name: str, number: int, part: bytes) -> Iterator[socket.socket]:
    """Open a request that names its length, and send a part of its body."""
    with _connection(address) as connection:
        connection.sendall(_head(address, name, number, f"Content-Length: {len(_BODY)}") + part)
        yield connection


def _chunked(address: Any, name: str, number: int) -> int:
    """Send a request whose body comes in chunks; return its status."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (_BODY[:7], _BODY[7:1500], _BODY[1500:]))
    with _connection(address) as connection:
        connection.sendall(_head(address, name, number, "Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n")
        return int(connection.recv(4096).split(b" ", 2)[1])


def _head(address: Any, name: str, number: int, framing: str) -> bytes:
    lines = (
        f"POST {address.path}/partner HTTP/1.1",
        f"Host: {address.netloc}",
        "Content-Type: application/json",
        f"X-Weir-Run: {name}",
        f"X-Weir-Seq: {number}",
        framing,
    )
    return "\r\n".join((*lines, "", "")).encode()


def _only_whole(run: ScenarioRun, name: str, count: int) -> int:
    """Return how many deliveries are in the stream, 0 if it holds others than the whole ones."""
    stores = Stores(run.target.place, run.target.dictionary)
    found = stores.records(name, int((time.time() - 120 * run.scale) * 1000))
    whole = [record for record in found if record.seq >= 100 and record.body_sha256 == _DIGEST]
    return len(whole) if len(whole) == len(found) == count else 0
