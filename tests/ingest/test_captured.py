"""What a stranger can make of one captured delivery, without its secret: derived from each preset's own schemes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.deliveries import AT_MS, envelope_of, pair_of, source_of
from weir.ingest.envelope import Envelope
from weir.ingest.schemes import signatures
from weir.ingest.schemes.any_of import AnyOf
from weir.ingest.schemes.base import Scheme
from weir.ingest.sources import events, presets, samples
from weir.ingest.sources.catalogue import Source

PRESETS = presets.names()


def options_of(preset: str) -> tuple[Scheme, ...]:
    """Return the schemes of a preset, of which one must prove a delivery."""
    scheme = presets.preset(preset).scheme
    return scheme.any_of if isinstance(scheme, AnyOf) else (scheme,)


def read(source: Source, secret: str, envelope: Envelope) -> list[tuple[str, str, int | None, str]]:
    """Return id, type, time and key of each event of a delivery, once it is proven."""
    verdict = signatures.verify(source.scheme, [secret], envelope)
    found = events.extract(source, verdict.proven(envelope))
    return [(event.event_id, event.type, event.at_ms, event.key) for event in found]


SHADOWS = [
    (preset, place, name)
    for preset in PRESETS
    for place, option in enumerate(options_of(preset))
    for name in sorted(presets.preset(preset).scheme.header_names - option.header_names)
]


@pytest.mark.parametrize(("preset", "place", "name"), SHADOWS)
def test_header_of_another_option(preset: str, place: int, name: str) -> None:
    """A header that only another scheme of the source signs changes neither id, type, time nor key."""
    source = source_of(preset)
    option = source.model_copy(update={"scheme": options_of(preset)[place]})
    pair = pair_of(option)
    draft = samples.delivery(option, pair.sign_with, 1, at_ms=AT_MS)
    envelope = envelope_of(source, draft)
    bare = replace(envelope, headers=tuple(one for one in envelope.headers if one[0].lower() != name))
    forged = replace(bare, headers=(*bare.headers, (name, "forged")))
    assert read(source, pair.verify_with, forged) == read(source, pair.verify_with, bare)
