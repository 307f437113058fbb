"""Subscriptions of AWS SNS on the engine, confirmed at a server that answers as SNS does: AWS itself is not at hand."""

from __future__ import annotations

import functools
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.engine_env import AT_MS
from tests.support.quarantine_env import QuarantineEnv
from weir.cli import options, project, sources
from weir.cli.main import main
from weir.infra.local.engine.engine import Engine
from weir.ingest.envelope import Envelope
from weir.ingest.errors import StackFailed
from weir.ingest.ids import SourceName
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft, SecretPair
from weir.ingest.sources.sources_file import load
from weir.operate import subscriptions

HOST = "https://sns.eu-west-1.amazonaws.com"
ARN = "arn:aws:sns:eu-west-1:123456789012:weir:5e1f7c1e-0000-4000-8000-000000000001"
CONFIRMED = f"<ConfirmSubscriptionResponse><SubscriptionArn>{ARN}</SubscriptionArn></ConfirmSubscriptionResponse>"
TOKEN = "2336412f37fb687f5d51e6e2425dacbbb"


class Sns(HTTPServer):
    """Answers each request with ``answer`` and keeps the paths."""

    def __init__(self) -> None:
        self.answer: tuple[int, str, dict[str, str]] = (200, CONFIRMED, {})
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def ask(self, url: str) -> tuple[int, str]:
        """Open the URL as the command does, at this server in place of AWS."""
        assert url.startswith(HOST)
        return subscriptions.ask(f"http://127.0.0.1:{self.server_port}{url.removeprefix(HOST)}")


class _Handler(BaseHTTPRequestHandler):
    server: Sns

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        status, text, headers = self.server.answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def sns() -> Iterator[Sns]:
    server = Sns()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Topic:
    """Tables and a sources file whose only source is a topic, with a pinned certificate."""

    def __init__(self, quarantine_env: QuarantineEnv, folder: Path) -> None:
        (folder / "sources.yaml").write_text("topic: {preset: aws-sns}\nplain: {preset: github}\n")
        quarantine_env.catalogue = load(folder / "sources.yaml")
        self.quarantine_env = quarantine_env
        self.scheme = quarantine_env.catalogue["topic"].scheme
        self.pair: SecretPair = signatures.generate_secret(self.scheme, bytes(32))
        self.arn = self.pair.verify_with.partition("\n")[0]
        quarantine_env.put_secret("topic", self.pair.verify_with)

    def request(self, url: str | None = None, *, secret: str = "") -> Envelope:
        """Return a signed request for confirmation."""
        message = {
            "Type": "SubscriptionConfirmation",
            "MessageId": str(uuid.uuid4()),
            "Token": TOKEN,
            "Message": "You have chosen to subscribe to the topic.",
            "SubscribeURL": url or f"{HOST}/?Action=ConfirmSubscription&TopicArn={self.arn}&Token={TOKEN}",
        }
        headers = {"Content-Type": "text/plain; charset=UTF-8"}
        draft = Draft(
            json.dumps(message).encode(), AT_MS, f"req-{uuid.uuid4().hex}", headers, source=SourceName("topic")
        )
        signatures.sign_draft(self.scheme, secret or self.pair.sign_with, draft)
        return draft.envelope()

    def waiting(self) -> list[subscriptions.Subscription]:
        return list(subscriptions.waiting(self.quarantine_env.table, "topic", [self.arn]))


@pytest.fixture
def topic(engine: Engine, tmp_path: Path) -> Topic:
    return Topic(QuarantineEnv(engine.endpoint, tmp_path), tmp_path)


def test_a_verified_request_is_confirmed_once(topic: Topic, sns: Sns) -> None:
    """The URL of a stored, verified request is opened as it was sent, and afterwards nothing waits."""
    topic.quarantine_env.consume(topic.request())
    (one,) = topic.waiting()
    assert (one.topic, one.problem) == (topic.arn, "")
    assert subscriptions.confirm(topic.quarantine_env.table, one, ask=sns.ask, now_ms=AT_MS) == ARN
    assert sns.paths == [f"/?Action=ConfirmSubscription&TopicArn={topic.arn}&Token={TOKEN}"]
    assert topic.waiting() == []
    assert subscriptions.confirm(topic.quarantine_env.table, one, ask=sns.ask, now_ms=AT_MS) == ARN  # two runs at once


def test_a_forged_request_never_waits(topic: Topic) -> None:
    """A request that another's key signed is quarantined, and nothing of it can be confirmed."""
    topic.quarantine_env.consume(topic.request(secret=signatures.generate_secret(topic.scheme, bytes(32)).sign_with))
    assert set(topic.quarantine_env.quarantined().values()) == {"signature_mismatch"}
    assert topic.waiting() == []


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/{query}",
        "https://sns.us-east-1.amazonaws.com/{query}",
        "https://sns.eu-west-1.amazonaws.com.cn/{query}",
        "https://sns.eu-west-1.amazonaws.com.evil.example/{query}",
        "https://evil.example/{query}",
        "https://sns.eu-west-1.amazonaws.com@evil.example/{query}",
        "https://user@sns.eu-west-1.amazonaws.com/{query}",
        "https://sns.eu-west-1.amazonaws.com:8443/{query}",
        "https://sns.eu-west-1.amazonaws.com/x{query}",
        "https://sns.eu-west-1.amazonaws.com/{query}#x",
        "https://sns.eu-west-1.amazonaws.com/{query}&AuthenticateOnUnsubscribe=true",
        "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe&TopicArn={arn}&Token=" + TOKEN,
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={arn}x&Token=" + TOKEN,
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={arn}&Token=other",
        "file:///etc/passwd",
        "https://[",
    ],
)
def test_another_url_is_not_opened(topic: Topic, sns: Sns, url: str) -> None:
    """However right the signature, only AWS's own URL for this topic and token is opened."""
    query = f"?Action=ConfirmSubscription&TopicArn={topic.arn}&Token={TOKEN}"
    topic.quarantine_env.consume(topic.request(url.format(query=query, arn=topic.arn)))
    (one,) = topic.waiting()
    assert "SubscribeURL" in one.problem
    with pytest.raises(StackFailed, match="Not opened"):
        subscriptions.confirm(topic.quarantine_env.table, one, ask=sns.ask, now_ms=AT_MS)
    assert sns.paths == []


def test_a_topic_that_is_no_longer_the_sources_is_not_confirmed(topic: Topic) -> None:
    """A request that was verified under a secret which is gone is listed, and not opened."""
    topic.quarantine_env.consume(topic.request())
    (one,) = subscriptions.waiting(topic.quarantine_env.table, "topic", ["arn:aws:sns:eu-west-1:123456789012:other"])
    assert "not among the source's secrets" in one.problem


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((400, "<Error><Message>Invalid token</Message></Error>", {}), "SNS answered 400: Invalid token"),
        ((302, "", {"Location": "http://127.0.0.1:1/"}), "SNS answered 302: no SubscriptionArn"),
        ((200, "<html>a captive portal</html>", {}), "SNS answered 200: no SubscriptionArn"),
    ],
    ids=["refused", "redirect", "other"],
)
def test_what_sns_refuses_waits_on(topic: Topic, sns: Sns, answer: tuple[int, str, dict[str, str]], said: str) -> None:
    """A refusal is shown in SNS's words, a redirect is not followed, and only a subscription's ARN is a success."""
    topic.quarantine_env.consume(topic.request())
    sns.answer = answer
    (one,) = topic.waiting()
    with pytest.raises(StackFailed, match=said):
        subscriptions.confirm(topic.quarantine_env.table, one, ask=sns.ask, now_ms=AT_MS)
    assert len(sns.paths) == 1
    assert topic.waiting() == [one]


@pytest.fixture
def command(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return how to run `weir sources confirm` there."""
    monkeypatch.setattr(options, "choose_place", lambda *_: topic.quarantine_env)
    monkeypatch.setattr(project, "catalogue", lambda: topic.quarantine_env.catalogue)
    monkeypatch.setattr(sources, "events_table", lambda _: topic.quarantine_env.table)
    return lambda *arguments: CliRunner().invoke(main, ["sources", "confirm", *arguments])


def test_the_command(topic: Topic, sns: Sns, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command lists what waits, confirms it, says so, and a second run finds nothing; failures give status 1."""
    assert command("topic").output == "topic: no subscription waits\n"
    topic.quarantine_env.consume(topic.request())
    listed = command("topic", "--dry-run")
    assert (listed.exit_code, f"{topic.arn} waits: {HOST}/?Action" in listed.output) == (0, True)
    ask = sns.ask
    monkeypatch.setattr(subscriptions, "ask", functools.partial(_elsewhere, ask, subscriptions.ask))
    sns.answer = (400, "<Message>Invalid token</Message>", {})
    refused = command("topic")
    assert json.loads(command("topic", "--json").output)["problem"] == "SNS answered 400: Invalid token."
    assert (refused.exit_code, refused.output) == (1, f"{topic.arn} waits: SNS answered 400: Invalid token.\n")
    sns.answer = (200, CONFIRMED, {})
    assert command("topic").output == f"{topic.arn} confirmed: {ARN}\n"
    assert command("topic").output == "topic: no subscription waits\n"
    assert command("topic", "--json").output == ""
    assert "not a source of AWS SNS" in command("plain").output


def _elsewhere(at_server: Callable[[str], Any], real: Callable[[str], Any], url: str) -> Any:
    return at_server(url) if url.startswith(HOST) else real(url)
