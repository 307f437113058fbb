"""`weir rebuild`, step by step: fresh tables, the past, what arrived meanwhile, the comparison, the swap."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from weir.consumers.events_table.port import StoreLayout
from weir.consumers.events_table.store import DynamoStore, client_config
from weir.consumers.outcome import Outcome
from weir.consumers.waiting.retry import ANY_TIME_MS, Retry
from weir.consumers.waiting.waiting_table import WaitingTable
from weir.ingest.errors import OptionInvalid
from weir.operate.lookup.delivery import Origin
from weir.operate.lookup.horizons import Horizons
from weir.operate.lookup.times import parse_time_ms, show_time
from weir.operate.rebuild.completeness import what_is_missing
from weir.operate.rebuild.evidence import Evidence
from weir.operate.rebuild.tables import (
    Comparer,
    Comparison,
    FreshTables,
    ToRebuild,
    drop,
    left_behind,
    make_fresh,
    settle,
    swap,
    take_ignored,
)
from weir.operate.replay.checkpoint import Checkpoint
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.filters import Filter
from weir.operate.replay.loop import Replay
from weir.operate.replay.origins import make_origin
from weir.operate.replay.origins.from_table import FromTable
from weir.operate.replay.pace import Pace
from weir.operate.replay.progress import Console, Report
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.runner import default_name
from weir.operate.replay.targets.in_process import TrustingSecrets, make_judge, make_secrets
from weir.operate.replay.targets.to_consumer import with_secrets

_STOPPED, _DIFFERS = 130, 1
# What arrived while the past was read was committed later than its arrival time.
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

    context: ReplayContext
    control: Control
    folder: Path
    tables: tuple[str, ...]
    origin: str = "events"
    since: str | None = None
    pause: bool = False
    swap: bool = False
    delete: bool = False
    partial: bool = False
    keep: bool = False
    clean: bool = False
    report: Report = field(default_factory=Report)
    caught_up: int = 0
    missing: str = ""
    begins: dict[str, int] = field(default_factory=dict)

    @property
    def _console(self) -> Console:
        return self.context.console

    def run(self) -> int:
        """Do all steps; return the exit code."""
        if self.delete and not self.swap:
            raise OptionInvalid("--delete works only with --swap.")
        names = self.tables or tuple(self.context.settings.tables)
        if unknown := set(names) - set(self.context.settings.tables):
            raise OptionInvalid(
                f"There is no table {min(unknown)!r}; the tables are: {', '.join(self.context.settings.tables)}."
            )
        dynamodb = self.context.stack.table.dynamodb
        left = left_behind(dynamodb, self.context.settings)
        if self.clean:
            return self._clean(left)
        if left:
            self._console.say(f"left by other rebuilds (killed, kept or running): {', '.join(left)}; see --clean")
        self._check_origin()
        fresh = make_fresh(dynamodb, self.context.settings, default_name())
        try:
            return self._rebuild(fresh, names)
        finally:
            if not self.keep:
                drop(dynamodb, fresh)

    def _check_origin(self) -> None:
        """Say what the origin does not hold. Raises: OptionInvalid when the present tables would be written from it."""
        now_ms = round(time.time() * 1000)
        self.missing = what_is_missing(self.context.stack, self.origin, self._since_ms(now_ms), now_ms)
        if not self.missing:
            return
        if self.swap and not self.partial:
            raise OptionInvalid(
                f"--swap would write sums of a part over the whole: {self.missing}. Read an origin that holds all "
                "(--from archive), or give --partial if the part is what the tables are to say."
            )
        self._console.say(f"a part of the past only, so that differences may come from that: {self.missing}")

    def _clean(self, left: list[str]) -> int:
        if not left:
            self._console.say("no rebuild has left tables behind")
        for table in left:
            self.context.stack.table.dynamodb.delete_table(TableName=table)
            self._console.result({"deleted": table}, [f"deleted {table}"])
        return 0

    def _rebuild(self, fresh: FreshTables, names: tuple[str, ...]) -> int:
        began_ms = round(time.time() * 1000)
        if not self._pass(fresh, self.origin, self._since_ms(began_ms)):
            self._console.say("stopped; nothing was compared and the present tables are as they were")
            return _STOPPED

        def catch_up() -> None:
            self._pass(fresh, "events", began_ms - _OVERLAP_MS)

        catch_up()
        comparer = Comparer(self.context.stack.table.dynamodb)
        pairs = {name: (fresh.present[name], fresh.settings.tables[name]) for name in names}
        with self._at_rest():
            if self.swap:
                self._check_that_nothing_waits()
            found = settle(comparer, catch_up, pairs)
            if self.swap:
                self._swap(found, pairs, fresh)
        self._tell(found, fresh)
        differs = any(one.differences for one in found.values()) and not self.swap
        return _DIFFERS if differs or self.report.counts["altered"] else 0

    def _check_that_nothing_waits(self) -> None:
        """Raises: OptionInvalid when an event waits: its schedule, which rests for no one, may apply it in mid-swap."""
        stack, settings = self.context.stack, self.context.settings
        if any(WaitingTable(stack.table.dynamodb, settings.events_table).due(ANY_TIME_MS)):
            raise OptionInvalid(
                "--swap would overwrite what an event writes that waits and is tried meanwhile; nothing was written. "
                "Swap when `weir events --outcome waiting` lists none."
            )

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Pause the consumer where that is asked for, and resume it whatever happens."""
        if not (self.pause or self.swap):
            yield
            return
        self._console.say("pausing the consumer")
        self.control.pause()
        try:
            yield
        finally:
            self.control.resume()
            self._console.say("the consumer is resumed")

    def _since_ms(self, now_ms: int) -> int | None:
        return parse_time_ms(self.since, now_ms) if self.since else None

    def _pass(self, fresh: FreshTables, origin: str, since_ms: int | None) -> bool:
        """Bring what an origin holds into the fresh tables; what is there already stays."""
        checkpoint = Checkpoint(None, report=Report())
        wants = Filter.of(self.context, ReplayRequest(since_ms=since_ms))
        job = Replay(
            self._origin(origin, wants, since_ms),
            wants,
            self._target(fresh),
            checkpoint,
            Pace(None),
            stopped=self._console.stopped,
            watch=self._console.watch,
        )
        is_done = job.run()
        if checkpoint.report.counts[Outcome.WAITING]:
            self._try_waiting(fresh)
        if not self.report.read:
            self.report = checkpoint.report
        else:  # most of a later pass is there already
            self.caught_up += sum(checkpoint.report.counts[kind] for kind in (Outcome.APPLIED, Outcome.IGNORED))
        return is_done

    def _try_waiting(self, fresh: FreshTables) -> None:
        """Try what waits in the fresh tables, as long as that brings something: they have the past, and no schedule."""
        context, settings = self.context, fresh.settings
        dynamodb = context.client_with("dynamodb", client_config(settings.commit_concurrency))
        retry = Retry(
            make_judge(context.stack.catalogue, context.client, settings),
            DynamoStore(
                dynamodb,
                StoreLayout(settings.events_table, settings.tables, has_bucket=bool(settings.payload_bucket)),
                bucket=settings.payload_bucket,
                s3=lambda: context.stack.table.s3,
            ),
            WaitingTable(
                context.stack.table.dynamodb, settings.events_table, context.stack.table.s3, settings.payload_bucket
            ),
            concurrency=settings.commit_concurrency,
            quarantine_s=settings.quarantine_days * 86_400,
        )
        while any(outcome.is_done for outcome in retry.run_all(round(time.time() * 1000))):
            continue

    def _origin(self, name: str, wants: Filter, since_ms: int | None) -> Origin:
        if name != "events":
            ends_ms = round(time.time() * 1000)
            return make_origin(self.context, ReplayRequest(origin=name, since_ms=since_ms, ends_ms=ends_ms), wants)
        # What is quarantined has had no effect on the present tables.
        request = ReplayRequest(since_ms=since_ms, outcomes=(Outcome.APPLIED, Outcome.IGNORED))
        applied = Filter.of(self.context, request)
        return FromTable(self.context.stack.table, applied.wants_facts, say=self._console.say)

    def _target(self, fresh: FreshTables) -> ToRebuild:
        context = self.context
        secrets = make_secrets(context.stack.catalogue, context.client, context.settings, TrustingSecrets)
        if not isinstance(secrets, TrustingSecrets):
            raise TypeError(type(secrets))
        consumer = with_secrets(context, secrets, fresh.settings, Horizons(), retries=False)
        evidence = Evidence(context.stack.table, context.stack.catalogue)
        return ToRebuild(consumer, secrets, context.previewer, evidence, self._console.say, begins=self.begins)

    def _swap(self, found: dict[str, Comparison], pairs: dict[str, tuple[str, str]], fresh: FreshTables) -> None:
        """Write what differs into the present tables."""
        backup = self.folder / f"swap-{default_name()}.jsonl"
        backup.parent.mkdir(parents=True, exist_ok=True)
        dynamodb = self.context.stack.table.dynamodb
        for name, one in found.items():
            if one.differences:
                written = swap(dynamodb, pairs[name][0], one.differences, backup, delete=self.delete)
                self._console.say(f"{name}: {written:,} items written; what they were is kept in {backup}")
        if set(found) == set(self.context.settings.tables):
            taken = take_ignored(dynamodb, self.context.settings.events_table, fresh.settings.events_table)
            if taken:
                self._console.say(f"{taken:,} events that were ignored are applied by this, and say so from now on")
        else:
            self._console.say(
                "events that were ignored stay so: a replay of them would apply them to these tables again"
            )

    def _tell(self, found: dict[str, Comparison], fresh: FreshTables) -> None:
        tables = {
            name: {
                "same": one.same,
                "moving": len(one.moving),
                "differences": [difference.as_dict() for difference in one.differences],
            }
            for name, one in found.items()
        }
        report = {
            "report": self.report.as_dict(),
            "caught_up": self.caught_up,
            "missing": self.missing,
            "begins_ms": self.begins,
            "tables": tables,
        }
        self._console.result(report, self._lines(found))
        if self.keep:
            self._console.say(f"kept: {', '.join(fresh.tables)}")

    def _lines(self, found: dict[str, Comparison]) -> Iterator[str]:
        yield from self.report.lines()
        if self.begins:
            begins = ", ".join(f"{source} {show_time(at_ms)}" for source, at_ms in sorted(self.begins.items()))
            yield f"what was read begins: {begins}"
        if self.caught_up:
            yield f"caught up with {self.caught_up:,} more that arrived meanwhile"
        for name, one in found.items():
            yield f"{name}: {one.same:,} items the same, {len(one.differences):,} different"
            for difference in one.differences[:_SHOWN]:
                yield f"  {difference.line()}"
            if one.moving:
                yield f"  {len(one.moving):,} changed each time they were read: --pause compares them too"
            if len(one.differences) > _SHOWN:
                yield f"  and {len(one.differences) - _SHOWN:,} more; --json lists all"
