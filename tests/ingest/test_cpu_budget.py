"""No delivery, however hostile, costs more CPU than in proportion to its size: nothing of it is proven yet.

A shard is read in order, so that one unsigned POST which takes minutes would hold up every delivery behind it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import process_time

import pytest

from tests.support.deliveries import draft_of, envelope_of, pair_of, source_of, with_header, with_headers
from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventMalformed, RecordError
from weir.ingest.handshakes import questions
from weir.ingest.locations import follow, form_pairs, steps
from weir.ingest.schemes import signatures
from weir.ingest.schemes.any_of import AnyOf
from weir.ingest.schemes.parts.checks import MAX_SPELLED_PARAMETERS, public_urls
from weir.ingest.schemes.parts.drafts import document_of, put, rewrite
from weir.ingest.sources import events, presets
from weir.ingest.sources.catalogue import Source
from weir.loadtest.sending import hostile

SMALL, LARGE = 32 * 1024, 128 * 1024
RECORD = 560 * 1024  # of body; a record of 1 MiB has it in base64
MAX_RATIO = 8  # for four times the size: linear is 4, quadratic 16
MAX_S = 1.0  # for the largest
FREE_S = 0.02  # what takes less needs no second look
SMALL_S = 0.004  # what takes less than this for LARGE is far below MAX_S for RECORD, quadratic or not
TIMES = 3
DEAREST = 6  # of more than 200 kinds, those whose growth is looked at


def cost_s(source: Source, secrets: tuple[str, ...], envelope: Envelope, *, is_genuine: bool = False) -> float:
    """Return the seconds of CPU that all take which read a delivery before, or without, its proof.

    Raises: whatever is not a refusal; AssertionError when a forgery is proven.
    """
    started = process_time()
    with contextlib.suppress(RecordError):
        signatures.verify(source.scheme, secrets, envelope)
        assert is_genuine, "a forgery was proven"
    with contextlib.suppress(EventMalformed):
        events.extract(source, envelope)
    questions.asked(source, "POST", envelope)
    return process_time() - started


def check(label: str, cost: Callable[[Envelope], float], made: Callable[[int], Envelope]) -> None:
    """See that a delivery costs little more than four times what one of a quarter of its size does, or nearly nothing.

    One of a record's size must stay under the bound.
    """
    once = cost(made(LARGE))
    if once > SMALL_S:
        of_record = cost(made(RECORD))
        assert of_record < MAX_S, f"{label}: {of_record:.3f} s"
    if once < FREE_S:
        return
    small, large = made(SMALL), made(LARGE)
    of_small = min(cost(small) for _ in range(TIMES))
    of_large = min(cost(large) for _ in range(TIMES))
    assert of_large < FREE_S or of_large < MAX_RATIO * of_small, f"{label}: {of_small:.4f} s, then {of_large:.4f} s"


def batch_path(source: Source) -> str | None:
    """Return where the delivery has its elements, if it has several."""
    options = source.scheme.any_of if isinstance(source.scheme, AnyOf) else (source.scheme,)
    each = (getattr(option, "each", None) for option in options)
    first = (source.event.split or "").partition(" | ")[0]
    return next((path for path in (*each, first) if path and path.startswith("$")), None)


def batch(source: Source, size: int) -> Envelope:
    """Return the genuine delivery with its first element so often that the body has about ``size`` bytes."""
    draft = draft_of(source, pair_of(source))
    path, field = steps(batch_path(source) or "$"), source.event.payload_field
    whole = document_of(draft, field)
    found = follow(whole, path)
    elements = found if isinstance(found, list) else [found]  # one object is a batch of one
    more = [elements[0]] * (size // len(json.dumps(elements[0], default=float)) + 1)
    put(whole, path, more)
    rewrite(draft, whole if path else more, field)
    return envelope_of(source, draft)


def with_type(envelope: Envelope, content_type: str) -> Envelope:
    """Return the delivery under another content type."""
    return with_headers(with_header(envelope, "content-type", lambda _: None), {"Content-Type": content_type})


@pytest.mark.parametrize("preset", presets.names())
def test_hostile_deliveries_cost_linear_time(preset: str) -> None:
    """Each value that a preset reads, in each hostile form and under each content type, takes time in proportion."""
    source = source_of(preset)
    secrets = (pair_of(source).verify_with, pair_of(source, "second").verify_with)
    forged = draft_of(source, pair_of(source, "a stranger's"))
    cost = partial(cost_s, source, secrets)
    costs = {kind: cost(stored(source, kind, LARGE)) for kind in hostile.kinds(source, forged)}
    for kind in sorted(costs, key=costs.__getitem__)[-DEAREST:]:
        check(f"{preset}, {kind.family}, {kind.name}", cost, partial(stored, source, kind))


def stored(source: Source, kind: hostile.HostileKind, size: int) -> Envelope:
    """Return what the gateway stores of a hostile delivery."""
    return envelope_of(source, kind.make(size))


def test_hostile_deliveries_are_as_large_as_is_asked() -> None:
    """Nearly all bodies have about the size that was asked for, or the test above measures nothing."""
    for preset in ("stripe", "twilio", "braintree", "dropbox-sign"):
        source = source_of(preset)
        forged = draft_of(source, pair_of(source, "a stranger's"))
        bodies = [draft.body for kind in hostile.kinds(source, forged) if (draft := kind.make(SMALL))]
        sizes = [len(body) for body in bodies if body != forged.body]
        assert sum(SMALL / 2 < size < SMALL * 2 for size in sizes) > max(90, 0.9 * len(sizes))


@pytest.mark.parametrize("preset", [name for name in presets.names() if batch_path(source_of(name))])
def test_long_batches_cost_linear_time(preset: str) -> None:
    """A batch of thousands of genuine elements takes time in proportion to their number."""
    source = source_of(preset)
    cost = partial(cost_s, source, (pair_of(source).verify_with,), is_genuine=True)
    check(f"{preset}, batch", cost, partial(batch, source))


def test_a_form_of_too_many_parts_is_not_read() -> None:
    """Of a multipart form 100 parts are read, with heads of up to 8 KiB; one with more parts is not read at all."""
    source = source_of("hmac")
    genuine = with_type(envelope_of(source, draft_of(source, pair_of(source))), hostile.MULTIPART)
    part = '--x\r\nx-other: {0}\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    ordinary, long = (part.format(filler).encode() for filler in ("", "y" * 9000))
    for body, count in ((ordinary * 100, 100), (ordinary * 101, 0), (long + ordinary, 1)):
        assert form_pairs(replace(genuine, body=body + b"--x--\r\n")) == [("a", "b")] * count


def test_a_long_query_is_spelled_in_two_ways() -> None:
    """Of a query with more parameters than a provider's URL has only the usual spellings are made."""
    source = source_of("twilio")
    genuine = envelope_of(source, draft_of(source, pair_of(source)))
    for count, is_long in ((MAX_SPELLED_PARAMETERS, False), (MAX_SPELLED_PARAMETERS + 1, True)):
        query = {f"~{n}": "a '" for n in range(count)}
        ways = len(public_urls("https://x.example/v1/twilio", replace(genuine, query=query)))
        assert ways == 2 if is_long else ways > 2
