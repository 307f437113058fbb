"""The declarative engine: signatures and hashes over a text that a `ContentScheme` describes.

A scheme is compiled once into a few closures; what is left for each delivery is a search for its headers, one HMAC per
live secret and a comparison in constant time. Work is bounded by `MAX_SIGNATURES` and `MAX_SECRETS`.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from weir.ingest.envelope import Envelope
from weir.ingest.errors import SecretAbsent, SignatureMalformed, SignatureMismatch, SignatureMissing
from weir.ingest.locations import Unreadable, View, one_header, reader
from weir.ingest.schemes import drafts, public_keys
from weir.ingest.schemes.content_parts import compile_elements, compile_part, compile_time
from weir.ingest.schemes.models import AnyOf, ContentScheme, Key, Scheme, parts
from weir.ingest.schemes.prover import (
    Draft,
    Fetch,
    SecretPair,
    Verdict,
    bounded,
    check_age,
    decode,
    encode,
    public_urls,
)
from weir.ingest.times import parse_ms

_TEXT_FORMS = frozenset({"hex", "base64", "base64url"})


class ContentProver:
    """A compiled `ContentScheme`."""

    def __init__(self, scheme: ContentScheme) -> None:
        self._scheme = scheme
        self._hash = scheme.alg.removeprefix("hmac-")
        self._is_asymmetric = scheme.needs_cryptography
        self._size = 0 if self._is_asymmetric else hashlib.new(self._hash).digest_size
        self._parts = [compile_part(part, scheme) for part in parts(scheme.content)]
        self._is_plain_body = scheme.content == "{body}"
        self._holds_secret = "{secret}" in scheme.content
        self._elements = compile_elements(scheme.signature)
        self._time = compile_time(scheme.timestamp, scheme.signature)
        self._require = [(name.lower(), value) for name, value in scheme.require.items()]

    def verify(self, secrets: Sequence[str], envelope: Envelope, _fetch: Fetch | None = None) -> Verdict:
        """See `Prover.verify`."""
        keys = _keys(self._scheme, bounded(secrets))
        try:
            for name, value in self._require:
                if one_header(envelope, name) != value:
                    raise Unreadable(f"header {name} is not {value!r}")
            view = View(envelope, self._scheme.payload_field)
            if self._scheme.each is None:
                return Verdict(self._scheme.label, self._prove(keys, view))
            return Verdict(self._scheme.label, max(self._prove(keys, one) for one in _split(view, self._scheme.each)))
        except ValueError as error:
            raise SignatureMalformed(str(error)) from error

    def sign(self, secret: str, draft: Draft) -> None:
        """See `Prover.sign`."""
        scheme = self._scheme
        draft.headers |= scheme.require
        stamp = drafts.place_time(draft, scheme)
        drafts.place_id(draft, scheme)
        key = decode_key(scheme.key, secret)
        view = View(draft.envelope(), scheme.payload_field)
        views = [view] if scheme.each is None else _split(view, scheme.each)
        base = draft.url or scheme.url
        signatures = [
            encode(self._compute(key, self._content(one, stamp, base, key)), scheme.signature.encoding) for one in views
        ]
        drafts.place_signatures(draft, scheme, stamp, signatures)

    def check_secret(self, secret: str) -> None:
        """See `Prover.check_secret`."""
        usable_key(self._scheme, secret)

    def generate(self, entropy: bytes) -> SecretPair:
        """See `Prover.generate`."""
        key = self._scheme.key
        if not self._is_asymmetric:
            encoding = key.decode if key.decode in _TEXT_FORMS else "hex"
            secret = key.prefix + (f"weir{key.after}" if key.after else "") + encode(entropy[:32], encoding)
            return SecretPair(secret, secret)
        private, public = public_keys.generate(self._scheme.alg, entropy, is_der=key.decode == "pem")
        if key.decode == "pem":
            return SecretPair(public_keys.pem("PRIVATE", private), public_keys.pem("PUBLIC", public))
        return SecretPair(key.prefix + encode(private, key.decode), key.prefix + encode(public, key.decode))

    def _prove(self, keys: list[tuple[int, bytes]], view: View) -> int:
        elements, texts = self._elements(view)
        signatures = self._decode(texts)
        stamp = self._time(view, elements) if self._time else ""
        urls = public_urls(self._scheme.url, view.envelope) if self._scheme.needs_url else ("",)
        for url in urls:
            content = view.envelope.body if self._is_plain_body else self._content(view, stamp, url, b"")
            for index, key in keys:
                if self._holds_secret:
                    content = self._content(view, stamp, url, key)
                if self._is_match(key, content, signatures):
                    self._check_age(stamp, view.envelope)
                    return index
        raise SignatureMismatch

    def _is_match(self, key: bytes, content: bytes, signatures: list[bytes]) -> bool:
        if self._is_asymmetric:
            return any(public_keys.is_valid(self._scheme.alg, key, content, one) for one in signatures)
        expected = self._compute(key, content)
        return any(hmac.compare_digest(expected, one) for one in signatures)

    def _compute(self, key: bytes, content: bytes) -> bytes:
        if self._is_asymmetric:
            return public_keys.sign(self._scheme.alg, key, content)
        if self._scheme.alg.startswith("hmac-"):
            return hmac.digest(key, content, self._hash)
        return hashlib.new(self._hash, content if self._holds_secret else key + content).digest()

    def _decode(self, texts: list[str]) -> list[bytes]:
        found, encoding, size = [], self._scheme.signature.encoding, self._size
        for text in texts:
            try:
                raw = decode(text, encoding)
            except ValueError:
                continue
            if not size or len(raw) == size:
                found.append(raw)
        if not found:
            raise Unreadable(f"no signature is {encoding}{f' of {size} bytes' if size else ''}")
        return found

    def _content(self, view: View, stamp: str, url: str, key: bytes) -> bytes:
        return b"".join([part(view, stamp, url, key) for part in self._parts])

    def _check_age(self, stamp: str, envelope: Envelope) -> None:
        scheme = self._scheme
        if scheme.timestamp is None or (scheme.tolerance_s is None and scheme.tolerance_future_s is None):
            return
        sent_at_ms = parse_ms(stamp, scheme.timestamp.unit)
        check_age(sent_at_ms, envelope, past_s=scheme.tolerance_s, future_s=scheme.tolerance_future_s)


@lru_cache(maxsize=1024)
def decode_key(key: Key, secret: str) -> bytes:
    """Make the key from the secret's text. Raises: ValueError that never quotes it."""
    text = secret.removeprefix(key.prefix)
    is_prefixed = text != secret or not key.prefix
    text = text.rpartition(key.after)[2] if key.after else text
    if key.unprefixed == "refuse" and not is_prefixed:
        raise ValueError(f"the secret does not begin with {key.prefix}")
    if key.decode == "pem":
        return public_keys.from_pem(text)
    if key.decode in _TEXT_FORMS and (is_prefixed or key.unprefixed != "utf8"):
        try:
            return decode(text.strip(), key.decode)
        except ValueError:
            raise ValueError(f"the secret is not {key.decode}") from None
    if key.decode == "nfkd":
        return unicodedata.normalize("NFKD", text).encode("utf-8")
    if key.decode in {"sha1", "sha256"}:
        return hashlib.new(key.decode, text.encode("utf-8"), usedforsecurity=False).digest()
    return text.encode("utf-8")


def answering_digest(scheme: Scheme, secret: str, value: bytes) -> bytes:
    """Return the HMAC of what a provider asked, by the algorithm and with the key of the source's own scheme.

    Where that makes no HMAC it is HMAC-SHA256 under the secret's text. Raises: ValueError that never quotes the secret.
    """
    for option in scheme.any_of if isinstance(scheme, AnyOf) else (scheme,):
        if isinstance(option, ContentScheme) and option.alg.startswith("hmac-"):
            return hmac.digest(decode_key(option.key, secret), value, option.alg.removeprefix("hmac-"))
    return hmac.digest(secret.encode("utf-8"), value, "sha256")


def key_name(scheme: Scheme, secret: str) -> str:
    """Return the name that the secret gives its key. Raises: ValueError when it gives none."""
    for option in scheme.any_of if isinstance(scheme, AnyOf) else (scheme,):
        if isinstance(option, ContentScheme) and option.key.after and option.key.after in secret:
            return secret.removeprefix(option.key.prefix).rpartition(option.key.after)[0].strip()
    raise ValueError("the secret does not name its key, which the answer holds: see `weir sources presets`")


def usable_key(scheme: ContentScheme, secret: str) -> bytes:
    """Make the key and see that the algorithm can use it. Raises: ValueError that never quotes it."""
    key = decode_key(scheme.key, secret)
    if not key.strip():
        raise ValueError("the secret is empty")
    if scheme.needs_cryptography:
        public_keys.check(scheme.alg, key)
    return key


def _keys(scheme: ContentScheme, secrets: Sequence[str]) -> list[tuple[int, bytes]]:
    found, reason = [], ""
    for index, secret in enumerate(secrets):
        try:
            found.append((index, usable_key(scheme, secret)))
        except ValueError as error:
            reason = str(error)
    if not found:
        raise SecretAbsent(f"None of the source's secrets can be used: {reason}.")
    return found


def _split(view: View, each: str) -> list[View]:
    found = reader(each)(view)
    if not isinstance(found, list) or not found:
        raise SignatureMissing(f"{each} holds no element to verify.")
    return [view.split(element) for element in found]
