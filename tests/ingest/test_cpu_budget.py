"""No delivery, however hostile, costs more CPU than in proportion to its size: nothing of it is proven yet.

A shard is read in order, so that one unsigned POST which takes minutes would hold up every delivery behind it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from time import process_time

import pytest

from tests.support.deliveries import (
    draft_of,
    envelope_of,
    pair_of,
    signature_header,
    source_of,
    with_header,
    with_headers,
)
from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventMalformed, RecordError
from weir.ingest.handshakes import questions
from weir.ingest.locations import follow, form_pairs, steps
from weir.ingest.schemes import signatures
from weir.ingest.schemes.any_of import AnyOf
from weir.ingest.schemes.parts.drafts import document_of, put, rewrite
from weir.ingest.sources import events, presets
from weir.ingest.sources.catalogue import Source

SMALL, LARGE = 32 * 1024, 128 * 1024
MAX_RATIO = 8  # for four times the size: linear is 4, quadratic 16
MAX_S = 2.0
FREE_S = 0.02  # what takes less needs no second look
TIMES = 5

MULTIPART = "multipart/form-data; boundary=x"
CONTENT_TYPES = (
    "application/json",
    "application/x-www-form-urlencoded; charset=utf-8",
    MULTIPART,
    "text/plain",
)


def repeated(unit: str, before: str = "", after: str = "") -> Callable[[int], bytes]:
    """Return a function that makes a body of about so many bytes out of one text over and over."""
    head, one, tail = (text.encode() for text in (before, unit, after))
    return lambda size: head + one * (size // len(one)) + tail


BODIES = {
    "json deep": repeated("["),
    "json deep objects": repeated('{"a":'),
    "json numbers": repeated("1,", "[", "1]"),
    "json objects": repeated('{"id":"a","type":"b"},', "[", "{}]"),
    "json escapes": repeated("\\u0041", '{"id":"', '"}'),
    "json digits": repeated("9", '{"id":', "}"),
    "json fraction": repeated("9", '{"id":0.', "}"),
    "json unclosed": repeated('"\\'),
    "form separators": repeated("&"),
    "form fields": repeated("a=b&"),
    "form one value": repeated("%41", "payload="),
    "form blanks": repeated("="),
    "form of json": repeated("[", "payload="),
    "form of jws": repeated(".a", "payload="),
    "multipart heads": repeated("content-disposition:", "--x"),
    "multipart names": repeated(';name="', "--x\r\ncontent-disposition:"),
    "multipart lines": repeated("content-disposition: \r\n", "--x\r\n"),
    "multipart parts": repeated('--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n'),
    "multipart boundaries": repeated("--x"),
    "multipart dashes": repeated("-"),
    "multipart ends": repeated("\r\n", '--x\r\ncontent-disposition: form-data; name="a"'),
}
HEADERS = (",", ";", " ", "=", ".", "a", "v1=", "v1,", "sha256=00,", "t=1,", '"', "\\", "(", "a=(),", "0", "A", "%")


def cost_s(source: Source, secrets: tuple[str, ...], envelope: Envelope) -> float:
    """Return the seconds of CPU that all take which read a delivery before, or without, its proof."""
    started = process_time()
    with contextlib.suppress(RecordError):
        signatures.verify(source.scheme, secrets, envelope)
    with contextlib.suppress(EventMalformed):
        events.extract(source, envelope)
    questions.asked(source, "POST", envelope)
    return process_time() - started


def check(label: str, source: Source, secrets: tuple[str, ...], made: Callable[[int], Envelope]) -> None:
    """See that a delivery is free, or costs little more than four times what one of a quarter of its size does."""
    small, large = made(SMALL), made(LARGE)
    if cost_s(source, secrets, large) < FREE_S:
        return
    of_small = min(cost_s(source, secrets, small) for _ in range(TIMES))
    of_large = min(cost_s(source, secrets, large) for _ in range(TIMES))
    assert of_large < MAX_S, f"{label}: {of_large:.3f} s"
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
    elements = follow(whole, path)
    more = [elements[0]] * (size // len(json.dumps(elements[0], default=float)) + 1)
    put(whole, path, more)
    rewrite(draft, whole if path else more, field)
    return envelope_of(source, draft)


def with_type(envelope: Envelope, content_type: str) -> Envelope:
    """Return the delivery under another content type."""
    return with_headers(with_header(envelope, "content-type", lambda _: None), {"Content-Type": content_type})


def with_body(envelope: Envelope, body: Callable[[int], bytes], size: int) -> Envelope:
    """Return the delivery with another body of this size."""
    return replace(envelope, body=body(size))


def with_long_header(envelope: Envelope, name: str, text: Callable[[int], bytes], size: int) -> Envelope:
    """Return the delivery with another header, a sixteenth as long as ``size``: at most what a header may have."""
    return with_header(envelope, name, lambda _: text(size // 16).decode())


def many_headers(genuine: Envelope, size: int) -> Envelope:
    """Return the delivery with one more header for each 64 bytes of ``size``."""
    return replace(genuine, headers=(*genuine.headers, *((f"x-{n}", "") for n in range(size // 64))))


def hostile(source: Source, genuine: Envelope) -> Iterator[tuple[str, Callable[[int], Envelope]]]:
    """Yield each hostile delivery by name, as a function of its size."""
    for content_type, (name, body) in product(CONTENT_TYPES, BODIES.items()):
        yield f"{name} as {content_type}", partial(with_body, with_type(genuine, content_type), body)
    if header := signature_header(source.scheme):
        for unit in HEADERS:
            yield f"{unit!r} in {header}", partial(with_long_header, genuine, header, repeated(unit))
    yield "many headers", partial(many_headers, genuine)


@pytest.mark.parametrize("preset", presets.names())
def test_hostile_deliveries_cost_linear_time(preset: str) -> None:
    """Each hostile body under each content type, and each hostile signature header, takes time in proportion."""
    source = source_of(preset)
    secrets = (pair_of(source).verify_with, pair_of(source, "second").verify_with)
    for name, made in hostile(source, envelope_of(source, draft_of(source, pair_of(source)))):
        check(f"{preset}, {name}", source, secrets, made)


@pytest.mark.parametrize("preset", [name for name in presets.names() if batch_path(source_of(name))])
def test_long_batches_cost_linear_time(preset: str) -> None:
    """A batch of thousands of genuine elements takes time in proportion to their number."""
    source = source_of(preset)
    check(f"{preset}, batch", source, (pair_of(source).verify_with,), partial(batch, source))


def test_a_form_of_too_many_parts_is_not_read() -> None:
    """Of a multipart form 100 parts are read, with heads of up to 8 KiB; one with more parts is not read at all."""
    source = source_of("hmac")
    genuine = with_type(envelope_of(source, draft_of(source, pair_of(source))), MULTIPART)
    part = '--x\r\nx-other: {0}\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    ordinary, long = (part.format(filler).encode() for filler in ("", "y" * 9000))
    for body, count in ((ordinary * 100, 100), (ordinary * 101, 0), (long + ordinary, 1)):
        assert form_pairs(replace(genuine, body=body + b"--x--\r\n")) == [("a", "b")] * count
