"""What the terminal says of batches, whatever the function wrote into its log."""

from __future__ import annotations

from pathlib import Path

from weir.infra.local.console import Console
from weir.infra.local.poller.reports import BatchReport

REPORT = BatchReport(
    shard_id="shardId-000000000000",
    lane=0,
    records=2,
    bytes=10,
    outcome="done",
    attempt=1,
    first_sequence_number="1",
    last_sequence_number="2",
    iterator_age_ms=0,
    duration_ms=3.0,
    request_id="r",
    reported=None,
    error=None,
    condition=None,
)
LINES = b"""{"outcome":"applied","source":"github","type":"push"}
{"outcome":"app{"outcome":"applied","source":"stripe"}
{'outcome': 'of business code, "outcome" quoted'}
["outcome"]
%s
{"outcome":"ignored","source":"github","type":"ping"}
{"outcome":"appl""" % (b'{"outcome":' + b"[" * 100_000)


def test_lines_that_are_no_documents_are_passed_over(tmp_path: Path) -> None:
    """A line that a kill tore, or that business code wrote in its own way, does not end the narration."""
    log = tmp_path / "consumer.log"
    said: list[str] = []
    console = Console(log, said.append)
    console.on_batch(REPORT)
    log.write_bytes(LINES)
    console.on_batch(REPORT)
    log.write_bytes(LINES + b'ied","source":"x"}\n')
    console.on_batch(REPORT)
    assert [line.partition("3 ms  ")[2] for line in said] == [
        "done",
        "github push applied, github ping ignored",
        "x applied",
    ]
