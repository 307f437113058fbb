"""What every prover checks alike: how much it tries, how old a delivery may be, which URL was signed."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureExpired, SignatureMismatch

# DocuSign sends one header per active key, up to 100: https://developers.docusign.com/platform/webhooks/connect/hmac/
MAX_SIGNATURES = 100
# A signature of a key pair costs a thousand times what comparing an HMAC does; during a rotation there are two.
MAX_KEY_PAIR_SIGNATURES = 4
MAX_SECRETS = 16


def bounded(secrets: Sequence[str]) -> Sequence[str]:
    """Return the newest secrets, as many as are tried. Raises: SecretAbsent if there is none, or an empty one."""
    if not secrets:
        raise SecretAbsent("The source has no secret yet.")
    if not all(map(str.strip, secrets)):  # everyone has an empty key
        raise SecretAbsent("One of the source's secrets is empty.")
    return secrets[:MAX_SECRETS]


def matching(secrets: Sequence[str], given: bytes) -> int:
    """Return the index of the secret that was given. Raises: SignatureMismatch."""
    for index, secret in enumerate(secrets):
        if hmac.compare_digest(secret.encode("utf-8"), given):
            return index
    raise SignatureMismatch


def check_age(sent_at_ms: int, envelope: Envelope, *, past_s: int | None, future_s: int | None) -> None:
    """Compare the signed time with the time of arrival. Raises: SignatureExpired."""
    age_ms = envelope.arrived_at_ms - sent_at_ms
    if past_s is not None and age_ms > past_s * 1000:
        raise SignatureExpired(age_s=age_ms // 1000, tolerance_s=past_s)
    if future_s is not None and -age_ms > future_s * 1000:
        raise SignatureExpired("The signed time is after the arrival.", ahead_s=-age_ms // 1000, tolerance_s=future_s)


def public_urls(base: str, envelope: Envelope) -> list[str]:
    """Return the URLs that the provider may have signed, the likeliest first; more than one if there is a query.

    The gateway gives the query decoded, so its exact spelling must be guessed among a few usual ones.
    """
    marker = f"/v1/{envelope.source}/"
    tail = envelope.path.partition(marker)[2] if envelope.source else ""
    url = f"{base.rstrip('/')}/{tail}" if tail else base
    if not envelope.query:
        return [url]
    pairs = list(envelope.query.items())
    spelled = [urlencode(pairs, quote_via=quote), urlencode(pairs, quote_via=quote_plus)]
    plain = "&".join(f"{name}={value}" for name, value in pairs)
    # Only if it has one reading: "a=1&b=2" may not be one value that holds "&b=2".
    if parse_qsl(plain.replace("+", "%2B"), keep_blank_values=True) == pairs:
        spelled.append(plain)
    return [f"{url}?{query}" for query in dict.fromkeys(spelled)]
