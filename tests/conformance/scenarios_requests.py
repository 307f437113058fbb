"""API Gateway: which request template a request gets, and what of the request reaches it."""

from __future__ import annotations

import base64
import gzip
import re
import time

from tests.conformance.bench import Bench
from tests.conformance.definitions import JSON, STORE, TEXT, answering, data_of, kinesis, seen, stored, storing, text_of
from tests.conformance.scenarios import AG, API_GATEWAY, UNDOCUMENTED, Observation, scenario

BODY = STORE % "$input.body"
MULTIPART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
ALL_BYTES = bytes(range(256))


@scenario(
    API_GATEWAY,
    documents="A template is chosen by the media type of the Content-Type alone; its parameters, such as charset, are "
    "left out.",
    page=AG + "request-response-data-mappings.html",
    expected={"charset": 200, "boundary": 200},
)
async def content_type_with_parameters(bench: Bench) -> Observation:
    definition = kinesis(bench, storing("$input.body"), types=(JSON, "multipart/form-data"))
    _, api = await stored(bench, definition)
    charset = await api.send("/probe", b"{}", [("Content-Type", "application/json; charset=utf-8")])
    boundary = await api.send("/probe", MULTIPART, [("Content-Type", "multipart/form-data; boundary=x")])
    return {"charset": charset.status, "boundary": boundary.status}


@scenario(
    API_GATEWAY,
    documents="A request without a Content-Type is taken for application/json.",
    page=AG + "integration-passthrough-behaviors.html",
    expected={"stored": '{"a":1}'},
)
async def no_content_type(bench: Bench) -> Observation:
    return {"stored": await seen(bench, "$input.body", body=b'{"a":1}', headers=())}


@scenario(
    API_GATEWAY,
    documents="Where every type is binary, a body without a Content-Type is binary, too.",
    page=AG + "api-gateway-payload-encodings-workflow.html",
    expected={"unchanged": True},
)
async def bytes_without_content_type(bench: Bench) -> Observation:
    stream, api = await stored(bench, kinesis(bench, BODY, binary=("*/*", JSON)))  # LocalStack skips `*/*`
    answer = await api.send("/probe", ALL_BYTES, ())
    return {"unchanged": await data_of(stream, answer) == ALL_BYTES}


@scenario(
    API_GATEWAY,
    documents="With passthroughBehavior NEVER a Content-Type without a template is answered 415.",
    page=AG + "integration-passthrough-behaviors.html",
    expected={"status": 415},
)
async def unlisted_type_with_never(bench: Bench) -> Observation:
    _, api = await stored(bench, kinesis(bench, storing("$input.body")))
    return {"status": (await api.send("/probe", b"<a/>", [("Content-Type", "application/x-unheard-of")])).status}


@scenario(
    API_GATEWAY,
    documents="With WHEN_NO_TEMPLATES and at least one template, a Content-Type without one is answered 415.",
    page=AG + "integration-passthrough-behaviors.html",
    expected={"status": 415},
)
async def unlisted_type_with_when_no_templates(bench: Bench) -> Observation:
    _, api = await stored(bench, kinesis(bench, storing("$input.body"), passthrough="when_no_templates"))
    return {"status": (await api.send("/probe", b"<a/>", [("Content-Type", "application/x-unheard-of")])).status}


@scenario(
    API_GATEWAY,
    documents="With WHEN_NO_MATCH a body of an unlisted Content-Type goes to the integration unchanged: the caller "
    "writes the PutRecord request.",
    page=AG + "integration-passthrough-behaviors.html",
    expected={"stored": "the caller's"},
    known={
        "embedded": "By decision: a definition that lets a caller write the integration's request is not served here.",
    },
)
async def unlisted_type_with_when_no_match(bench: Bench) -> Observation:
    stream, api = await stored(bench, kinesis(bench, storing("$input.body"), passthrough="when_no_match"))
    data = base64.b64encode(b"the caller's").decode()
    body = f'{{"StreamName":"{stream.name}","PartitionKey":"x","Data":"{data}"}}'.encode()
    return {"stored": await text_of(stream, await api.send("/probe", body, [("Content-Type", "text/plain")]))}


@scenario(
    API_GATEWAY,
    documents="A body of a type in binaryMediaTypes reaches the template as base64 with CONVERT_TO_TEXT.",
    page=AG + "api-gateway-payload-encodings-workflow.html",
    expected={"unchanged": True},
)
async def binary_body_as_text(bench: Bench) -> Observation:
    kind = "application/octet-stream"
    stream, api = await stored(bench, kinesis(bench, BODY, types=(kind,), binary=(kind,)))
    answer = await api.send("/probe", ALL_BYTES, [("Content-Type", kind)])
    return {"unchanged": await data_of(stream, answer) == ALL_BYTES}


@scenario(
    API_GATEWAY,
    documents="`*/*` in binaryMediaTypes makes every type binary.",
    page=AG + "api-gateway-payload-encodings.html",
    expected={"unchanged": True},
    known={"localstack": "LocalStack 4.14 skips `*/*`; the product's definition lists concrete types beside it."},
)
async def every_type_is_binary(bench: Bench) -> Observation:
    kind = "application/octet-stream"
    stream, api = await stored(bench, kinesis(bench, BODY, types=(kind,), binary=("*/*",)))
    answer = await api.send("/probe", ALL_BYTES, [("Content-Type", kind)])
    return {"unchanged": await data_of(stream, answer) == ALL_BYTES}


@scenario(
    API_GATEWAY,
    documents="A body of a type that is not in binaryMediaTypes reaches the template as UTF-8 text.",
    page=AG + "api-gateway-payload-encodings-workflow.html",
    expected={"stored": "Zoë 🌊"},
)
async def text_body(bench: Bench) -> Observation:
    return {"stored": await seen(bench, "$input.body", body="Zoë 🌊".encode())}


@scenario(
    API_GATEWAY,
    documents="A form's body is left as it came: nothing is decoded, joined or put in order.",
    page=AG + "api-gateway-payload-encodings-workflow.html",
    expected={"stored": "b=%20x+y&a=1&a=2&empty="},
)
async def form_body_unchanged(bench: Bench) -> Observation:
    kind = "application/x-www-form-urlencoded"
    stream, api = await stored(bench, kinesis(bench, BODY, types=(kind,), binary=(kind,)))
    answer = await api.send("/probe", b"b=%20x+y&a=1&a=2&empty=", [("Content-Type", kind)])
    return {"stored": await text_of(stream, answer)}


@scenario(
    API_GATEWAY,
    documents="A body compressed by gzip is decompressed before the template.",
    page=AG + "api-gateway-gzip-compression-decompression.html",
    expected={"stored": '{"a":1}'},
)
async def gzip_request(bench: Bench) -> Observation:
    found = await seen(
        bench, "$input.body", body=gzip.compress(b'{"a":1}', mtime=0), headers=[*TEXT, ("Content-Encoding", "gzip")]
    )
    return {"stored": found if found.isascii() else "(compressed bytes)"}


@scenario(
    API_GATEWAY,
    documents="A Content-Encoding that API Gateway does not support is answered 415.",
    page=AG + "api-gateway-make-request-with-compressed-payload.html",
    expected={"status": 415},
    known={"localstack": "LocalStack does not look at a request's Content-Encoding."},
)
async def unsupported_content_encoding(bench: Bench) -> Observation:
    _, api = await stored(bench, kinesis(bench, storing("$input.body")))
    return {"status": (await api.send("/probe", b"{}", [*TEXT, ("Content-Encoding", "br")])).status}


@scenario(
    API_GATEWAY,
    documents="Parameters arrive URL-decoded, in the path as in the query.",
    page=AG + "api-gateway-known-issues.html",
    expected={"path": "a bé", "query": "c dé"},
    known={"localstack": "LocalStack leaves a path parameter as it was encoded."},
)
async def parameters_are_decoded(bench: Bench) -> Observation:
    expression = "\"$input.params().path.get('key')|$input.params().querystring.get('q')\""
    found = await seen(bench, expression, resource="/probe/{key}", path="/probe/a%20b%C3%A9?q=c%20d%C3%A9")
    path, _, query = found.partition("|")
    return {"path": path, "query": query}


@scenario(
    API_GATEWAY,
    documents="`$input.params()` has one value for each header; of a repeated one AWS does not say which.",
    page=AG + "api-gateway-mapping-template-reference.html",
    expected={"value": UNDOCUMENTED},
)
async def repeated_header(bench: Bench) -> Observation:
    headers = [*TEXT, ("X-Twice", "first"), ("X-Twice", "last")]
    return {"value": await seen(bench, "$input.params().header.get('X-Twice')", headers=headers)}


@scenario(
    API_GATEWAY,
    documents="requestTimeEpoch is in milliseconds; a caller may give requestId as a UUID in x-amzn-RequestId, and "
    "cannot choose extendedRequestId.",
    page=AG + "set-up-logging.html",
    expected={
        "epoch_in_ms": True,
        "extended_ids_differ": True,
        "extended_id_characters": UNDOCUMENTED,
        "own_request_id": True,
    },
    known={"localstack": "LocalStack makes every requestId itself."},
)
async def ids_and_time(bench: Bench) -> Observation:
    expression = '"$context.requestTimeEpoch $context.extendedRequestId $context.requestId"'
    stream, api = await stored(bench, kinesis(bench, storing(expression)))
    own = "01234567-89ab-4cde-8f01-23456789abcd"
    first = (await text_of(stream, await api.send("/probe", b"{}", TEXT))).split(" ")
    second = (await text_of(stream, await api.send("/probe", b"{}", [*TEXT, ("x-amzn-RequestId", own)]))).split(" ")
    return {
        "epoch_in_ms": bool(re.fullmatch(r"\d{13}", first[0])) and abs(int(first[0]) / 1000 - time.time()) < 60,
        "extended_ids_differ": first[1] != second[1],
        "extended_id_characters": len(first[1]),
        "own_request_id": second[2] == own,
    }


@scenario(
    API_GATEWAY,
    documents="A payload larger than 10 MB is answered 413.",
    page=AG + "api-gateway-execution-service-limits-table.html",
    expected={"status": 413},
    known={"localstack": "LocalStack has no limit of its own: Kinesis gets the request, and refuses it for its size."},
    heavy=True,
)
async def more_than_10_mb(bench: Bench) -> Observation:
    responses = {r"4\d{2}": answering("400", "{}"), "default": answering("200", "{}")}
    definition = kinesis(bench, storing("$input.body"), responses=responses, declared=("200", "400"))
    _, api = await stored(bench, definition)
    return {"status": (await api.send("/probe", b"x" * (10 * 1024 * 1024 + 1), TEXT)).status}


@scenario(
    API_GATEWAY,
    documents="Headers may take 10,240 bytes in all; what more is answered with is not said.",
    page=AG + "api-gateway-execution-service-limits-table.html",
    expected={"stored": False},
    known={"localstack": "LocalStack has no such limit."},
)
async def more_than_10240_bytes_of_headers(bench: Bench) -> Observation:
    _, api = await stored(bench, kinesis(bench, storing("$input.body")))
    headers = [*TEXT, *((f"X-Long-{number}", "x" * 3000) for number in range(4))]
    return {"stored": (await api.send("/probe", b"{}", headers)).status == 200}
