"""From a secret's text to a key, as the sources file describes it."""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache
from typing import Literal

from pydantic import Field

from weir.ingest.encodings import decode
from weir.ingest.schemes.crypto import public_keys
from weir.ingest.strict import Strict

TEXT_FORMS = frozenset({"hex", "base64", "base64url"})


class Key(Strict):
    """How the key is made from the secret's text."""

    decode: Literal["utf8", "hex", "base64", "base64url", "pem", "nfkd", "sha1", "sha256"] = Field(
        default="utf8",
        description="pem: a public key between BEGIN and END lines, or their base64 alone; nfkd: UTF-8 after Unicode "
        "normalisation; sha1, sha256: the digest of the text is the key",
    )
    prefix: str = Field(default="", description="removed from the secret before decoding, if it is there")
    after: str = Field(
        default="", description="the key is what follows this text, if it is there; its name is before it"
    )
    unprefixed: Literal["decode", "utf8", "refuse"] = Field(
        default="decode", description="what to do with a secret that has no prefix; utf8: take it as text"
    )


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
    if key.decode in TEXT_FORMS and (is_prefixed or key.unprefixed != "utf8"):
        try:
            return decode(text.strip(), key.decode)
        except ValueError:
            raise ValueError(f"the secret is not {key.decode}") from None
    if key.decode == "nfkd":
        return unicodedata.normalize("NFKD", text).encode("utf-8")
    if key.decode in {"sha1", "sha256"}:
        return hashlib.new(key.decode, text.encode("utf-8"), usedforsecurity=False).digest()
    return text.encode("utf-8")
