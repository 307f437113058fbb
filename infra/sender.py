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
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from infra import secrets
from infra.place import Place
from ingest import events, samples, signatures
from ingest.errors import RecordError, StackFailed
from ingest.prover import Draft
from ingest.schemes import ContentScheme
from ingest.sources import Catalogue, Source

_PATIENCE_S = 35.0  # API Gateway answers within 29 s


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said to one POST; ``request_id`` is None unless it was stored."""

    status: int
    body: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Sent:
    """One delivery, its answers in order, and the ids of the events in it; none if they cannot be read."""

    source: str
    event_ids: tuple[str, ...]
    answers: tuple[Answer, ...]


def send(
    place: Place, catalogue: Catalogue, source: str, *, body: bytes | None, key: str, times: int, tamper: bool
) -> Sent:
    """Post one signed delivery ``times`` times, byte for byte the same; ``body`` replaces the sample's.

    A source that is not in the sources file is sent an unsigned sample, to see it refused.

    Raises: StackFailed when nothing listens or no signing key is to be had.
    """
    url = "/".join([place.outputs()["Endpoint"], quote(source, safe=""), *([quote(key, safe="")] if key else [])])
    draft = _draft(place, catalogue.get(source), source, body, url)
    if tamper:
        draft.body += b" "
    answers = tuple(_post(url, draft) for _ in range(times))
    return Sent(source, _event_ids(catalogue.get(source), draft), answers)


def curl(place: Place, catalogue: Catalogue) -> str | None:
    """Return a curl line that is accepted for good, of a source with a plain HMAC; None if there is none."""
    for name, source in catalogue.items():
        scheme = source.scheme
        if source.preset == "hmac" and isinstance(scheme, ContentScheme) and scheme.timestamp is None:
            draft = _draft(place, source, name, b'{"id":"evt_hello","type":"hello"}', "")
            headers = [f"-H {shlex.quote(f'{header}: {value}')}" for header, value in draft.headers.items()]
            url = f"{place.outputs()['Endpoint']}/{name}"
            return " ".join(["curl", "-i", url, *headers, "-d", shlex.quote(draft.body.decode())])
    return None


def _draft(place: Place, source: Source | None, name: str, body: bytes | None, url: str) -> Draft:
    at_ms, seed = int(time.time() * 1000), uuid.uuid4().hex
    if source is None:
        return Draft(body or b"{}", at_ms, seed, {"Content-Type": "application/json"}, url)
    sample, headers = samples.sample(source.preset, seed=seed, at_ms=at_ms)
    draft = Draft(
        sample if body is None else body, at_ms, samples.message_id(0, seed=seed), headers, source_url(source, url)
    )
    signatures.sign_draft(source.scheme, signing_key(place, name), draft)
    return draft


def source_url(source: Source, url: str) -> str:
    """Return the URL that the sender signs: the public one of the source's definition, if it has one."""
    return getattr(source.scheme, "url", "") or url


def signing_key(place: Place, source: str) -> str:
    """Return what deliveries of a source can be signed with.

    Raises: StackFailed when there is none.
    """
    if kept := _kept_keys(place).get(source):
        return kept
    live = secrets.live(place, source)
    if not live:
        raise StackFailed(f"{source} has no secret in {place.label}: `weir secrets set {source}`.")
    return live[0].value


def _kept_keys(place: Place) -> dict[str, str]:
    path = place.outputs().get("SigningFile")
    if not path or not Path(path).exists():
        return {}
    return json.loads(Path(path).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _post(url: str, draft: Draft) -> Answer:
    parts = urlsplit(url + (f"?{urlencode(draft.query)}" if draft.query else ""))
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_PATIENCE_S)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body=draft.body, headers=draft.headers)
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise StackFailed(f"Nothing was stored: {parts.netloc} does not answer ({error}). Is `make run` on?") from error
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


def _event_ids(source: Source | None, draft: Draft) -> tuple[str, ...]:
    try:
        return tuple(event.event_id for event in events.extract(source, draft.envelope())) if source else ()
    except RecordError:
        return ()
