"""What every prover checks alike: how much it tries, how old a delivery may be, which URL was signed."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureExpired, SignatureMismatch

# DocuSign sends one header per active key, up to 100: https://developers.docusign.com/platform/webhooks/connect/hmac/
MAX_SIGNATURES = 100
# A signature of a key pair costs a thousand times what comparing an HMAC does; during a rotation there are two.
MAX_KEY_PAIR_SIGNATURES = 4
MAX_SECRETS = 16
# URLs that are tried for one delivery; with a key pair, only the likeliest of them.
MAX_URLS = 24
MAX_KEY_PAIR_URLS = 4
# Of a longer query only the two usual spellings are tried: writing each costs time, and no provider's is so long.
MAX_SPELLED_PARAMETERS = 64

# What senders leave as it is in a query: JavaScript's encodeURIComponent, RFC 3986's query, browsers' URLs.
# Sources: https://github.com/twilio/twilio-node/issues/1059 , 621, 1061, 1183; https://url.spec.whatwg.org/#query-state
_UNESCAPED = ("!'()*", "/:@,;?!$'()*", "/:@,;?!$()*")
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_EMPTY_VALUE = re.compile(r"=(?=&|$)")


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

    The gateway gives the query decoded, with one of several values of a name, so its exact spelling must be guessed. It
    is known only as far as ``base`` has it as the provider was given it, and what arrived is the same decoded.
    """
    address, _, fixed = base.partition("?")
    marker = f"/v1/{envelope.source}/"
    tail = envelope.path.partition(marker)[2] if envelope.source else ""
    url = f"{address.rstrip('/')}/{tail}" if tail else address
    known = fixed_query(base)
    if not known.items() <= envelope.query.items():
        fixed, known = "", {}
    rest = [(name, value) for name, value in envelope.query.items() if name not in known]
    spelled = [f"{fixed}&{query}" if query else fixed for query in _spellings(rest)] if fixed else []
    if fixed and rest:
        spelled = spelled[: MAX_URLS // 2]
    spelled += _spellings(list(envelope.query.items())) if not fixed or rest else []
    return [f"{url}?{query}" if query else url for query in dict.fromkeys(spelled)][:MAX_URLS]


def fixed_query(url: str) -> dict[str, str]:
    """Return the query that a source's URL has, decoded as the gateway decodes it: of a name the last value."""
    return dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))


def _spellings(pairs: list[tuple[str, str]]) -> list[str]:
    """Return a query as senders write it: first as most do, then as libraries and hand-made URLs do."""
    usual = [_written(pairs, quote), _written(pairs, quote_plus)]
    if len(pairs) > MAX_SPELLED_PARAMETERS:
        return list(dict.fromkeys(usual))
    others = [_written(pairs, way, safe) for safe in _UNESCAPED for way in (quote, quote_plus)]
    tildes = [text.replace("~", "%7E") for text in (usual[0], _written(pairs, quote_plus, "*"))]
    lower = [_ESCAPE.sub(lambda found: found[0].lower(), text) for text in usual]
    plain = _with_bare_names("&".join(f"{name}={value}" for name, value in pairs))
    # Only if it has one reading: "a=1&b=2" may not be one value that holds "&b=2".
    plain = [text for text in plain if _read(text.replace("+", "%2B")) == pairs]
    bare = [text for query in [*usual, *others, *tildes, *lower] for text in _with_bare_names(query)]
    return list(dict.fromkeys([*usual, *plain, *(text for text in bare if _read(text) == pairs)]))


def _with_bare_names(query: str) -> list[str]:
    return [query, _EMPTY_VALUE.sub("", query)]


def _read(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _written(pairs: list[tuple[str, str]], way: Callable[..., str], safe: str = "") -> str:
    return urlencode(pairs, quote_via=way, safe=safe)
