"""How long marks live, source by source and since when: what a missing mark proves, and of which deliveries nothing.

A mark dies; the stream, the archive, the failures and the quarantine may keep its delivery for longer. Of a delivery
that is old enough it cannot be known whether it was applied and its mark has expired, or was never applied: it is *too
old to tell*. `MarkLives.horizon_ms` says from which arrival on a missing mark is proof.

A mark lives for the `dedupe_days` that were deployed when it was written, whatever the sources file says today. So the
bucket keeps a record of the lives that have been in effect, which `weir deploy` and `weir run` write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from weir.ingest.errors import CatalogueInvalid
from weir.ingest.sources.catalogue import DAY_S, MARK_MARGIN_S, Source

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

KEY = "marks/lives.json"
_VERSION = 1

# What every mark lived for before lives were recorded, unless the source said otherwise.
_UNRECORDED_S = 30 * DAY_S


class Era(NamedTuple):
    """From ``since_ms`` on marks of a source were written to live for ``life_s``."""

    since_ms: int
    life_s: int


@dataclass(frozen=True, slots=True)
class MarkLives:
    """The record of one events table. ``begins_ms`` is when the table was made, 0 if that is not known."""

    begins_ms: int = 0
    eras: Mapping[str, tuple[Era, ...]] = field(default_factory=dict)

    def of(self, source: Source) -> tuple[Era, ...]:
        """Return the eras of a source, the oldest first; what is not recorded is taken to be short."""
        return self.eras.get(source.name) or (Era(self.begins_ms, min(_UNRECORDED_S, source.dedupe_s)),)

    def horizon_ms(self, source: Source, now_ms: int) -> int:
        """Return the arrival from which on a delivery without a mark was not applied; 0: all of them were not.

        The event of a delivery may have been applied by an earlier one, as long ago as the provider repeats it.
        """
        eras, least_ms = self.of(source), now_ms + MARK_MARGIN_S * 1000
        ends_ms = [*(later.since_ms for later in eras[1:]), now_ms]
        expired_ms = [
            min(least_ms - era.life_s * 1000, end_ms)
            for era, end_ms in zip(eras, ends_ms, strict=True)
            if era.since_ms + era.life_s * 1000 <= least_ms
        ]
        return max(expired_ms) + source.repeats_s * 1000 + 1 if expired_ms else 0

    def has_expired(self, source: Source, now_ms: int) -> bool:
        """Tell whether a mark of the source may have expired by now: from then on the table holds only a part."""
        return self.horizon_ms(source, now_ms) > 0

    def changed(self, sources: Mapping[str, Source], now_ms: int, *, shorter_only: bool = False) -> MarkLives:
        """Return the record with what is in effect from now on; ``shorter_only`` leaves out what has become longer.

        A deployment takes a while: what becomes shorter counts from its beginning, what becomes longer from its end.
        """
        eras = dict(self.eras)
        for name, source in sources.items():
            known = self.of(source)
            if source.dedupe_s < known[-1].life_s or (source.dedupe_s > known[-1].life_s and not shorter_only):
                eras[name] = (*known, Era(now_ms, source.dedupe_s))
            elif not shorter_only:
                eras[name] = known
        return MarkLives(self.begins_ms, eras)


def begun(sources: Mapping[str, Source], now_ms: int) -> MarkLives:
    """Return the record of a table that is made now."""
    return MarkLives(now_ms, {name: (Era(now_ms, source.dedupe_s),) for name, source in sources.items()})


def load(s3: S3Client, bucket: str) -> MarkLives | None:
    """Read the record of a stack; None if it has none. Raises: CatalogueInvalid when it cannot be read."""
    try:
        content = s3.get_object(Bucket=bucket, Key=KEY)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None
    return parse(content)


def save(s3: S3Client, bucket: str, lives: MarkLives) -> None:
    """Write the record of a stack."""
    s3.put_object(Bucket=bucket, Key=KEY, Body=dump(lives).encode(), ContentType="application/json")


def dump(lives: MarkLives) -> str:
    """Write a record as JSON."""
    return json.dumps({"v": _VERSION, "begins_ms": lives.begins_ms, "eras": lives.eras})


def parse(content: str | bytes) -> MarkLives:
    """Read what `dump` wrote. Raises: CatalogueInvalid."""
    try:
        found = json.loads(content)
        rows: Mapping[str, Any] = {_VERSION: found["eras"]}[found["v"]]
        eras = {name: tuple(Era(int(at_ms), int(life_s)) for at_ms, life_s in known) for name, known in rows.items()}
        return MarkLives(int(found["begins_ms"]), eras)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CatalogueInvalid(
            f"{KEY} in the bucket cannot be read ({error}). Without it, marks count as short."
        ) from error
