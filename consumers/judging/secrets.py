"""The live secrets of each source: read in bulk, kept for a while, and read again at a refusal, at a bounded pace.

Three answers are kept apart. A source has secrets; or it has none, which a fresh reading must say and which only a
person can fix; or it is not known, because the store has never answered: such an event waits, its signature is not bad.

What was read lasts ``ttl_s``; that there is no secret lasts at most `ABSENT_S`. While the store does not answer, what
was read proves a signature right for ``patience_s`` more, and proves one wrong for as long as it must: what no secret
proves is quarantined, from where it can be verified, and waits for nothing.

Anybody can send what no secret proves. So a refusal has the secrets of its source read again at most every
`REREAD_PAUSE_S`, together with those of the batch's other sources; and all refusals together cause at most
`REREADS_MAX` readings in that time. A refusal within the pause is judged by what is known.

Values are never written to a log, an exception or a table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from weir.ingest.envelope import Envelope
from weir.ingest.errors import (
    CertificateAbsent,
    CertificateUnavailable,
    SecretAbsent,
    SecretUnavailable,
    SignatureMismatch,
)
from weir.ingest.live_secrets import secret_values
from weir.ingest.sources.catalogue import SSM, Source

T = TypeVar("T")

# What is read of a parameter: its text, None if there is no such parameter, or why that is not known.
Reading = str | SecretUnavailable | None
ReadParameters = Callable[[Sequence[str]], Mapping[str, Reading]]

# For how long it is believed that a source has no secret: its first one should be found soon.
ABSENT_S = 30.0

# How often a refusal has secrets read again: each source's, and in how many readings all of them. Each environment of
# the function reads for itself; GetParameters takes 40 calls a second for all of an account and Region.
# Source: https://docs.aws.amazon.com/general/latest/gr/ssm.html
REREAD_PAUSE_S = 30.0
REREADS_MAX = 10
# How soon a reading that failed is tried again. Nothing waits longer for it: Lambda itself waits a second before it
# sends a batch again.
_RETRY_PAUSE_MS = 1_000
# Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
_READ_TOGETHER = 10

# The gateway's clock and this one differ a little: a reading counts as newer than an event only beyond this.
_SKEW_MS = 5_000
# A delivery chose which certificate it waits for, and nothing of it is proven: it holds up its shard no longer.
_CERTIFICATE_PATIENCE_MS = 60_000


@dataclass(slots=True, eq=False, repr=False)  # without a repr: it holds secrets
class _Known:
    values: tuple[str, ...]
    problem: str
    read_at_ms: int


@dataclass(frozen=True, slots=True)
class _Failed:
    error: SecretUnavailable
    at_ms: int


class Secrets:
    """The secrets of all sources, for one batch after another; not thread-safe."""

    def __init__(
        self,
        read: ReadParameters,
        prefix: str,
        *,
        ttl_s: float,
        patience_s: float,
        clock_ms: Callable[[], int],
        reads_again: bool = True,
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        """Keep nothing yet; parameters are named ``{prefix}/{source}``, but for the sources named in ``elsewhere``.

        Without ``reads_again`` no refusal causes a reading: secrets are read by their ``ttl_s`` alone.
        """
        self._read = read
        self._prefix = prefix
        self._elsewhere = elsewhere or {}
        self._ttl_ms = ttl_s * 1000
        self._patience_ms = patience_s * 1000
        self._clock_ms = clock_ms
        self._reads_again = reads_again
        self._known: dict[str, _Known] = {}
        self._failed: dict[str, _Failed] = {}  # sources whose last reading failed
        self._batch: list[str] = []
        self._tried: dict[str, bool] = {}  # sources read in this batch, and whether a refusal caused it
        self._reread_at_ms: dict[str, int] = {}  # when a refusal of this source had it read again
        self._rereads_at_ms: deque[int] = deque(maxlen=REREADS_MAX)

    def begin_batch(self, sources: Iterable[str]) -> None:
        """Read what is missing or too old for these sources, all at once; a failure shows when a secret is used."""
        self._batch, self._tried = list(sources), {}
        outdated = [source for source in self._batch if not (self._is_fresh(source) or self._failed_just_now(source))]
        if outdated:
            self._try_to_read(outdated, by_refusal=False)

    def judge(self, source: str, envelope: Envelope, verdict: Callable[[Sequence[str]], T]) -> T:
        """Return what ``verdict`` says of the live secrets, newest first; on its first refusal read them again.

        They are read again only if what is known may be older than the event, at the pace that the module's text names.
        Raises: SecretAbsent, SecretUnavailable, CertificateAbsent, CertificateUnavailable, and what ``verdict`` raises.
        """
        try:
            return self._judge_again(source, envelope, verdict)
        except SecretUnavailable as error:
            raise self._bounded(error, envelope) from error
        except CertificateUnavailable as error:
            waited_ms = self._waited_ms(envelope)
            if waited_ms <= _CERTIFICATE_PATIENCE_MS:
                raise
            raise CertificateAbsent(error.detail, **error.facts, waited_s=waited_ms // 1000) from error

    def _judge_again(self, source: str, envelope: Envelope, verdict: Callable[[Sequence[str]], T]) -> T:
        try:
            proven = verdict(self._live(source))
        except (SignatureMismatch, SecretAbsent):
            if not self._read_again(source, envelope):
                raise
            proven = verdict(self._live(source))
        if self._is_too_old(source):
            raise self._unavailable(source)
        return proven

    def _live(self, source: str) -> tuple[str, ...]:
        known = self._known.get(source)
        if known is None:
            raise self._unavailable(source)
        if not known.values:
            raise SecretAbsent(known.problem, parameter=self._name(source))
        return known.values

    def _read_again(self, source: str, envelope: Envelope) -> bool:
        """Return whether there is a newer reading, made now unless the pace forbids it."""
        known, now_ms = self._known.get(source), self._clock_ms()
        if known is None or not self._reads_again or known.read_at_ms > envelope.arrived_at_ms + _SKEW_MS:
            return False
        if source in self._tried:
            if self._tried[source]:
                self._reread_at_ms[source] = self._rereads_at_ms[-1]  # with another source's, for the same reason
            return False
        if not self._may_reread(source, now_ms) or self._are_rereads_used_up(now_ms):
            return False
        others = [one for one in self._batch if one not in self._tried and one != source]
        due = [one for one in others if self._may_reread(one, now_ms)][: _READ_TOGETHER - 1]
        self._reread_at_ms[source] = now_ms
        self._rereads_at_ms.append(now_ms)
        self._try_to_read([source, *due], by_refusal=True)
        return source not in self._failed

    def _may_reread(self, source: str, now_ms: int) -> bool:
        last_ms = self._reread_at_ms.get(source)
        return last_ms is None or now_ms - last_ms >= REREAD_PAUSE_S * 1000

    def _are_rereads_used_up(self, now_ms: int) -> bool:
        made = self._rereads_at_ms
        return len(made) == REREADS_MAX and now_ms - made[0] < REREAD_PAUSE_S * 1000

    def _try_to_read(self, sources: list[str], *, by_refusal: bool = False) -> None:
        """Read the secrets of these sources; what fails leaves what is known as it is."""
        read_at_ms = self._clock_ms()
        readings = self._read([self._name(source) for source in sources])
        self._tried.update(dict.fromkeys(sources, by_refusal))
        for source in sources:
            reading = readings[self._name(source)]
            if isinstance(reading, SecretUnavailable):
                self._failed[source] = _Failed(reading, read_at_ms)
            else:
                self._failed.pop(source, None)
                self._known[source] = _Known(*_parse(reading), read_at_ms)

    def _unavailable(self, source: str) -> SecretUnavailable:
        failed = self._failed.get(source)
        return SecretUnavailable("", source=source, **(failed.error.facts if failed else {}))

    def _bounded(self, error: SecretUnavailable, envelope: Envelope) -> SecretUnavailable | SecretAbsent:
        """Return the error, or its end if the event has waited long enough."""
        waited_ms = self._waited_ms(envelope)
        if waited_ms <= self._patience_ms:
            return error
        facts = {**error.facts, "waited_s": waited_ms // 1000}
        return SecretAbsent(error.detail or "The secret store did not answer.", **facts)

    def _waited_ms(self, envelope: Envelope) -> int:
        return self._clock_ms() - envelope.arrived_at_ms

    def _is_too_old(self, source: str) -> bool:
        """Return whether what is known may have been retired meanwhile: it proves nothing right any more."""
        known = self._known.get(source)
        if known is None or source not in self._failed:
            return False
        return self._age_ms(known) > self._ttl_ms + self._patience_ms

    def _failed_just_now(self, source: str) -> bool:
        failed = self._failed.get(source)
        return failed is not None and 0 <= self._clock_ms() - failed.at_ms < _RETRY_PAUSE_MS

    def _is_fresh(self, source: str) -> bool:
        known = self._known.get(source)
        if known is None:
            return False
        return self._age_ms(known) <= (self._ttl_ms if known.values else min(self._ttl_ms, ABSENT_S * 1000))

    def _age_ms(self, known: _Known) -> int:
        return self._clock_ms() - known.read_at_ms

    def _name(self, source: str) -> str:
        return self._elsewhere.get(source) or f"{self._prefix}/{source}"


def elsewhere(catalogue: Mapping[str, Source]) -> dict[str, str]:
    """Return where the secrets are, of the sources that keep them in Secrets Manager."""
    return {name: source.secret for name, source in catalogue.items() if source.secret != SSM}


def _parse(text: str | None) -> tuple[tuple[str, ...], str]:
    """Return the values of a parameter, newest first, or none and why; the reason never quotes the parameter."""
    if text is None:
        return (), "There is no such parameter."
    try:
        values = secret_values(text)
    except ValueError as error:
        return (), f"The parameter cannot be used: {error}."
    return values, "" if values else "The parameter holds no live secret."
