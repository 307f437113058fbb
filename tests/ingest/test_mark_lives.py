"""How long marks lived, and from which arrival on a missing one is proof: compared with marks that are written."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.ingest.errors import CatalogueInvalid
from weir.ingest.ids import SourceName
from weir.ingest.sources.catalogue import DAY_S, MARK_MARGIN_S, Source
from weir.ingest.sources.mark_lives import MarkLives, begun, dump, parse
from weir.ingest.sources.presets import preset

DAY_MS = DAY_S * 1000
BEGAN_MS = 1_700_000_000_000


def source(days: int, *, retry_s: int | None = 0, name: str = "shop") -> Source:
    return Source(name=SourceName(name), scheme=preset("stripe").scheme, dedupe_days=days, retry_window_s=retry_s)


LIVES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(LIVES, st.integers(0, 120), st.integers(0, 200), st.integers(0, 9), st.integers(-20, 20))
def test_no_delivery_behind_the_horizon_can_have_lost_its_mark(
    changes: list[tuple[int, int]], waited_days: int, now_days: int, retry_days: int, after_minutes: int
) -> None:
    """Whenever the first delivery of its event was applied, whatever was deployed then: that mark is still there."""
    gaps, lives_days = zip(*changes, strict=True)
    starts_days = [sum(gaps[1 : at + 1]) for at in range(len(changes))]
    record = begun({"shop": source(lives_days[0])}, BEGAN_MS)
    for start, life in zip(starts_days[1:], lives_days[1:], strict=True):
        record = record.changed({"shop": source(life)}, BEGAN_MS + start * DAY_MS)
    now_ms = BEGAN_MS + now_days * DAY_MS
    if starts_days[-1] > now_days:
        return
    last = source(lives_days[-1], retry_s=retry_days * DAY_S)
    horizon_ms = record.horizon_ms(last, now_ms)
    arrived_ms = max(horizon_ms + after_minutes * 60_000, BEGAN_MS)
    first_ms = max(BEGAN_MS, arrived_ms - retry_days * DAY_MS)
    applied_ms = min(now_ms, first_ms + waited_days * DAY_MS)
    in_effect = [
        life for start, life in zip(starts_days, lives_days, strict=True) if BEGAN_MS + start * DAY_MS <= applied_ms
    ]
    expires_ms = applied_ms + in_effect[-1] * DAY_MS
    if arrived_ms >= horizon_ms and applied_ms >= first_ms:
        assert expires_ms > now_ms


@pytest.mark.parametrize("days", [1, 30, 400])
def test_the_horizon_is_no_further_than_it_must_be(days: int) -> None:
    """With one life since long ago it is that life back, less the provider's repetitions and the margin."""
    found = begun({"shop": source(days)}, BEGAN_MS)
    now_ms = BEGAN_MS + 1000 * DAY_MS
    wanted_ms = now_ms - days * DAY_MS + (MARK_MARGIN_S + 7200) * 1000 + 1
    assert found.horizon_ms(source(days, retry_s=7200), now_ms) == wanted_ms


def test_nothing_is_too_old_for_a_table_that_has_lost_no_mark() -> None:
    """A new table has had no mark that could have expired, however old a delivery is that is brought into it."""
    found = begun({"shop": source(30)}, BEGAN_MS)
    assert found.horizon_ms(source(30), BEGAN_MS + 29 * DAY_MS) == 0
    assert found.horizon_ms(source(30), BEGAN_MS + 30 * DAY_MS) > 0


def test_a_longer_life_does_not_lengthen_marks_that_are_written() -> None:
    """After an upgrade that makes them live longer, and without a record at all, marks count as living 30 days."""
    now_ms = BEGAN_MS + 300 * DAY_MS
    shop = source(400)
    wanted_ms = now_ms - 30 * DAY_MS + MARK_MARGIN_S * 1000 + 1
    assert MarkLives().horizon_ms(shop, now_ms) == wanted_ms
    upgraded = MarkLives().changed({"shop": shop}, now_ms - DAY_MS)
    assert upgraded.horizon_ms(shop, now_ms) == wanted_ms
    assert upgraded.horizon_ms(shop, now_ms + 200 * DAY_MS) == now_ms - DAY_MS + 1
    assert MarkLives().horizon_ms(source(7), now_ms) == now_ms - 7 * DAY_MS + MARK_MARGIN_S * 1000 + 1


def test_a_source_that_comes_later_has_no_marks_from_before() -> None:
    """Its first deliveries may have waited in quarantine: they count by the life of then, not by today's."""
    found = begun({"shop": source(30)}, BEGAN_MS).changed({"late": source(400, name="late")}, BEGAN_MS + 90 * DAY_MS)
    assert found.eras["shop"] == begun({"shop": source(30)}, BEGAN_MS).eras["shop"]
    assert found.horizon_ms(source(400, name="late"), BEGAN_MS + 300 * DAY_MS) == BEGAN_MS + 90 * DAY_MS + 1


def test_an_update_that_ends_early_has_recorded_what_became_shorter() -> None:
    """What becomes longer counts only when the update is over."""
    before = begun({"one": source(30, name="one"), "two": source(30, name="two")}, BEGAN_MS)
    wanted = {"one": source(7, name="one"), "two": source(90, name="two")}
    begins = before.changed(wanted, BEGAN_MS + DAY_MS, shorter_only=True)
    assert [era.life_s for era in begins.eras["one"]] == [30 * DAY_S, 7 * DAY_S]
    assert begins.eras["two"] == before.eras["two"]
    ends = begins.changed(wanted, BEGAN_MS + 2 * DAY_MS)
    assert ends.eras["one"] == begins.eras["one"]
    assert [era.life_s for era in ends.eras["two"]] == [30 * DAY_S, 90 * DAY_S]
    assert all(first.since_ms < then.since_ms for eras in ends.eras.values() for first, then in pairwise(eras))


def test_a_record_is_read_as_it_was_written() -> None:
    """A damaged one, and one of another version, is refused and never taken for an empty one."""
    found = begun({"shop": source(30)}, BEGAN_MS).changed({"shop": source(9)}, BEGAN_MS + 1)
    assert parse(dump(found)) == found
    for text in ("", "{}", "[]", '{"v": 2, "begins_ms": 0, "eras": {}}', dump(found).replace("2592000", '"x"')):
        with pytest.raises(CatalogueInvalid):
            parse(text)
