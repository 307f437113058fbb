"""What a consumer remembers between batches, as a hint and never as a fact.

Providers send again within minutes, often to the same shard and so to the same process. An event id that this process
has marked lately is looked up before it is written: one read for all of a batch, where a cancelled transaction would
have cost its neighbours their write units. A hint may be wrong either way; the table decides.
"""

from __future__ import annotations

from array import array

_SLOTS = 1 << 17  # 1 MiB of hashes: two minutes of a full shard

# Weight of the latest batch in the share of duplicates.
_WEIGHT = 0.5

# From this share of unforeseen duplicates on, reading every mark ahead (half a read unit each) is cheaper than the
# write units of cancelled transactions: at 2 % three of four transactions of 75 events would be cancelled.
_READ_AHEAD_SHARE = 0.02


class RecentMarks:
    """Recently marked keys, in constant space, and the share of duplicates that no hint foresaw."""

    def __init__(self) -> None:
        self._slots: array[int] | None = None
        self._share = 0.0

    @property
    def reads_ahead(self) -> bool:
        """Return whether marks are best read before anything is written."""
        return self._share >= _READ_AHEAD_SHARE

    def __contains__(self, key: str) -> bool:
        digest = hash(key)
        return self._slots is not None and self._slots[digest % _SLOTS] == digest

    def add(self, key: str) -> None:
        """Remember a key that now has a mark; it takes the place of an older one."""
        if self._slots is None:
            self._slots = array("q", bytes(8 * _SLOTS))
        digest = hash(key)
        self._slots[digest % _SLOTS] = digest

    def observe(self, duplicates_count: int, events_count: int) -> None:
        """Take note of a batch: how many of its events were duplicates that no hint foresaw."""
        if events_count:
            self._share += _WEIGHT * (duplicates_count / events_count - self._share)
