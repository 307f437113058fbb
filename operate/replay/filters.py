"""Which deliveries a replay wants: by source, type, id, key, arrival time, content, and by what the table says of them.

A delivery that holds several events is wanted if one of them is; it is then replayed whole, since it was stored whole.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fnmatch import translate
from typing import Any

from weir.consumers.events_table.mark import Mark
from weir.ingest.envelope import Envelope
from weir.ingest.errors import OptionInvalid
from weir.ingest.locations import Unreadable, View, reader, text_of
from weir.ingest.sources.catalogue import Source
from weir.ingest.sources.events import Event
from weir.operate.lookup.delivery import Delivery
from weir.operate.lookup.marks import Marks
from weir.operate.lookup.preview import Preview, Previewer
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.request import ReplayRequest, Wanted

# What `--outcome` may ask for beside the table's own outcomes.
MISSING = "missing"

_COMPARISON = re.compile(r"\s*(?P<location>.+?)\s*(?:(?P<sign>[!<>=~]+)\s*(?P<operand>.*?))?\s*")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Test = Callable[[View], bool]


@dataclass(slots=True)
class Filter:
    """Selects deliveries, many at once so that the table is asked in bulk."""

    wanted: Wanted
    previewer: Previewer
    catalogue: Mapping[str, Source]
    marks: Marks | None = None
    _sources: list[re.Pattern[str]] = field(init=False)
    _types: list[re.Pattern[str]] = field(init=False)
    _tests: list[Test] = field(init=False)

    def __post_init__(self) -> None:
        self._sources = [re.compile(translate(glob)) for glob in self.wanted.sources]
        self._types = [re.compile(translate(glob)) for glob in self.wanted.types]
        self._tests = [compile_test(text) for text in self.wanted.where]

    @classmethod
    def of(cls, context: ReplayContext, request: ReplayRequest) -> Filter:
        """Return the filter of a replay."""
        return cls(request.wanted, context.previewer, context.stack.catalogue, context.stack.marks)

    def select(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Return those that are wanted, in order."""
        found = [delivery for delivery in deliveries if self._matches(delivery)]
        if not (self.wanted.asks_table and found):
            return found
        stored = [delivery for delivery in found if delivery.facts]
        said = self._ask([delivery for delivery in found if not delivery.facts])
        said |= {id(delivery): {_fact(delivery.facts)} for delivery in stored}
        return [delivery for delivery in found if self._has_outcome(said[id(delivery)])]

    def are_sources_known(self) -> list[bool]:
        """Tell of each source that is asked for whether the catalogue has one of that name."""
        return [any(glob.match(name) for name in self.catalogue) for glob in self._sources]

    def wants_sources(self, names: Iterable[str]) -> list[bool]:
        """Tell of each source whether its deliveries may be wanted."""
        return [not self._sources or any(glob.match(name) for glob in self._sources) for name in names]

    def wants_facts(self, facts: Mapping[str, Any]) -> bool:
        """Tell by an item's facts alone whether its bytes are worth reading."""
        return self._matches_facts(facts) and (not self.wanted.asks_table or self._has_outcome({_fact(facts)}))

    def _matches(self, delivery: Delivery) -> bool:
        wanted = self.wanted
        if delivery.facts and not wanted.where:
            return self._matches_facts(delivery.facts)
        envelope = self.previewer.envelope(delivery)
        if envelope is None:
            return self._matches_unreadable(delivery)
        if wanted.since_ms is not None and envelope.arrived_at_ms < wanted.since_ms:
            return False
        if wanted.until_ms is not None and envelope.arrived_at_ms > wanted.until_ms:
            return False
        if self._sources and not any(glob.match(envelope.source) for glob in self._sources):
            return False
        return self._matches_events(delivery, envelope)

    def _matches_events(self, delivery: Delivery, envelope: Envelope) -> bool:
        wanted = self.wanted
        if not (self._types or self._tests or wanted.ids or wanted.keys):
            return True  # and the body is not read
        needs_event = bool(self._types or self._tests)
        if wanted.ids and envelope.request_id in wanted.ids and not needs_event:
            return not wanted.keys or envelope.key in wanted.keys
        preview = self.previewer.preview(delivery)
        if not preview.events:
            return not (needs_event or wanted.ids) and (not wanted.keys or envelope.key in wanted.keys)
        return any(self._matches_event(event) for event in preview.events)

    def _matches_event(self, event: Event) -> bool:
        wanted = self.wanted
        if wanted.ids and not wanted.ids & {event.event_id, event.envelope.request_id}:
            return False
        if wanted.keys and not wanted.keys & {event.key, event.envelope.key}:
            return False
        if self._types and not any(glob.match(event.type) for glob in self._types):
            return False
        if not self._tests:
            return True
        spec = self.catalogue[event.source].event
        view = View(event.envelope, spec.payload_field)
        view = view.split(event.payload) if spec.split else view
        return all(test(view) for test in self._tests)

    def _matches_unreadable(self, delivery: Delivery) -> bool:
        wanted = self.wanted
        if self._sources or self._types or wanted.ids or wanted.keys or self._tests:
            return False
        at_ms = delivery.arrived_at_ms
        return _within(at_ms, wanted.since_ms, wanted.until_ms) if at_ms else True

    def _matches_facts(self, facts: Mapping[str, Any]) -> bool:
        wanted = self.wanted
        if not _within(facts.get("received_at_ms") or 0, wanted.since_ms, wanted.until_ms):
            return False
        if self._sources and not any(glob.match(facts.get("source") or "") for glob in self._sources):
            return False
        if self._types and not any(glob.match(facts.get("type") or "") for glob in self._types):
            return False
        if wanted.ids and not wanted.ids & {facts.get("event_id"), facts.get("request_id")}:
            return False
        return not wanted.keys or facts.get("key") in wanted.keys

    def _has_outcome(self, said: set[tuple[str, str]]) -> bool:
        wanted = self.wanted
        return any(
            (not wanted.outcomes or outcome in wanted.outcomes) and (not wanted.reasons or reason in wanted.reasons)
            for outcome, reason in said
        )

    def _ask(self, deliveries: Sequence[Delivery]) -> dict[int, set[tuple[str, str]]]:
        """Return (outcome, reason) of each delivery's events, by the delivery's identity."""
        if not deliveries:
            return {}
        if self.marks is None:
            raise OptionInvalid("--outcome and --reason need the events table, which this command does not read.")
        previews = {id(delivery): self.previewer.preview(delivery) for delivery in deliveries}
        found = self.marks.read(key for preview in previews.values() for key in _all_keys(preview))
        return {identity: _said(preview, found) for identity, preview in previews.items()}


def compile_test(text: str) -> Test:
    """Compile ``$.amount >= 100``, ``header:X-Kind ~ re*`` or a bare ``$.refund`` (is there).

    Numbers compare as numbers, everything else as text, which may be in quotation marks. Raises: OptionInvalid.
    """
    found = _COMPARISON.fullmatch(text)
    parts = {name: str(part) for name, part in found.groupdict().items() if part} if found else {}
    location, sign, operand = parts.get("location", ""), parts.get("sign"), _unquoted(parts.get("operand", ""))
    try:
        read = reader(location)
    except ValueError as error:
        raise OptionInvalid(f"{text!r}: {error}") from error

    def value(view: View) -> Any:
        try:
            return read(view)
        except Unreadable:
            return None

    if sign not in {None, "~", *_OPERATORS}:
        raise OptionInvalid(f"{text!r}: {sign!r} is not a comparison; use one of {', '.join(_OPERATORS)} and ~.")
    if sign is None:
        return lambda view: value(view) is not None
    if sign == "~":
        glob = re.compile(translate(operand))
        return lambda view: glob.match(text_of(value(view)) or "") is not None
    compare = _OPERATORS[sign]
    return lambda view: _compare(compare, sign, value(view), operand)


def _unquoted(operand: str) -> str:
    is_quoted = len(operand) > 1 and operand[0] == operand[-1] and operand[0] in "\"'"
    return operand[1:-1] if is_quoted else operand


def _compare(compare: Callable[[Any, Any], bool], sign: str, value: Any, operand: str) -> bool:
    text = text_of(value)
    if text is None:
        return sign == "!="
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        try:
            return compare(Decimal(value), Decimal(operand))
        except InvalidOperation:
            return sign == "!="
    return compare(text, operand)


def _within(at_ms: int, since_ms: int | None, until_ms: int | None) -> bool:
    return (since_ms is None or at_ms >= since_ms) and (until_ms is None or at_ms <= until_ms)


def _fact(facts: Mapping[str, Any]) -> tuple[str, str]:
    return str(facts.get("outcome") or ""), str(facts.get("reason") or "")


def _all_keys(preview: Preview) -> list[str]:
    return [*preview.all_keys(), *preview.quarantine_keys()]


def _said(preview: Preview, found: Mapping[str, Mark]) -> set[tuple[str, str]]:
    """Return what the table says of a delivery: of each event its mark's outcome, of the delivery its quarantine's."""
    refused = {(found[key].outcome, found[key].reason) for key in preview.quarantine_keys() if key in found}
    said: set[tuple[str, str]] = set()
    for mark in next(iter(preview.known(found)), ()):
        if mark is not None and mark.is_done:
            said.add((mark.outcome, ""))
        elif not refused:
            said.add((MISSING, ""))
    if not preview.events and not refused:
        said.add((MISSING, ""))
    return said | refused
