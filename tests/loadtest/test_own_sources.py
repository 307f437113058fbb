"""Sources of one's own, and those that sign the URL, are sent as their providers send them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from weir.ingest.envelope import Envelope
from weir.ingest.errors import OptionInvalid
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.schemes import signatures
from weir.ingest.sources import events, sources_file
from weir.ingest.sources.catalogue import Catalogue
from weir.loadtest.sending import pacer
from weir.loadtest.sending.mix import USUAL, Mix
from weir.loadtest.sending.plan import Plan, Planner, Timing, left_out

SECRET = "a secret of some length"
_SIGNED = 'scheme: {signature: {at: "header:X-Acme-Signature", prefix: "sha256="}, content: "{body}"}'
OWN = {
    "header-id": f'{_SIGNED}\n  event: {{id: "header:X-Acme-Id", type: $.kind}}',
    "two-ids": f'{_SIGNED}\n  event: {{id: ["header:X-Acme-Id", $.data.number], type: ["header:X-Kind", $.data.kind]}}',
    "query-id": f'{_SIGNED}\n  event: {{id: "query:delivery"}}',
    "batch": f"{_SIGNED}\n  event: {{id: $.key.id, split: $.items, type: $$.kind}}",
    "list": f'{_SIGNED}\n  event: {{id: $.uid, split: "$ | $.items"}}',
    "twilio": "preset: twilio\n  url: https://hooks.example.com/v1/twilio",
    "hubspot": "preset: hubspot\n  url: https://hooks.example.com/in",
}
FORM = f'{_SIGNED}\n  event: {{id: "field:id"}}'


def catalogue(folder: Path, sources: dict[str, str]) -> Catalogue:
    file = folder / "sources.yaml"
    file.write_text("".join(f"{name}:\n  {text}\n" for name, text in sources.items()))
    return sources_file.load(file)


def plan(known: Catalogue, mix: Mix) -> Plan:
    timing = Timing("even", pacer.constant(10.0, 4.0))
    keys = dict.fromkeys(known, SECRET)
    return Plan("run-1", "http://127.0.0.1:8080/live/v1", known.dump(), keys, mix, timing, 1)


def arrived(request: bytes) -> Envelope:
    """Return what the gateway makes of a request."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    url = urlsplit(first.split(" ")[1])
    source, _, key = url.path.removeprefix("/live/v1/").partition("/")
    headers = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
    query = dict(parse_qsl(url.query))
    path = url.path.removeprefix("/live")
    return Envelope(RequestId("r"), 0, SourceName(source), unquote(key), "", path, query, headers, body)


@pytest.mark.parametrize("keyed", [0.0, 1.0])
@pytest.mark.parametrize("name", OWN)
def test_what_is_sent_is_proven_and_holds_an_event(name: str, keyed: float, tmp_path: Path) -> None:
    """Each request verifies, with and without an ordering key in its URL, and has an id of its own."""
    known = catalogue(tmp_path, {name: OWN[name]})
    mix = USUAL.of(sources={name: 1.0}, keyed=keyed, hot=0.0, bad_signatures=0.0, oversized=0.0, duplicates=0.0)
    seen: set[str] = set()
    for planned in Planner(plan(known, mix), started_at_ms=0).requests():
        envelope = arrived(planned.request)
        assert bool(envelope.key) == bool(keyed)
        source = known[envelope.source]
        signatures.verify(source.scheme, [SECRET], _at_its_time(envelope))
        seen.add(events.extract(source, envelope)[0].event_id)
    assert len(seen) == 40


def _at_its_time(envelope: Envelope) -> Envelope:
    """Return the delivery as it arrives right after it was signed."""
    stamps = [int(value) for name, value in envelope.headers if name.lower() == "x-hubspot-request-timestamp"]
    return replace(envelope, arrived_at_ms=stamps[0] if stamps else 0)


def test_what_cannot_be_sampled_is_left_out_by_name(tmp_path: Path) -> None:
    """A source whose id is in a form has no sample: the usual mix goes without it, by name; alone it is refused."""
    known = catalogue(tmp_path, {"form": FORM, "header-id": OWN["header-id"]})
    mix = USUAL.of(keyed=0.0)
    keys = dict.fromkeys(known, SECRET)
    [(name, reason)] = left_out(mix, known, keys).items()
    assert (name, "field:id" in reason) == ("form", True)
    assert {arrived(one.request).source for one in Planner(plan(known, mix), started_at_ms=0).requests()} == {
        "header-id"
    }
    with pytest.raises(OptionInvalid, match="The sample of form holds no event"):
        Planner(plan(known, USUAL.of(sources={"form": 1.0})), started_at_ms=0)
