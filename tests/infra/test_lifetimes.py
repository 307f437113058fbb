"""How long marks live beside everything that keeps deliveries: what is refused, said and recorded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.stack_env import StackEnv, stack_env
from weir.infra import lifetimes, template
from weir.ingest.errors import StackFailed
from weir.ingest.ids import SourceName
from weir.ingest.sources import mark_lives
from weir.ingest.sources.catalogue import DAY_S, Source
from weir.ingest.sources.mark_lives import Era
from weir.ingest.sources.presets import preset
from weir.ingest.sources.sources_file import load

__all__ = ["stack_env"]

DEFAULTS = template.defaults(template.load())


def source(days: int, name: str = "shop") -> Source:
    return Source(name=SourceName(name), scheme=preset("stripe").scheme, dedupe_days=days)


@pytest.mark.parametrize(
    ("days", "record_age_s", "is_refused"), [(2, 172_800, True), (2, 169_000, False), (3, 172_800, False)]
)
def test_a_record_may_not_wait_for_as_long_as_its_mark_would_live(
    days: int, record_age_s: int, is_refused: bool
) -> None:
    """Refused before anything is deployed, with the sources; a laptop and `weir sources check` warn of it."""
    values = {**DEFAULTS, "MaxRecordAgeSeconds": str(record_age_s), "RetentionHours": "48"}
    sources = {"shop": source(days), "other": source(30, "other")}
    if is_refused:
        with pytest.raises(StackFailed, match="shop") as refused:
            lifetimes.check(sources, values)
        assert "other" not in str(refused.value)
    else:
        lifetimes.check(sources, values)
    assert any("too_old_to_tell" in one for one in lifetimes.warnings(sources["shop"], values)) == is_refused
    assert list(lifetimes.warnings(sources["other"], values)) == []


def test_what_keeps_deliveries_for_longer_than_their_marks_is_named() -> None:
    """Stream, archive and failures, each with its own parameter; a stream that outlives marks is warned of."""
    assert [one.parameter for one in lifetimes.outlived_by(source(30), DEFAULTS)] == [
        "FailureDays",
        "QuarantineDays",
        "ArchiveDays",
    ]
    long = {**DEFAULTS, "RetentionHours": "8760"}
    (warning,) = lifetimes.warnings(source(30), long)
    assert "365 days" in warning
    assert "RetentionHours" in warning
    assert [one.parameter for one in lifetimes.outlived_by(source(366), {**long, "ArchiveMode": "none"})] == []
    told = list(lifetimes.summary({"shop": source(30), "b": source(400, "b")}, DEFAULTS))
    assert len(told) == 2
    assert "30 days (shop)" in told[0]
    assert "the archive (400 days)" in told[0]
    assert "400 days (b), as long as deliveries are kept" in told[1]


@pytest.mark.engine
def test_a_deployment_records_how_long_marks_live(stack_env: StackEnv, tmp_path: Path) -> None:
    """From the table's beginning on; what changes is added, and what was there before any record counts as short."""
    place, bucket, s3 = stack_env.place, stack_env.outputs.bucket, stack_env.s3
    first = mark_lives.load(s3, bucket)
    assert first is not None
    assert abs(first.begins_ms - time.time() * 1000) < 60_000
    assert first.eras["payments"] == (Era(first.begins_ms, 30 * DAY_S),)
    assert first.eras["batches"] == (Era(first.begins_ms, 400 * DAY_S),)
    (tmp_path / "later.yaml").write_text("payments: {preset: standard-webhooks, dedupe_days: 60}\n")
    later = load(tmp_path / "later.yaml")
    lifetimes.record_before(place, bucket, later)
    assert mark_lives.load(s3, bucket) == first
    lifetimes.record_after(place, bucket, later, made_ms=None)
    second = mark_lives.load(s3, bucket)
    assert second is not None
    assert [era.life_s for era in second.eras["payments"]] == [30 * DAY_S, 60 * DAY_S]
    s3.delete_object(Bucket=bucket, Key=mark_lives.KEY)
    assert mark_lives.load(s3, bucket) is None
    lifetimes.record_after(place, bucket, stack_env.catalogue, made_ms=None)
    third = mark_lives.load(s3, bucket)
    assert third is not None
    assert third.begins_ms == 0
    assert [era.life_s for era in third.eras["batches"]] == [30 * DAY_S, 400 * DAY_S]
