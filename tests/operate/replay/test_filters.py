"""Which deliveries a replay chooses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stack_env import StackEnv
from weir.ingest.envelope import Envelope
from weir.ingest.errors import OptionInvalid
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.locations import View
from weir.operate.lookup.times import parse_duration_s, parse_time_ms, show_duration
from weir.operate.replay.filters import compile_test

AT_MS = 1_700_000_000_000


def view(payload: Any) -> View:
    headers = (("Content-Type", "application/json"), ("X-Kind", "blue"))
    return View(
        Envelope(RequestId("r"), AT_MS, SourceName("s"), "", "", "/", {"q": "1"}, headers, json.dumps(payload).encode())
    )


@pytest.mark.parametrize(
    ("test", "holds"),
    [
        ("$.amount >= 100", True),
        ("$.amount>100", False),
        ("$.amount = 100.0", True),
        ("$.amount != 7", True),
        ("$.name = 100", False),
        ("$.name ~ Anna*", True),
        ("$.name ~ anna*", False),
        ("$.list[1].x = y", True),
        ("$.missing", False),
        ("$.missing != 1", True),
        ("$.missing = 1", False),
        ("$.gone", False),
        ("$.yes = true", True),
        ("header:X-Kind = blue", True),
        ("query:q = 1", True),
        ("$.text = a = b", True),
    ],
)
def test_a_test_of_the_content(test: str, holds: bool) -> None:
    """Numbers compare as numbers, everything else as text; a bare path asks whether there is something."""
    payload = {"amount": 100, "name": "Anna B", "list": [{}, {"x": "y"}], "gone": None, "yes": True, "text": "a = b"}
    assert compile_test(test)(view(payload)) is holds


@pytest.mark.parametrize("test", ["", "   ", "amount = 3", "$..a", "= 3"])
def test_what_is_no_test_is_refused(test: str) -> None:
    """The message names the text that cannot be understood."""
    with pytest.raises(OptionInvalid):
        compile_test(test)


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("now", AT_MS),
        ("2h", AT_MS - 7_200_000),
        ("1.5d", AT_MS - 129_600_000),
        ("2023-11-14T22:13:20Z", AT_MS),
        ("2023-11-14T23:13:20+01:00", AT_MS),
        ("2023-11-14", 1_699_920_000_000),
        ("1700000000", AT_MS),
        ("1700000000.5", AT_MS + 500),
        ("1700000000000", AT_MS),
    ],
)
def test_moments(text: str, at_ms: int) -> None:
    """A moment is a time, UTC unless it says, a span ago, or an epoch time in seconds or milliseconds."""
    assert parse_time_ms(text, AT_MS) == at_ms


@given(st.text(max_size=12))
def test_a_text_is_a_moment_or_is_refused(text: str) -> None:
    """Whatever is typed gives a time or a sentence that names it."""
    try:
        found: int | str = parse_time_ms(text, AT_MS)
    except OptionInvalid as error:
        found = str(error)
    assert isinstance(found, int) or repr(text.strip()) in found


def test_spans_are_shown_in_their_two_largest_units() -> None:
    """A person reads seconds, minutes, hours and days."""
    assert [show_duration(value) for value in (0.25, 61, 3700, 90_000)] == ["0.2 s", "61 s", "1 h 1 min", "1 d 1 h"]
    assert parse_duration_s("2w") == 1_209_600


@pytest.mark.engine
def test_filters_choose_by_source_type_id_key_time_and_outcome(stack_env: StackEnv) -> None:
    """Each filter lets exactly the deliveries through that fit; several must all fit."""
    envelopes = {
        "paid": stack_env.payment("a", 1, message_id="m-1", key="k1", at_ms=AT_MS),
        "other": stack_env.delivery({"type": "thing.made", "n": 5}, message_id="m-2", key="k2", at_ms=AT_MS + 1000),
        "else": stack_env.delivery({"type": "payment.failed"}, source="others", message_id="m-3", at_ms=AT_MS + 2000),
        "forged": stack_env.payment("a", 1, secret="whsec_" + "QUJD" * 8, message_id="m-4", at_ms=AT_MS + 3000),
        "split": stack_env.delivery(
            {"events": [{"id": "x", "type": "one"}, {"id": "y", "type": "two", "n": 9}]},
            source="batches",
            at_ms=AT_MS + 4000,
        ),
        "late": stack_env.payment("a", 1, message_id="m-6", at_ms=AT_MS + 5000),
    }
    names = {one.request_id: name for name, one in envelopes.items()}
    stack_env.put(*list(envelopes.values())[:-1])
    stack_env.consume()
    stack_env.put(envelopes["late"])

    def chosen(*arguments: str, origin: str = "stream") -> list[str]:
        path = stack_env.home / f"chosen-{len(list(stack_env.home.glob('chosen-*')))}"
        stack_env.weir("replay", "--from", origin, "--to", str(path), *arguments)
        lines = path.read_bytes().splitlines() if path.exists() else []
        return sorted(names[json.loads(line)["id"]] for line in lines)

    assert chosen() == sorted(envelopes)
    assert chosen("--source", "pay*") == ["forged", "late", "other", "paid"]
    assert chosen("--source", "others", "--source", "batches") == ["else", "split"]
    assert chosen("--type", "payment.*") == ["else", "forged", "late", "paid"]
    assert chosen("--type", "two") == ["split"]
    assert chosen("--id", "m-2") == ["other"]
    assert chosen("--id", envelopes["split"].request_id) == ["split"]
    assert chosen("--key", "k1") == ["paid"]
    assert chosen("--where", "$.n >= 5") == ["other", "split"]
    assert chosen("--where", "$.n >= 6", "--type", "one") == []
    assert chosen("--since", str(AT_MS + 1000), "--until", str(AT_MS + 2000)) == ["else", "other"]
    assert chosen("--outcome", "applied") == ["paid"]
    assert chosen("--outcome", "ignored") == ["else", "other", "split"]
    assert chosen("--outcome", "quarantined", "--reason", "signature_mismatch") == ["forged"]
    assert chosen("--outcome", "missing") == ["late"]
    for origin in ("events", "quarantine"):
        expected = sorted(set(envelopes) - {"late"}) if origin == "events" else ["forged"]
        assert chosen(origin=origin) == expected
    assert chosen("--outcome", "ignored", "--type", "two", origin="events") == ["split"]
    assert chosen("--where", "$.n >= 5", origin="events") == ["other", "split"]
