"""Every known provider on LocalStack: its sample sent as it sends, stored, proven and settled; its question asked."""

from __future__ import annotations

import http.client
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.providers import PARTS, STACKS, ask, write_sources
from weir.infra import deploy, destroy, place, sender
from weir.infra.business import Business
from weir.infra.place import Place
from weir.infra.signing_keys import provide, signing_key
from weir.ingest.sources import presets, sources_file
from weir.ingest.sources.catalogue import Catalogue
from weir.operate.lookup.events import Table

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")
ROOT = Path(__file__).parents[1]
SETTLED_S = 90.0

pytestmark = [
    pytest.mark.localstack,
    pytest.mark.skipif(
        not ENDPOINT, reason="set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`"
    ),
]

Stack = tuple[Place, Catalogue]


@pytest.fixture(scope="module", params=range(STACKS))
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder, name = tmp_path_factory.mktemp("providers"), f"p{uuid.uuid4().hex[:8]}"
    known = sources_file.load(write_sources(folder / "sources.yaml", PARTS[request.param]))
    where = place.at_endpoint(str(ENDPOINT), name)
    given = {"DeletionProtection": "false", "ArchiveMode": "none", "SecretsPrefix": f"/weir/{name}"}
    given |= {"StreamMode": "PROVISIONED", "ShardCount": "1"}
    deploy.deploy(where, known, Business(), deploy.Wanted(given), cache=ROOT / "build", say=lambda _: None)
    deployed = place.at_endpoint(str(ENDPOINT), name)
    deployed.home = folder
    for source in known.values():
        provide(deployed, source)
    yield deployed, known
    destroy.destroy(where, delete_data=True, say=lambda _: None)


def test_every_sample_is_stored_proven_and_settled(stack: Stack) -> None:
    """What `weir send` posts for each provider is acknowledged as it demands; each event ends applied or ignored."""
    where, known = stack
    sent = {
        name: sender.send(where, known, name, body=None, key="", times=1, tamper=False).answers[0] for name in known
    }
    for name, answer in sent.items():
        ack = known[name].ack
        assert answer.status == (ack.status if ack else 200), (name, answer)
        assert answer.body == (ack.body if ack else f'{{"id":"{answer.request_id}"}}'), name
    outputs = where.outputs()
    table = Table(where.client("dynamodb"), outputs.events_table, where.client("s3"), outputs.bucket)
    wanted = {answer.request_id for answer in sent.values()}
    deadline = time.monotonic() + SETTLED_S
    while True:
        stored = list(table.scan())
        if wanted <= {event["request_id"] for event in stored} or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert wanted <= {event["request_id"] for event in stored}
    refused = [event for event in stored if event["outcome"] not in {"applied", "ignored"}]
    assert not refused


def test_every_question_is_answered(stack: Stack) -> None:
    """Before it sends, each provider that asks gets its answer, from a template or from the function."""
    where, known = stack
    address = urlsplit(where.outputs().endpoint)

    def post(
        path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(address.netloc, timeout=60)
        try:
            connection.request(method, address.path.removesuffix("/v1") + path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    for name, source in known.items():
        if presets.preset(name).handshakes:
            ask(name, signing_key(where, source), post)
