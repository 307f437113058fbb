"""docs/reference/access-log.md: what a line of the API's access log holds."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

import json
from typing import Any

from tests.docs import markdown
from weir.infra import template

MEANINGS = {
    "id": "the request id: the id in the answer, in the envelope and in the events table, and the answer's header `x-amz-apigw-id`; no caller can choose it",
    "request_id": "API Gateway's other id, which Weir does not use; a caller may choose it",
    "at": "arrival at the gateway, milliseconds since the epoch",
    "resource": "the path of the API definition that matched, such as `/v1/shop/{key}`: it names the source, or is `/v1/{source}` where sources share a path",
    "method": "the HTTP method",
    "status": "the status that the sender got; a delivery is stored if it and `integration_status` are 2xx",
    "integration_status": "the status that Kinesis (or the handshake function) answered with",
    "latency_ms": "time from the request to the answer",
    "integration_latency_ms": "the part of it that Kinesis (or the function) took",
    "response_bytes": "length of the answer's body",
    "error_type": "API Gateway's own name of the error, if it answered one by itself",
    "source_ip": "the address that the request came from",
}


def page() -> str:
    """Return the page."""
    return markdown.page(
        "Access log",
        "One line of JSON for each request, in the log group `/weir/STACK/access` (output `AccessLogGroup`), on the embedded stack in a file under\n"
        "`WEIR_HOME`. `weir account` reads what was acknowledged from it. API Gateway puts values in as they are, so nothing that a caller can choose\n"
        "freely is in the line.\n\n"
        "Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html",
        markdown.table(
            ["field", "API Gateway's variable", "meaning"],
            [
                (markdown.code(name), markdown.code(variable), markdown.sentence(MEANINGS[name]))
                for name, variable in fields().items()
            ],
        ),
    )


def fields() -> dict[str, Any]:
    """Return the variable of API Gateway behind each field of a line, in the order of the line."""
    stage = template.load()["Resources"]["Stage"]["Properties"]
    found: dict[str, Any] = json.loads(stage["AccessLogSetting"]["Format"])
    return found
