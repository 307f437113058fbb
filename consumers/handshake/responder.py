"""One request to the handshake function: what is POSTed is stored, a question is answered, anything else is refused.

A POST that is a question is stored like every other: a 2xx to a POST means stored, and the account depends on it.

The answers to deliveries are those of `ingest/contract/openapi.yaml`, word for word; a test holds the two together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from weir.consumers.batch.logs import Log
from weir.consumers.handshake import proxy_event
from weir.consumers.handshake.proxy_event import response
from weir.consumers.judging.secrets import Secrets
from weir.consumers.raised import raised_at
from weir.consumers.settings import LOG_LEVELS, HandshakeSettings
from weir.ingest.envelope import Envelope, encode, partition_key
from weir.ingest.errors import EventMalformed, RecordError, SecretAbsent, TransientError
from weir.ingest.handshakes import questions
from weir.ingest.schemes import signatures
from weir.ingest.schemes.signatures import Fetch
from weir.ingest.sources.catalogue import Catalogue, Handshake, Source

_JSON = {"Content-Type": "application/json"}
_INFO, _WARNING, _ERROR = (LOG_LEVELS[name] for name in ("INFO", "WARNING", "ERROR"))

# Stores one record and returns its sequence number. Raises: KeyTooLong, RecordTooLarge, and anything else: not stored.
PutRecord = Callable[[str, bytes], str]


class KeyTooLong(Exception):
    """The ordering key is longer than a partition key may be."""


class RecordTooLarge(Exception):
    """The record is larger than the stream takes."""


class Responder:
    """Answers one request after another; not thread-safe."""

    def __init__(
        self,
        settings: HandshakeSettings,
        catalogue: Catalogue,
        secrets: Secrets,
        put: PutRecord,
        *,
        stream: TextIO,
        fetch: Fetch | None = None,
    ) -> None:
        """Log to ``stream``; ``fetch`` reads certificates by URL."""
        self._settings = settings
        self._catalogue = catalogue
        self._secrets = secrets
        self._put = put
        self._stream = stream
        self._fetch = fetch

    def serve(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one proxy event. Raises: ConfigError if it is none."""
        request = proxy_event.read(event)
        envelope = request.envelope
        source = self._catalogue.get(envelope.source)
        if source is None:
            return _error(404, "not_found", "No source at this path.", envelope)
        handshake = questions.asked(source, request.method, envelope)
        answer = _acknowledge(source, envelope) if handshake is None else self._answer(handshake, source, envelope)
        if request.method == "POST":
            return answer if answer["statusCode"] >= 300 else self._store(envelope) or answer
        if handshake is None:
            return _error(405, "method_not_allowed", "Only POST stores a webhook.", envelope, Allow="POST")
        return answer

    # ------------------------------------------------------------------------------------------ questions

    def _answer(self, handshake: Handshake, source: Source, envelope: Envelope) -> dict[str, Any]:
        try:
            secret = self._secret(handshake, source, envelope)
            headers, body = questions.answer(handshake, source, envelope, secret)
        except (TransientError, SecretAbsent) as error:
            self._say(_WARNING, envelope, 503, error.code)
            return _unavailable(envelope)
        except EventMalformed as error:
            return _error(400, "question_malformed", error.detail, envelope)
        except RecordError as error:
            self._say(_WARNING, envelope, 401, error.code)
            if not handshake.reply.body:  # who wants an empty answer wants the refusal empty too
                return response(401, {"Content-Type": handshake.reply.content_type}, "")
            return _error(401, error.code, "The question is not signed as this source demands.", envelope)
        self._say(_INFO, envelope, handshake.reply.status)
        return response(handshake.reply.status, headers, body)

    def _secret(self, handshake: Handshake, source: Source, envelope: Envelope) -> str:
        """Return the secret to answer with: the one that the question is signed with, else the newest.

        Raises: RecordError when the question had to be signed and is not; SecretAbsent, SecretUnavailable.
        """
        if not questions.needs_secret(handshake):
            return ""
        self._secrets.begin_batch([source.name])
        try:
            return self._secrets.judge(source.name, envelope, lambda live: self._proven(source, envelope, live))
        except SecretAbsent:
            raise
        except RecordError:
            if handshake.verified:
                raise
        return self._secrets.judge(source.name, envelope, lambda live: live[0])

    def _proven(self, source: Source, envelope: Envelope, live: Sequence[str]) -> str:
        return live[signatures.verify(source.scheme, live, envelope, fetch=self._fetch).secret_index]

    # ------------------------------------------------------------------------------------------ deliveries

    def _store(self, envelope: Envelope) -> dict[str, Any] | None:
        """Store a request; return the answer if that did not work."""
        if max(len({name for name, _ in envelope.headers}), len(envelope.query)) > _MAX_NAMES:
            return _error(400, "too_many_names", _TOO_MANY_NAMES, envelope)
        try:
            sequence_number = self._put(partition_key(envelope), _record(envelope))
        except KeyTooLong:
            return _error(400, "key_too_long", _KEY_TOO_LONG, envelope)
        except RecordTooLarge:
            return _error(413, "too_large", self._too_large(), envelope)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is known to be stored
            self._say(_ERROR, envelope, 503, raised_at(error))
            return _unavailable(envelope)
        return None if sequence_number else _unavailable(envelope)

    def _too_large(self) -> str:
        return (
            f"The delivery is too large: a record holds {self._settings.max_record_kib} KiB, "
            f"which is a body of about {self._settings.max_body_kib} KiB with its headers."
        )

    def _say(self, level: int, envelope: Envelope, status: int, reason: str = "") -> None:
        log = Log(self._stream, self._settings.log_level, at=envelope.arrived_at_ms)
        facts = {"source": envelope.source, "status": status, "reason": reason, "request_id": envelope.request_id}
        log.add(level, "handshake", **facts)
        log.flush()


def _acknowledge(source: Source, envelope: Envelope) -> dict[str, Any]:
    if source.ack is not None:
        return response(source.ack.status, {"Content-Type": source.ack.content_type}, source.ack.body)
    return response(200, _JSON, json.dumps({"id": envelope.request_id}, separators=(",", ":")))


def _record(envelope: Envelope) -> bytes:
    # `encode` spells no body like `{}`, since the gateway cannot tell the two apart. Here it is known.
    written = encode(envelope)
    return written if envelope.body else written.replace(b'"body":"e30="', b'"body":""')


# What a loop of the mapping template reads, and so what it stores of any other request.
_MAX_NAMES = 1000
_TOO_MANY_NAMES = "A delivery may have 1,000 headers and 1,000 query parameters."
_KEY_TOO_LONG = "The ordering key in the URL is longer than a partition key may be: 256 characters."


def _unavailable(envelope: Envelope) -> dict[str, Any]:
    return _error(503, "unavailable", "Not stored. Send it again.", envelope, **{"Retry-After": "5"})


def _error(status: int, code: str, message: str, envelope: Envelope, **headers: str) -> dict[str, Any]:
    document = {"error": code, "message": message, "id": envelope.request_id}
    return response(status, {**_JSON, **headers}, json.dumps(document, separators=(",", ":")))
