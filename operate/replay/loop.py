"""The loop of a replay: read, choose, wait, deliver, remember.

origin --read--> chunk --filter--> matched --pace--> target
                   |                                   |
                   +------ cursor, figures <-----------+       the checkpoint file
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from weir.operate.lookup.delivery import Advance, Delivery, Estimate, Origin
from weir.operate.replay.checkpoint import Checkpoint
from weir.operate.replay.filters import Filter
from weir.operate.replay.pace import Pace
from weir.operate.replay.ports import Stopped, Target, state_of
from weir.operate.replay.progress import Progress, Report

_CHUNK_BYTES = 4 * 1024 * 1024
_CHUNK_S = 1.0
# A chunk at a limited rate spans this long, so that the rate is even and a stop is quick.
_PACED_CHUNK_S = 0.25


@dataclass(slots=True)
class Replay:
    """One replay, from the checkpoint's cursor on. ``watch`` is called after each chunk."""

    origin: Origin
    wants: Filter
    target: Target
    checkpoint: Checkpoint
    pace: Pace
    stopped: Callable[[], bool] = lambda: False
    watch: Callable[[Progress], object] = lambda _: None
    idle: Callable[[], object] = lambda: None
    clock_ms: Callable[[], int] = lambda: int(time.time() * 1000)
    progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        self.progress = Progress(Estimate(), self.checkpoint.report)

    @property
    def report(self) -> Report:
        return self.checkpoint.report

    def run(self) -> bool:
        """Go on until the origin is exhausted, and return True; or until stopped, and return False.

        Raises: TransientError when the target cannot go on. The checkpoint is saved in each case.
        """
        self.progress.note(time.monotonic())
        try:
            self.checkpoint.is_done = self._read_all()
        except Stopped:
            pass
        finally:
            self.checkpoint.target = state_of(self.target)
            self.checkpoint.save()
        return self.checkpoint.is_done

    def _read_all(self) -> bool:
        chunk: list[Delivery | Advance] = []
        size, began_s = 0, time.monotonic()
        for step in self.origin.read(self.checkpoint.cursor):
            if self.stopped():
                return False
            if step is not None:
                chunk.append(step)
                size += len(step.data) if isinstance(step, Delivery) else 0
            is_late = time.monotonic() - began_s > _CHUNK_S
            if step is None or len(chunk) >= self._chunk_count() or size >= _CHUNK_BYTES or is_late:
                if not self._pass_on(chunk):
                    return False
                chunk, size, began_s = [], 0, time.monotonic()
                if step is None:
                    self.idle()
        return self._pass_on(chunk)

    def _chunk_count(self) -> int:
        if not self.pace.rate_per_s:
            return self.target.batch_count
        return max(1, min(self.target.batch_count, int(self.pace.rate_per_s * _PACED_CHUNK_S)))

    def _pass_on(self, chunk: list[Delivery | Advance]) -> bool:
        """Deliver what is wanted of a chunk and move behind it; return False if stopped before."""
        deliveries = [step for step in chunk if isinstance(step, Delivery)]
        wanted = self.wants.select(deliveries)
        flags = dict(zip(map(id, deliveries), self.checkpoint.repeats(deliveries), strict=True))
        if wanted:
            if not self.pace.wait(len(wanted), self.stopped):
                return False
            # From here on the batch counts as begun: after a kill the table shows how much of it was done.
            since_ms = self.checkpoint.again_since_ms
            self.checkpoint.target = state_of(self.target)
            self.checkpoint.begin(deliveries, self.clock_ms())
            self.report.add(self.target.deliver(wanted, [flags[id(one)] for one in wanted], since_ms))
        self.report.read += len(deliveries)
        self.report.matched += len(wanted)
        self.checkpoint.done(chunk)
        if deliveries:
            self.progress.position_ms = _position_ms(deliveries[-1]) or self.progress.position_ms
        self.progress.note(time.monotonic())
        self.watch(self.progress)
        return True


def _position_ms(delivery: Delivery) -> int:
    if delivery.opened is not None and delivery.opened[0] is not None:
        return int(delivery.opened[0].arrived_at_ms)
    return delivery.arrived_at_ms
