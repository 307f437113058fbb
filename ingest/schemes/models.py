"""How a provider proves that a delivery is its own, as data: one model for signed content, small ones for the rest.

``alg`` names the kind; it is pinned by the source and never taken from the request. `signatures` compiles these models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from weir.ingest.locations import Location, header_names, reader

TimeUnit = Literal["s", "ms", "rfc3339", "http-date"]
Encoding = Literal["hex", "base64", "base64url"]
Shared = Literal["hmac-sha256", "hmac-sha1", "hmac-sha384", "hmac-sha512", "sha1", "sha256", "sha512"]
KeyPair = Literal["ed25519", "ecdsa-p256-sha256", "ecdsa-p256-sha256-raw", "rsa-sha256", "rsa-sha512", "rsa-pss-sha256",
                  "rsa-pss-sha512"]  # fmt: skip
_KEY_PAIRS = frozenset(get_args(KeyPair))

_PART = re.compile(r"\{([^{}]*)\}")
_PLAIN_PARTS = frozenset(
    {"body", "timestamp", "id", "method", "url", "url-decoded", "path", "sha256", "crc32", "secret"}
)

HttpAlgorithm = Literal["hmac-sha256", "ed25519", "ecdsa-p256-sha256", "rsa-v1_5-sha256", "rsa-pss-sha512"]
_OF_URL = ("@target-uri", "@authority", "@scheme", "@path", "@query", "@request-target")
_DERIVED = ("@method", *_OF_URL)
_COMPONENT = re.compile("|".join([*_DERIVED, "[a-z0-9!#$%&'*+.^_`|~-]{1,256}", r'@query-param;name="[\w%*.-]{1,256}"']))

# A location `signature: {at: ...}` that ends so stands for one header per signature, numbered from 1.
NUMBERED = "-*"


class Strict(BaseModel):
    """What all models of the sources file share: unknown fields are errors, nothing changes after loading.

    Validators are built when something is first validated: the function never does (see `sources.parse_compiled`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Key(Strict):
    """How the key is made from the secret's text."""

    decode: Literal["utf8", "hex", "base64", "base64url", "pem", "nfkd", "sha1", "sha256"] = Field(
        default="utf8",
        description="pem: a public key between BEGIN and END lines, or their base64 alone; nfkd: UTF-8 after Unicode "
        "normalisation; sha1, sha256: the digest of the text is the key",
    )
    prefix: str = Field(default="", description="taken off the secret before decoding, if it is there")
    after: str = Field(
        default="", description="the key is what follows this text, if it is there; what stands before is its name"
    )
    unprefixed: Literal["decode", "utf8", "refuse"] = Field(
        default="decode", description="what to do with a secret that has no prefix; utf8: take it as text"
    )


class SignatureAt(Strict):
    """Where the signatures stand and how they are written."""

    at: Location = Field(description="header:Name (header:Name-* for numbered headers), $.path, field:name")
    split: str | tuple[str, ...] = Field(
        default="", max_length=4, description="what stands between the elements: one text, or a list of several"
    )
    skip: int = Field(default=0, ge=0, le=4, description="how many leading elements are no signatures")
    prefix: str = Field(default="", description="what a signature begins with; elements without it are other versions")
    after: str = Field(default="", description="the signature is what follows this text, such as a key's name")
    encoding: Literal[Encoding, "hex-base64"] = Field(default="hex", description="hex-base64: base64 of the hex digits")

    @field_validator("split")
    @classmethod
    def _separates(cls, split: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(split, tuple) and not all(split):
            raise ValueError("an empty text separates nothing: name the characters between the elements")
        return split

    @property
    def separators(self) -> tuple[str, ...]:
        """Return what stands between elements, the inmost last; nothing if there is one element only."""
        return self.split if isinstance(self.split, tuple) else (self.split,) * bool(self.split)

    @property
    def is_in_header(self) -> bool:
        """Tell whether a header carries the signature, and not the body."""
        return self.at.startswith("header:")


class TimestampAt(Strict):
    """Where the signed time stands; without ``at`` it is an element of the signature's own header."""

    at: Location | None = None
    prefix: str = ""
    index: int | None = Field(default=None, ge=0, le=4, description="its place among the elements, if it has no prefix")
    unit: TimeUnit = "s"


class Scheme(Strict):
    """What every way of proving has in common."""

    name: str = Field(default="", max_length=40, description="what is stored as the scheme of a verified event")

    reads_url: ClassVar[bool] = False
    is_asymmetric: ClassVar[bool] = False

    @cached_property
    def fetches_certificates(self) -> bool:
        """Tell whether a delivery may name its certificate by URL."""
        return isinstance(self, (SnsScheme, PaypalScheme))

    @cached_property
    def confirms_subscriptions(self) -> bool:
        """Tell whether the sender wants a URL opened before it sends."""
        return isinstance(self, SnsScheme)

    @cached_property
    def needs_cryptography(self) -> bool:
        """Tell whether the function needs the package `cryptography` for this scheme."""
        return self.is_asymmetric

    @cached_property
    def needs_url(self) -> bool:
        """Tell whether the source must say its public URL."""
        return self.reads_url

    @cached_property
    def label(self) -> str:
        """Return the name that is stored with a verified event."""
        return self.name or getattr(self, "alg", "any")

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the lower-case names of the headers that proving needs."""
        return frozenset()


class ContentScheme(Scheme):
    """A signature or a hash over a text that is put together from the delivery."""

    alg: Literal[Shared, KeyPair] = Field(
        default="hmac-sha256",
        description="sha256 and the like: the plain hash of secret and content, or of content alone where that holds "
        "{secret}; ecdsa-...-raw: 64 bytes, as JWS writes them, else DER; rsa: PKCS #1 v1.5",
    )
    key: Key = Key.model_construct()
    signature: SignatureAt
    timestamp: TimestampAt | None = None
    id: Location | None = Field(default=None, description="where {id} of the content is read")
    content: str = Field(
        default="{body}",
        description="e.g. {timestamp}.{body}; also {id} {url} {path} {method} {secret} {header:X} {$.path}",
    )
    require: dict[str, str] = Field(default_factory=dict, description="headers that must have exactly this value")
    each: Location | None = Field(default=None, description="the array whose elements are signed one by one")
    payload_field: str = Field(default="", description="the form field that holds the JSON body which paths mean")
    tolerance_s: int | None = Field(default=None, ge=1, description="how much older than its arrival a delivery may be")
    tolerance_future_s: int | None = Field(default=None, ge=0, description="how far ahead its time may be; null: any")
    url: str = ""

    @field_validator("content")
    @classmethod
    def _known_parts(cls, content: str) -> str:
        for part in parts(content):
            if not isinstance(part, bytes):
                check_part(part)
        return content

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.tolerance_s is not None and self.timestamp is None:
            raise ValueError("tolerance_s needs `timestamp`: say where the signed time stands")
        if "{timestamp}" in self.content and self.timestamp is None:
            raise ValueError("the content holds {timestamp}: say with `timestamp` where it stands")
        if "{secret}" in self.content and self.alg in _KEY_PAIRS:
            raise ValueError(f"the content holds {{secret}}, and the key of {self.alg} is a public one")
        if "{id}" in self.content and self.id is None:
            raise ValueError("the content holds {id}: say with `id` where it stands")
        return self

    @cached_property
    def needs_cryptography(self) -> bool:
        """Tell whether the algorithm is a public-key one."""
        return self.alg in _KEY_PAIRS

    @cached_property
    def needs_url(self) -> bool:
        """Tell whether the URL is signed."""
        return "{url" in self.content or "{path}" in self.content

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the headers that are read or signed."""
        places = [self.signature.at, self.id or "", (self.timestamp and self.timestamp.at) or "", *self.require]
        places += [part for part in parts(self.content) if isinstance(part, str)]
        return frozenset(name for place in places for name in header_names(place))


class TokenScheme(Scheme):
    """A secret that is sent as it is: it proves who sent, and nothing about what was sent."""

    alg: Literal["token"]
    at: Location
    each: Location | None = Field(default=None, description="the array whose elements each carry the token")
    prefix: str = ""

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the header that carries the token."""
        return frozenset(header_names(self.at))


class BasicScheme(Scheme):
    """HTTP basic authentication; the secret is ``user:password``."""

    alg: Literal["basic"]

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the header that carries the credentials."""
        return frozenset({"authorization"})


class TwilioScheme(Scheme):
    """An HMAC over the URL and the sorted form fields, or over a URL that names the body's hash."""

    alg: Literal["twilio"]
    hash: Literal["sha1", "sha256"] = Field(default="sha1", description="sha256: signed with a SharedKey")
    url: str = ""
    reads_url: ClassVar[bool] = True


class PlivoScheme(Scheme):
    """HMAC-SHA256 over URL, sorted parameters and a nonce (version 3)."""

    alg: Literal["plivo-v3"]
    url: str = ""
    reads_url: ClassVar[bool] = True


class ContentfulScheme(Scheme):
    """HMAC-SHA256 over method, path, the headers that the delivery lists, and body."""

    alg: Literal["contentful"]
    tolerance_s: int | None = Field(default=30, ge=1)
    url: str = ""
    reads_url: ClassVar[bool] = True

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return a header that providers may list among the signed ones."""
        return frozenset({"authorization"})


class JwtScheme(Scheme):
    """A JSON Web Token beside the body, with or without a claim that holds the body's hash."""

    alg: Literal["jwt-hs256", "jwt-es256"]
    at: Location
    prefix: str = ""
    issuer: str = ""
    body_claim: str = Field(
        default="", description="the claim with the SHA-256 of the body; none: the body is not covered"
    )
    body_encoding: Encoding = "hex"
    tolerance_s: int | None = Field(default=None, ge=1, description="how much older than its arrival `iat` may be")

    @cached_property
    def needs_cryptography(self) -> bool:
        """Tell whether the token is signed with a key pair."""
        return self.alg == "jwt-es256"

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the header that carries the token."""
        return frozenset(header_names(self.at))


class SnsScheme(Scheme):
    """AWS SNS: RSA over some members of the body; the secret is the ARN of the topic, then a certificate if pinned."""

    alg: Literal["aws-sns"]
    versions: tuple[Literal["1", "2"], ...] = ("2", "1")
    tolerance_s: int | None = Field(default=None, ge=1)
    is_asymmetric: ClassVar[bool] = True


class PaypalScheme(Scheme):
    """PayPal: RSA over transmission and checksum; the secret is the webhook's id, then a certificate if pinned."""

    alg: Literal["paypal"]
    is_asymmetric: ClassVar[bool] = True


class HttpSignatureScheme(Scheme):
    """HTTP Message Signatures, RFC 9421; a secret may begin with a line ``keyid: NAME``, which binds it to that key."""

    alg: Literal["http-message-signatures"]
    algorithm: HttpAlgorithm = Field(description="the one algorithm that is accepted, by its name in RFC 9421")
    key: Key = Field(default=Key(), description="how a shared secret is written; a public key is PEM or its base64")
    cover: tuple[str, ...] = Field(
        default=("content-digest",),
        max_length=64,
        description="the components that a signature must cover; without content-digest the body is not proven",
    )
    tag: str = Field(default="", description="the tag that a signature must have")
    tolerance_s: int | None = Field(
        default=300, ge=1, description="how long before its arrival `created` may be; null: it need not be there"
    )
    tolerance_future_s: int | None = Field(default=300, ge=0, description="how far ahead it may be; null: any")
    url: str = ""

    @field_validator("cover")
    @classmethod
    def _known_components(cls, cover: tuple[str, ...]) -> tuple[str, ...]:
        for component in cover:
            if not _COMPONENT.fullmatch(component):
                raise ValueError(
                    f"{component!r} is no component: write the lower-case name of a header, {', '.join(_DERIVED)} or "
                    '@query-param;name="..."'
                )
        return cover

    @cached_property
    def needs_cryptography(self) -> bool:
        """Tell whether the signature is made with a key pair."""
        return self.algorithm != "hmac-sha256"

    @cached_property
    def needs_url(self) -> bool:
        """Tell whether a component must be covered that is a part of the URL."""
        return any(component in _OF_URL for component in self.cover)

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return the headers that carry the signature and those that must be signed."""
        return frozenset({"signature", "signature-input", "content-digest", *self.cover})


class AnyOf(Scheme):
    """Several ways, of which one must prove the delivery; tried in this order."""

    any_of: tuple[AnyScheme, ...] = Field(min_length=2, max_length=6)

    @cached_property
    def needs_cryptography(self) -> bool:
        """Tell whether one of them needs the package."""
        return any(option.needs_cryptography for option in self.any_of)

    @cached_property
    def fetches_certificates(self) -> bool:
        """Tell whether one of them does."""
        return any(option.fetches_certificates for option in self.any_of)

    @cached_property
    def needs_url(self) -> bool:
        """Tell whether one of them signs the URL."""
        return any(option.needs_url for option in self.any_of)

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Return what any of them reads."""
        return frozenset().union(*(option.header_names for option in self.any_of))


_KINDS: dict[str, str] = {
    "token": "token",
    "basic": "basic",
    "twilio": "twilio",
    "plivo-v3": "plivo",
    "contentful": "contentful",
    "jwt-hs256": "jwt",
    "jwt-es256": "jwt",
    "aws-sns": "sns",
    "paypal": "paypal",
    "http-message-signatures": "http-signature",
}


def _kind(value: Any) -> str:
    if isinstance(value, Scheme):
        value = {"alg": getattr(value, "alg", None)} | ({"any_of": ()} if isinstance(value, AnyOf) else {})
    if not isinstance(value, dict):
        return "content-scheme"
    return "any-of-scheme" if "any_of" in value else _KINDS.get(str(value.get("alg")), "content") + "-scheme"


AnyScheme = Annotated[
    Annotated[ContentScheme, Tag("content-scheme")]
    | Annotated[TokenScheme, Tag("token-scheme")]
    | Annotated[BasicScheme, Tag("basic-scheme")]
    | Annotated[TwilioScheme, Tag("twilio-scheme")]
    | Annotated[PlivoScheme, Tag("plivo-scheme")]
    | Annotated[ContentfulScheme, Tag("contentful-scheme")]
    | Annotated[JwtScheme, Tag("jwt-scheme")]
    | Annotated[SnsScheme, Tag("sns-scheme")]
    | Annotated[PaypalScheme, Tag("paypal-scheme")]
    | Annotated[HttpSignatureScheme, Tag("http-signature-scheme")]
    | Annotated[AnyOf, Tag("any-of-scheme")],
    Discriminator(_kind),
]

_BY_TAG = {tag.tag: scheme for scheme, tag in map(get_args, get_args(get_args(AnyScheme)[0]))}


def scheme_class(document: Mapping[str, Any]) -> type[Scheme]:
    """Return the model that describes a scheme's document."""
    found: type[Scheme] = _BY_TAG[_kind(document)]
    return found


def parts(content: str) -> list[bytes | str]:
    """Cut a content text into its literal bytes and the names of its parts, in order."""
    pieces = _PART.split(content)
    return [piece.encode("utf-8") if index % 2 == 0 else piece for index, piece in enumerate(pieces) if piece]


def check_part(name: str) -> None:
    """Raises: ValueError when no such part exists."""
    if name not in _PLAIN_PARTS:
        reader(name)
