"""API Gateway: what a caller is answered, by the integration or without it."""

from __future__ import annotations

import asyncio
import time

from tests.conformance.bench import Bench
from tests.conformance.definitions import TEXT, answering, kinesis, mock, stored, storing
from tests.conformance.scenarios import AG, API_GATEWAY, Observation, scenario


@scenario(
    API_GATEWAY,
    documents="A mock answers with what the integration response for its statusCode says; no backend is called.",
    page=AG + "how-to-mock-integration.html",
    expected={"status": 200, "body": {"mocked": True}, "content_type": "application/json"},
)
async def mock_integration(bench: Bench) -> Observation:
    api = await bench.api(mock('{"statusCode": 200}', {"default": answering("200", '{"mocked": true}')}))
    answer = await api.send("/probe", b"{}", TEXT)
    kind = answer.headers.get("content-type", "").partition(";")[0]
    return {"status": answer.status, "body": answer.document, "content_type": kind}


_EVERY_TYPE = ("*/*", "application/json")  # LocalStack skips the first
_ACCEPTING = (*TEXT, ("Accept", "application/json"))


@scenario(
    API_GATEWAY,
    documents="Where every type is binary, a mock's answer with a template is text if its contentHandling is "
    "CONVERT_TO_TEXT.",
    page=AG + "api-gateway-payload-encodings-workflow.html",
    expected={"status": 200, "body": {"mocked": True}},
)
async def answer_converted_to_text(bench: Bench) -> Observation:
    response = {**answering("200", '{"mocked": true}'), "contentHandling": "CONVERT_TO_TEXT"}
    api = await bench.api(mock('{"statusCode": 200}', {"default": response}, binary=_EVERY_TYPE))
    answer = await api.send("/probe", b"{}", _ACCEPTING)
    return {"status": answer.status, "body": answer.document}


@scenario(
    API_GATEWAY,
    documents="Where every type is binary, an answer with a template and without contentHandling is 500: there is no "
    "template for bytes.",
    page=AG + "api-gateway-payload-encodings-workflow.html",
    expected={"status": 500},
    known={"embedded": "By decision: a definition that can only fail is refused when it is loaded."},
)
async def answer_without_content_handling(bench: Bench) -> Observation:
    response = answering("200", '{"mocked": true}')
    api = await bench.api(mock('{"statusCode": 200}', {"default": response}, binary=_EVERY_TYPE))
    return {"status": (await api.send("/probe", b"{}", _ACCEPTING)).status}


@scenario(
    API_GATEWAY,
    documents="The header x-amz-apigw-id of an answer is `$context.extendedRequestId`.",
    page=AG + "set-up-logging.html",
    expected={"same": True},
)
async def id_of_a_delivery(bench: Bench) -> Observation:
    template = '{"id":"$context.extendedRequestId"}'
    api = await bench.api(mock('{"statusCode": 200}', {"default": answering("200", template)}))
    answer = await api.send("/probe", b"{}", TEXT)
    return {"same": answer.document["id"] == answer.headers.get("x-amz-apigw-id")}


@scenario(
    API_GATEWAY,
    documents="selectionPattern is a regular expression on the backend's status; the default is for what matches none.",
    page=AG + "api-gateway-integration-settings-integration-response.html",
    expected={"404": 400, "503": 502, "201": 200},
)
async def selection_pattern(bench: Bench) -> Observation:
    responses = {
        r"4\d{2}": answering("400", "{}"),
        r"5\d{2}": answering("502", "{}"),
        "default": answering("200", "{}"),
    }
    request = "{\"statusCode\": $input.params('status')}"
    api = await bench.api(mock(request, responses, declared=("200", "400", "502")))
    answers = {code: await api.send(f"/probe?status={code}", b"{}", TEXT) for code in ("404", "503", "201")}
    return {code: answer.status for code, answer in answers.items()}


@scenario(
    API_GATEWAY,
    documents="An error of Kinesis is status 400 to selectionPattern, and its name is in the body's `__type`.",
    page="https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html",
    expected={"status": 503, "type": "ResourceNotFoundException"},
)
async def error_of_kinesis(bench: Bench) -> Observation:
    responses = {
        r"4\d{2}": answering("503", '{"type":"$input.path(\'$.__type\')"}'),
        "default": answering("200", "{}"),
    }
    definition = kinesis(bench, storing("$input.body"), responses=responses, declared=("200", "503"))
    # Under the prefix of the run, or the role would not allow it and the error be another.
    api = await bench.api(definition, variables={"stream": f"{bench.name}-absent"})
    answer = await api.send("/probe", b"{}", TEXT)
    document = answer.document if isinstance(answer.document, dict) else {}
    return {"status": answer.status, "type": str(document.get("type", "")).rpartition("#")[2]}


@scenario(
    API_GATEWAY,
    documents="A response template may set the status and headers with `$context.responseOverride`.",
    page=AG + "apigateway-override-request-response-parameters.html",
    expected={"status": 202, "header": "set"},
)
async def response_override(bench: Bench) -> Observation:
    template = (
        '#set($context.responseOverride.status = 202)#set($context.responseOverride.header.X-Note = "set"){"a":1}'
    )
    api = await bench.api(mock('{"statusCode": 200}', {"default": answering("200", template)}, declared=("200", "202")))
    answer = await api.send("/probe", b"{}", TEXT)
    return {"status": answer.status, "header": answer.headers.get("x-note")}


@scenario(
    API_GATEWAY,
    documents="A path or method that the API does not have is 403 MISSING_AUTHENTICATION_TOKEN.",
    page=AG + "supported-gateway-response-types.html",
    expected={"path": 403, "method": 403, "type": "MissingAuthenticationTokenException"},
)
async def unknown_path_and_method(bench: Bench) -> Observation:
    api = await bench.api(mock('{"statusCode": 200}', {"default": answering("200", "{}")}))
    path = await api.send("/nowhere", b"{}", TEXT)
    method = await api.send("/probe", b"{}", TEXT, method="PUT")
    return {"path": path.status, "method": method.status, "type": path.headers.get("x-amzn-errortype")}


@scenario(
    API_GATEWAY,
    documents="A gateway response has the status, headers and body that the API gives it.",
    page=AG + "api-gateway-gatewayResponse-definition.html",
    expected={
        "status": 404,
        "header": "note",
        "body": {"error": "Missing Authentication Token", "type": "MISSING_AUTHENTICATION_TOKEN"},
    },
    known={"localstack": "LocalStack leaves gateway responses out when it imports a definition."},
)
async def gateway_response(bench: Bench) -> Observation:
    template = '{"error":$context.error.messageString,"type":"$context.error.responseType"}'
    settings = {
        "statusCode": 404,
        "responseParameters": {"gatewayresponse.header.X-Note": "'note'"},
        "responseTemplates": {"application/json": template},
    }
    root = {"x-amazon-apigateway-gateway-responses": {"MISSING_AUTHENTICATION_TOKEN": settings}}
    api = await bench.api(mock('{"statusCode": 200}', {"default": answering("200", "{}")}, **root))
    answer = await api.send("/nowhere", b"{}", TEXT)
    return {"status": answer.status, "header": answer.headers.get("x-note"), "body": answer.document}


@scenario(
    API_GATEWAY,
    documents="Requests beyond a method's rate and burst are answered 429.",
    page=AG + "api-gateway-request-throttling.html",
    expected={"statuses": [200, 429]},
    known={"localstack": "LocalStack keeps the limits of a stage and does not apply them."},
)
async def throttling(bench: Bench) -> Observation:
    api = await bench.api(mock('{"statusCode": 200}', {"default": answering("200", "{}")}), throttle=(1.0, 1))
    statuses: set[int] = set()
    # A stage's settings reach API Gateway's hosts after a while, and its limits are targets, not ceilings.
    deadline = time.monotonic() + 10 * bench.aws.patience
    while True:
        answers = await asyncio.gather(*(api.send("/probe", b"{}", TEXT) for _ in range(8)))
        statuses |= {answer.status for answer in answers}
        if 429 in statuses or time.monotonic() > deadline:
            return {"statuses": sorted(statuses)}
        await bench.aws.pause(1)


@scenario(
    API_GATEWAY,
    documents="A stage writes a line in its access log for every request, in the format that it gives.",
    page=AG + "set-up-logging.html",
    expected={"lines": ["POST /probe 200", "POST /nowhere 403"]},
    known={"localstack": "LocalStack keeps a stage's accessLogSettings and writes no log."},
)
async def access_log(bench: Bench) -> Observation:
    api = await bench.api(
        mock('{"statusCode": 200}', {"default": answering("200", "{}")}),
        access_log_format="$context.requestId $context.httpMethod $context.path $context.status",
    )
    await api.send("/probe", b"{}", TEXT)
    await api.send("/nowhere", b"{}", TEXT)
    lines = [line.partition(" ")[2].strip() for line in await api.log_lines(2)]
    return {"lines": [line.replace(" /live/", " /") for line in lines]}


@scenario(
    API_GATEWAY,
    documents="responseParameters set headers of the answer; its Content-Type is application/json unless one does.",
    page=AG + "rest-api-parameter-mapping.html",
    expected={"constant": "note", "content_type": "application/json"},
)
async def response_parameters(bench: Bench) -> Observation:
    response = {**answering("200", "{}"), "responseParameters": {"method.response.header.X-Note": "'note'"}}
    _, api = await stored(bench, kinesis(bench, storing("$input.body"), responses={"default": response}))
    answer = await api.send("/probe", b"{}", TEXT)
    kind = answer.headers.get("content-type", "").partition(";")[0]
    return {"constant": answer.headers.get("x-note"), "content_type": kind}


@scenario(
    API_GATEWAY,
    documents="An integration response whose status the method does not declare is answered 500.",
    page=AG + "api-gateway-integration-settings-integration-response.html",
    expected={"status": 500},
    known={
        "embedded": "By decision: a definition that can only fail is refused when it is loaded.",
        "localstack": "LocalStack does not compare the status with the method's responses.",
    },
)
async def undeclared_status(bench: Bench) -> Observation:
    api = await bench.api(mock('{"statusCode": 200}', {"default": answering("202", "{}")}, declared=("200",)))
    return {"status": (await api.send("/probe", b"{}", TEXT)).status}
