"""What a person asks of a replay, as plain data that a checkpoint file keeps for resuming."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

# The checkpoint file's names where they differ from the fields'.
_JSON_NAMES = {"origin": "from", "target": "to", "stack": "place"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries. ``sources`` and ``types`` are globs; times are epoch milliseconds, both included."""

    sources: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    outcomes: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    where: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def asks_table(self) -> bool:
        """Tell whether the table must be asked about each delivery."""
        return bool(self.outcomes or self.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """One replay as it was asked for; the default asks for everything of no origin.

    ``origin`` and ``target`` are names in the registries, a path or an address. Times are epoch milliseconds.
    ``ends_ms`` ends reading at what was stored later, ``follow`` reads on for ever. ``past_marks`` applies also what is
    too old to tell. ``stack`` names the stack that
    the positions of a checkpoint belong to, "" for any.
    """

    origin: str = ""
    target: str = ""
    sources: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    ends_ms: int | None = None
    shards: tuple[str, ...] = ()
    first_sequence: str = ""
    last_sequence: str = ""
    rate_per_s: float | None = None
    dry_run: bool = False
    diff: bool = False
    plain: bool = False
    all_headers: bool = False
    past_marks: bool = False
    follow: bool = False
    stack: str = ""

    @property
    def wanted(self) -> Wanted:
        """Return which deliveries it is about."""
        return Wanted(
            sources=self.sources,
            types=self.types,
            ids=frozenset(self.ids),
            keys=frozenset(self.keys),
            outcomes=frozenset(self.outcomes),
            reasons=frozenset(self.reasons),
            where=self.where,
            since_ms=self.since_ms,
            until_ms=self.until_ms,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a checkpoint file keeps it."""
        values = {_JSON_NAMES.get(field.name, field.name): getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> ReplayRequest:
        """Read what `to_json` wrote, here or in an earlier version: what is absent has its default.

        Raises: TypeError when a value is of another type than its field.
        """
        names = {field.name: _JSON_NAMES.get(field.name, field.name) for field in fields(cls)}
        given = {field: _value(saved[name], getattr(_DEFAULT, field)) for field, name in names.items() if name in saved}
        return cls(**given)


_DEFAULT = ReplayRequest()


def _value(saved: Any, default: Any) -> Any:
    """Return a saved value as its field holds it. Raises: TypeError."""
    if isinstance(default, tuple):
        if isinstance(saved, list) and all(isinstance(member, str) for member in saved):
            return tuple(saved)
    elif isinstance(saved, int | float | None if default is None else type(default)):
        return saved
    raise TypeError(f"{saved!r} in the place of {default!r}")
