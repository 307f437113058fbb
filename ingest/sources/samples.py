"""Sample deliveries: real payload shapes, one file per preset, filled with ids and times that the caller chooses.

A file has header lines, an empty line and the body, before them a line ``?name=value&...`` where the URL has a query;
``{{id}}`` (24 hex digits), ``{{uuid}}``, ``{{number}}``,
``{{n}}``, ``{{time}}`` (RFC 3339), ``{{time_s}}`` and ``{{time_ms}}`` are filled in.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, quote

from weir.ingest.errors import SampleInvalid
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft
from weir.ingest.sources.catalogue import Source
from weir.ingest.times import format_ms

_HERE = Path(__file__).parent / "samples"
_BLANK = re.compile(rb"\{\{(\w+)\}\}")
_GENERIC = "hmac"


def names() -> list[str]:
    """Return the presets that have a sample, sorted."""
    return sorted(path.stem for path in _HERE.glob("*.http"))


def sample(preset: str | None, n: int = 0, *, seed: str = "", at_ms: int) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of the provider's sample; equal arguments give equal bytes, others give other ids.

    Raises: SampleInvalid when the preset has no sample.
    """
    lines, body = _read(preset, n, seed, at_ms)
    fields = (line.partition(": ") for line in lines if not line.startswith("?"))
    return body.removesuffix(b"\n"), {name: value for name, _, value in fields}


def query(preset: str | None, n: int = 0, *, seed: str = "", at_ms: int) -> dict[str, str]:
    """Return the query of the sample's URL, empty as a rule. Raises: SampleInvalid when the preset has no sample."""
    lines, _ = _read(preset, n, seed, at_ms)
    return dict(parse_qsl(lines[0][1:])) if lines[0].startswith("?") else {}


def signed(
    source: Source, secret: str, *, body: bytes, headers: Mapping[str, str], at_ms: int, message_id: str
) -> dict[str, str]:
    """Return all headers to POST with ``body``. Raises: SampleInvalid for providers that sign inside the body."""
    made = signatures.sign(source.scheme, secret, body, at_ms=at_ms, message_id=message_id, headers=headers)
    return {**headers, **made}


def delivery(source: Source, secret: str, n: int = 0, *, seed: str = "", at_ms: int) -> Draft:
    """Return a complete, correctly signed delivery of the source's sample: its body, headers and query."""
    body, headers = sample(source.preset, n, seed=seed, at_ms=at_ms)
    asked = query(source.preset, n, seed=seed, at_ms=at_ms)
    draft = Draft(body, at_ms, message_id(n, seed=seed, preset=source.preset), headers, query=asked)
    signatures.sign_draft(source.scheme, secret, draft)
    return draft


def address(draft: Draft, source: Source, key: str, posted_url: str) -> None:
    """Say where a draft goes: what signs the URL signs the source's public one with the ordering key, if it has one."""
    named = quote(key, safe="")
    public, mark, fixed = signatures.public_url(source.scheme).partition("?")
    draft.url = f"{public}/{named}".rstrip("/") + mark + fixed if public else posted_url
    draft.source, draft.path = source.name, f"/v1/{source.name}/{named}".rstrip("/")


def message_id(n: int, *, seed: str = "", preset: str | None = None) -> str:
    """Return the id that goes into a message-id header."""
    return f"msg_{_digest(f'{preset}/{seed}/{n}')[:24]}"


def _read(preset: str | None, n: int, seed: str, at_ms: int) -> tuple[list[str], bytes]:
    preset = preset or _GENERIC
    path = _HERE / f"{preset}.http"
    if not path.is_file():
        raise SampleInvalid(f"The preset {preset!r} has no sample.")
    head, _, body = _filled(path.read_bytes(), _values(f"{preset}/{seed}/{n}", n, at_ms)).partition(b"\n\n")
    return head.decode("latin-1").splitlines(), body


def _values(seed: str, n: int, at_ms: int) -> dict[str, str]:
    digest = _digest(seed)
    return {
        "id": digest[:24],
        "uuid": str(uuid.UUID(digest[:32], version=4)),
        "number": str(int(digest[:13], 16)),
        "n": str(n),
        "time": format_ms(at_ms, "rfc3339"),
        "time_s": str(at_ms // 1000),
        "time_ms": str(at_ms),
    }


def _digest(seed: str) -> str:
    return sha256(seed.encode("utf-8")).hexdigest()


def _filled(text: bytes, values: Mapping[str, str]) -> bytes:
    return _BLANK.sub(lambda blank: values[blank[1].decode("ascii")].encode("ascii"), text)
