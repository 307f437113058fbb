"""How an envelope is kept in an item: the shortest bytes that still say everything, readable for ever.

The first byte names the form, so that a better one can be added without touching what is stored:

    0  head and body as they are
    1  the same, deflated with the dictionary `WEBHOOKS_1`
    2  a record that no gateway of ours wrote, as it came
    3  the same, deflated

Like an HTTP message, the content is a first line, header lines, an empty line and the body. The first line is JSON:
source address, path, query and the other body the gateway may have meant. Request id, arrival time, source and key are
attributes of the item and are not stored twice.
"""

from __future__ import annotations

import json
import zlib
from functools import cache
from typing import Any

from weir.consumers.events_table.dictionary import WEBHOOKS_1
from weir.ingest.envelope import Envelope
from weir.ingest.ids import RequestId, SourceName

# A form that is added needs files in tests/vectors/stored/blobs.
FORMS = range(4)
_PLAIN, _DEFLATED, _RAW, _RAW_DEFLATED = FORMS
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# What the level buys: 6 against 9 is 1 % of size for half of the time on webhooks of 1 to 10 KB.
_LEVEL = 5

# Window and memory of the compressor. The small one holds the dictionary and a webhook of the usual size, and its
# state is a quarter of the large one's, which is what has to be copied for each envelope.
_SMALL_BYTES = 8 * 1024
_SMALL = (-13, 8)
_LARGE = (-15, 8)


class FormError(ValueError):
    """A blob of another form than the one asked for, or of none that this version of Weir knows."""


def pack(envelope: Envelope) -> bytes:
    """Return the blob of an envelope; `unpack` gives it back."""
    alternative = None if envelope.alternative_body is None else envelope.alternative_body.decode("latin-1")
    first = _to_json([envelope.source_ip, envelope.path, envelope.query, alternative])
    head = "\n".join((first, *map(": ".join, envelope.headers), "\n")).encode("utf-8")
    return _shortest(head + envelope.body, _PLAIN, _DEFLATED)


def pack_raw(record_data: bytes) -> bytes:
    """Return the blob of a record that cannot be read as an envelope."""
    return _shortest(record_data, _RAW, _RAW_DEFLATED)


def unpack(blob: bytes, *, request_id: str, arrived_at_ms: int, source: str, key: str) -> Envelope:
    """Return the envelope; what the item's own attributes hold is given.

    Raises: FormError, also for a record that never was an envelope: `unpack_raw` reads that.
    """
    if not is_envelope(blob):
        raise FormError(f"form {blob[:1].hex() or 'none'} is not an envelope")
    head, _, body = _inflate(blob).partition(b"\n\n")
    first, *lines = head.decode("utf-8").split("\n")
    source_ip, path, query, alternative = json.loads(first)
    return Envelope(
        request_id=RequestId(request_id),
        arrived_at_ms=arrived_at_ms,
        source=SourceName(source),
        key=key,
        source_ip=source_ip,
        path=path,
        query=query,
        headers=tuple(_pair(line) for line in lines),
        body=body,
        alternative_body=None if alternative is None else alternative.encode("latin-1"),
    )


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name, value


def unpack_raw(blob: bytes) -> bytes:
    """Return the exact bytes of a record that `pack_raw` kept. Raises: FormError."""
    if blob[:1] not in (bytes([_RAW]), bytes([_RAW_DEFLATED])):
        raise FormError(f"form {blob[:1].hex() or 'none'} is not a raw record")
    return _inflate(blob)


def is_envelope(blob: bytes) -> bool:
    """Return whether `unpack` reads this blob."""
    return blob[:1] in (bytes([_PLAIN]), bytes([_DEFLATED]))


def is_known(blob: bytes) -> bool:
    """Return whether the form of this blob is one that this version of Weir reads."""
    return bool(blob) and blob[0] in FORMS


def _shortest(content: bytes, plain: int, deflated: int) -> bytes:
    deflater = _primed(*(_SMALL if len(content) <= _SMALL_BYTES else _LARGE)).copy()
    short = deflater.compress(content) + deflater.flush()
    return bytes([deflated]) + short if len(short) < len(content) else bytes([plain]) + content


def _inflate(blob: bytes) -> bytes:
    if blob[0] in (_PLAIN, _RAW):
        return blob[1:]
    inflater = zlib.decompressobj(-15, zdict=WEBHOOKS_1)
    return inflater.decompress(blob[1:]) + inflater.flush()


@cache
def _primed(window_bits: int, memory_level: int) -> Any:
    # Raw deflate: no header and no checksum, which DynamoDB and TLS both have already. Copying a compressor that has
    # read its dictionary is cheaper than reading it again.
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, window_bits, memory_level, zlib.Z_DEFAULT_STRATEGY, WEBHOOKS_1)
