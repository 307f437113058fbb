"""What a person asks of a replay, checked and made plain data, which a checkpoint file keeps for resuming."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.ingest.errors import OptionInvalid, RecordError, ServiceError, TransientError
from weir.ingest.sources.catalogue import Catalogue
from weir.operate.lookup.times import parse_window_ms

LISTS = ("sources", "types", "ids", "keys", "outcomes", "reasons", "where", "shards")
ORIGINS = ("stream", "archive", "failures", "quarantine", "events")
# What a replay that is resumed may be told anew; the checkpoint file has the rest.
_ANEW = ("rate",)
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


def asked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked for as plain data, with times fixed. Raises: OptionInvalid."""
    now_ms = round(time.time() * 1000)
    _check(options)
    since_ms, until_ms = parse_window_ms(options.get("since"), options.get("until"), now_ms)
    if until_ms is None and options["origin"] in ORIGINS:
        until_ms = now_ms  # what arrives while it runs is not wanted: a replay into the same stream would never end
    found: dict[str, Any] = {
        "from": options["origin"],
        "to": options.get("target") or "",
        "since_ms": since_ms,
        "until_ms": until_ms,
        "ends_ms": now_ms,
        "rate_per_s": options.get("rate"),
        "first_sequence": options.get("from_sequence", ""),
        "last_sequence": options.get("to_sequence", ""),
        "dry_run": bool(options.get("dry_run")),
        "diff": bool(options.get("diff")),
        "plain": bool(options.get("plain")),
    }
    lists = {name: list(options.get(name, ())) for name in LISTS}
    return found | lists | {"shards": [_shard_id(text) for text in lists["shards"]]}


def check_resumed(options: Mapping[str, Any]) -> None:
    """Refuse what a resumed replay would not heed. Raises: OptionInvalid."""
    given = [f"--{_FLAGS.get(name, name).replace('_', '-')}" for name, value in options.items() if value]
    if unheeded := [flag for flag in given if flag.removeprefix("--") not in _ANEW]:
        raise OptionInvalid(f"--resume goes on with what was asked for then; leave out {', '.join(unheeded)}.")


def unknown_sources(globs: Sequence[str], matching: Sequence[bool], catalogue: Catalogue) -> str:
    """Return a sentence about the sources asked for that the sources file does not have; '' if it has them all."""
    unknown = [repr(glob) for glob, is_known in zip(globs, matching, strict=True) if not is_known]
    if not unknown:
        return ""
    return f"no source of the sources file is called {' or '.join(unknown)}; there are: {', '.join(catalogue)}"


def _check(options: Mapping[str, Any]) -> None:
    origin, target = options.get("origin"), options.get("target")
    if not origin:
        raise OptionInvalid("Say --from: stream, archive, failures, quarantine, events, or a file.")
    if not target and not options.get("dry_run"):
        raise OptionInvalid("Say --to: consumer, stream, an http address or a file; or --dry-run.")
    if options.get("dry_run") and target not in {None, "", "consumer"}:
        raise OptionInvalid(f"--dry-run says what the consumer would do and delivers nothing; leave out --to {target}.")
    if options.get("diff") and not options.get("dry_run"):
        raise OptionInvalid("--diff goes with --dry-run.")
    if options.get("plain") and target != "stream":
        raise OptionInvalid("--plain goes with --to stream.")
    _check_sequence(options)
    reasons = {kind.code for kind in _kinds(RecordError)} | {kind.code for kind in _kinds(TransientError)}
    if unknown := set(options.get("reasons", ())) - reasons:
        raise OptionInvalid(f"Nothing is quarantined for the reason {min(unknown)!r}; README.md lists the reasons.")


def _check_sequence(options: Mapping[str, Any]) -> None:
    first, last = options.get("from_sequence", ""), options.get("to_sequence", "")
    if (first or last or options.get("shards")) and options["origin"] != "stream":
        raise OptionInvalid("Shards and sequence numbers go with --from stream: nothing else keeps them.")
    if wrong := [text for text in (first, last) if text and not text.isdigit()]:
        raise OptionInvalid(f"{wrong[0]!r} is no sequence number, which is digits alone.")
    if first and last and int(last) < int(first):
        raise OptionInvalid("--to-sequence is before --from-sequence: nothing stands between them.")


def _kinds(branch: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield branch
    for kind in branch.__subclasses__():
        yield from _kinds(kind)


def _shard_id(text: str) -> str:
    """Return a shard's id, which `weir lag` shows by its number."""
    return f"shardId-{int(text):012d}" if text.isdigit() else text
