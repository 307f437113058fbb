"""The consumer's own way from records to outcomes, driven by a replay: judge, commit, and try again what must wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from io import StringIO
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from weir.consumers.batch.batch import isolate, now_ms
from weir.consumers.batch.event_lines import add_event
from weir.consumers.batch.logs import Log
from weir.consumers.commit.commit import CommitReport, commit
from weir.consumers.commit.recent_marks import RecentMarks
from weir.consumers.events_table.item import EventResult, JudgedEvent
from weir.consumers.events_table.port import Store, StoreLayout
from weir.consumers.events_table.store import DynamoStore
from weir.consumers.judging.judge import Judge
from weir.consumers.judging.records import Record
from weir.consumers.judging.secret_readers import secret_reader
from weir.consumers.judging.secrets import Secrets, elsewhere
from weir.consumers.outcome import Outcome
from weir.consumers.settings import LOG_LEVELS, Settings
from weir.consumers.wiring import certificates
from weir.ingest.envelope import Envelope
from weir.ingest.errors import CertificateAbsent, SecretAbsent, SignatureMismatch, TargetUnavailable, TooOldToTell
from weir.ingest.sources.catalogue import Catalogue
from weir.operate.replay.ports import Stopped
from weir.operate.replay.waits import rest

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

T = TypeVar("T")
Provenance = Callable[[Envelope], T | None]

# A replay waits for the secret store rather than judge a delivery of last week as one without a secret.
_SECRET_PATIENCE_S = 10 * 365 * 86_400.0
_ATTEMPT_S = 20.0
_PAUSE_S = 1.0


class ConsumerOutputs(Protocol):
    """What the consumer's settings need of a stack's outputs; ``tables`` is JSON, as in the setting TABLES."""

    @property
    def events_table(self) -> str: ...

    @property
    def tables(self) -> str: ...

    @property
    def bucket(self) -> str: ...

    @property
    def secrets_prefix(self) -> str: ...

    @property
    def quarantine_days(self) -> str: ...

    @property
    def unproven_days(self) -> str: ...


def settings_of(outputs: ConsumerOutputs) -> Settings:
    """Return the consumer's settings for a stack's outputs; what is not an output has its default."""
    return Settings.from_environment(
        {
            "EVENTS_TABLE": outputs.events_table,
            "TABLES": outputs.tables,
            "PAYLOAD_BUCKET": outputs.bucket,
            "SECRETS_PREFIX": outputs.secrets_prefix,
            "QUARANTINE_DAYS": outputs.quarantine_days,
            "UNPROVEN_DAYS": outputs.unproven_days,
        }
    )


def make_judge(
    catalogue: Catalogue, client: Callable[[str], Any], settings: Settings, secrets: Secrets | None = None
) -> Judge:
    """Return a judge with the sources, the secrets and the business code that was loaded.

    ``client`` returns a boto3 client by the name of its service. Raises: EffectsInvalid if none was.
    """
    return Judge(
        catalogue,
        secrets or make_secrets(catalogue, client, settings),
        quarantine_s=settings.quarantine_days * 86_400,
        unproven_s=settings.unproven_days * 86_400,
        fetch=certificates(catalogue),
    )


def make_secrets(
    catalogue: Catalogue, client: Callable[[str], Any], settings: Settings, kind: type[Secrets] = Secrets
) -> Secrets:
    """Return the secrets as a replay uses them."""
    return kind(
        secret_reader(lambda: client("ssm"), lambda: client("secretsmanager")),
        settings.secrets_prefix,
        ttl_s=settings.secrets_ttl_s,
        patience_s=_SECRET_PATIENCE_S,
        clock_ms=now_ms,
        elsewhere=elsewhere(catalogue),
    )


# What becomes of an event that is held: nothing.
HELD = EventResult(Outcome.QUARANTINED, TooOldToTell.code)


@dataclass(slots=True)
class Pipeline:
    """Judges and commits records, in their order, until each event has an outcome that is not ``retry``.

    ``holds`` tells of judged events, by their `id`, which are left as they are: their result is `HELD`. With
    ``over_ignored`` an event takes the place of its own item that says ignored. With ``retries`` what was refused
    before is a duplicate if another delivery of its event was applied, whatever else may be wrong with it now.
    ``log`` is given the lines of what is stored, as the consumer logs them.
    """

    judge: Judge
    store: Store
    concurrency: int
    patience_s: float = 120.0
    stopped: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep
    holds: Callable[[Sequence[JudgedEvent]], AbstractSet[int]] = lambda _: frozenset()
    over_ignored: bool = False
    retries: bool = False
    log: Callable[[str], object] | None = None
    _recent: RecentMarks = field(init=False, default_factory=RecentMarks)
    _rng: Random = field(init=False, default_factory=Random)

    def run(self, records: Sequence[Record]) -> list[tuple[JudgedEvent, EventResult]]:
        """Return each event with its outcome, ordered by record.

        What still fails although the store takes other events is given back as ``retry``.
        Raises: TargetUnavailable when nothing can be committed for long; Stopped.
        """
        began_s = time.monotonic()
        decided: dict[int, list[tuple[JudgedEvent, EventResult]]] = {}
        left = list(range(len(records)))
        while left:
            done = self._once([records[at] for at in left])
            stuck = {one.position for one, result in done if result.outcome is Outcome.RETRY}
            for one, outcome in done:
                if one.position not in stuck or time.monotonic() - began_s > self.patience_s:
                    decided.setdefault(left[one.position], []).append((one, outcome))
            if stuck and time.monotonic() - began_s > self.patience_s:
                self._give_up(done, any(at not in stuck for at in range(len(left))) or len(left) < len(records))
                break
            left = [at for position, at in enumerate(left) if position in stuck]
            if left and not rest(_PAUSE_S, stopped=self.stopped, sleep=self.sleep):
                raise Stopped
        return [pair for at in sorted(decided) for pair in decided[at]]

    def _give_up(self, done: Sequence[tuple[JudgedEvent, EventResult]], others_pass: bool) -> None:
        if not others_pass:
            error = next(outcome.error for _, outcome in done if outcome.error)
            raise TargetUnavailable(str(error)) from error

    def _once(self, records: list[Record]) -> list[tuple[JudgedEvent, EventResult]]:
        judged = self.judge.judge(records)
        if self.over_ignored:
            judged = [replace(one, replaces_ignored=one.decision == "apply") for one in judged]
        held = self.holds(judged)
        committed = [one for one in judged if id(one) not in held]
        results = list(isolate(self._commit, committed).results) if committed else []
        self._say(committed, results)
        given = iter(results)
        return [(one, HELD if id(one) in held else next(given)) for one in judged]

    def _say(self, judged: Sequence[JudgedEvent], results: Sequence[EventResult]) -> None:
        """Log what is stored now, and not what was there before or could not be stored."""
        if self.log is None:
            return
        text = StringIO()
        log = Log(text, LOG_LEVELS["INFO"], at=now_ms(), invocation="replay")
        for one, result in zip(judged, results, strict=True):
            if result.outcome not in {Outcome.RETRY, Outcome.DUPLICATE}:
                add_event(log, one, result)
        log.flush()
        if written := text.getvalue():
            self.log(written)

    def _commit(self, judged: Sequence[JudgedEvent]) -> CommitReport:
        end_s = time.monotonic() + _ATTEMPT_S
        return commit(
            judged,
            self.store,
            deadline=lambda: end_s - time.monotonic(),
            concurrency=self.concurrency,
            rng=self._rng,
            sleep=self.sleep,
            now_ms=now_ms(),
            recent=self._recent,
            marks_first=self.retries,
        )


def make_pipeline(
    judge: Judge,
    dynamodb: DynamoDBClient,
    settings: Settings,
    *,
    s3: S3Client,
    stopped: Callable[[], bool] = lambda: False,
) -> Pipeline:
    """Return a pipeline into the tables that the settings name; ``dynamodb`` is made with `client_config`."""
    place = StoreLayout(settings.events_table, settings.tables, has_bucket=bool(settings.payload_bucket))
    store = DynamoStore(dynamodb, place, bucket=settings.payload_bucket, s3=lambda: s3)
    return Pipeline(judge, store, settings.commit_concurrency, stopped=stopped)


class TrustingSecrets(Secrets):
    """Secrets for the past: what was proven when it came stays proven after its secret was retired.

    ``proven`` returns the verdict that was stored with a delivery, None if there is none.
    """

    proven: Provenance[Any] = staticmethod(lambda _: None)

    def judge(self, source: str, envelope: Envelope, verdict: Callable[[Sequence[str]], T]) -> T:
        """Judge by the live secrets; where they disprove the delivery, by what is stored of it."""
        try:
            return super().judge(source, envelope, verdict)
        except (SignatureMismatch, SecretAbsent, CertificateAbsent):
            stored = self.proven(envelope)
            if stored is None:
                raise
            return stored  # type: ignore[no-any-return]
