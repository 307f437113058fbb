"""Answers of AWS as the JSON that they are, without botocore's walk over every member.

botocore gives an answer Python's types shape by shape: 25 µs for a mark of a BatchGetItem, of which reading the JSON is
two. An event of botocore hands an answer over before that. A botocore without the event (1.34 has none) parses as ever,
so that a caller must take both forms. They differ in bytes, which JSON has as base64, and in times, which are numbers.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any


class _Wanted(threading.local):
    """Whether the call that this thread is making wants its answer as JSON."""

    now = False


_wanted = _Wanted()


def as_json(client: Any, method: str) -> Callable[..., Any]:
    """Return a method of a boto3 client such as ``batch_get_item``; what it returns is the answer's JSON, if it can be.

    Other calls of the same client, and errors, are parsed by botocore as before.
    """
    call = getattr(client, method)
    service = client.meta.service_model.service_id.hyphenize()
    event = f"before-parse.{service}.{client.meta.method_to_api_mapping[method]}"
    client.meta.events.register(event, _take, unique_id=f"weir-{event}")

    def called(**parameters: Any) -> Any:
        _wanted.now = True
        try:
            return call(**parameters)
        finally:
            _wanted.now = False

    return called


def _take(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Put the answer's members where botocore adds them to what it parses, and leave it nothing to parse."""
    if not _wanted.now or response_dict["status_code"] != 200 or not _is_json(response_dict["headers"]):
        return
    try:
        members = json.loads(response_dict["body"])
    except ValueError:  # not what it is called; botocore says what is wrong with it
        return
    if isinstance(members, dict):
        customized_response_dict.update(members)
        response_dict["body"] = b"{}"


def _is_json(headers: Mapping[str, str]) -> bool:
    return "json" in headers.get("content-type", "")
