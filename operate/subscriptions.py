"""Subscriptions of AWS SNS that wait for their confirmation: verified events whose SubscribeURL is to be opened once.

Source: https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.confirm.html
"""

from __future__ import annotations

import re
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from weir.consumers.outcome import Outcome
from weir.ingest.errors import StackFailed
from weir.ingest.locations import parse_json
from weir.ingest.opener import open_url
from weir.operate.lookup.events import Table

TYPE = "SubscriptionConfirmation"
TIMEOUT_S = 10.0
MAX_BYTES = 64 * 1024
_TOPIC = re.compile(r"arn:(aws|aws-cn|aws-us-gov):sns:([a-z0-9-]{3,40}):[0-9]{12}:[A-Za-z0-9_.-]{1,256}")
_SUBSCRIPTION = re.compile(r"<SubscriptionArn>(arn:[A-Za-z0-9:_.-]{1,600})</SubscriptionArn>")
_REFUSAL = re.compile(r"<Message>([^<]{1,300})</Message>")

# Opens a URL and returns the answer's status and text. Raises: OSError when there is no answer.
Ask = Callable[[str], tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A stored confirmation that is not answered yet; ``problem`` says why it must not be, ``""`` if it may."""

    key: str
    topic: str
    url: str
    problem: str


def waiting(table: Table, source: str, topics: Sequence[str]) -> Iterator[Subscription]:
    """Yield what waits; ``topics`` are those of the source's secrets. Only verified events count, never quarantined."""
    for facts in table.scan(source=source):
        item = table.item(facts["pk"]) if facts["type"] == TYPE and facts["outcome"] != Outcome.QUARANTINED else None
        if item is None or "confirmed" in item:
            continue
        message = parse_json(table.body(item))
        topic, url = str(message.get("TopicArn")), str(message.get("SubscribeURL"))
        yield Subscription(facts["pk"], topic, url, _problem(message, topic, url, topics))


def confirm(table: Table, subscription: Subscription, *, ask: Ask, now_ms: int) -> str:
    """Open the URL, note on the event that this is done, and return the subscription's ARN.

    SNS gives the same answer to the same URL, so that repeating a run, finished or not, does no harm.

    Raises: StackFailed when SNS refused or did not answer; the subscription waits on.
    """
    if subscription.problem:
        raise StackFailed(f"Not opened: {subscription.problem}.")
    try:
        status, text = ask(subscription.url)
    except OSError as error:
        raise StackFailed(f"SNS did not answer: {error}. Run the command again.") from error
    found = _SUBSCRIPTION.search(text)
    if status != 200 or not found:
        said = _REFUSAL.search(text)
        raise StackFailed(f"SNS answered {status}: {said[1] if said else 'no SubscriptionArn'}.")
    table.dynamodb.update_item(
        TableName=table.name,
        Key={"pk": {"S": subscription.key}},
        UpdateExpression="SET confirmed = :arn, confirmed_at = :now",
        ConditionExpression="attribute_exists(pk)",
        ExpressionAttributeValues={":arn": {"S": found[1]}, ":now": {"N": str(now_ms)}},
    )
    return found[1]


def ask(url: str) -> tuple[int, str]:
    """See `Ask`; a redirect is an answer and is not followed."""
    try:
        with open_url(url, timeout_s=TIMEOUT_S) as answer:
            return answer.status, answer.read(MAX_BYTES).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(MAX_BYTES).decode("utf-8", "replace")


def _problem(message: dict[str, Any], topic: str, url: str, topics: Sequence[str]) -> str:
    known = _TOPIC.fullmatch(topic)
    if not known or topic not in topics:
        return f"its topic {topic!r} is not among the source's secrets"
    host = f"sns.{known[2]}.amazonaws.com{'.cn' if known[1] == 'aws-cn' else ''}"
    try:
        cut = urlsplit(url)
    except ValueError:
        return "its SubscribeURL is not a valid URL"
    if (cut.scheme, cut.netloc, cut.path, cut.fragment) != ("https", host, "/", ""):
        return f"its SubscribeURL is not at https://{host}/"
    wanted = {"Action": "ConfirmSubscription", "TopicArn": topic, "Token": message.get("Token")}
    if sorted(parse_qsl(cut.query)) != sorted((name, str(value)) for name, value in wanted.items()):
        return "its SubscribeURL does not confirm this topic's token and nothing else"
    return ""
