"""Post deliveries the way a provider does: its payload, its headers, its signature.

The signing key is the source's newest live secret; where provider and source hold different halves of a key pair, it is
the half that `make run` kept for trying out.
"""

from __future__ import annotations

import http.client
import json
import shlex
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode, urlsplit

from weir.infra.place import Place
from weir.infra.signing_keys import signing_key
from weir.ingest.errors import RecordError, StackAbsent
from weir.ingest.ids import RequestId
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft, Scheme
from weir.ingest.schemes.content import ContentScheme
from weir.ingest.sources import events, presets, sample_fit, samples
from weir.ingest.sources.catalogue import Catalogue, Source

_REQUEST_ID = "\0request"  # stands for an id that the gateway will choose
_PATIENCE_S = 35.0  # API Gateway answers within 29 s


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said to one POST; ``request_id`` is None unless it was stored."""

    status: int
    body: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Sent:
    """One delivery, its answers in order, and what its events are marked by; nothing if they cannot be read."""

    source: str
    identities: tuple[str, ...]
    answers: tuple[Answer, ...]

    def identities_of(self, request_id: str) -> list[str]:
        """Return what the events of one answer are marked by: some providers' ids are the request's id."""
        return [identity.replace(_REQUEST_ID, request_id) for identity in self.identities]


def send(
    place: Place, catalogue: Catalogue, name: str, *, body: bytes | None, key: str, times: int, tamper: bool
) -> Sent:
    """Post one signed delivery ``times`` times, byte for byte the same; ``body`` replaces the sample's.

    ``name`` is a source, or a provider of whom there is exactly one source. One that is neither is posted to under its
    own name all the same, to see it refused.

    Raises: StackAbsent when nothing listens, SecretUnset when no signing key is to be had.
    """
    source = _meant(catalogue, name)
    path = "/".join(quote(part, safe="") for part in (source.name if source else name, key) if part)
    url = f"{place.outputs().endpoint}/{path}"
    draft = _unknown(name, body, url) if source is None else _draft(place, source, body, url, key)
    if tamper:
        draft.body += b" "
    answers = tuple(_post(url, draft) for _ in range(times))
    return Sent(source.name if source else name, _identities(place, source, draft), answers)


def curl(place: Place, catalogue: Catalogue) -> str | None:
    """Return a curl line that is accepted for good, of a source that signs no time; None if there is none."""
    plain_first = sorted(catalogue.items(), key=lambda entry: entry[1].preset != "hmac")
    for name, source in plain_first:
        if _signs_any_body_in_a_header(source.scheme):
            draft = _draft(place, source, b'{"id":"evt_hello","type":"hello"}', "", "")
            headers = [f"-H {shlex.quote(f'{header}: {value}')}" for header, value in draft.headers.items()]
            url = f"{place.outputs().endpoint}/{name}"
            return " ".join(["curl", "-i", url, *headers, "-d", shlex.quote(draft.body.decode())])
    return None


def _signs_any_body_in_a_header(scheme: Scheme) -> bool:
    """Tell whether a header with the HMAC of the body, whatever that holds, is the whole proof."""
    if not isinstance(scheme, ContentScheme) or not scheme.signature.is_in_header:
        return False
    return scheme.timestamp is None and scheme.content == "{body}" and scheme.alg.startswith("hmac")


def advice(catalogue: Catalogue, name: str) -> str | None:
    """Say how a provider becomes a source; None if there is no such provider, or a source of it already."""
    if _meant(catalogue, name) is not None or name not in presets.names():
        return None
    return f"{name} is a known provider without a source: `weir sources add {name}`, then `make run` or `weir deploy`."


def _meant(catalogue: Catalogue, name: str) -> Source | None:
    if name in catalogue:
        return catalogue[name]
    of_provider = [source for source in catalogue.values() if source.preset == name]
    return of_provider[0] if len(of_provider) == 1 else None


def _draft(place: Place, source: Source, body: bytes | None, url: str, key: str) -> Draft:
    at_ms, seed = int(time.time() * 1000), uuid.uuid4().hex
    sample, headers = samples.sample(source.preset, seed=seed, at_ms=at_ms)
    asked = samples.query(source.preset, seed=seed, at_ms=at_ms)
    message_id = samples.message_id(0, seed=seed)
    draft = Draft(sample if body is None else body, at_ms, message_id, headers, query=asked)
    samples.address(draft, source, key, url)
    sample_fit.fit(source, draft, keep_body=body is not None)
    signatures.sign_draft(source.scheme, signing_key(place, source), draft)
    return draft


def _unknown(name: str, body: bytes | None, url: str) -> Draft:
    """Make a delivery for a source that does not exist: a known provider's sample, else an empty object."""
    at_ms = int(time.time() * 1000)
    if name not in presets.names():
        return Draft(body or b"{}", at_ms, uuid.uuid4().hex, {"Content-Type": "application/json"}, url)
    sample, headers = samples.sample(name, seed=uuid.uuid4().hex, at_ms=at_ms)
    return Draft(sample if body is None else body, at_ms, uuid.uuid4().hex, headers, url)


def _post(url: str, draft: Draft) -> Answer:
    query = f"?{urlencode(draft.query)}" if draft.query else ""
    return request(url + query, "POST", draft.headers, draft.body)


def request(url: str, method: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send one request as it is. Raises: StackAbsent when nothing answers."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_PATIENCE_S)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target, body=body, headers=dict(headers))
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise StackAbsent(f"Nothing was stored: {parts.netloc} does not answer ({error}).") from error
    finally:
        connection.close()
    return Answer(response.status, text.strip(), _request_id(response, text))


def _request_id(response: http.client.HTTPResponse, text: str) -> str | None:
    """Read the extended request id, from Weir's own answer or, where a provider wants another, from the header."""
    if not 200 <= response.status < 300:
        return None
    try:
        return str(json.loads(text)["id"])
    except (ValueError, KeyError, TypeError):
        return response.headers.get("x-amz-apigw-id")


def _identities(place: Place, source: Source | None, draft: Draft) -> tuple[str, ...]:
    if source is None:
        return ()
    try:
        envelope = replace(draft.envelope(), request_id=RequestId(_REQUEST_ID))
        found = events.extract(source, envelope, signatures.option_of(source.scheme, signing_key(place, source)))
        return tuple(event.identity for event in found if not isinstance(event, events.RefusedEvent))
    except RecordError:
        return ()
