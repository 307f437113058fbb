"""From the options of a command to a replay's request: checked, with times fixed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.ingest.errors import OptionInvalid, RecordError, ServiceError, TransientError
from weir.ingest.sources.catalogue import Catalogue
from weir.operate.lookup.times import parse_window_ms
from weir.operate.replay import origins, targets
from weir.operate.replay.request import ReplayRequest

# Of a resumed replay only the rate may change; the checkpoint file has the rest.
_CHANGEABLE = ("rate",)
_FLAGS = {
    "origin": "from",
    "target": "to",
    "sources": "source",
    "types": "type",
    "ids": "id",
    "keys": "key",
    "outcomes": "outcome",
    "reasons": "reason",
    "shards": "shard",
}


def request_of(options: Mapping[str, Any]) -> ReplayRequest:
    """Return the request that the options of `weir replay` make, by the names of its parameters.

    Raises: OptionInvalid.
    """
    now_ms = round(time.time() * 1000)
    _check(options)
    since_ms, until_ms = parse_window_ms(options.get("since"), options.get("until"), now_ms)
    if until_ms is None and options["origin"] in origins.ORIGINS:
        until_ms = now_ms  # without what arrives while it runs: a replay into the same stream would never end
    return ReplayRequest(
        origin=options["origin"],
        target=options.get("target") or "",
        sources=_texts(options, "sources"),
        types=_texts(options, "types"),
        ids=_texts(options, "ids"),
        keys=_texts(options, "keys"),
        outcomes=_texts(options, "outcomes"),
        reasons=_texts(options, "reasons"),
        where=_texts(options, "where"),
        since_ms=since_ms,
        until_ms=until_ms,
        ends_ms=now_ms,
        shards=tuple(map(_shard_id, _texts(options, "shards"))),
        first_sequence=options.get("from_sequence", ""),
        last_sequence=options.get("to_sequence", ""),
        rate_per_s=options.get("rate"),
        dry_run=bool(options.get("dry_run")),
        diff=bool(options.get("diff")),
        plain=bool(options.get("plain")),
        all_headers=bool(options.get("all_headers")),
        past_marks=bool(options.get("past_marks")),
    )


def check_resumed(options: Mapping[str, Any]) -> None:
    """Refuse options that would not change a resumed replay. Raises: OptionInvalid."""
    given = [f"--{_FLAGS.get(name, name).replace('_', '-')}" for name, value in options.items() if value]
    if unused := [flag for flag in given if flag.removeprefix("--") not in _CHANGEABLE]:
        raise OptionInvalid(f"--resume goes on with what was asked for then; leave out {', '.join(unused)}.")


def unknown_sources(globs: Sequence[str], matching: Sequence[bool], catalogue: Catalogue) -> str:
    """Return a sentence about the sources asked for that the sources file does not have; '' if it has them all."""
    unknown = [repr(glob) for glob, is_known in zip(globs, matching, strict=True) if not is_known]
    if not unknown:
        return ""
    return f"the sources file has no source {' or '.join(unknown)}; it has: {', '.join(catalogue)}"


def _check(options: Mapping[str, Any]) -> None:
    origin, target = options.get("origin"), options.get("target")
    if not origin:
        raise OptionInvalid(f"--from is required: {origins.choices()}.")
    if not target and not options.get("dry_run"):
        raise OptionInvalid(f"--to is required: {targets.choices()}; or give --dry-run.")
    if options.get("dry_run") and target not in {None, "", "consumer"}:
        raise OptionInvalid(f"--dry-run only shows what the consumer would do: leave out --to {target}.")
    holds_ignored = origin in origins.ORIGINS and origins.ORIGINS[origin].holds_ignored
    if holds_ignored and target == "stream":
        raise OptionInvalid("--to stream: the consumer would take them for duplicates. Use --to consumer.")
    if options.get("diff") and not options.get("dry_run"):
        raise OptionInvalid("--diff works only with --dry-run: add --dry-run.")
    if options.get("plain") and target != "stream":
        raise OptionInvalid("--plain works only with --to stream.")
    if options.get("all_headers") and not (target and targets.is_http(target)):
        raise OptionInvalid("--all-headers works only with --to an HTTP address.")
    if options.get("past_marks") and not options.get("dry_run") and target != "consumer":
        raise OptionInvalid("--past-marks works only with --to consumer: that alone can look for a mark and apply.")
    _check_sequence(options)
    reasons = {kind.code for kind in _kinds(RecordError)} | {kind.code for kind in _kinds(TransientError)}
    if unknown := set(options.get("reasons", ())) - reasons:
        raise OptionInvalid(f"{min(unknown)!r} is not a reason for a quarantine; README.md lists the reasons.")


def _check_sequence(options: Mapping[str, Any]) -> None:
    first, last = options.get("from_sequence", ""), options.get("to_sequence", "")
    kind = origins.ORIGINS.get(options["origin"])
    if (first or last or options.get("shards")) and not (kind and kind.has_shards):
        with_shards = " or ".join(f"--from {name}" for name, one in origins.ORIGINS.items() if one.has_shards)
        raise OptionInvalid(f"Shards and sequence numbers work only with {with_shards}.")
    if wrong := [text for text in (first, last) if text and not text.isdigit()]:
        raise OptionInvalid(f"{wrong[0]!r} is not a sequence number: it has digits only.")
    if first and last and int(last) < int(first):
        raise OptionInvalid("--to-sequence is before --from-sequence: no record can be between them.")


def _texts(options: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(options.get(name, ()))


def _kinds(branch: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield branch
    for kind in branch.__subclasses__():
        yield from _kinds(kind)


def _shard_id(text: str) -> str:
    """Return a shard's id, which `weir lag` shows by its number."""
    return f"shardId-{int(text):012d}" if text.isdigit() else text
