"""The questions that providers ask before they send, and the answers that take code: what the handshake function runs.

What a template answers alone is in `weir.ingest.handshakes.handshake_templates`; both read the same `Handshake` of
the source.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from weir.ingest.encodings import encode
from weir.ingest.envelope import Envelope
from weir.ingest.errors import EventMalformed, SecretAbsent, SignatureMismatch
from weir.ingest.locations import Unreadable, View, one_header, reader, text_of
from weir.ingest.sources.catalogue import KEY_NAME, PLACEHOLDER, Handshake, Match, Scheme, Source, pattern_of

# What an echoed header may contain: no line end, nothing that a proxy could read as the end of the value.
_HEADER_SAFE = re.compile(r"[\x20-\x7e]{0,4096}")

# What is signed on request. Anyone may ask, and a signature over JSON or a `v0:time:body` would forge a delivery.
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{1,256}")


def asked(source: Source, method: str, envelope: Envelope) -> Handshake | None:
    """Return the handshake whose question a request is; None for a delivery, and for what cannot be read."""
    view = View(envelope, source.event.payload_field)
    for handshake in source.handshakes:
        if handshake.match.method == method and _matches(handshake.match, view):
            return handshake
    return None


def answer(handshake: Handshake, source: Source, envelope: Envelope, secret: str) -> tuple[dict[str, str], str]:
    """Return headers and body of the reply. ``secret`` is the key of what the reply signs, `""` if it signs nothing.

    Raises: EventMalformed when the question lacks a value that the answer repeats; SecretAbsent when the secret does.
    """
    view = View(envelope, source.event.payload_field)
    reply = handshake.reply
    is_json = reply.content_type.endswith("json")
    headers = {"Content-Type": reply.content_type}
    if not is_json:
        headers["X-Content-Type-Options"] = "nosniff"  # a browser must not show what is echoed as a page
    for name, text in reply.headers.items():
        value = _fill(text, view, source.scheme, secret, str)
        if not _HEADER_SAFE.fullmatch(value):
            raise EventMalformed("The value to echo cannot be in a header.", header=name)
        headers[name] = value
    return headers, _fill(reply.body, view, source.scheme, secret, _inside_json if is_json else str)


def refuse_answers(source: Source, contents: Iterable[bytes]) -> None:
    """Refuse a delivery that a question could have had signed: anyone may ask, so that its signature proves nothing.

    ``contents`` are the texts that it signs. Raises: SignatureMismatch.
    """
    wanted = [pattern for handshake in source.handshakes for pattern in _signed_on_request(handshake)]
    for content in contents if wanted else ():
        text = content.decode("latin-1")
        if _TOKEN.fullmatch(text) and any(pattern is None or pattern.fullmatch(text) for pattern in wanted):
            raise SignatureMismatch("What it signs is what this source signs for anyone who asks: it proves nothing.")


def _signed_on_request(handshake: Handshake) -> Iterator[re.Pattern[str] | None]:
    """Yield for each value that the answer signs the pattern that it must have, None if it may be any token."""
    for text in (handshake.reply.body, *handshake.reply.headers.values()):
        for blank in PLACEHOLDER.finditer(text):
            if blank["hmac"]:
                wanted = handshake.match.query.get(blank["at"].removeprefix("query:"), "")
                yield pattern_of(wanted)


def needs_secret(handshake: Handshake) -> bool:
    """Tell whether the answer needs the source's secret."""
    texts = (handshake.reply.body, *handshake.reply.headers.values())
    blanks = [blank for text in texts for blank in PLACEHOLDER.finditer(text)]
    return handshake.verified or any(blank["hmac"] or blank["at"] == KEY_NAME for blank in blanks)


def _matches(match: Match, view: View) -> bool:
    try:
        if not all(_fits(view.envelope.query.get(name), wanted) for name, wanted in match.query.items()):
            return False
        if not all(_fits(one_header(view.envelope, name.lower()), wanted) for name, wanted in match.headers.items()):
            return False
        return all(_fits(reader(at)(view), wanted) for at, wanted in match.body.items())
    except (Unreadable, UnicodeError):
        return False


def _fits(value: Any, wanted: str) -> bool:
    if wanted == "[]" and isinstance(value, list):
        return not value
    text = text_of(value)
    if pattern := pattern_of(wanted):
        return text is not None and bool(pattern.fullmatch(text))
    return bool(text) if wanted == "*" else text == wanted


def _fill(text: str, view: View, scheme: Scheme, secret: str, escape: Callable[[str], str]) -> str:
    def filled(blank: re.Match[str]) -> str:
        if blank["at"] == KEY_NAME:
            return escape(_key_name(scheme, secret))
        value = _value(blank["at"], view)
        if not blank["hmac"]:
            return escape(value)
        if not _TOKEN.fullmatch(value):
            raise EventMalformed(f"The value to sign at {blank['at']} is not a plain token.")
        return encode(_hmac(scheme, secret, value.encode("utf-8")), blank["hmac"])

    try:
        return PLACEHOLDER.sub(filled, text)
    except ValueError as error:
        raise SecretAbsent(f"The question cannot be answered: {error}.") from error


def _hmac(scheme: Scheme, secret: str, value: bytes) -> bytes:
    """Return the HMAC of what a provider asked, as its scheme makes it; where that makes none, HMAC-SHA256."""
    made = scheme.own_hmac(secret, value)
    return hmac.digest(secret.encode("utf-8"), value, "sha256") if made is None else made


def _key_name(scheme: Scheme, secret: str) -> str:
    name = scheme.key_name(secret)
    if name is None:
        raise ValueError("the secret does not name its key, and the answer must: see `weir sources presets`")
    return name


def _value(at: str, view: View) -> str:
    try:
        value = text_of(reader(at)(view))
        if value is not None:
            value.encode("utf-8")
            return value
    except (Unreadable, UnicodeError) as error:
        raise EventMalformed(f"The question cannot be read at {at}: {error}") from error
    raise EventMalformed(f"The question has nothing at {at}.")


def _inside_json(value: str) -> str:
    return json.dumps(value)[1:-1]
