"""Business code: what an event changes, as functions that make no call. A file here per domain; each is imported once.

    @effect("stripe", "charge.*")
    def book(event: Event) -> Iterable[Change]:
        return [Update("balances", {"account": ...}, add={"EUR": 100})]

An effect is found by its source's own name first, then by the preset behind it; among patterns the one with the longest
literal text wins, an exact type before all. Returning no change is applied too; raising `EventRejected` quarantines.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from importlib import import_module
from typing import TypeAlias

from weir.consumers.business.changes import Change
from weir.ingest.errors import EffectsInvalid
from weir.ingest.sources.events import Event

Effect: TypeAlias = Callable[[Event], Iterable[Change]]

_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class _Registration:
    owner: str  # a source's name or a preset's
    pattern: str
    run: Effect

    def rank(self) -> tuple[bool, int]:
        """Return what compares greater for the more specific pattern."""
        return not _WILD.search(self.pattern), len(_WILD.sub("", self.pattern))


_registrations: dict[tuple[str, str], _Registration] = {}


def effect(source_or_preset: str, type_glob: str) -> Callable[[Effect], Effect]:
    """Register a function for the events of a source, or of all sources of a preset, whose type matches.

    Raises: EffectsInvalid when two functions claim the same.
    """

    def register(run: Effect) -> Effect:
        known = _registrations.setdefault(
            (source_or_preset, type_glob), _Registration(source_or_preset, type_glob, run)
        )
        if known.run is not run:
            raise EffectsInvalid(
                f"Two effects claim {source_or_preset} {type_glob}: {_name(known.run)} and {_name(run)}."
            )
        find.cache_clear()
        return run

    return register


@lru_cache(maxsize=4096)
def find(source: str, preset: str, event_type: str) -> Effect | None:
    """Return the effect that wants such events; None if none does."""
    load()
    for owner in dict.fromkeys((source, preset)):
        wanting = [entry for entry in _registrations.values() if entry.owner == owner and _matches(entry, event_type)]
        if wanting:
            return max(wanting, key=_Registration.rank).run
    return None


def _matches(registration: _Registration, event_type: str) -> bool:
    return _compiled(registration.pattern).match(event_type) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


@lru_cache(maxsize=1)
def load() -> None:
    """Import every file of business code. Raises: EffectsInvalid, so that no event pays for a file that is broken."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        try:
            import_module(module.name)
        except EffectsInvalid:
            raise
        except (Exception, SystemExit) as error:
            raise EffectsInvalid(f"{module.name}: {type(error).__name__}: {error}") from error


def _name(run: Effect) -> str:
    return f"{run.__module__}.{getattr(run, '__qualname__', run)}"
