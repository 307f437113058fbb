"""Extracting names alone gives the names that extracting everything gives, and refuses what that refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.deliveries import AT_MS, envelope_of, pair_of, source_of
from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventMalformed
from weir.ingest.schemes.base import Scheme
from weir.ingest.sources import presets, samples
from weir.ingest.sources.catalogue import Source
from weir.ingest.sources.events import extract


def variants(preset: str, source: Source) -> Iterator[Envelope]:
    """Yield a sample delivery, and what somebody may have made of it."""
    sent = envelope_of(source, samples.delivery(source, pair_of(source).sign_with, 1, at_ms=AT_MS))
    yield sent
    bodies = [sent.body[: len(sent.body) // 2], b"", b"{}", b"[]", b"null", b"[" * 2000, b"\xff\xfe\x00", b"a=1&b=%ff"]
    yield from (replace(sent, body=body) for body in bodies)
    yield replace(sent, headers=(), query={})
    yield replace(sent, headers=(*sent.headers, *sent.headers))
    yield replace(sent, headers=tuple((name, "") for name, _ in sent.headers))


def names(source: Source, envelope: Envelope, option: Scheme, *, names_only: bool) -> object:
    try:
        found = extract(source, envelope, option, names_only=names_only)
    except EventMalformed:
        return "malformed"
    return [(type(one), one.source, one.event_id, one.digest, one.type, one.is_type_signed, one.key) for one in found]


@pytest.mark.parametrize("preset", presets.names())
def test_names_alone_are_the_same_names(preset: str) -> None:
    """Whatever arrives: id, digest, type and key do not depend on whether time and payload are read."""
    source = source_of(preset)
    for envelope in variants(preset, source):
        for option in source.scheme.options:
            assert names(source, envelope, option, names_only=True) == names(source, envelope, option, names_only=False)
