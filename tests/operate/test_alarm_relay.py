"""Alarms that are posted to Slack or PagerDuty: over real HTTP, the secret from the engine's SSM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.support.aws import ACCESS_KEY
from tests.support.receiver import Receiver
from weir.infra.local.engine.engine import Engine
from weir.operate import alarm_relay

pytestmark = pytest.mark.engine

ALARM = {
    "AlarmName": "weir-LagAlarm-1",
    "AlarmDescription": "The consumer is behind: <weir lag> says how long",
    "NewStateValue": "ALARM",
    "NewStateReason": "Threshold Crossed",
    "Region": "EU (Ireland)",
    "AlarmArn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:weir-LagAlarm-1",
}
SECRET = "R0UT1NGKEY"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def keep(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Keep a secret under the function's name, and set its environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine.endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("ALARM_SECRET", "/weir/alarm-chat")
    monkeypatch.setenv("STACK", "weir")

    def kept(form: str, value: str) -> None:
        monkeypatch.setenv("ALARM_CHAT", form)
        boto3.client("ssm").put_parameter(Name="/weir/alarm-chat", Type="SecureString", Value=value, Overwrite=True)
        alarm_relay._secret.cache_clear()

    yield kept
    alarm_relay._secret.cache_clear()


def notified(message: str) -> dict[str, Any]:
    """Return what SNS invokes the function with."""
    return {"Records": [{"EventSource": "aws:sns", "Sns": {"Subject": "ALARM", "Message": message}}]}


def test_slack_gets_the_alarm_and_its_end(keep: Any, receiver: Receiver) -> None:
    """Name, state, what to do and why, none of which can write Slack's own marks."""
    keep("slack", receiver.url)
    for state in ("ALARM", "OK"):
        alarm_relay.handler(notified(json.dumps({**ALARM, "NewStateValue": state})), None)
    raised, over = map(json.loads, receiver.received)
    assert (raised["text"], over["text"]) == ("ALARM: weir-LagAlarm-1", "OK: weir-LagAlarm-1")
    (part,) = raised["attachments"]
    assert part["text"] == "The consumer is behind: &lt;weir lag&gt; says how long\nThreshold Crossed\nEU (Ireland)"
    assert part["color"] != over["attachments"][0]["color"]


def test_pagerduty_opens_an_incident_and_closes_it(
    keep: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One incident for an alarm: its end closes what its beginning opened, and other states do nothing."""
    monkeypatch.setattr(alarm_relay, "PAGERDUTY", receiver.url)
    keep("pagerduty", SECRET)
    for state in ("ALARM", "INSUFFICIENT_DATA", "OK"):
        alarm_relay.handler(notified(json.dumps({**ALARM, "NewStateValue": state})), None)
    opened, closed = map(json.loads, receiver.received)
    assert (opened["event_action"], closed["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == closed["dedup_key"] == ALARM["AlarmArn"]
    assert opened["routing_key"] == closed["routing_key"] == SECRET
    payload = opened["payload"]
    assert payload["summary"] == f"weir-LagAlarm-1: {ALARM['AlarmDescription']}"
    assert (payload["source"], payload["severity"]) == (ALARM["AlarmArn"], "error")


@pytest.mark.parametrize("message", ["a word by hand", "[]", '{"AlarmName": "x"}', "null"])
def test_what_is_not_an_alarm_is_posted_as_it_is(keep: Any, receiver: Receiver, message: str) -> None:
    """A message that somebody publishes to the topic is in the channel; it opens no incident."""
    keep("slack", receiver.url)
    alarm_relay.handler(notified(message), None)
    (posted,) = map(json.loads, receiver.received)
    assert message in posted["attachments"][0]["text"].replace("&quot;", '"')
    assert alarm_relay.pagerduty(alarm_relay.read_alarm(message, "weir"), SECRET)[1] is None


@pytest.mark.parametrize(
    ("status", "address", "said"),
    [
        (404, None, "404"),
        (500, None, "500"),
        (200, "http://hooks.example.com/services/T0/B0/secret", "does not begin with https://"),
        (200, "ftp://127.0.0.1/secret", "does not begin with https://"),
        (200, "http://127.0.0.1:1/secret", "ConnectionRefusedError"),
    ],
)
def test_an_alarm_that_cannot_be_posted_is_an_error_that_hides_the_secret(
    keep: Any, receiver: Receiver, status: int, address: str | None, said: str
) -> None:
    """SNS and Lambda try again; the log that shows the error never shows the address."""
    keep("slack", address or receiver.url)
    receiver.status = status
    with pytest.raises(RuntimeError, match=said) as raised:
        alarm_relay.handler(notified(json.dumps(ALARM)), None)
    assert "secret" not in str(raised.value)
    assert "hook" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_changed_secret_is_read_after_a_refusal(keep: Any, receiver: Receiver) -> None:
    """The function keeps the secret while it works, and reads it again after it was refused."""
    keep("slack", receiver.url)
    receiver.status = 403
    with pytest.raises(RuntimeError, match="403"):
        alarm_relay.handler(notified(json.dumps(ALARM)), None)
    assert alarm_relay._secret.cache_info().currsize == 0
