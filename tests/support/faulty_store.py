"""A store that fails as told, call by call, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from tests.support.memory_store import MemoryStore
from weir.consumers.events_table.attributes import Field
from weir.consumers.events_table.mark import Mark
from weir.consumers.events_table.port import Inserted, StoreLayout

Fault = BaseException | Callable[[], BaseException | None] | None


class FaultyStore:
    """Wraps a store. ``before`` and ``after`` hold, by operation, what the next calls fail with: before or after they
    take effect; None lets a call pass. ``asked`` are the calls in order: operation and arguments."""

    def __init__(self, store: MemoryStore | None = None, **faults: Sequence[Fault]) -> None:
        self.store = store or MemoryStore()
        self.before = {name: list(ones) for name, ones in faults.items() if not name.startswith("lost_")}
        self.after = {
            name.removeprefix("lost_"): list(ones) for name, ones in faults.items() if name.startswith("lost_")
        }
        self.asked: list[tuple[str, Any]] = []
        self._lock = Lock()

    @property
    def layout(self) -> StoreLayout:
        return self.store.layout

    @property
    def operations(self) -> list[str]:
        return [name for name, _ in self.asked]

    def read_marks(self, keys: Sequence[str], *, consistent: bool) -> Mapping[str, Mark]:
        return self._do("read_marks", lambda: self.store.read_marks(keys, consistent=consistent), keys)  # type: ignore[no-any-return]

    def transact(self, requests: Sequence[str], token: str) -> float:
        return self._do("transact", lambda: self.store.transact(requests, token), (list(requests), token))  # type: ignore[no-any-return]

    def insert(self, items: Sequence[Sequence[Field]]) -> Inserted:
        return self._do("insert", lambda: self.store.insert(items), items)  # type: ignore[no-any-return]

    def put_payload(self, key: str, blob: bytes) -> None:
        self._do("put_payload", lambda: self.store.put_payload(key, blob), key)

    def _do(self, operation: str, call: Callable[[], Any], asked: Any) -> Any:
        with self._lock:
            self.asked.append((operation, asked))
            _raise_next(self.before.get(operation))
            answer = call()
            _raise_next(self.after.get(operation))
            return answer


def _raise_next(faults: list[Fault] | None) -> None:
    if not faults:
        return
    fault = faults.pop(0)
    if callable(fault):
        fault = fault()
    if fault is not None:
        raise fault
