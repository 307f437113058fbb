"""From what a person asked for to an origin, a filter and a target. What was asked is plain data, kept for resuming."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from weir.consumers.events_table.store import client_config
from weir.consumers.judging.secrets import Secrets
from weir.consumers.settings import Settings
from weir.ingest.errors import OptionInvalid
from weir.operate.audit.sources import Stack
from weir.operate.lookup.delivery import Origin
from weir.operate.lookup.marks import Marks
from weir.operate.lookup.preview import Looker
from weir.operate.replay.filters import Filter, Wanted
from weir.operate.replay.loop import Target
from weir.operate.replay.origins.archive_objects import Archive
from weir.operate.replay.origins.from_archive import FromArchive
from weir.operate.replay.origins.from_failures import FromFailures
from weir.operate.replay.origins.from_file import FromFile
from weir.operate.replay.origins.from_stream import AWS, FromStream, Span, list_shards
from weir.operate.replay.origins.from_table import FromTable
from weir.operate.replay.request import ORIGINS
from weir.operate.replay.targets.dry_run import DryRun
from weir.operate.replay.targets.in_process import make_judge, make_pipeline, make_secrets
from weir.operate.replay.targets.release import Release
from weir.operate.replay.targets.simulate import Load
from weir.operate.replay.targets.to_consumer import ToConsumer
from weir.operate.replay.targets.to_file import ToFile
from weir.operate.replay.targets.to_http import ToHttp
from weir.operate.replay.targets.to_stream import ToStream

# A quarter of a shard's 1 MB/s, so that senders are not refused because of a replay.
_PUT_BYTES_PER_SHARD_S = 250_000.0
_HTTP_PATIENCE_S = 60.0

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Bench:
    """What a replay is put together with: the stack, its settings, clients, and how to print and stop.

    ``place`` tells one stack from any other, for whoever resumes.
    """

    stack: Stack
    settings: Settings
    client: Callable[[str], Any]
    client_with: Callable[[str, Any], Any]
    say: Say
    stopped: Callable[[], bool]
    place: str = ""

    @property
    def looker(self) -> Looker:
        return Looker(self.stack.catalogue)


def wanted_of(asked: Mapping[str, Any]) -> Wanted:
    """Return the filter that was asked for."""
    return Wanted(
        sources=tuple(asked.get("sources", ())),
        types=tuple(asked.get("types", ())),
        ids=frozenset(asked.get("ids", ())),
        keys=frozenset(asked.get("keys", ())),
        outcomes=frozenset(asked.get("outcomes", ())),
        reasons=frozenset(asked.get("reasons", ())),
        where=tuple(asked.get("where", ())),
        since_ms=asked.get("since_ms"),
        until_ms=asked.get("until_ms"),
    )


def make_filter(bench: Bench, asked: Mapping[str, Any]) -> Filter:
    """Return the filter of a replay."""
    return Filter(wanted_of(asked), bench.looker, bench.stack.catalogue, bench.stack.marks)


def make_origin(bench: Bench, asked: Mapping[str, Any], wants: Filter) -> Origin:
    """Return the origin of a replay. Raises: OptionInvalid."""
    name, stack = asked["from"], bench.stack
    since_ms, until_ms = asked.get("since_ms"), asked.get("until_ms")
    match name:
        case "stream":
            span = Span(
                since_ms,
                until_ms,
                tuple(asked.get("shards", ())),
                asked.get("first_sequence", ""),
                asked.get("last_sequence", ""),
                asked.get("ends_ms"),
            )
            follow = bool(asked.get("follow"))
            return FromStream(stack.kinesis, stack.stream, span, stack.service, follow=follow, say=bench.say)
        case "archive":
            ends_ms = asked.get("ends_ms")
            archive = Archive(stack.table.s3, stack.table.bucket, since_ms, until_ms, ends_ms, say=bench.say)
            return FromArchive(archive)
        case "failures":
            return FromFailures(stack.table.s3, stack.table.bucket, say=bench.say)
        case "quarantine" | "events":
            only = name == "quarantine"
            return FromTable(stack.table, wants.wants_facts, quarantine_only=only, say=bench.say)
    path = Path(name)
    if not path.is_file():
        raise OptionInvalid(f"There is no file {name}, and no origin of that name; there are {', '.join(ORIGINS)}.")
    return FromFile(path, say=bench.say)


def make_target(bench: Bench, asked: Mapping[str, Any]) -> Target:
    """Return the target of a replay. Raises: OptionInvalid."""
    name, stack = asked["to"], bench.stack
    if asked.get("dry_run"):
        return make_dry_run(bench, with_items=bool(asked.get("diff")))
    if name == "consumer":
        return make_consumer(bench, retries=asked["from"] in {"quarantine", "failures"})
    if name == "stream":
        bytes_per_s = None
        if stack.service is AWS and not asked.get("rate_per_s"):
            open_shards = [
                one
                for one in list_shards(stack.kinesis, stack.stream)
                if "EndingSequenceNumber" not in one["SequenceNumberRange"]
            ]
            bytes_per_s = _PUT_BYTES_PER_SHARD_S * max(1, len(open_shards))
        return ToStream(
            stack.kinesis,
            stack.stream,
            bench.looker,
            aggregated=not asked.get("plain"),
            bytes_per_s=bytes_per_s,
            # What is put must be stamped later than what is still to be read.
            delay_s=2 * stack.service.skew_ms / 1000 if asked["from"] == "stream" else 0.0,
            stopped=bench.stopped,
        )
    if urlsplit(name).scheme in {"http", "https"}:
        return to_http(bench, name, patience_s=_HTTP_PATIENCE_S)
    if "://" in name or not {"/", "."} & set(name):
        raise OptionInvalid(
            f"There is no target {name!r}: say consumer, stream, an http address, or a file as ./{name}."
        )
    return ToFile(Path(name))


def to_http(bench: Bench, url: str, *, patience_s: float | None) -> ToHttp:
    """Return an address as the target, which is waited for so long; None: until stopped. Raises: OptionInvalid."""
    return ToHttp(url, bench.looker, patience_s=patience_s, say=bench.say, stopped=bench.stopped)


def make_consumer(bench: Bench, *, retries: bool, settings: Settings | None = None) -> ToConsumer:
    """Return the consumer in this process as a target; ``retries`` gives what was refused another chance."""
    configured = settings or bench.settings
    secrets = make_secrets(bench.stack.catalogue, bench.client, configured)
    return consumer_with(bench, secrets, configured, retries=retries)


def consumer_with(bench: Bench, secrets: Secrets, settings: Settings, *, retries: bool) -> ToConsumer:
    """Return the consumer in this process with given secrets and tables."""
    stack = bench.stack
    judge = make_judge(stack.catalogue, bench.client, settings, secrets)
    dynamodb = bench.client_with("dynamodb", client_config(settings.commit_concurrency))
    pipeline = make_pipeline(judge, dynamodb, settings, s3=stack.table.s3, stopped=bench.stopped)
    marks = Marks(stack.table.dynamodb, settings.events_table)
    release = Release(stack.table.dynamodb, settings.events_table, marks)
    return ToConsumer(pipeline, marks, bench.looker, release, retries=retries)


def make_dry_run(bench: Bench, *, with_items: bool) -> DryRun:
    """Return a target that only tells."""
    stack, settings = bench.stack, bench.settings
    judge = make_judge(stack.catalogue, bench.client, settings)
    load = _loader(stack.table.dynamodb, settings.tables) if with_items else None
    return DryRun(judge, stack.marks, bench.looker, load=load, say=bench.say)


def _loader(dynamodb: Any, tables: Mapping[str, str]) -> Load:
    def load(table: str, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if table not in tables:
            return None
        answer = dynamodb.get_item(TableName=tables[table], Key=key, ConsistentRead=True)
        return answer.get("Item")  # type: ignore[no-any-return]

    return load
