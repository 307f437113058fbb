"""The function of every scenario: it notes each invocation in a table, then does what the scenario says."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.aws import Aws

# What every function starts with. It notes each invocation in a table before it does what the scenario says, with
# nothing but the standard library, so that a process starts fast. It signs its requests, since AWS looks at that.
# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
PROBE = """
import base64, hashlib, hmac, http.client, json, os, time
from urllib.parse import urlsplit

SIGNING = "AWS4-HMAC-SHA256"
ENDPOINT = urlsplit(os.environ.get("AWS_ENDPOINT_URL") or os.environ["PROBE_ENDPOINT"])
TLS = None
if ENDPOINT.scheme == "https":
    import ssl
    TLS = ssl.create_default_context()

def connect():
    if TLS:
        return http.client.HTTPSConnection(ENDPOINT.netloc, timeout=10, context=TLS)
    return http.client.HTTPConnection(ENDPOINT.netloc, timeout=20)

def signed(host, action, body, at):
    region, token = os.environ["AWS_REGION"], os.environ.get("AWS_SESSION_TOKEN")
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    headers = {
        "content-type": "application/x-amz-json-1.0", "host": host, "x-amz-date": moment,
        "x-amz-target": "DynamoDB_20120810." + action,
    }
    if token:
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    lines = [f"{name}:{headers[name]}" for name in sorted(headers)]
    request = "\\n".join(["POST", "/", "", *lines, "", names, hashlib.sha256(body).hexdigest()])
    scope = [moment[:8], region, "dynamodb", "aws4_request"]
    text = "\\n".join([SIGNING, moment, "/".join(scope), hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in [*scope, text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    credential = "/".join([os.environ["AWS_ACCESS_KEY_ID"], *scope])
    proof = f"{SIGNING} Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return {**headers, "authorization": proof}

def dynamodb(connection, action, document):
    body = json.dumps({"TableName": os.environ["PROBE_TABLE"], **document}).encode()
    connection.request("POST", "/", body, signed(ENDPOINT.netloc, action, body, time.time()))
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{action}: {answer.status} {content[:300]}")
    return json.loads(content or b"{}")

def handler(event, context):
    at = time.time()
    name, records = os.environ["PROBE_NAME"], event["Records"]
    texts = [base64.b64decode(record["kinesis"]["data"]).decode("utf-8", "replace") for record in records]
    connection = connect()
    counted = dynamodb(connection, "UpdateItem", {
        "Key": {"function": {"S": name}, "call": {"N": "0"}}, "UpdateExpression": "ADD calls :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}}, "ReturnValues": "UPDATED_NEW",
    })
    call = int(counted["Attributes"]["calls"]["N"])
    first = {**records[0], "kinesis": {**records[0]["kinesis"], "data": records[0]["kinesis"]["data"][:100]}}
    note = {
        "at": at, "members": sorted(event), "texts": [text[:100] for text in texts], "first": first,
        "shards": sorted({record["eventID"].partition(":")[0] for record in records}),
    }
    dynamodb(connection, "PutItem", {"Item": {
        "function": {"S": name}, "call": {"N": str(call)}, "note": {"S": json.dumps(note)},
    }})
    connection.close()
    return behave(texts, records, call)

"""


@dataclass(frozen=True)
class Invocation:
    """What a function noted when it was invoked; ``first`` is its first record as it came, data cut short."""

    at: float
    members: list[str]
    texts: list[str]
    first: dict[str, Any]
    shards: list[str]


@dataclass
class Function:
    """A function that notes how it was invoked."""

    aws: Aws
    table: str
    name: str

    async def invocations(
        self, done: Callable[[list[Invocation]], Any] = bool, *, within_s: float = 30, settle_s: float = 0
    ) -> list[Invocation]:
        """Return the invocations in order once ``done`` says so or the time is over, and ``settle_s`` later."""
        deadline = time.monotonic() + within_s * self.aws.patience
        while not done(found := await self._invocations()) and time.monotonic() < deadline:
            await asyncio.sleep(self.aws.waits.poll_s)
        if settle_s:
            await self.aws.pause(settle_s)
            found = await self._invocations()
        return found

    async def texts(self, count: int, *, within_s: float = 30, settle_s: float = 0) -> list[str]:
        """Return what came in order, repetitions included, once there are so many."""
        found = await self.invocations(lambda seen: len(flat(seen)) >= count, within_s=within_s, settle_s=settle_s)
        return flat(found)

    async def _invocations(self) -> list[Invocation]:
        names = {"#f": "function", "#c": "call"}
        values = {":f": {"S": self.name}, ":zero": {"N": "0"}}
        notes: list[str] = []
        given: dict[str, Any] = {}
        while True:
            page = await self.aws.call(
                "dynamodb",
                "query",
                TableName=self.table,
                ConsistentRead=True,
                KeyConditionExpression="#f = :f AND #c > :zero",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                **given,
            )
            notes += [item["note"]["S"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return [Invocation(**json.loads(note)) for note in notes]
            given = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def flat(invocations: Sequence[Invocation]) -> list[str]:
    """Return the texts of these invocations, one after the other."""
    return [text for invocation in invocations for text in invocation.texts]
