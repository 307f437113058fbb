from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, NoCredentialsError, ReadTimeoutError
from botocore.stub import Stubber

from weir.consumers.commit.recent_marks import RecentMarks
from weir.consumers.events_table.lean_session import session
from weir.consumers.events_table.mark import Mark
from weir.consumers.events_table.port import Cancelled, Refused, StoreLayout
from weir.consumers.events_table.store import DynamoStore, client_config, translated
from weir.consumers.judging.secret_readers import parameter_reader
from weir.infra.local.engine.engine import Engine
from weir.ingest.errors import CommitConflict, SecretUnavailable, StoreRefused, StoreThrottled, StoreUnavailable
from weir.ingest.ids import RequestId


def client_error(code: str, **facts: Any) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "why"}, **facts}
    return ClientError(answer, "TransactWriteItems")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ValidationException", Refused),
        ("SerializationException", Refused),
        ("ItemCollectionSizeLimitExceededException", Refused),
        ("ProvisionedThroughputExceededException", StoreThrottled),
        ("ThrottlingException", StoreThrottled),
        ("RequestLimitExceeded", StoreThrottled),
        ("TransactionConflictException", CommitConflict),
        ("TransactionInProgressException", StoreUnavailable),
        ("InternalServerError", StoreUnavailable),
        ("ServiceUnavailable", StoreUnavailable),
        ("ExpiredTokenException", StoreUnavailable),
        ("SomethingNew", StoreUnavailable),
        ("ResourceNotFoundException", StoreRefused),
        ("AccessDeniedException", StoreRefused),
        ("UnrecognizedClientException", StoreRefused),
    ],
)
def test_each_error_has_one_meaning(code: str, kind: type[Exception]) -> None:
    """What a code of DynamoDB's means to the commit is in one table; a new code means: try again."""
    error = translated(client_error(code))
    assert type(error) is kind
    assert "why" in str(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ReadTimeoutError(endpoint_url="u"), StoreUnavailable),
        (ConnectTimeoutError(endpoint_url="u"), StoreUnavailable),
        (NoCredentialsError(), StoreRefused),
    ],
)
def test_what_botocore_says_itself_has_a_meaning_too(error: BotoCoreError, kind: type[Exception]) -> None:
    """A lost answer is tried again, missing credentials are not."""
    assert type(translated(error)) is kind


def test_reasons_are_read_by_position() -> None:
    """Codes, messages and the item in the way come over, in the order of the actions."""
    old = {"request_id": {"S": "r1"}, "outcome": {"S": "fenced"}, "refused": {"SS": ["r0"]}, "envelope": {"B": b"x"}}
    error = translated(
        client_error(
            "TransactionCanceledException",
            CancellationReasons=[{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Message": "m", "Item": old}],
        )
    )
    assert isinstance(error, Cancelled)
    assert [reason.code for reason in error.reasons] == ["None", "ConditionalCheckFailed"]
    assert error.reasons[1].mark == Mark(RequestId("r1"), "fenced", "", frozenset({"r0"}))


def test_a_used_token_is_a_cancellation_without_reasons() -> None:
    """Another request under the token: nothing of ours happened, so it goes again under another."""
    error = translated(client_error("IdempotentParameterMismatchException"))
    assert isinstance(error, Cancelled)
    assert error.reasons == ()


def test_nobody_at_the_address_is_unavailable() -> None:
    """A refused connection is reported at once as something that time may fix, without retries of botocore's own."""
    client = session().create_client(
        "dynamodb", endpoint_url="http://127.0.0.1:9", region_name="us-east-1", config=client_config(1)
    )
    store = DynamoStore(client, StoreLayout("t", {}, has_bucket=False))
    with pytest.raises(StoreUnavailable, match="EndpointConnectionError"):
        store.transact(["{}"], "token")


@pytest.mark.engine
def test_the_client_still_makes_ordinary_calls(engine: Engine) -> None:
    """Sending prepared bodies does not change what else the client is used for."""
    client = boto3.client("dynamodb", endpoint_url=engine.endpoint, region_name="us-east-1", config=client_config(1))
    DynamoStore(client, StoreLayout("t", {}, has_bucket=False))
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.batch_get_item(RequestItems={"no-such-table": {"Keys": [{"pk": {"S": "x"}}]}})


def test_marks_left_unread_are_not_taken_for_absent() -> None:
    """An answer that leaves keys unprocessed is a throttle to the commit, which waits and reads again.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
    """
    client = session().create_client("dynamodb", region_name="us-east-1", config=client_config(1))
    store = DynamoStore(client, StoreLayout("t", {}, has_bucket=False))
    left = {"t": {"Keys": [{"pk": {"S": "b"}}]}}
    with Stubber(client) as stubber:
        stubber.add_response("batch_get_item", {"Responses": {"t": [{"pk": {"S": "a"}}]}, "UnprocessedKeys": left})
        with pytest.raises(StoreThrottled):
            store.read_marks(["a", "b"], consistent=True)


def test_a_bucket_without_a_client_is_a_fault_of_the_set_up() -> None:
    """A payload that has nowhere to go says so."""
    client = session().create_client("dynamodb", region_name="us-east-1", config=client_config(1))
    with pytest.raises(StoreRefused, match="bucket"):
        DynamoStore(client, StoreLayout("t", {}, has_bucket=True), bucket="b").put_payload("k", b"")


def test_memory_takes_constant_space_and_forgets_the_oldest() -> None:
    """A hint is there until its place is taken; empty, it has none."""
    recent = RecentMarks()
    assert "a" not in recent
    for number in range(300_000):
        recent.add(f"k{number}")
    assert "k299999" in recent
    assert sum(f"k{number}" in recent for number in range(300_000)) <= 1 << 17


def test_reading_ahead_begins_and_ends_with_the_duplicates() -> None:
    """A batch full of duplicates switches it on, a few ordinary ones switch it off; foreseen ones do not count."""
    recent = RecentMarks()
    recent.observe(0, 500)
    assert not recent.reads_ahead
    recent.observe(400, 500)
    assert recent.reads_ahead
    for _ in range(6):
        recent.observe(0, 500)
    assert not recent.reads_ahead
    recent.observe(0, 0)


class Impostor(BaseHTTPRequestHandler):
    """Answers everything with success and a page."""

    def do_POST(self) -> None:
        page = b"<html><body>Please log in.</body></html>"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_PUT = do_POST

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def impostor() -> Iterator[str]:
    """Run a server that is none of the services."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Impostor) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_success_of_somebody_else_is_none(impostor: str) -> None:
    """A page under a 200, as a proxy may answer, is neither a write nor a reading: botocore would take it for both."""
    client = session().create_client(
        "dynamodb", endpoint_url=impostor, region_name="us-east-1", config=client_config(1)
    )
    s3 = boto3.client("s3", endpoint_url=impostor, region_name="us-east-1")
    store = DynamoStore(client, StoreLayout("t", {}, has_bucket=True), bucket="b", s3=lambda: s3)
    for call in (
        lambda: store.transact(["{}"], "token"),
        lambda: store.insert([[("pk", '{"S":"x"}')]]),
        lambda: store.read_marks(["x"], consistent=True),
        lambda: store.put_payload("k", b"blob"),
    ):
        with pytest.raises(StoreUnavailable, match="What answered was not"):
            call()
    ssm = session().create_client("ssm", endpoint_url=impostor, region_name="us-east-1")
    (reading,) = parameter_reader(lambda: ssm)(["/weir/secrets/a"]).values()
    assert isinstance(reading, SecretUnavailable)
