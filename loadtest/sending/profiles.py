"""Named loads: shapes in shares of what the target takes, so that one profile fits a laptop and an emulator alike."""

from __future__ import annotations

from dataclasses import dataclass

from weir.ingest.errors import OptionInvalid
from weir.loadtest.sending.mix import USUAL, Mix
from weir.loadtest.sending.pacer import Shape


@dataclass(frozen=True, slots=True)
class Profile:
    """``points`` are (seconds, share of the highest rate that was measured); arrivals are Poisson."""

    points: tuple[tuple[float, float], ...]
    mix: Mix = USUAL

    def shape(self, capacity_per_s: float) -> Shape:
        """Return the shape for a target that takes so much."""
        return Shape(tuple((time_s, round(share * capacity_per_s, 3)) for time_s, share in self.points))


def _hours_of_tides(hours: int) -> tuple[tuple[float, float], ...]:
    return tuple((index * 600.0, 0.5 if index % 2 else 0.2) for index in range(hours * 6 + 1))


PROFILES = {
    "smoke": Profile(((0, 0.4), (15, 0.4))),
    # Up, steady, a spike beyond what the target takes, steady, down: what is refused in the spike comes back.
    "five-minutes": Profile(
        ((0, 0.05), (60, 0.5), (160, 0.5), (160, 1.5), (170, 1.5), (170, 0.5), (260, 0.5), (300, 0.05))
    ),
    "nightly": Profile(_hours_of_tides(4)),
}


def named(name: str) -> Profile:
    """Return a profile. Raises: OptionInvalid."""
    if name not in PROFILES:
        raise OptionInvalid(f"There is no profile {name!r}; there are: {', '.join(PROFILES)}.")
    return PROFILES[name]
