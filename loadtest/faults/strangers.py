"""Strangers who know the URLs alone: hostile requests of every kind at a steady pace, beside the true traffic.

Kinds are made from the sources of the stack (`weir.loadtest.sending.hostile`), whatever providers these are.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from itertools import count, cycle, zip_longest
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft
from weir.ingest.sources import samples
from weir.ingest.sources.catalogue import Catalogue, Handshake, Source
from weir.loadtest.faults.poison import Poison
from weir.loadtest.sending import hostile

PER_MINUTE = 50  # of each kind
_USUAL_BYTES, _BIG_BYTES, _TOO_BIG_BYTES = 64 * 1024, 480 * 1024, 1280 * 1024
_WAIT_S = 30.0
# The host of a URL that ends like a certificate's.
_CERTIFICATE = re.compile(rb"https://([\w.-]+)(?=/[\w./-]*(?:certs?/|\.pem))")


class Request(NamedTuple):
    """One request: ``path`` is behind the stack's endpoint, ``source`` empty where it is none of the stack's."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    source: str = ""
    is_question: bool = False  # which is answered and, as a rule, not stored


Make = Callable[[], Request]


def kinds(catalogue: Catalogue) -> dict[str, list[Make]]:
    """Return the ways to be hostile by kind; those of one kind are taken in turn, so that each source has its share."""
    found: dict[str, list[Make]] = {
        "unknown source": [lambda: Request("POST", f"/{secrets.token_hex(4)}", {}, b"{}")],
        "too large": [_too_large(name) for name in catalogue],
        "question": [_question(source, one) for source in catalogue.values() for one in source.handshakes],
        "forged signature": [_forged(source) for source in catalogue.values()],
        "certificate elsewhere": [
            _elsewhere(source) for source in catalogue.values() if source.scheme.names_certificates
        ],
    }
    for name, makes in _shapes(catalogue):
        found.setdefault(name, []).append(makes)
    return {name: makes for name, makes in found.items() if makes}


def _shapes(catalogue: Catalogue) -> Iterator[tuple[str, Make]]:
    """Yield what `hostile` makes of each source, source after source in turn."""
    each = [[(source, kind) for kind in hostile.kinds(source, _sample(source))] for source in catalogue.values()]
    for row in zip_longest(*each):
        for source, kind in filter(None, row):
            name = kind.family.rpartition(" as ")[2] if " as " in kind.family else kind.family.partition(" ")[0]
            yield name, partial(_shaped, source, kind, _USUAL_BYTES)
            if " as " in kind.family:
                yield "large body", partial(_shaped, source, kind, _BIG_BYTES)


def _shaped(source: Source, kind: hostile.HostileKind, size: int) -> Request:
    return _posted(source, kind.make(size))


def _sample(source: Source) -> Draft:
    """Return the source's sample, signed by a stranger: each time with another secret."""
    pair = signatures.generate_secret(source.scheme, secrets.token_bytes(32))
    return samples.delivery(source, pair.sign_with, at_ms=round(time.time() * 1000))


def _posted(source: Source, draft: Draft) -> Request:
    path = f"/{source.name}" + (f"?{urlencode(draft.query)}" if draft.query else "")
    headers = {name: value for name, value in draft.headers.items() if name.lower() != "content-length"}
    return Request("POST", path, headers, draft.body, source.name, _is_question(source, draft))


def _is_question(source: Source, draft: Draft) -> bool:
    """Tell whether a delivery has what makes it a question that API Gateway answers by itself."""
    asked = [one.match for one in source.handshakes if one.match.method == "POST"]
    names = {name.lower() for name in (*draft.query, *draft.headers)}
    return any(names & {name.lower() for name in (*match.query, *match.headers)} for match in asked)


def _forged(source: Source) -> Make:
    return lambda: _posted(source, _sample(source))


def _too_large(name: str) -> Make:
    return lambda: Request("POST", f"/{name}", {"Content-Type": "application/json"}, b" " * _TOO_BIG_BYTES, name)


def _elsewhere(source: Source) -> Make:
    """Return forgeries that name a certificate at a host which the provider's own is not, another one each time."""
    numbers = count()

    def moved(text: bytes) -> bytes:
        return _CERTIFICATE.sub(rb"https://nowhere-%d.\1" % next(numbers), text)

    def made() -> Request:
        draft = _sample(source)
        headers = {name: moved(value.encode()).decode() for name, value in draft.headers.items()}
        return _posted(source, replace(draft, headers=headers, body=moved(draft.body)))

    return made


def _question(source: Source, handshake: Handshake) -> Make:
    """Return a provider's question, as anyone can ask it."""
    match = handshake.match

    def made() -> Request:
        query = {name: _value(wanted) for name, wanted in match.query.items()}
        headers = {name: _value(wanted) for name, wanted in match.headers.items()}
        path = f"/{source.name}" + (f"?{urlencode(query)}" if query else "")
        if match.method != "POST":
            return Request(match.method, path, headers, b"", source.name)
        members = {at.removeprefix("$."): _value(wanted) for at, wanted in match.body.items()}
        headers = {"Content-Type": source.content_type, **headers}
        return Request("POST", path, headers, json.dumps(members).encode(), source.name, is_question=True)

    return made


def _value(wanted: str) -> str:
    is_free = wanted == "*" or wanted.startswith("/")
    return secrets.token_hex(16) if is_free else wanted


@dataclass(slots=True)
class Strangers:
    """Sends in a thread of its own while the block runs. ``stored`` are the deliveries that were acknowledged."""

    endpoint: str
    catalogue: Catalogue
    sent: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    stored: list[Poison] = field(default_factory=list)
    kinds: dict[str, list[Make]] = field(init=False)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kinds = kinds(self.catalogue)

    def __enter__(self) -> Strangers:
        for number, (name, makes) in enumerate(sorted(self.kinds.items())):
            thread = threading.Thread(target=self._run, args=(name, makes, number), name=f"strangers-{name}")
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, name: str, makes: list[Make], number: int) -> None:
        """Send a kind's requests, spread over the minute, each kind a little later than the one before."""
        self._ended.wait(number * 0.1)
        for make in cycle(makes):
            if self._ended.wait(60 / PER_MINUTE):
                return
            self._send(name, make())

    def _send(self, name: str, request: Request) -> None:
        address = urlsplit(self.endpoint)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_WAIT_S)
        try:
            connection.request(request.method, quote(address.path) + request.path, request.body, dict(request.headers))
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException, ValueError):
            self.answers[0] += 1
            return
        finally:
            connection.close()
        self.sent[name] += 1
        self.answers[answer.status] += 1
        is_delivery = request.method == "POST" and not request.is_question
        if is_delivery and HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            request_id = answer.getheader("x-amz-apigw-id") or str(json.loads(said)["id"])
            digest = hashlib.sha256(request.body).hexdigest()
            self.stored.append(Poison(f"{request.source}!{request_id}", digest, ""))
