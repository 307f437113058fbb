"""What the scheduled account check reads (`weir.operate.audit`): each delivery of its window, at every run."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from weir.infra.cost import HOURS, SECONDS, whole
from weir.infra.costs.item import Reckoning

FUNCTION = "AccountCheck"
# As `weir.operate.audit` has them: the window ends so long ago; what is younger than the second is read from the
# stream, with some slack before it; the archive is listed from so long before the window on, and read by whole hours.
SETTLE_S, ARCHIVED_S, STAMP_SLACK_S = 300, 1200, 120
HELD_BACK_S, FOLDER_S = 8 * 86_400, 3600
# So many deliveries its memory holds: `weir.operate.audit.check` says why.
HOLDS = 2_000_000
# Seen with `weir account` over 100,000 deliveries on the embedded stack: 41 s in all (docs/benchmarks.md).
_DELIVERY_MS = 0.41
# From this size of a body on, a delivery is first looked for among those that are refused: `weir.operate.lookup`.
LARGE_BYTES = 8 * 1024
_READ_UNIT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class AccountReads:
    """What it reads in a month."""

    reckoning: Reckoning

    @property
    def runs(self) -> float:
        """Return how often it runs."""
        return self.reckoning.stack.runs(FUNCTION)

    @property
    def window_s(self) -> int:
        """Return how much of the past a run reads."""
        return self.reckoning.given("AccountWindowMinutes") * 60

    @property
    def deliveries_a_run(self) -> float:
        """Return how many deliveries a run accounts for."""
        return self.reckoning.load.rate_per_s * self.window_s

    @property
    def seconds(self) -> float:
        """Return how long all runs take."""
        return self.runs * self.deliveries_a_run * _DELIVERY_MS / 1000

    @property
    def read_units(self) -> float:
        """Return the table's read units: each mark is read consistently, a missing one costs a unit too."""
        load = self.reckoning.load
        units = whole(load.item_bytes, _READ_UNIT_BYTES) // _READ_UNIT_BYTES + (load.body_bytes > LARGE_BYTES)
        return self.runs * self.deliveries_a_run * units

    @property
    def stream_s(self) -> float:
        """Return how many seconds of the stream all runs read."""
        newest_s = self.window_s + SETTLE_S
        if self.reckoning.stack.has_archive:
            newest_s = min(newest_s, ARCHIVED_S)
        return self.runs * (newest_s + STAMP_SLACK_S)

    @property
    def objects(self) -> float:
        """Return how many objects of the archive all runs read."""
        return self.runs * archive_objects(self.reckoning) / SECONDS * (self.window_s + FOLDER_S)

    @property
    def lists(self) -> float:
        """Return how many calls list the archive, a thousand objects each."""
        listed_s = min(HELD_BACK_S, self.reckoning.given("ArchiveDays") * 86_400)
        return self.runs * ceil(archive_objects(self.reckoning) / SECONDS * listed_s / 1000)


def archive_objects(reckoning: Reckoning) -> float:
    """Return how many objects Firehose writes a month: by time, or by size where that comes first; 0 without it."""
    destination = reckoning.stack.properties("Archive").get("ExtendedS3DestinationConfiguration")
    if destination is None:
        return 0.0
    load, hints = reckoning.load, destination["BufferingHints"]
    by_time = HOURS * 3600 / float(hints["IntervalInSeconds"])
    by_size = load.month * load.record_bytes / (int(hints["SizeInMBs"]) << 20)
    return min(load.month, max(by_time, by_size))
