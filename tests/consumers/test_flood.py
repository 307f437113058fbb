"""A flood of forgeries in one batch: judged and written within a bound of calls, and in the way of no true event."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import cycle, islice

import pytest

from tests.support.batches import NOW_MS, run
from tests.support.deliveries import draft_of, envelope_of, pair_of, source_of
from tests.support.memory_store import MemoryStore
from weir.consumers.judging.judge import Judge
from weir.consumers.judging.records import Record
from weir.consumers.judging.secrets import Secrets
from weir.consumers.outcome import Outcome
from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId, SequenceNumber
from weir.ingest.sources.catalogue import Catalogue
from weir.loadtest.sending import hostile

SOURCES = [source_of(name) for name in ("stripe", "github", "twilio", "adyen", "paypal", "plaid", "discord", "aws-sns")]
PAIRS = {source.name: pair_of(source) for source in SOURCES}
LIVE = {str(name): pair.verify_with for name, pair in PAIRS.items()}
COUNT, TRUE = 200, 5
IN_A_CALL = 25


def flood(size: int) -> list[Envelope]:
    """Return hostile deliveries of all sources in turn, of each another kind."""
    kinds = [
        (
            (source, kind)
            for kind in hostile.kinds(source, draft_of(source, pair_of(source, "a stranger's"), at_ms=NOW_MS))
        )
        for source in SOURCES
    ]
    found = (envelope_of(source, kind.make(size)) for row in zip(*kinds, strict=False) for source, kind in row)
    return [renamed(one, f"forged-{number}") for number, one in enumerate(islice(found, COUNT))]


def renamed(envelope: Envelope, request_id: str) -> Envelope:
    return Envelope(
        RequestId(request_id),
        NOW_MS,
        envelope.source,
        "",
        "192.0.2.1",
        envelope.path,
        envelope.query,
        envelope.headers,
        envelope.body,
    )


@pytest.mark.parametrize("size", [1024, 64 * 1024])
def test_a_batch_of_forgeries_costs_few_calls(size: int) -> None:
    """Forgeries are inserted 25 a call, a large one costs an object more; secrets are read twice, and none waits."""
    reads: list[int] = []

    def read(names: Sequence[str]) -> dict[str, str]:
        reads.append(len(names))
        return {name: json.dumps({"secrets": [{"value": LIVE[name.rpartition("/")[2]]}]}) for name in names}

    secrets = Secrets(read, "/s", ttl_s=300, patience_s=900, clock_ms=lambda: NOW_MS)
    judge = Judge(Catalogue({source.name: source for source in SOURCES}), secrets, quarantine_s=9, unproven_s=9)
    genuine = [
        renamed(envelope_of(source, draft_of(source, PAIRS[source.name], at_ms=NOW_MS)), f"true-{source.name}")
        for source in islice(cycle(SOURCES), TRUE)
    ]
    batch = [*flood(size), *genuine]
    store = MemoryStore()
    judged = judge.judge(
        [Record("shard:1", SequenceNumber(str(number)), 0, NOW_MS, encode(one)) for number, one in enumerate(batch)]
    )
    report = run(judged, store)
    outcomes = [result.outcome for result in report.results]
    assert outcomes[:COUNT] == [Outcome.QUARANTINED] * COUNT
    assert set(outcomes[COUNT:]) <= {Outcome.APPLIED, Outcome.IGNORED}
    calls = Counter(store.calls)
    assert calls["insert"] <= -(-COUNT // IN_A_CALL) + TRUE
    assert calls["put_payload"] <= COUNT
    assert calls.total() - calls["put_payload"] <= COUNT // IN_A_CALL + 2 * TRUE + 2
    assert len(reads) <= 2
