"""What a replay's loop asks of a target, and what a target answers. The port of origins is `lookup.delivery.Origin`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from weir.consumers.outcome import Outcome
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.status import DeliveryStatuses

ResultKind: TypeAlias = (
    Outcome
    | Literal[
        "failed",
        "too old to tell",
        "published",
        "delivered",
        "written",
        "would apply",
        "would ignore",
        "already applied",
        "would be quarantined",
        "would wait",
        "cannot be judged",
        "altered",
        "stays ignored",
        "would stay ignored",
    ]
)


class Result(NamedTuple):
    """What became of one event, or of a delivery whose events the target does not see."""

    kind: ResultKind
    reason: str = ""


class Stopped(Exception):
    """A target was stopped while it waited; nothing of its batch counts."""


class Target(Protocol):
    """Where deliveries go. ``batch_count`` is how many it takes at once.

    A target may also have the methods of `Checked`, `Stateful` and `Closing`; the loop calls those that are there.
    """

    label: str
    batch_count: int

    def deliver(self, deliveries: Sequence[Delivery], repeats: Sequence[bool], since_ms: int | None) -> list[Result]:
        """Deliver in order; return what became of each event.

        ``repeats`` says of each whether an interrupted attempt, begun at ``since_ms``, may have delivered it already.
        Raises: Stopped; TransientError when it cannot go on.
        """


@runtime_checkable
class Checked(Protocol):
    """A target that knows before anything is read whether it can be written to."""

    def check(self) -> None:
        """Called before a new replay, not before a resumed one. Raises: OptionInvalid."""


@runtime_checkable
class Stateful(Protocol):
    """A target that needs more than the origin's position to go on after an interruption."""

    def state(self) -> dict[str, Any]:
        """Return what it needs to go on from here, as JSON."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; called before the first `deliver` of a resumed replay."""


@runtime_checkable
class Closing(Protocol):
    """A target with something to do when all is delivered."""

    def close(self) -> None:
        """Release what it holds, say what is left to say."""


@runtime_checkable
class Settling(Protocol):
    """An origin that notes what a replay to the consumer has finished of it."""

    def settle(self, statuses: DeliveryStatuses) -> None:
        """Note what is finished; called at the end of a replay that was not stopped."""


def state_of(target: Target) -> dict[str, Any]:
    """Return a target's state; nothing where it has none."""
    return target.state() if isinstance(target, Stateful) else {}


def close(target: Target) -> None:
    """Close a target, where there is something to close."""
    if isinstance(target, Closing):
        target.close()
