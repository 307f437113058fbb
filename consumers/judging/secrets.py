"""The live secrets of each source: read in bulk, kept for a while, and read again at the first failure.

Three answers are kept apart. A source has secrets; or it has none, which a fresh reading must say and which only a
person can fix; or it is not known, because the store did not answer: such an event waits, its signature is not bad.

What was read lasts ``ttl_s``; that there is no secret lasts at most `ABSENT_S`. While the store does not answer, what
was read may still prove a signature right for ``patience_s`` more, but no longer prove one wrong.

Values are never written to a log, an exception or a table.
"""

from __future__ import annotations

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

# The gateway's clock and this one differ a little: a reading counts as newer than an event only beyond this.
_SKEW_MS = 5_000
# A delivery chose which certificate it waits for, and nothing of it is proven: it holds up its shard no longer.
_CERTIFICATE_PATIENCE_MS = 60_000


@dataclass(slots=True, eq=False, repr=False)  # without a repr: it holds secrets
class _Known:
    values: tuple[str, ...]
    problem: str
    read_at_ms: int


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
        # Sources read in this batch, with what went wrong.
        self._tried: dict[str, SecretUnavailable | None] = {}

    def begin_batch(self, sources: Iterable[str]) -> None:
        """Read what is missing or too old for these sources, all at once; a failure shows when a secret is used."""
        self._tried = {}
        outdated = [source for source in sources if not self._is_fresh(source)]
        if outdated:
            self._try_to_read(outdated)

    def judge(self, source: str, envelope: Envelope, verdict: Callable[[Sequence[str]], T]) -> T:
        """Return what ``verdict`` says of the live secrets, newest first; on its first refusal read them again.

        They are read again at most once a source and batch, and only if what is known may be older than the event.
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
            return verdict(self._live(source))
        except (SignatureMismatch, SecretAbsent):
            if not self._read_again(source, envelope):
                raise
        return verdict(self._live(source))

    def _live(self, source: str) -> tuple[str, ...]:
        known = self._known.get(source)
        if known is None:
            raise self._unavailable(source)
        if not known.values:
            raise SecretAbsent(known.problem, parameter=self._name(source))
        return known.values

    def _read_again(self, source: str, envelope: Envelope) -> bool:
        """Return whether there is a newer reading; raise SecretUnavailable if the one at hand proves nothing wrong."""
        known = self._known.get(source)
        may_be_older = known is not None and known.read_at_ms <= envelope.arrived_at_ms + _SKEW_MS
        if may_be_older and self._reads_again and source not in self._tried and self._try_to_read([source]):
            return True
        if self._tried.get(source) and not self._is_fresh(source):
            raise self._unavailable(source)
        return False

    def _try_to_read(self, sources: list[str]) -> bool:
        """Return whether the last of the sources could be read."""
        read_at_ms = self._clock_ms()
        readings = self._read([self._name(source) for source in sources])
        for source in sources:
            reading = readings[self._name(source)]
            if isinstance(reading, SecretUnavailable):
                self._tried[source] = reading
                self._drop_if_too_old(source)
            else:
                self._tried[source] = None
                self._known[source] = _Known(*_parse(reading), read_at_ms)
        return self._tried[sources[-1]] is None

    def _unavailable(self, source: str) -> SecretUnavailable:
        failure = self._tried.get(source)
        return SecretUnavailable("", source=source, **(failure.facts if failure else {}))

    def _bounded(self, error: SecretUnavailable, envelope: Envelope) -> SecretUnavailable | SecretAbsent:
        """Return the error, or its end if the event has waited long enough."""
        waited_ms = self._waited_ms(envelope)
        if waited_ms <= self._patience_ms:
            return error
        facts = {**error.facts, "waited_s": waited_ms // 1000}
        return SecretAbsent(error.detail or "The secret store did not answer.", **facts)

    def _waited_ms(self, envelope: Envelope) -> int:
        return self._clock_ms() - envelope.arrived_at_ms

    def _drop_if_too_old(self, source: str) -> None:
        known = self._known.get(source)
        if known is not None and self._age_ms(known) > self._ttl_ms + self._patience_ms:
            del self._known[source]

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
