"""Which deliveries are too old to tell: where they have no mark, it may have expired.

Every command that looks for marks asks here: what applies leaves such a delivery alone unless it is asked to, and what
counts does not call it lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from weir.ingest.envelope import Envelope
from weir.ingest.ids import SourceName
from weir.ingest.sources.catalogue import Source
from weir.ingest.sources.mark_lives import MarkLives
from weir.operate.lookup.times import show_time


@dataclass(frozen=True, slots=True)
class Horizons:
    """The horizon of each source: without a mark, what arrived before it is too old to tell.

    The default is that of tables which have lost no mark.
    """

    catalogue: Mapping[str, Source] = field(default_factory=dict)
    lives: MarkLives = field(default_factory=MarkLives)
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000

    def of(self, source: SourceName) -> int:
        """Return a source's horizon; 0 where everything can be told."""
        found = self.catalogue.get(source)
        return 0 if found is None else self.lives.horizon_ms(found, self.clock_ms())

    def is_behind(self, envelope: Envelope | None) -> bool:
        """Tell whether a delivery is too old to tell, if it has no mark."""
        return envelope is not None and envelope.arrived_at_ms < self.of(envelope.source)

    def latest_ms(self) -> int:
        """Return the horizon of the source that has the latest one, for what has no known source."""
        return max(map(self.of, self._names()), default=0)

    def lines(self, sources: Iterable[bool], since_ms: int | None) -> Iterator[str]:
        """Say of those of the catalogue's sources that are meant what is too old to tell in what arrived since then."""
        meant = [name for name, is_meant in zip(self._names(), sources, strict=True) if is_meant]
        behind = {name: at_ms for name in meant if (at_ms := self.of(name)) > (since_ms or 0)}
        for at_ms in sorted(set(behind.values())):
            names = ", ".join(name for name in meant if behind.get(name) == at_ms)
            yield f"too old to tell, where it has no mark: what arrived before {show_time(at_ms)} ({names})"

    def _names(self) -> list[SourceName]:
        return [source.name for source in self.catalogue.values()]
