"""`weir listen`: forward what arrives to a server, from where it was stopped the last time, until it is stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.preview import Previewer
from weir.operate.replay.checkpoint import Checkpoint, load
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.filters import Filter
from weir.operate.replay.loop import Replay
from weir.operate.replay.options import request_of
from weir.operate.replay.origins import make_origin
from weir.operate.replay.pace import Pace
from weir.operate.replay.progress import Console
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.runner import new_checkpoint
from weir.operate.replay.targets import to_http

# Listeners that differ in one of these keep positions of their own.
_CHOICE = ("to", "sources", "types", "ids", "keys", "outcomes", "reasons", "where", "shards")


def listen(context: ReplayContext, options: Mapping[str, Any], folder: Path, *, is_new: bool) -> int:
    """Forward live deliveries until stopped; return the exit code. Raises: OptionInvalid."""
    console = context.console
    checkpoint = _open(context, listening(options), folder, is_new=is_new)
    request = checkpoint.request
    selection = Filter.of(context, request)
    origin, target = make_origin(context, request, selection), to_http.make(context, request)
    target.answered = _show_answers(context.previewer, console)
    checkpoint.save()
    console.say(f"listening to {origin.label}, forwarding to {target.label}; Ctrl-C stops")
    pace = Pace(None)
    Replay(origin, selection, target, checkpoint, pace, stopped=console.stopped).run()
    target.close()
    counts = checkpoint.report.counts
    console.say(f"stopped: {counts['delivered']:,} delivered in all, {counts['failed']:,} answered otherwise")
    return 0


def listening(options: Mapping[str, Any]) -> ReplayRequest:
    """Return the request of `weir listen`: the stream from now on, without an end. Raises: OptionInvalid."""
    request = request_of({**options, "origin": "stream", "since": options.get("since") or "now"})
    return replace(request, until_ms=None, ends_ms=None, follow=True)


def _open(context: ReplayContext, request: ReplayRequest, folder: Path, *, is_new: bool) -> Checkpoint:
    asked = request.to_json()
    choice = {name: asked[name] for name in _CHOICE}
    name = sha256(json.dumps([choice, context.stack.stream], sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"listen-{name}.json"
    if not path.exists() or is_new:
        return new_checkpoint(path, request)
    checkpoint = load(path)
    context.console.say(f"going on where it stopped; {path} keeps the position, --new begins now")
    checkpoint.is_done = False
    checkpoint.request = replace(checkpoint.request, all_headers=request.all_headers)
    return checkpoint


def _show_answers(previewer: Previewer, console: Console) -> Callable[[Delivery, int | None, float], None]:
    def show(delivery: Delivery, status: int | None, took_s: float) -> None:
        preview = previewer.glance(delivery)
        event = preview.events[0] if preview.events else None
        envelope = preview.envelope
        if envelope is not None:
            what = f"{event.type or '-'} {event.event_id}" if event else envelope.request_id
            verdict = _verdict(status)
            at = time.strftime("%H:%M:%S")
            facts = {
                "source": envelope.source,
                "type": event.type if event else None,
                "event_id": event.event_id if event else None,
                "request_id": envelope.request_id,
                "status": status,
                "took_ms": round(took_s * 1000, 1),
            }
            line = f"{at}  {envelope.source:14} {what} -> {status or '-'} ({took_s * 1000:.0f} ms){verdict}"
            console.result(facts, [line])

    return show


def _verdict(status: int | None) -> str:
    if status is None:
        return "  not delivered: HTTP cannot carry it to this address"
    return "" if 200 <= status < 300 else "  not delivered: the server refused it"
