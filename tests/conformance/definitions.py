"""Small API definitions: one method with a Kinesis or a mock integration, and what a request of it stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tests.conformance.apis import Answer, Api
from tests.conformance.aws import Stream
from tests.conformance.bench import Bench

JSON = "application/json"
STORE = '{"StreamName":"$stageVariables.stream","PartitionKey":"probe","Data":"%s"}'
INTEGRATION = "x-amazon-apigateway-integration"
TEXT = (("Content-Type", JSON),)


def storing(value: str, *, before: str = "") -> str:
    """Return a request template that stores what a template expression gives, base64 on the way."""
    return before + STORE % f"$util.base64Encode({value})"


def kinesis(
    bench: Bench,
    template: str | None,
    *,
    path: str = "/probe",
    types: Iterable[str] = (JSON,),
    passthrough: str = "never",
    responses: Mapping[str, Any] | None = None,
    declared: Iterable[str] = ("200",),
    binary: Iterable[str] = (),
    **root: Any,
) -> dict[str, Any]:
    """Return an API whose POST calls PutRecord; without ``responses`` Kinesis' answer goes back as it is."""
    clients = bench.aws.clients
    integration: dict[str, Any] = {
        "type": "aws",
        "httpMethod": "POST",
        "uri": f"arn:{clients.partition}:apigateway:{clients.region}:kinesis:action/PutRecord",
        "credentials": bench.gateway_role,
        "passthroughBehavior": passthrough,
        "requestParameters": {"integration.request.header.Content-Type": "'application/x-amz-json-1.1'"},
        "responses": responses or {"default": {"statusCode": "200"}},
    }
    if template is not None:
        integration["requestTemplates"] = dict.fromkeys(types, template)
    if binary:
        integration["contentHandling"] = "CONVERT_TO_TEXT"
        root["x-amazon-apigateway-binary-media-types"] = list(binary)
    return _document({path: {"post": _operation(integration, declared)}}, path, root)


def mock(
    request: str,
    responses: Mapping[str, Any],
    *,
    declared: Iterable[str] = ("200",),
    binary: Iterable[str] = (),
    **root: Any,
) -> Any:
    """Return an API whose POST is a mock."""
    integration: dict[str, Any] = {
        "type": "mock",
        "passthroughBehavior": "never",
        "requestTemplates": {JSON: request},
        "responses": responses,
    }
    if binary:
        integration["contentHandling"] = "CONVERT_TO_TEXT"
        root["x-amazon-apigateway-binary-media-types"] = list(binary)
    return _document({"/probe": {"post": _operation(integration, declared)}}, "/probe", root)


def answering(status: str, template: str) -> dict[str, Any]:
    """Return an integration response."""
    return {"statusCode": status, "responseTemplates": {JSON: template}}


async def stored(bench: Bench, definition: Mapping[str, Any], **variables: str) -> tuple[Stream, Api]:
    """Deploy a definition in front of a stream of its own."""
    stream = await bench.stream()
    return stream, await bench.api(definition, variables={"stream": stream.name, **variables})


async def data_of(stream: Stream, answer: Answer) -> bytes:
    """Return what a request stored, by Kinesis' answer; what it was answered with when it stored nothing."""
    try:
        place = json.loads(answer.body)
        return await stream.record(place["ShardId"], place["SequenceNumber"])
    except (ValueError, KeyError, TypeError):
        return f"(nothing stored, status {answer.status})".encode()


async def text_of(stream: Stream, answer: Answer) -> str:
    """Return what a request stored as text."""
    return (await data_of(stream, answer)).decode("utf-8", "replace")


async def seen(
    bench: Bench,
    expression: str,
    *,
    before: str = "",
    path: str = "/probe",
    body: bytes = b"{}",
    headers: Iterable[tuple[str, str]] = TEXT,
    resource: str = "/probe",
    **variables: str,
) -> str:
    """Send one request and return what a template expression made of it."""
    definition = kinesis(bench, storing(expression, before=before), path=resource)
    stream, api = await stored(bench, definition, **variables)
    return await text_of(stream, await api.send(path, body, headers))


def _operation(integration: dict[str, Any], declared: Iterable[str]) -> dict[str, Any]:
    responses = {
        status: {"description": "", "headers": {"X-Note": {"schema": {"type": "string"}}}} for status in declared
    }
    return {"responses": responses, INTEGRATION: integration}


def _document(paths: dict[str, Any], path: str, root: Mapping[str, Any]) -> dict[str, Any]:
    if "{" in path:
        name = path.partition("{")[2].partition("}")[0]
        parameter = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        paths[path]["parameters"] = [parameter]
    return {"openapi": "3.0.1", "info": {"title": "conformance", "version": "1"}, "paths": paths, **root}
