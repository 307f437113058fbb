"""What a fault scenario works with: traffic to endure the fault, ways to inject it, and the judgement afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from zlib import crc32

from weir.ingest.errors import StackFailed
from weir.loadtest.faults.fault_stack import FaultStack
from weir.loadtest.faults.poison import Poison
from weir.loadtest.judging import judge_run
from weir.loadtest.judging.evidence import StoredItem
from weir.loadtest.judging.stores import Stores
from weir.loadtest.report import summary
from weir.loadtest.sending import pacer, results
from weir.loadtest.sending.attack import Limits
from weir.loadtest.sending.mix import Mix
from weir.loadtest.sending.plan import Plan, Timing
from weir.loadtest.sending.run import conduct
from weir.loadtest.session import Target

_PATIENCE_S = 90.0
_SETTLE_S = 30.0
_HIT_S = 15.0
_LAG_LIMIT_S = 2.0
_LAG_STEP_S = 0.25
MIX = Mix(sizes={1024: 8.0, 8192: 2.0}, duplicates=0.05, bad_signatures=0.02, keyed=0.5, hot=0.2, account_count=40)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a scenario promises of those it does not concern: half of all events are applied within ``typical_s``.

    ``worst_s`` is for every event, ``recovery_s`` for the time after the fault until lag is under 2 s again.
    """

    typical_s: float = 3.0
    worst_s: float = 20.0
    recovery_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a scenario ended, in sentences: ``faults`` are promises not kept, ``late`` what took longer than its bounds.

    A machine that is busy with something else makes things late, and breaks no promise.
    """

    name: str
    faults: tuple[str, ...]
    figures: Mapping[str, Any]
    late: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.faults and not self.late


class Traffic:
    """A run under way in the background."""

    def __init__(self, target: Target, plan: Plan) -> None:
        self.plan = plan
        self.path = target.folder / plan.run / summary.RESULTS_FILE
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"traffic-{plan.run}")
        self._thread.start()
        while not self._started.wait(0.1):
            if not self._thread.is_alive():
                self.join()

    def _run(self) -> None:
        try:
            limits = Limits(connections=64, warm_connections=4, patience_s=_PATIENCE_S)
            conduct(self.plan, limits, self.path, on_start=self._start)
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error

    def _start(self, start_at_s: float) -> None:
        time.sleep(max(0.0, start_at_s - time.time()))
        self._started.set()

    def join(self) -> None:
        """Wait for its end. Raises: whatever ended it."""
        self._thread.join()
        if self._error is not None:
            raise self._error


@dataclass(slots=True)
class ScenarioRun:
    """The surroundings of one scenario. ``scale`` stretches times: 1 for the short run of the matrix.

    ``stack`` is None where the stack is not ours to break. A scenario notes in ``hits`` that its fault met something,
    or in ``shows`` how the runs' figures tell it, in ``poisons`` what must be quarantined, in ``expected_reasons``
    why good events may be, in ``limits`` what says from the runs' figures what is late; with ``is_archived`` the
    archive must hold everything too.
    """

    given_target: Target
    stack: FaultStack | None
    scale: float = 1.0
    rate_per_s: float = 60.0
    hits: dict[str, int] = field(default_factory=dict)
    shows: dict[str, Callable[[Sequence[Mapping[str, Any]]], int]] = field(default_factory=dict)
    limits: list[Callable[[Sequence[Mapping[str, Any]]], list[str]]] = field(default_factory=list)
    poisons: list[Poison] = field(default_factory=list)
    expected_reasons: tuple[str, ...] = ()
    is_archived: bool = False
    ended_at_s: float = 0.0
    _traffics: list[Traffic] = field(default_factory=list)

    @property
    def target(self) -> Target:
        """Where to send and look: a stack of our own is another target after each start."""
        return self.given_target if self.stack is None else self.stack.target

    @property
    def own_stack(self) -> FaultStack:
        """The stack that may be broken. Raises: StackFailed where there is none."""
        if self.stack is None:
            raise StackFailed("This fault needs the embedded stack.")
        return self.stack

    @contextmanager
    def traffic(self, seconds: float = 5.0, *, mix: Mix = MIX, **plan: Any) -> Iterator[Traffic]:
        """Send at the usual rate while the block runs, and wait for the last answer after it."""
        traffic = self.begin_traffic(seconds, mix=mix, **plan)
        yield traffic
        self.ended_at_s = self.ended_at_s or time.time()
        traffic.join()

    def begin_traffic(self, seconds: float, *, mix: Mix = MIX, **changes: Any) -> Traffic:
        """Begin to send; `end` waits for it."""
        timing = Timing("poisson", pacer.constant(self.rate_per_s, seconds * self.scale))
        plan = self.target.plan(timing, mix)
        # Its own seed, so that no two scenarios send the same.
        plan = replace(plan, seed=crc32(plan.run.encode()), **changes)
        traffic = Traffic(self.target, plan)
        self._traffics.append(traffic)
        return traffic

    def pass_time(self, seconds: float) -> None:
        """Let the scenario's time pass."""
        time.sleep(seconds * self.scale)

    def await_hit(self, met: Callable[[], bool]) -> None:
        """Keep the fault in force until it met something: a slow machine may not have come so far yet."""
        deadline_s = time.monotonic() + _HIT_S
        while not met() and time.monotonic() < deadline_s:
            time.sleep(0.05)

    def fault_ends(self) -> None:
        """Note that from now on nothing is broken: recovery counts from here."""
        self.ended_at_s = time.time()

    def shows_in_log(self, what: str, phrase: str) -> None:
        """Let the runs show how often a phrase is in the consumer's log from now on."""
        log = self.target.place.outputs().consumer_log
        if log is None:
            raise StackFailed("This fault needs the log file of the embedded stack.")
        seen_bytes = log.stat().st_size if log.exists() else 0
        self.shows[what] = lambda _: log.read_bytes()[seen_bytes:].count(phrase.encode())

    def judge(self, name: str, bounds: Bounds, say: Callable[[str], None]) -> Ending:
        """Wait, read everything, and compare it with the promises."""
        faults: list[str] = []
        late: list[str] = []
        figures: dict[str, Any] = {"runs": []}
        for traffic in self._traffics:
            traffic.join()
            found, said = self._judge_traffic(traffic, say)
            faults += found
            late += self._exceeded(said, bounds)
            figures["runs"].append(said)
        figures["hits"] = self.hits | {what: look(figures["runs"]) for what, look in self.shows.items()}
        faults += [f"the fault had no effect: {what}" for what, count in figures["hits"].items() if not count]
        faults += [] if figures["hits"] else ["nothing shows that the fault happened"]
        faults += self._judge_poisons()
        late += [what for limit in self.limits for what in limit(figures["runs"])]
        return Ending(name, tuple(faults), figures, tuple(late))

    def _judge_traffic(self, traffic: Traffic, say: Callable[[str], None]) -> tuple[list[str], dict[str, Any]]:
        run = results.read(traffic.path)
        stores = Stores(self.target.place, self.target.dictionary)
        verdict, observed = judge_run.judge_run(
            run, stores, wait_s=_SETTLE_S, say=say, expected_reasons=self.expected_reasons
        )
        judge_run.write(traffic.path.with_name(summary.VERDICT_FILE), verdict, observed)
        said = verdict.as_json()
        found = [f"{name.replace('_', ' ')}: {what}" for name, ids in verdict.faults.items() for what in ids[:5]]
        if verdict.refused + verdict.unanswered > sum(one.kind == "oversized" for one in run.results):
            found.append(
                f"{verdict.refused} refused and {verdict.unanswered} still unanswered after {_PATIENCE_S:.0f} s"
            )
        if self.is_archived:
            found += self._judge_archive(run, stores)
        said["late_to_early"] = sum(
            a.seq > b.seq for a, b in pairwise(sorted(run.results, key=lambda one: one.sent_at_ms))
        )
        said["recovered_after_s"] = self._recovered_after_s(observed["lag"]["series_s"], run.header["started_at_ms"])
        return found, said

    def _exceeded(self, said: Mapping[str, Any], bounds: Bounds) -> list[str]:
        limits = {
            "delay_p50_s": bounds.typical_s,
            "delay_max_s": bounds.worst_s * self.scale,
            "recovered_after_s": bounds.recovery_s,
        }
        values = {figure: said[figure] or 0.0 for figure in limits}
        return [
            f"{figure} is {values[figure]:.1f}, more than {bound:.1f}"
            for figure, bound in limits.items()
            if values[figure] > bound
        ]

    def _recovered_after_s(self, lag_s: list[float], started_at_ms: float) -> float:
        """Return how long after the fault lag was 2 s for the last time."""
        late = [index for index, lag in enumerate(lag_s) if lag >= _LAG_LIMIT_S]
        if not late or not self.ended_at_s:
            return 0.0
        return max(0.0, started_at_ms / 1000 + late[-1] * _LAG_STEP_S - self.ended_at_s)

    @staticmethod
    def _judge_archive(run: results.Run, stores: Stores) -> list[str]:
        """Wait until the archive holds what was acknowledged, and compare the bytes."""
        sent = {one.request_id: one.body_sha256 for one in run.accepted}
        deadline_s = time.monotonic() + _SETTLE_S
        while not sent.keys() <= (kept := stores.archived(run.name)).keys() and time.monotonic() < deadline_s:
            time.sleep(1)
        wrong = [request_id for request_id, digest in sent.items() if kept.get(request_id) != digest]
        return [f"not in the archive as it was sent: request {request_id}" for request_id in wrong[:5]]

    def await_poisons(self) -> dict[str, StoredItem]:
        """Wait until all that must be quarantined is stored; return what is, by key."""
        stores = Stores(self.target.place, self.target.dictionary)
        wanted = [poison.pk for poison in self.poisons]
        deadline_s = time.monotonic() + _SETTLE_S
        items = stores.items(wanted)
        while len(items) < len(wanted) and time.monotonic() < deadline_s:
            time.sleep(0.5)
            items = stores.items(wanted)
        return items

    def _judge_poisons(self) -> list[str]:
        items = self.await_poisons()
        found = []
        for poison in self.poisons:
            pk, item = poison.pk, items.get(poison.pk)
            reasons = {poison.reason} if poison.reason else {item.reason if item else ""}
            if item is None or item.outcome != "quarantined" or item.reason not in reasons:
                wanted = f" as {poison.reason}" if poison.reason else ""
                found.append(f"{pk}: not quarantined{wanted} but {item.reason if item else 'nowhere'}")
            elif item.bytes_sha256 != poison.sha256:
                found.append(f"{pk}: quarantined with other bytes")
        return found
