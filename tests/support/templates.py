"""Requests and templates to render, and both engines behind one call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.support.velocity import INSTALL, Velocity, VelocityError, missing
from weir.infra.local import vtl

CONTEXT: Mapping[str, Any] = {
    "accountId": "123456789012",
    "apiId": "api0000000",
    "domainName": "localhost",
    "domainPrefix": "localhost",
    "extendedRequestId": "Zb1XpE9WoAMEbbQ=",
    "httpMethod": "POST",
    "identity": {"sourceIp": "192.0.2.7", "userAgent": "GitHub-Hookshot/044aadd"},
    "path": "/v1/github/a%20key",
    "protocol": "HTTP/1.1",
    "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
    "requestTime": "09/Apr/2026:12:34:56 +0000",
    "requestTimeEpoch": 1_775_738_096_789,
    "resourcePath": "/v1/github/{key}",
    "stage": "prod",
}


@dataclass(frozen=True)
class Given:
    """What one render starts from."""

    body: str = ""
    path: dict[str, str] = field(default_factory=dict)
    querystring: dict[str, str] = field(default_factory=dict)
    header: dict[str, str] = field(default_factory=dict)
    stage_variables: dict[str, str] = field(default_factory=lambda: {"stream": "weir-stream"})


@dataclass(frozen=True)
class Rendered:
    """What came out: the text and the overrides, or that the engine failed."""

    text: str | None
    status: Any = None
    headers: Mapping[str, Any] = field(default_factory=dict)


FAILED = Rendered(None)


def render(template: str, given: Given) -> Rendered:
    """Render with Weir's engine."""
    overrides = vtl.Overrides()
    request = vtl.Input(given.body, path=given.path, querystring=given.querystring, header=given.header)
    try:
        text = vtl.load(template, "template").render(request, CONTEXT, given.stage_variables, overrides)
    except vtl.RenderError:
        return FAILED
    return Rendered(text, overrides.status, overrides.headers)


def render_on_velocity(velocity: Velocity, template: str, given: Given) -> Rendered:
    """Render with Apache Velocity."""
    try:
        text, override = velocity.render(
            template,
            body=given.body,
            path=given.path,
            querystring=given.querystring,
            header=given.header,
            stage_variables=given.stage_variables,
            context=json.loads(json.dumps(CONTEXT)),
        )
    except VelocityError:
        return FAILED
    if "[Ljava.lang." in text:  # an array printed its address, which Weir's engine refuses to do
        return FAILED
    return Rendered(text, override.get("status"), override["header"])


def started_velocity() -> Iterator[Velocity]:
    """Start Velocity for a module's fixture, or skip with the one line that installs it."""
    if missing():
        pytest.skip(INSTALL)
    with Velocity() as velocity:
        yield velocity


# Header values are bytes read as ISO 8859-1; HTTP servers let no control character but the tab through.
LATIN_1 = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f") | st.just("\t")
HEADER_NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_!#$%&'*+.^`|~", min_size=1)
HEADER_VALUES = st.text(LATIN_1) | st.sampled_from(
    [
        'it\'s "quoted"',
        "back\\slash \\' \\\"",
        "$foo ${bar} $!baz",
        "#if($x) #end #set($q = 1) ##",
        "a: b: c",
        "$name: $header",
    ]
)
# Path parameters and query strings arrive URL-decoded: any text, except what is not UTF-8.
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["$a", "#end", '"', "'", "\\", "😀", "a b/c"]
)
