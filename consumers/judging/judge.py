"""From records to judged events: decode, find the source, prove the sender, extract the events, ask the business code.

All of it is a pure function of the record, the secrets and the code: whatever fails here fails again at the next
reading. So each failure is that event's own fate, and an unexpected exception is one too: it is quarantined with its
place in the code, never retried, or one POST could hold up a shard. An event waits only for a secret or a certificate
that cannot be read now, or for memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from weir.consumers.business import effects
from weir.consumers.business.changes import Change
from weir.consumers.events_table import item
from weir.consumers.events_table.item import JudgedEvent
from weir.consumers.events_table.mark import mark_key
from weir.consumers.judging.records import Record
from weir.consumers.judging.secrets import Secrets
from weir.consumers.raised import raised_at
from weir.ingest.envelope import Envelope, decode
from weir.ingest.errors import (
    ChangeInvalid,
    EventFailed,
    EventMalformed,
    MemoryShort,
    RecordError,
    SignatureExpired,
    SignatureMismatch,
    SourceUnknown,
    TransientError,
)
from weir.ingest.handshakes import questions
from weir.ingest.ids import SequenceNumber
from weir.ingest.schemes import signatures
from weir.ingest.schemes.signatures import Fetch, Verdict
from weir.ingest.sources import events
from weir.ingest.sources.catalogue import Catalogue, Source
from weir.ingest.sources.events import Event, RefusedEvent

# What refuses a delivery whose signature could be the scheme's.
_OF_THE_FORM = (SignatureMismatch, SignatureExpired)


class _Delivery(NamedTuple):
    """A record on its way: with its envelope, or with why it has none."""

    position: int
    record: Record
    envelope: Envelope | None
    error: RecordError | None

    @property
    def partition_key(self) -> str:
        if self.envelope is None:
            return self.record.position
        return self.envelope.key or self.envelope.request_id


class ProvenEvent(Protocol):
    """One event of a delivery as it was stored after a verdict. ``mark`` is the key of its mark."""

    @property
    def envelope(self) -> Envelope: ...

    @property
    def mark(self) -> str: ...

    @property
    def index(self) -> int: ...

    @property
    def scheme(self) -> str: ...

    @property
    def secret_index(self) -> int: ...

    @property
    def attempts(self) -> int: ...


class Judge:
    """Judges batches with one catalogue and one set of secrets; not thread-safe."""

    def __init__(
        self, catalogue: Catalogue, secrets: Secrets, *, quarantine_s: int, unproven_s: int, fetch: Fetch | None = None
    ) -> None:
        """``quarantine_s`` is how long what is quarantined is kept, ``unproven_s`` if no secret has proven it.

        ``fetch`` reads certificates by URL. Raises: EffectsInvalid if no business code was loaded.
        """
        effects.demand_loaded()
        self._catalogue = catalogue
        self._secrets = secrets
        self._quarantine_s = quarantine_s
        self._unproven_s = unproven_s
        self._fetch = fetch
        # Sources whose silence rings an alarm.
        self.watched = frozenset(source.name for source in catalogue.values() if source.silent_after_hours is not None)

    def judge(self, records: Iterable[Record]) -> list[JudgedEvent]:
        """Return at least one judged event for each record, in order; nothing is raised for one record."""
        deliveries = [_open(position, record) for position, record in enumerate(records)]
        named = dict.fromkeys(delivery.envelope.source for delivery in deliveries if delivery.envelope)
        self._secrets.begin_batch([name for name in named if name in self._catalogue])
        return [judged for delivery in deliveries for judged in self._judge_delivery(delivery)]

    def judge_again(self, position: int, proven: ProvenEvent) -> JudgedEvent:
        """Return a stored event that has waited, judged by today's business code; its signature is not checked again.

        It is quarantined if its source is gone, or does not read it as the same event any more.
        """
        envelope = proven.envelope
        delivery = _Delivery(position, _stored_record(envelope), envelope, None)
        try:
            source, event, verdict, count = self._read_again(proven)
        except RecordError as error:
            return self._quarantine(delivery, error, envelope)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - see the module's docstring
            return self._quarantine(delivery, _failed(error), envelope)
        judged = self._judge_event(delivery, source, event, verdict, count)
        return replace(judged, earlier_tries=proven.attempts)

    def _read_again(self, proven: ProvenEvent) -> tuple[Source, Event, Verdict, int]:
        source = self._catalogue.get(proven.envelope.source)
        if source is None:
            raise SourceUnknown(source=proven.envelope.source)
        options = zip(source.scheme.options, source.scheme.unproven_headers, strict=True)
        for option, unproven in sorted(options, key=lambda pair: pair[0].label != proven.scheme):
            verdict = Verdict(proven.scheme, proven.secret_index, unproven_headers=unproven, option=option)
            try:
                found = events.extract(source, verdict.proven(proven.envelope), option)
            except RecordError:
                continue
            for event in found:
                if event.index == proven.index and mark_key(source.name, event.identity) == proven.mark:
                    return source, replace(event, envelope=proven.envelope), verdict, len(found)
        raise EventMalformed("The source reads another event from this delivery than when it came.")

    def _judge_delivery(self, delivery: _Delivery) -> Sequence[JudgedEvent]:
        if delivery.envelope is None:
            return [self._unreadable(delivery)]
        try:
            return self._verify(delivery, delivery.envelope)
        except RecordError as error:
            return [self._quarantine(delivery, error, self._unproven(delivery.envelope, error))]
        except (TransientError, MemoryError) as error:
            reason = error if isinstance(error, TransientError) else MemoryShort()
            return [_waiting(delivery, delivery.envelope, reason)]
        except Exception as error:  # noqa: BLE001 - see the module's docstring
            return [self._quarantine(delivery, _failed(error), delivery.envelope)]

    def _verify(self, delivery: _Delivery, envelope: Envelope) -> Sequence[JudgedEvent]:
        source = self._catalogue.get(envelope.source)
        if source is None:
            raise SourceUnknown(source=envelope.source)
        verdict = self._secrets.judge(
            source.name, envelope, lambda live: signatures.verify(source.scheme, live, envelope, fetch=self._fetch)
        )
        questions.refuse_answers(source, verdict.contents)
        signed = (envelope.with_alternative_body() if verdict.alternative_body else None) or envelope
        stored = _redacted(source, signed)
        try:
            found = events.extract(source, verdict.proven(envelope), verdict.option)
        except RecordError as error:
            return [self._quarantine(delivery, error, stored, verdict=verdict)]
        return [
            self._judge_event(delivery, source, replace(event, envelope=stored), verdict, len(found)) for event in found
        ]

    def _unproven(self, envelope: Envelope, error: RecordError) -> Envelope:
        """Return an unproven delivery as it is stored: without what its source redacts if only the secret can be wrong.

        Where the signature has not the scheme's form the scheme may be wrong, and another one may read any header.
        """
        source = self._catalogue.get(envelope.source)
        return _redacted(source, envelope) if source and isinstance(error, _OF_THE_FORM) else envelope

    def _judge_event(
        self, delivery: _Delivery, source: Source, event: Event, verdict: Verdict, count: int
    ) -> JudgedEvent:
        if isinstance(event, RefusedEvent):
            return self._quarantine(delivery, event.error, event.envelope, event=event, verdict=verdict, count=count)
        return self._apply(delivery, source, event, verdict, count)

    def _apply(self, delivery: _Delivery, source: Source, event: Event, verdict: Verdict, count: int) -> JudgedEvent:
        try:
            effect = effects.find(source.name, source.preset or "", event.type) if source.effects else None
            return item.apply(
                event,
                None if effect is None else _changes(effect(event)),
                position=delivery.position,
                partition_key=delivery.partition_key,
                retention_s=source.dedupe_s,
                quarantine_s=self._quarantine_s,
                verdict=verdict,
                count=count,
                stored_at_ms=delivery.record.arrived_at_ms,
            )
        except RecordError as error:
            refused = error
        except (Exception, SystemExit) as error:  # noqa: BLE001 - see the module's docstring; libraries may sys.exit
            refused = _failed(error)
        return self._quarantine(delivery, refused, event.envelope, event=event, verdict=verdict, count=count)

    def _quarantine(
        self,
        delivery: _Delivery,
        error: RecordError,
        envelope: Envelope,
        *,
        event: Event | None = None,
        verdict: Verdict | None = None,
        count: int = 1,
    ) -> JudgedEvent:
        return item.quarantine(
            error,
            envelope,
            position=delivery.position,
            partition_key=delivery.partition_key,
            retention_s=self._quarantine_s if verdict else self._unproven_s,
            event=event,
            verdict=verdict,
            count=count,
        )

    def _unreadable(self, delivery: _Delivery) -> JudgedEvent:
        return item.unreadable(
            delivery.error or EventFailed(),
            delivery.record.data,
            position=delivery.position,
            partition_key=delivery.partition_key,
            stream_position=delivery.record.position,
            received_at_ms=delivery.record.arrived_at_ms,
            retention_s=self._quarantine_s,
        )


def _stored_record(envelope: Envelope) -> Record:
    """Return the record of a delivery that is read from its item, which has no place in the stream any more."""
    return Record("", SequenceNumber(""), 0, envelope.arrived_at_ms, b"")


def _changes(returned: object) -> tuple[Change, ...]:
    """Return the changes that business code returned; what each of them is worth is found out when it is compiled."""
    if not isinstance(returned, Iterable):
        raise ChangeInvalid(f"business code returned {type(returned).__name__} instead of a list of changes")
    return tuple(returned)


def _open(position: int, record: Record) -> _Delivery:
    if record.damage is not None:
        return _Delivery(position, record, None, record.damage)
    try:
        return _Delivery(position, record, decode(record.data), None)
    except RecordError as error:
        return _Delivery(position, record, None, error)
    except Exception as error:  # noqa: BLE001 - see the module's docstring
        return _Delivery(position, record, None, _failed(error))


def _waiting(delivery: _Delivery, envelope: Envelope, error: TransientError) -> JudgedEvent:
    waiting = item.wait(error, position=delivery.position, partition_key=delivery.partition_key)
    # For the log: it should say which delivery waits.
    return replace(
        waiting, source=envelope.source, request_id=envelope.request_id, received_at_ms=envelope.arrived_at_ms
    )


def _redacted(source: Source, envelope: Envelope) -> Envelope:
    """Return the envelope without the headers that its source keeps from storage; the same one if it has none."""
    unwanted = source.redacted_headers
    kept = tuple(header for header in envelope.headers if header[0].lower() not in unwanted)
    return envelope if len(kept) == len(envelope.headers) else replace(envelope, headers=kept)


def _failed(error: Exception | SystemExit) -> EventFailed:
    # Its message may quote the payload, which belongs in no log line and in no list of quarantined events.
    return EventFailed(raised_at(error))
