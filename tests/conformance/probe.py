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
# nothing but the standard library, so that a process starts fast.
PROBE = """
import base64, json, os, time, urllib.request

def dynamodb(action, document):
    scope = os.environ["AWS_ACCESS_KEY_ID"] + "/20260101/us-east-1/dynamodb/aws4_request"
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "DynamoDB_20120810." + action,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=" + "0" * 64,
    }
    body = json.dumps({"TableName": os.environ["PROBE_TABLE"], **document}).encode()
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"], body, headers)
    return json.loads(urllib.request.urlopen(request, timeout=20).read() or b"{}")

def handler(event, context):
    at = time.time()
    name, records = os.environ["PROBE_NAME"], event["Records"]
    texts = [base64.b64decode(record["kinesis"]["data"]).decode("utf-8", "replace") for record in records]
    counted = dynamodb("UpdateItem", {
        "Key": {"function": {"S": name}, "call": {"N": "0"}}, "UpdateExpression": "ADD calls :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}}, "ReturnValues": "UPDATED_NEW",
    })
    call = int(counted["Attributes"]["calls"]["N"])
    first = {**records[0], "kinesis": {**records[0]["kinesis"], "data": records[0]["kinesis"]["data"][:100]}}
    note = {
        "at": at, "members": sorted(event), "texts": [text[:100] for text in texts], "first": first,
        "shards": sorted({record["eventID"].partition(":")[0] for record in records}),
    }
    dynamodb("PutItem", {"Item": {
        "function": {"S": name}, "call": {"N": str(call)}, "note": {"S": json.dumps(note)},
    }})
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
            await asyncio.sleep(0.2)
        if settle_s:
            await asyncio.sleep(settle_s)
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
