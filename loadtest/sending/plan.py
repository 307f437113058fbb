"""Every request of a run, made before it is due: numbered, signed as its provider does, with what is to become of it.

A plan is deterministic: the same plan gives the same requests in the same order, in any process. What depends on
chance is drawn from a generator of its own for each number.
"""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from heapq import heappop, heappush
from itertools import accumulate
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from weir.ingest.envelope import Envelope, encode
from weir.ingest.errors import OptionInvalid, RecordError, SampleInvalid
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft
from weir.ingest.sources import events, sample_fit, samples
from weir.ingest.sources.catalogue import Catalogue, Source, parse_compiled
from weir.loadtest.sending import pacer
from weir.loadtest.sending.bodies import Booking, Padding, body, is_booked
from weir.loadtest.sending.marks import marks
from weir.loadtest.sending.mix import OVERSIZED_BYTES, Mix
from weir.loadtest.sending.pacer import Shape

Kind = Literal["valid", "duplicate", "bad_signature", "oversized"]

_REMEMBERED = 2048  # how far back a duplicate may reach, in requests
_SEED_STEP = 1_000_003
_CURRENCIES = ("EUR", "USD", "GBP")
_SAMPLE_MARGIN = 64  # bytes of the member that holds mark and padding


@dataclass(frozen=True, slots=True)
class Timing:
    """When: a shape with even or Poisson arrivals, the offsets of a recording, or as fast as answers come."""

    arrivals: Literal["even", "poisson", "recorded", "saturate"] = "even"
    shape: Shape | None = None
    offsets: tuple[float, ...] = ()
    duration_s: float = 0.0

    def offsets_s(self, seed: int) -> Iterator[float]:
        """Yield the intended times in seconds from the start; without end when saturating."""
        if self.arrivals == "recorded":
            yield from self.offsets
        elif self.arrivals == "saturate":
            while True:
                yield 0.0
        elif self.shape is not None:
            yield from pacer.poisson(self.shape, seed) if self.arrivals == "poisson" else pacer.even(self.shape)

    @property
    def length_s(self) -> float:
        if self.arrivals == "recorded":
            return self.offsets[-1] if self.offsets else 0.0
        return self.shape.duration_s if self.shape is not None else self.duration_s

    @property
    def peak_per_s(self) -> float:
        """The highest rate asked for; infinite when saturating."""
        if self.arrivals == "saturate":
            return float("inf")
        if self.shape is not None:
            return self.shape.peak_per_s
        return len(self.offsets) / max(self.length_s, 1.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. ``endpoint`` is where senders POST, up to and with ``/v1``.

    ``signing_keys`` by source never leave the machine's memory. ``engine_stream`` names a stream: then the same
    envelopes go as PutRecord to the engine at ``endpoint``, to compare with; it wants ``access_key``.
    ``sender_clock_ms`` is how far the senders' clocks are ahead, ``disorder_s`` how long at most a delivery is held
    back while later ones go.
    """

    run: str
    endpoint: str
    catalogue: str
    signing_keys: Mapping[str, str] = field(repr=False)
    mix: Mix
    timing: Timing
    seed: int = 1
    engine_stream: str | None = None
    access_key: str = field(default="weir", repr=False)
    sender_clock_ms: int = 0
    disorder_s: float = 0.0


class Planned(NamedTuple):
    """One request: when it is meant to be sent, its bytes, and its facts as the inside of a JSON object."""

    at_s: float
    request: bytes
    facts: str


class _Made(NamedTuple):
    source: str
    key: str
    draft: Draft
    facts: dict[str, Any]


class Planner:
    """Makes the requests of a plan; ``started_at_ms`` is the time at which the run is taken to begin."""

    def __init__(self, plan: Plan, started_at_ms: int) -> None:
        self._plan, self._mix = plan, plan.mix
        self._started_at_ms = started_at_ms + plan.sender_clock_ms
        self._catalogue: Catalogue = parse_compiled(plan.catalogue)
        self._names, self._weights = _sources(plan.mix, self._catalogue, plan.signing_keys)
        self._sizes, self._size_weights = list(plan.mix.sizes), list(accumulate(plan.mix.sizes.values()))
        self._padding = Padding(plan.seed, incompressible=plan.mix.incompressible)
        self._recent: deque[tuple[int, _Made]] = deque(maxlen=_REMEMBERED)
        self._random = random.Random()  # noqa: S311 - a load test must be repeatable
        self._target = urlsplit(plan.endpoint)

    def requests(self, worker: int = 0, worker_count: int = 1) -> Iterator[Planned]:
        """Yield one worker's part of the requests, in the order of time."""
        held: list[tuple[float, int, Planned]] = []
        for seq, at_s in enumerate(self._plan.timing.offsets_s(self._plan.seed)):
            if seq % worker_count != worker:
                continue
            planned = self._planned(seq, at_s)
            if not self._plan.disorder_s:
                yield planned
                continue
            sent_s = at_s + self._random.random() * self._plan.disorder_s
            heappush(held, (sent_s, seq, planned._replace(at_s=sent_s)))
            while held and held[0][0] <= at_s:
                yield heappop(held)[2]
        yield from (heappop(held)[2] for _ in range(len(held)))

    def _planned(self, seq: int, at_s: float) -> Planned:
        self._random.seed(self._plan.seed * _SEED_STEP + seq)
        kind = self._kind()
        if kind == "duplicate":
            of, made = self._random.choice(self._recent)
            facts = {**made.facts, "kind": kind, "duplicate_of": of}
        else:
            made = self._make(kind, seq, round(self._started_at_ms + at_s * 1000))
            facts = made.facts
            if kind == "valid":
                self._recent.append((seq, made))
        text = json.dumps({"seq": seq, **facts})[1:-1]
        return Planned(at_s, self._request(seq, made), text)

    def _kind(self) -> Kind:
        drawn = self._random.random()
        for kind, share in (("bad_signature", self._mix.bad_signatures), ("oversized", self._mix.oversized)):
            if drawn < share:
                return kind  # type: ignore[return-value]
            drawn -= share
        return "duplicate" if drawn < self._mix.duplicates and self._recent else "valid"

    def _make(self, kind: Kind, seq: int, at_ms: int) -> _Made:
        name = self._random.choices(self._names, cum_weights=self._weights)[0]
        source, key = self._catalogue[name], self._key()
        booking = self._booking(name, source)
        draft = self._draft(name, source, key, seq, at_ms, booking=booking, size=self._size(kind))
        signing_key = self._plan.signing_keys[name]
        if kind == "bad_signature":
            signing_key = signatures.generate_secret(source.scheme, sha256(b"%d" % seq).digest()).sign_with
        signatures.sign_draft(source.scheme, signing_key, draft)
        facts: dict[str, Any] = {
            "kind": kind,
            "source": name,
            "key": key,
            **_names(source, draft, signing_key),
            "body_sha256": sha256(draft.body).hexdigest(),
            "bytes": len(draft.body),
        }
        if booking is not None:
            facts |= {"account": booking.account, "currency": booking.currency, "change": booking.change}
        return _Made(name, key, draft, facts)

    def _draft(
        self, name: str, source: Source, key: str, seq: int, at_ms: int, *, booking: Booking | None, size: int
    ) -> Draft:
        sample, headers = samples.sample(source.preset, seq, seed=self._plan.run, at_ms=at_ms)
        mark = f"{self._plan.run}/{seq}"
        padding = self._padding.take(max(0, size - len(sample) - _SAMPLE_MARGIN), seq * 977)
        text = body(sample, source=name, preset=source.preset, booking=booking, mark=mark, padding=padding)
        message_id = samples.message_id(seq, seed=self._plan.run, preset=source.preset)
        asked = samples.query(source.preset, seq, seed=self._plan.run, at_ms=at_ms)
        draft = Draft(text, at_ms, message_id, headers, query=asked)
        samples.address(draft, source, key, self._plan.endpoint)
        sample_fit.fit(source, draft)
        return draft

    def _booking(self, name: str, source: Source) -> Booking | None:
        if not is_booked(name, source.preset):
            return None
        # Squaring makes the first accounts far busier than the last, as customers are.
        number = int(self._random.random() ** 2 * self._mix.account_count)
        amount = self._random.randrange(1, 100_000)
        refund = self._random.random() < 0.1
        return Booking(f"load-{self._plan.run}-{number}", self._random.choice(_CURRENCIES), amount, is_refund=refund)

    def _key(self) -> str:
        drawn = self._random.random()
        if drawn >= max(self._mix.keyed, self._mix.hot):
            return ""
        count = self._mix.hot_key_count if drawn < self._mix.hot else self._mix.key_count
        return f"{self._plan.run}-{self._random.randrange(count)}"

    def _size(self, kind: Kind) -> int:
        if kind == "oversized":
            return OVERSIZED_BYTES
        return self._random.choices(self._sizes, cum_weights=self._size_weights)[0]

    # --- bytes

    def _request(self, seq: int, made: _Made) -> bytes:
        if self._plan.engine_stream is not None:
            return self._put_record(made)
        path = "/".join(
            [self._target.path, quote(made.source, safe=""), *([quote(made.key, safe="")] if made.key else [])]
        )
        if made.draft.query:
            path += f"?{urlencode(made.draft.query)}"
        numbered = {**made.draft.headers, "X-Weir-Run": self._plan.run, "X-Weir-Seq": str(seq)}
        return _post(self._target.netloc, path, numbered, made.draft.body)

    def _put_record(self, made: _Made) -> bytes:
        """Return the call that the gateway makes for this delivery."""
        draft = made.draft
        envelope = Envelope(
            request_id=RequestId(draft.message_id),
            arrived_at_ms=draft.at_ms,
            source=SourceName(made.source),
            key=made.key,
            source_ip="127.0.0.1",
            path=f"/live/v1/{made.source}",
            query=draft.query,
            headers=tuple(draft.headers.items()),
            body=draft.body,
        )
        call = {
            "StreamName": self._plan.engine_stream,
            "PartitionKey": made.key or draft.message_id,
            "Data": b64encode(encode(envelope)).decode("ascii"),
        }
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "Kinesis_20131202.PutRecord",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self._plan.access_key}/20260101/us-east-1/kinesis/"
            f"aws4_request, SignedHeaders=host, Signature={'0' * 64}",
        }
        return _post(self._target.netloc, "/", headers, json.dumps(call).encode())


def check(plan: Plan) -> None:
    """Raises: OptionInvalid when the plan's requests cannot be made, or when it has none."""
    if plan.timing.peak_per_s == 0:
        raise OptionInvalid("A rate of 0 sends nothing.")
    _sources(plan.mix, parse_compiled(plan.catalogue), plan.signing_keys)


def left_out(mix: Mix, catalogue: Catalogue, keys: Mapping[str, str]) -> dict[str, str]:
    """Return why each source is left out that could have been sent as: no sample of it can be made."""
    if mix.sources:
        return {}
    reasons = {name: _why_not(catalogue[name], keys[name]) for name in catalogue if name in keys}
    return {name: reason for name, reason in reasons.items() if reason}


def _sources(mix: Mix, catalogue: Catalogue, keys: Mapping[str, str]) -> tuple[list[str], list[float]]:
    """Return the sources to send as, and their cumulative weights. Raises: OptionInvalid."""
    without = left_out(mix, catalogue, keys)
    wanted = mix.sources or {name: 1.0 for name in catalogue if name in keys and name not in without}
    for name in wanted:
        if name not in catalogue:
            raise OptionInvalid(f"There is no source {name!r}; there are: {', '.join(catalogue)}.")
        if name not in keys:
            raise OptionInvalid(f"{name} has no secret to sign with: `weir secrets set {name}`.")
        if mix.sources and (reason := _why_not(catalogue[name], keys[name])):
            raise OptionInvalid(reason)
    if not wanted:
        raise OptionInvalid("No source has both a secret and a sample to send: `weir secrets set SOURCE`.")
    return list(wanted), list(accumulate(wanted.values()))


def _why_not(source: Source, signing_key: str) -> str:
    """Return why no sample of a source can be sent, empty if one can."""
    try:
        sample_fit.check(source, signing_key)
    except SampleInvalid as error:
        return error.detail or str(error)
    return ""


def _names(source: Source, draft: Draft, signing_key: str) -> dict[str, list[str]]:
    """Return the ids of the events in a delivery, and the keys under which they must be found."""
    try:
        found = events.extract(source, draft.envelope(), signatures.option_of(source.scheme, signing_key))
    except RecordError as error:
        raise OptionInvalid(f"The sample of {source.name} contains no event: {error}") from error
    ids = [event.event_id for event in found]
    return {"event_ids": list(ids), "marks": marks(source, draft, ids, [event.type for event in found])}


def _post(host: str, path: str, headers: Mapping[str, str], content: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content
