"""What a stranger can send who knows a source's URL alone, made from what the source reads.

Nothing here is a list of providers: members, fields, headers and parameters are those of the source's sample and of
its locations, each filled with what is dear to read. Sizes are in bytes; nothing is signed with a live secret.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any
from urllib.parse import parse_qsl, quote

from weir.ingest.schemes.base import Draft
from weir.ingest.sources.catalogue import Source

FORM, MULTIPART = "application/x-www-form-urlencoded; charset=utf-8", "multipart/form-data; boundary=x"
TYPES = ("application/json", FORM, MULTIPART, "text/plain")
# All headers of a request have 10 KB at most: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
HEAD_BYTES = 8192

Text = Callable[[int], str]  # of about so many characters


def repeated(unit: str, before: str = "", after: str = "") -> Text:
    """Return a function that makes a text of about so many characters out of one over and over."""
    return lambda size: before + unit * ((size - len(before) - len(after)) // len(unit)) + after


def _jws(head: str, claims: Text) -> Text:
    def made(size: int) -> str:
        parts = (head, claims(size * 3 // 4))
        return ".".join([*(urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts), "AAAA"])

    return made


def _base64(text: Text) -> Text:
    return lambda size: b64encode(text(size * 3 // 4).encode()).decode()


_CHAIN = json.dumps({"alg": "ES256", "x5c": [b64encode(b"0" * 30_000).decode()] * 3})
# What a member, a field or a parameter may hold.
VALUES: dict[str, Text] = {
    "letters": repeated("A"),
    "escapes": repeated("\\u0041"),
    "percents": repeated("%41"),
    "digits": repeated("9"),
    "zeros": repeated("0"),
    "list of signatures": repeated("v1=00,"),
    "dots": repeated("a."),
    "base64": repeated("QUFB"),
    "base64 of XML": _base64(repeated("<a>")),
    "base64 of entities": _base64(repeated("&a;", '<!DOCTYPE a [<!ENTITY a "aa">]><a>')),
    "deep JSON": repeated("["),
    "JWS of deep JSON": _jws('{"alg":"HS256"}', repeated('{"a":')),
    "JWS of numbers": _jws('{"alg":"ES256"}', repeated("1,", '{"iat":[', "1]}")),
    "JWS of certificates": _jws(_CHAIN, repeated("a", '{"a":"', '"}')),
    "PEM": repeated("-----BEGIN CERTIFICATE-----\\nQUFB\\n"),
    "times": repeated("2026-01-01T00:00:00+"),
    "URLs": repeated("https://sns.a.amazonaws.com/"),
}
# What a member may hold in place of a text.
_JSON: dict[str, Text] = {
    "integer": repeated("9"),
    "fraction": repeated("9", "0."),
    "exponent": repeated("9", "1e"),
    "far exponent": lambda _: "1e999999999",
    "deep arrays": repeated("["),
    "deep objects": repeated('{"a":'),
    "numbers": repeated("1,", "[", "1]"),
    "objects": repeated('{"id":"a","type":"b"},', "[", "{}]"),
}
BODIES: dict[str, Text] = {
    "deep arrays": repeated("["),
    "deep objects": repeated('{"a":'),
    "numbers": repeated("1,", "[", "1]"),
    "objects": repeated('{"id":"a","type":"b"},', "[", "{}]"),
    "one key": repeated('"a":1,', "{", '"a":1}'),
    "many keys": lambda size: "{" + ",".join(f'"{n}":1' for n in range(size // 9)) + "}",
    "escapes": repeated("\\u0041", '{"id":"', '"}'),
    "digits": repeated("9", '{"id":', "}"),
    "fraction": repeated("9", '{"id":0.', "}"),
    "exponent": repeated("9", '{"id":1e', "}"),
    "unclosed": repeated('"\\'),
    "separators": repeated("&"),
    "fields": repeated("a=b&"),
    "percents": repeated("%41", "payload="),
    "blanks": repeated("="),
    "field of JSON": repeated("[", "payload="),
    "XML": repeated("<a>"),
    "part heads": repeated("content-disposition:", "--x"),
    "part names": repeated(';name="', "--x\r\ncontent-disposition:"),
    "part lines": repeated("content-disposition: \r\n", "--x\r\n"),
    "parts": repeated('--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n'),
    "boundaries": repeated("--x"),
    "dashes": repeated("-"),
    "line ends": repeated("\r\n", '--x\r\ncontent-disposition: form-data; name="a"'),
}
_UNITS = (",", ";", " ", "=", ".", ":", "a", "v1=", "v1,", "v1,AAAA ", "sha256=00,", "t=1,", '"', "\\", "(", "a=(),",
          "0", "A", "%", 'boundary="', "9")  # fmt: skip
_PLACE = re.compile(r"\b(header|query|field):([\w.*-]+)")
_MARK = "@@hostile@@"


@dataclass(frozen=True, slots=True)
class HostileKind:
    """A way to be hostile: ``make`` returns a delivery of about so many bytes; ``family`` names several of a sort."""

    family: str
    name: str
    make: Callable[[int], Draft]


def kinds(source: Source, forged: Draft) -> Iterator[HostileKind]:
    """Yield every kind for a source; ``forged`` is its sample, signed with a secret that the source does not have."""
    for content_type, (name, text) in product(TYPES, BODIES.items()):
        yield HostileKind(
            f"{name} as {content_type.partition(';')[0]}", name, partial(_body, forged, content_type, text)
        )
    for name, spoil in _spoilt(forged):
        yield HostileKind(f"sample of {name}", name, partial(_sample, forged, spoil))
    for header in sorted(_headers(source, forged)):
        for unit in (*_UNITS, *_own(forged, header)):
            shown = unit if len(unit) < 16 else f"{unit[:12]}..."
            yield HostileKind("header", f"{shown!r} in {header}", partial(_header, forged, header, repeated(unit)))
    for name in sorted(_parameters(source, forged)):
        for title, text in VALUES.items():
            yield HostileKind("query", f"{title} in {name}", partial(_query, forged, name, text))
    yield HostileKind("many headers", "many headers", partial(_many_headers, forged))
    yield HostileKind("many parameters", "many parameters", partial(_many_parameters, forged))


def _body(forged: Draft, content_type: str, text: Text, size: int) -> Draft:
    return replace(forged, body=text(size).encode(), headers=_typed(forged, content_type))


def _sample(forged: Draft, spoil: Callable[[int], bytes], size: int) -> Draft:
    return replace(forged, body=spoil(size))


def _header(forged: Draft, name: str, text: Text, size: int) -> Draft:
    kept = {given: value for given, value in forged.headers.items() if given.lower() != name}
    return replace(forged, headers={**kept, name: text(_in_head(size))})


def _query(forged: Draft, name: str, text: Text, size: int) -> Draft:
    return replace(forged, query={**forged.query, name: text(_in_head(size))})


def _many_headers(forged: Draft, size: int) -> Draft:
    return replace(forged, headers={**forged.headers, **{f"x-{n}": "" for n in range(_in_head(size) // 8)}})


def _many_parameters(forged: Draft, size: int) -> Draft:
    return replace(forged, query={**forged.query, **{f"~{n}": "'" for n in range(_in_head(size) // 8)}})


def _in_head(size: int) -> int:
    """Return how long a header or a query is in a delivery of this size: in proportion, as far as one may be."""
    return min(size // 16, HEAD_BYTES)


def _typed(forged: Draft, content_type: str) -> dict[str, str]:
    kept = {name: value for name, value in forged.headers.items() if name.lower() != "content-type"}
    return {**kept, "Content-Type": content_type}


def _spoilt(forged: Draft) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Yield the sample with every value in it, replaced by hostile ones."""
    kind = next((value for name, value in forged.headers.items() if name.lower() == "content-type"), "")
    if kind.startswith("application/x-www-form"):
        fields = [name for name, _ in parse_qsl(forged.body.decode(), keep_blank_values=True)]
        for name, text in VALUES.items():
            yield f"{name} in fields", partial(_form, fields, text)
        return
    try:
        marked = json.dumps(_marked(json.loads(forged.body)))
    except ValueError:
        return
    for name, text in VALUES.items():
        yield name, partial(_filled, marked, lambda size, text=text: f'"{text(size)}"')  # type: ignore[misc]
    for name, text in _JSON.items():
        yield f"{name} for texts", partial(_filled, marked, text)


def _form(fields: list[str], text: Text, size: int) -> bytes:
    value = text(size // max(1, len(fields)))
    value = value if value.startswith("%") else quote(value, safe="[]{}:,.'")
    return "&".join(f"{quote(name)}={value}" for name in fields).encode()


def _filled(marked: str, text: Text, size: int) -> bytes:
    count = max(1, marked.count(_MARK))
    return marked.replace(f'"{_MARK}"', text((size - len(marked)) // count)).encode()


def _marked(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: _marked(value) for name, value in document.items()}
    return [_marked(value) for value in document[:1]] if isinstance(document, list) else _MARK


def _headers(source: Source, forged: Draft) -> set[str]:
    """Return the lower-case names of the headers that a source reads."""
    named = {name.lower() for kind, name in _places(source) if kind == "header"}
    own = {name.lower() for name in forged.headers}
    return {name for name in named | own | source.scheme.header_names if "*" not in name} | {"content-type"}


def _parameters(source: Source, forged: Draft) -> set[str]:
    """Return the names of the query parameters that a source reads."""
    asked = {name for handshake in source.handshakes for name in handshake.match.query}
    return asked | set(forged.query) | {name for kind, name in _places(source) if kind == "query"}


def _places(source: Source) -> set[tuple[str, str]]:
    return {(kind, name) for kind, name in _PLACE.findall(source.model_dump_json())}


def _own(forged: Draft, header: str) -> list[str]:
    """Return the header's own value, to be repeated as a list of signatures is."""
    value = next((value for name, value in forged.headers.items() if name.lower() == header), "")
    return [f"{value}{separator}" for separator in ",; "] if value else []
