"""A consumer that kills itself between two calls of a commit.

python -m tests.support.crash_child ENDPOINT PREFIX KEY POINT CONCURRENCY

Points count from 0: before the first call, after it, before the second, and so on. A process that reaches its end
prints how many points there were.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from random import Random
from threading import Lock
from typing import Any

from tests.support.batches import judged, of_record, run
from tests.support.model import Record
from tests.support.stores import bench_at
from weir.consumers.business.changes import Change, Put, Update, at_least
from weir.consumers.events_table.attributes import Field
from weir.consumers.events_table.item import JudgedEvent
from weir.consumers.events_table.mark import Mark
from weir.consumers.events_table.port import Inserted, Store, StoreLayout

_LARGE = Random(5).randbytes(450_000)


def earlier(key: str) -> list[Record]:
    """Return what was applied before the batch came."""
    text: Change = Update("things", {"id": f"{key}text"}, set={"n": "text"})
    duplicates = [Record(f"{key}d{number}", f"{key}before{number}", "", _pay(key, 1)) for number in range(5)]
    return [Record(f"{key}text", f"{key}before", "", (text,)), *duplicates]


def records(key: str) -> list[Record]:
    """Return a batch that needs every kind of call: chains, duplicates, refusals, inserts and an object."""
    made = [Record(f"{key}s{at}", f"{key}rs{at}", "k", (_thing(key, "same", at),)) for at in range(3)]
    made += [Record(f"{key}d{at}", f"{key}rd{at}", "", _pay(key, 1)) for at in range(5)]
    made += [Record(f"{key}t{at}", f"{key}rt{at}", "", (_thing(key, f"t{at}", at),)) for at in range(60)]
    made += [
        Record(f"{key}spend", f"{key}rspend", "k", (_spend(key),)),
        Record(f"{key}spend", f"{key}rspend2", "k", (_spend(key),)),
        Record(f"{key}add", f"{key}radd", "", (Update("things", {"id": f"{key}text"}, add={"n": 1}),)),
        Record(f"{key}t1", f"{key}again", "", (_thing(key, "t1", 1),)),
        Record(f"{key}t2", f"{key}other", "", (_thing(key, "t2", 99),), type="order.void", signs_type=False),
        Record(f"{key}d1", f"{key}otherd", "", _pay(key, 50), type="order.void", signs_type=False),
        Record(f"{key}i1", f"{key}otheri", "", _pay(key, 50), type="order.void", signs_type=False),
        Record(f"{key}large", f"{key}rlarge", "k", _pay(key, 7)),
        *[Record(f"{key}i{at}", f"{key}ri{at}", "", None) for at in range(3)],
        Record(f"{key}f", f"{key}rf", "", None, is_forged=True),
        Record(f"{key}old", f"{key}rold", "k", _pay(key, 9), is_past=True),
        Record(f"{key}older", f"{key}rolder", "", None, is_past=True),
        Record(f"{key}d1", f"{key}rdold", "", _pay(key, 1), is_past=True),
    ]
    return made


def batch(key: str) -> list[JudgedEvent]:
    """Return the batch as the handler would hand it over."""
    return [
        judged(one.event_id, one.changes, request_id=one.request_id, key=one.partition_key, body=_LARGE)
        if one.event_id.endswith("large")
        else of_record(one)
        for one in records(key)
    ]


def _pay(key: str, amount: int) -> tuple[Change, ...]:
    return (Update("balances", {"account": f"{key}a"}, add={"EUR": amount}),)


def _spend(key: str) -> Change:
    return Update("balances", {"account": f"{key}a"}, add={"EUR": -100}, condition=at_least("EUR", 100))


def _thing(key: str, name: str, number: int) -> Change:
    return Put("things", {"id": f"{key}{name}"}, {"n": number})


class MortalStore:
    """A store whose user dies at a point: killed, as the operating system or Lambda kills."""

    def __init__(self, store: Store, point: int) -> None:
        self._store = store
        self._point = point
        self._points = count()
        self._lock = Lock()
        self.points_count = 0

    @property
    def layout(self) -> StoreLayout:
        return self._store.layout

    def read_marks(self, keys: Sequence[str], *, consistent: bool) -> Mapping[str, Mark]:
        return self._between(lambda: self._store.read_marks(keys, consistent=consistent))  # type: ignore[no-any-return]

    def transact(self, requests: Sequence[str], token: str) -> float:
        return self._between(lambda: self._store.transact(requests, token))  # type: ignore[no-any-return]

    def insert(self, items: Sequence[Sequence[Field]]) -> Inserted:
        return self._between(lambda: self._store.insert(items))  # type: ignore[no-any-return]

    def put_payload(self, key: str, blob: bytes) -> None:
        self._between(lambda: self._store.put_payload(key, blob))

    def _between(self, call: Callable[[], Any]) -> Any:
        self._pass()
        try:
            return call()
        finally:
            self._pass()

    def _pass(self) -> None:
        with self._lock:
            self.points_count += 1
            if next(self._points) == self._point:
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Commit the batch and perhaps die in the middle of it."""
    endpoint, prefix, key, point, concurrency = sys.argv[1:]
    store = MortalStore(bench_at(endpoint, prefix).store, int(point))
    report = run(batch(key), store, concurrency=int(concurrency))
    assert all(result.outcome != "retry" for result in report.results), report
    sys.stdout.write(f"{store.points_count}\n")


if __name__ == "__main__":
    main()
