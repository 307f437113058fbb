"""What the likeliest reading proves alone is what all readings and all marks together prove."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weir.consumers.events_table.mark import Mark, mark_key
from weir.consumers.outcome import Outcome
from weir.ingest.envelope import Envelope
from weir.ingest.ids import EventId, RequestId, SourceName
from weir.ingest.sources.events import Event
from weir.operate.lookup.preview import Preview
from weir.operate.lookup.status import _of_marks, _own_outcome

SOURCE = SourceName("s")
ENVELOPE = Envelope(RequestId("mine"), 1, SOURCE, "", "", "", {}, (), b"")
IDS = ("a", "b", "=d", "=e")
DELIVERIES = ("mine", "mine.0", "mine.1", "mine~", "other")


@st.composite
def made_events(draw: st.DrawFn) -> Event:
    event_id, digest = draw(st.sampled_from(("a", "b"))), draw(st.sampled_from(("", "=d", "=e")))
    kind, is_signed = draw(st.sampled_from(("t", "u"))), draw(st.booleans())
    return Event(SOURCE, EventId(event_id), kind, None, "", None, 0, ENVELOPE, digest=digest, is_type_signed=is_signed)


@st.composite
def made_marks(draw: st.DrawFn) -> dict[str, Mark]:
    marks = dict[str, Mark]()
    for one in IDS:
        if draw(st.booleans()):
            key = mark_key(SOURCE, EventId(one))
            refused = draw(st.frozensets(st.sampled_from(DELIVERIES), max_size=2))
            outcome = draw(st.sampled_from((Outcome.APPLIED, Outcome.IGNORED, Outcome.FENCED, Outcome.WAITING)))
            writer = RequestId(draw(st.sampled_from(("mine", "other"))))
            marks[key] = Mark(writer, outcome, "", refused, key, 1, draw(st.sampled_from(("t", "u"))))
    return marks


@given(st.lists(st.lists(made_events(), min_size=1, max_size=3), min_size=1, max_size=2), made_marks())
def test_the_likeliest_reading_says_what_all_say(readings: list[list[Event]], marks: dict[str, Mark]) -> None:
    """Whatever the table holds: an outcome that is taken early is the one that is found when everything is read."""
    found = _own_outcome(readings[0], [marks.get(mark_key(SOURCE, event.identity)) for event in readings[0]])
    if found is not None:
        preview = Preview(ENVELOPE, tuple(map(tuple, readings)))
        assert found == _of_marks(preview, marks)


def test_the_usual_deliveries_are_decided_early() -> None:
    """One that was applied, and one that was ignored under its digest, need no more than their own mark."""
    plain = Event(SOURCE, EventId("a"), "t", None, "", None, 0, ENVELOPE)
    hashed = Event(SOURCE, EventId("a"), "t", None, "", None, 0, ENVELOPE, digest="=d", is_type_signed=False)
    own = Mark(RequestId("mine"), Outcome.APPLIED, type="t")
    assert _own_outcome([plain], [own]) == Outcome.APPLIED
    assert _own_outcome([hashed], [own._replace(outcome=Outcome.IGNORED)]) == Outcome.IGNORED
    assert _own_outcome([plain], [own._replace(request_id=RequestId("other"))]) is None
    assert _own_outcome([], []) is None
