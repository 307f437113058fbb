"""How long marks live beside how long everything else is kept: what a deployment records of it, refuses and says.

A mark proves that its event was applied. What is kept for longer than its mark can be told from new no more, so that
commands leave it alone (`weir.ingest.sources.mark_lives`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from weir.infra.place import Place
from weir.ingest.errors import StackFailed
from weir.ingest.sources import mark_lives
from weir.ingest.sources.catalogue import DAY_S, MARK_MARGIN_S, Source
from weir.ingest.sources.mark_lives import MarkLives


class Kept(NamedTuple):
    """Something that keeps deliveries: for how long, and by which parameter of the template."""

    what: str
    kept_s: int
    parameter: str


def kept(values: Mapping[str, str]) -> list[Kept]:
    """Return what keeps deliveries under these parameters of the template, all of which are given."""
    found = [
        Kept("the stream", int(values["RetentionHours"]) * 3600, "RetentionHours"),
        Kept("the failures", int(values["FailureDays"]) * DAY_S, "FailureDays"),
        Kept("the quarantine", int(values["QuarantineDays"]) * DAY_S, "QuarantineDays"),
    ]
    if values["ArchiveMode"] != "none":
        found.append(Kept("the archive", int(values["ArchiveDays"]) * DAY_S, "ArchiveDays"))
    return found


def outlived_by(source: Source, values: Mapping[str, str]) -> list[Kept]:
    """Return what keeps deliveries of a source for longer than their marks live."""
    return [one for one in kept(values) if one.kept_s > source.dedupe_s]


def warnings(source: Source, values: Mapping[str, str]) -> Iterator[str]:
    """Yield what cannot go well between a source's marks and the parameters, one sentence each."""
    waits_s = int(values["MaxRecordAgeSeconds"])
    if source.dedupe_s <= waits_s + MARK_MARGIN_S:
        yield (
            f"marks live {show_days(source.dedupe_s)}, and a record may wait {show_days(waits_s)} in the stream: one "
            "that waited as long is quarantined as too_old_to_tell. Raise dedupe_days, or lower MaxRecordAgeSeconds."
        )
    for what, kept_s, parameter in outlived_by(source, values):
        if parameter == "RetentionHours":
            yield (
                f"marks live {show_days(source.dedupe_s)}, and {what} keeps records for {show_days(kept_s)}: what is "
                f"older cannot be put into it again. Raise dedupe_days, or lower {parameter}."
            )


def summary(sources: Mapping[str, Source], values: Mapping[str, str]) -> Iterator[str]:
    """Yield, for each life of marks, which sources have it and what keeps their deliveries for longer."""
    for life_s in sorted({source.dedupe_s for source in sources.values()}):
        alike = [source for source in sources.values() if source.dedupe_s == life_s]
        longer = ", ".join(f"{one.what} ({show_days(one.kept_s)})" for one in outlived_by(alike[0], values))
        names = ", ".join(source.name for source in alike)
        if longer:
            yield f"marks live {show_days(life_s)} ({names}); longer keep deliveries: {longer}; see --past-marks"
        else:
            yield f"marks live {show_days(life_s)} ({names}), as long as deliveries are kept"


def check(sources: Mapping[str, Source], values: Mapping[str, str]) -> None:
    """Refuse to deploy what would quarantine true deliveries after a pause. Raises: StackFailed."""
    waits_s = int(values["MaxRecordAgeSeconds"])
    if short := [name for name, source in sources.items() if source.dedupe_s <= waits_s + MARK_MARGIN_S]:
        raise StackFailed(
            "Marks must live longer than a record may wait in the stream: raise dedupe_days of these sources, or lower "
            "MaxRecordAgeSeconds.",
            sources=", ".join(short),
            max_record_age_s=waits_s,
        )


def record_before(place: Place, bucket: str, sources: Mapping[str, Source]) -> None:
    """Record before a stack is updated which marks will live shorter: an update that ends early may have begun."""
    s3 = place.client("s3")
    known = mark_lives.load(s3, bucket) or MarkLives()
    mark_lives.save(s3, bucket, known.changed(sources, _now_ms(), shorter_only=True))


def record_after(place: Place, bucket: str, sources: Mapping[str, Source], *, made_ms: int | None) -> None:
    """Record what is in effect from now on; ``made_ms``: before when there was no table, None if there was one."""
    s3 = place.client("s3")
    known = mark_lives.load(s3, bucket)
    if known is None:
        known = MarkLives() if made_ms is None else mark_lives.begun(sources, made_ms)
    mark_lives.save(s3, bucket, known.changed(sources, _now_ms()))


def show_days(span_s: float) -> str:
    """Write a span as days, or as hours if it is shorter than two days and not whole."""
    days = span_s / DAY_S
    if days < 2 and days != int(days):
        return f"{span_s / 3600:g} hours"
    return f"{days:g} day{'' if days == 1 else 's'}"


def _now_ms() -> int:
    return round(time.time() * 1000)
