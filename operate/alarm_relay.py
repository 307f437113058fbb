"""Alarms in the form of Slack or of PagerDuty: a function that the stack's topic invokes.

The environment names the form (ALARM_CHAT: slack or pagerduty), the SSM parameter that keeps Slack's incoming webhook
or PagerDuty's routing key (ALARM_SECRET), and the stack. An alarm that could not be handed over raises, so that SNS
and Lambda try again and Lambda counts an error.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from weir.consumers import settings
from weir.consumers.events_table import lean_botocore
from weir.ingest.opener import open_url

# Source: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
_SUMMARY_CHARS = 1024
_TIMEOUT_S = 8
# Colours of the bar beside a message; any other state is yellow.
_COLOURS = {"ALARM": "#d72b3f", "OK": "#2eb67d"}
_ACTIONS = {"ALARM": "trigger", "OK": "resolve"}


def handler(event: Mapping[str, Any], context: object) -> None:  # noqa: ARG001 - Lambda's signature
    """Hand over each alarm of an SNS notification.

    Raises: RuntimeError with the status or the reason, and never with the secret.
    """
    configured = settings.relay_from_process()
    for record in event["Records"]:
        alarm = read_alarm(record["Sns"]["Message"], configured.stack)
        url, document = FORMS[configured.form](alarm, _secret(configured.secret_name))
        if document is not None:
            _post(url, document)


def read_alarm(message: str, stack: str) -> dict[str, str]:
    """Return name, state, description, reason, ARN and Region of CloudWatch's message.

    What is not one, such as a message by hand, is its own reason, in a state of its own and the stack's name.
    """
    try:
        given = json.loads(message)
        return {
            "name": str(given["AlarmName"]),
            "state": str(given["NewStateValue"]),
            "description": str(given.get("AlarmDescription") or ""),
            "reason": str(given.get("NewStateReason") or ""),
            "arn": str(given.get("AlarmArn") or given["AlarmName"]),
            "region": str(given.get("Region") or ""),
        }
    except (ValueError, KeyError, TypeError):
        return {"name": stack, "state": "NOTICE", "description": "", "reason": message, "arn": stack, "region": ""}


def slack(alarm: Mapping[str, str], secret: str) -> tuple[str, dict[str, Any] | None]:
    """Return the address and the message of an incoming webhook.

    Source: https://docs.slack.dev/reference/messaging/attachments
    """
    title = f"{alarm['state']}: {alarm['name']}"
    text = "\n".join(part for part in (alarm["description"], alarm["reason"], alarm["region"]) if part)
    colour = _COLOURS.get(alarm["state"], "#ecb22e")
    return secret, {
        "text": _escaped(title),
        "attachments": [{"color": colour, "fallback": _escaped(title), "text": _escaped(text)}],
    }


def pagerduty(alarm: Mapping[str, str], secret: str) -> tuple[str, dict[str, Any] | None]:
    """Return the address and the event: ALARM opens an incident, OK closes it; there is none for any other state."""
    if alarm["state"] not in _ACTIONS:
        return PAGERDUTY, None
    document = {"routing_key": secret, "event_action": _ACTIONS[alarm["state"]], "dedup_key": alarm["arn"][-255:]}
    if document["event_action"] == "resolve":
        return PAGERDUTY, document
    details = {"reason": alarm["reason"], "alarm": alarm["arn"]}
    summary = f"{alarm['name']}: {alarm['description'] or alarm['reason']}"[:_SUMMARY_CHARS]
    payload = {"summary": summary, "source": alarm["arn"], "severity": "error", "custom_details": details}
    return PAGERDUTY, {**document, "payload": payload}


FORMS: Mapping[str, Callable[[Mapping[str, str], str], tuple[str, dict[str, Any] | None]]] = {
    "slack": slack,
    "pagerduty": pagerduty,
}


def _escaped(text: str) -> str:
    """Escape what Slack would take for its own marks.

    Source: https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@cache
def _secret(name: str) -> str:
    answer = lean_botocore.general_client("ssm").get_parameter(Name=name, WithDecryption=True)
    return str(answer["Parameter"]["Value"]).strip()


def _post(url: str, document: Mapping[str, Any]) -> None:
    """POST a document. The address is a secret with Slack, so no error shows it."""
    given = urlsplit(url)
    if given.scheme != "https" and (given.scheme, given.hostname) != ("http", "127.0.0.1"):
        raise RuntimeError(
            "The alarm was not handed over: the address that the parameter keeps does not begin with https://"
        )
    body = json.dumps(document).encode("utf-8")
    try:
        with open_url(url, timeout_s=_TIMEOUT_S, body=body, headers={"Content-Type": "application/json"}) as answer:
            answer.read()
    except HTTPError as error:
        said = error.read(200).decode("utf-8", "replace")
        _secret.cache_clear()  # it may have been changed since
        raise RuntimeError(f"The alarm was not handed over: {error.code} {said}") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise RuntimeError(f"The alarm was not handed over: {type(reason).__name__}") from None
