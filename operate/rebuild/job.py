"""`weir rebuild`, step by step: fresh tables, the past, what arrived meanwhile, the comparison, the swap."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from weir.consumers.outcome import Outcome
from weir.ingest.errors import OptionInvalid
from weir.operate.lookup.delivery import Origin
from weir.operate.lookup.times import parse_moment_ms
from weir.operate.rebuild.tables import (
    Comparer,
    Comparison,
    Fresh,
    ToRebuild,
    drop,
    left_behind,
    make_fresh,
    settle,
    swap,
)
from weir.operate.replay.checkpoint import Checkpoint
from weir.operate.replay.factory import Bench, consumer_with, make_filter, make_origin
from weir.operate.replay.filters import Filter, Wanted
from weir.operate.replay.loop import Replay
from weir.operate.replay.origins.from_table import FromTable
from weir.operate.replay.pace import Pace
from weir.operate.replay.progress import Report
from weir.operate.replay.runner import default_name
from weir.operate.replay.targets.in_process import TrustingSecrets, make_secrets
from weir.operate.replay.terminal import Terminal

_STOPPED, _DIFFERS = 130, 1
# What arrived while the past was read has an arrival time from before it was committed.
_OVERLAP_MS = 900_000
_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Control:
    """Pauses and resumes the live consumer."""

    pause: Callable[[], None]
    resume: Callable[[], None]


@dataclass(slots=True)
class Job:
    """One rebuild. ``tables`` are the logical names to compare, all if there are none."""

    bench: Bench
    terminal: Terminal
    control: Control
    folder: Path
    tables: tuple[str, ...]
    origin: str = "events"
    since: str | None = None
    pause: bool = False
    swap: bool = False
    delete: bool = False
    keep: bool = False
    clean: bool = False
    report: Report = field(default_factory=Report)
    caught_up: int = 0

    def run(self, *, as_json: bool) -> int:
        """Do all steps; return the exit code."""
        if self.delete and not self.swap:
            raise OptionInvalid("--delete goes with --swap.")
        names = self.tables or tuple(self.bench.settings.tables)
        if unknown := set(names) - set(self.bench.settings.tables):
            raise OptionInvalid(
                f"There is no table {min(unknown)!r}; there are: {', '.join(self.bench.settings.tables)}."
            )
        dynamodb = self.bench.stack.table.dynamodb
        left = left_behind(dynamodb, self.bench.settings)
        if self.clean:
            return self._clean(left)
        if left:
            self.terminal.say(f"left by rebuilds that were killed, kept or still run: {', '.join(left)}; see --clean")
        fresh = make_fresh(dynamodb, self.bench.settings, default_name())
        try:
            return self._rebuild(fresh, names, as_json=as_json)
        finally:
            if not self.keep:
                drop(dynamodb, fresh)

    def _clean(self, left: list[str]) -> int:
        if not left:
            self.terminal.say("no rebuild has left tables behind")
        for table in left:
            self.bench.stack.table.dynamodb.delete_table(TableName=table)
            self.terminal.say(f"deleted {table}")
        return 0

    def _rebuild(self, fresh: Fresh, names: tuple[str, ...], *, as_json: bool) -> int:
        began_ms = round(time.time() * 1000)
        if not self._pass(fresh, self.origin, self._since_ms(began_ms)):
            self.terminal.say("stopped; nothing was compared and the present tables are as they were")
            return _STOPPED

        def catch_up() -> None:
            self._pass(fresh, "events", began_ms - _OVERLAP_MS)

        catch_up()
        comparer = Comparer(self.bench.stack.table.dynamodb)
        pairs = {name: (fresh.present[name], fresh.settings.tables[name]) for name in names}
        with self._at_rest():
            found = settle(comparer, catch_up, pairs)
            if self.swap:
                self._swap(found, pairs)
        self._tell(found, fresh, as_json=as_json)
        return _DIFFERS if any(one.differences for one in found.values()) and not self.swap else 0

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Pause the consumer where that is asked for, and let it go on whatever happens."""
        if not (self.pause or self.swap):
            yield
            return
        self.terminal.say("pausing the consumer")
        self.control.pause()
        try:
            yield
        finally:
            self.control.resume()
            self.terminal.say("the consumer goes on")

    def _since_ms(self, now_ms: int) -> int | None:
        return parse_moment_ms(self.since, now_ms) if self.since else None

    def _pass(self, fresh: Fresh, origin: str, since_ms: int | None) -> bool:
        """Bring what an origin holds into the fresh tables; what is there already stays."""
        checkpoint = Checkpoint(None, report=Report())
        wants = make_filter(self.bench, {"since_ms": since_ms})
        job = Replay(
            self._origin(origin, wants, since_ms),
            wants,
            self._target(fresh),
            checkpoint,
            Pace(None, clock=time.monotonic, sleep=time.sleep),
            stopped=self.terminal.stopped,
            watch=self.terminal.watch,
        )
        is_done = job.run()
        if not self.report.read:
            self.report = checkpoint.report
        else:  # most of a later pass is there already
            self.caught_up += sum(checkpoint.report.counts[kind] for kind in (Outcome.APPLIED, Outcome.IGNORED))
        return is_done

    def _origin(self, name: str, wants: Filter, since_ms: int | None) -> Origin:
        if name != "events":
            ends_ms = round(time.time() * 1000)
            return make_origin(self.bench, {"from": name, "since_ms": since_ms, "ends_ms": ends_ms}, wants)
        # What is quarantined has had no effect on the present tables.
        applied = Filter(
            Wanted(since_ms=since_ms, outcomes=frozenset({Outcome.APPLIED, Outcome.IGNORED})),
            self.bench.looker,
            self.bench.stack.catalogue,
        )
        return FromTable(self.bench.stack.table, applied.wants_facts, say=self.bench.say)

    def _target(self, fresh: Fresh) -> ToRebuild:
        bench = self.bench
        secrets = make_secrets(bench.stack.catalogue, bench.client, bench.settings, TrustingSecrets)
        if not isinstance(secrets, TrustingSecrets):
            raise TypeError(type(secrets))
        consumer = consumer_with(bench, secrets, fresh.settings, retries=False)
        return ToRebuild(consumer, secrets, bench.looker, bench.stack.marks)

    def _swap(self, found: dict[str, Comparison], pairs: dict[str, tuple[str, str]]) -> None:
        """Write what differs into the present tables."""
        backup = self.folder / f"swap-{default_name()}.jsonl"
        backup.parent.mkdir(parents=True, exist_ok=True)
        dynamodb = self.bench.stack.table.dynamodb
        for name, one in found.items():
            if one.differences:
                written = swap(dynamodb, pairs[name][0], one.differences, backup, delete=self.delete)
                self.terminal.say(f"{name}: {written:,} items written; what they were is kept in {backup}")

    def _tell(self, found: dict[str, Comparison], fresh: Fresh, *, as_json: bool) -> None:
        tables = {
            name: {
                "same": one.same,
                "moving": len(one.moving),
                "differences": [difference.as_dict() for difference in one.differences],
            }
            for name, one in found.items()
        }
        if as_json:
            self.terminal.say(
                json.dumps(
                    {"report": self.report.as_dict(), "caught_up": self.caught_up, "tables": tables}, default=str
                )
            )
            return
        for line in self.report.lines():
            self.terminal.say(line)
        if self.caught_up:
            self.terminal.say(f"caught up with {self.caught_up:,} more that came meanwhile")
        for name, one in found.items():
            self.terminal.say(f"{name}: {one.same:,} items the same, {len(one.differences):,} different")
            for difference in one.differences[:_SHOWN]:
                self.terminal.say(f"  {difference.line()}")
            if one.moving:
                self.terminal.say(
                    f"  {len(one.moving):,} changed each time they were looked at: --pause compares them too"
                )
            if len(one.differences) > _SHOWN:
                self.terminal.say(f"  and {len(one.differences) - _SHOWN:,} more; --json lists all")
        if self.keep:
            self.terminal.say(f"kept: {', '.join(fresh.tables)}")
