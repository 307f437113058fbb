"""The floor of the benchmark: the fewest group commits that botocore can make, and nothing that makes them safe.

It knows what the workload is, verifies no signature, handles no error, retries nothing and packs nothing. It stores the
same: the body's exact bytes, the headers, and balances.
"""

from __future__ import annotations

import json
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from time import time
from typing import Any

import boto3
from botocore.config import Config

ACTIONS_MAX = 100
CONCURRENCY = 8


@cache
def _client() -> Any:
    return boto3.client("dynamodb", config=Config(max_pool_connections=CONCURRENCY, parameter_validation=False))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CONCURRENCY)


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Write a batch."""
    accounts: dict[str, list[dict[str, Any]]] = {}
    sums: dict[str, dict[str, int]] = {}
    seen: set[str] = set()
    for record in event["Records"]:
        envelope = json.loads(b64decode(record["kinesis"]["data"]))
        headers = b64decode(envelope["headers"]).decode()
        event_id = headers.partition("webhook-id: ")[2].partition("\n")[0]
        if event_id in seen:
            continue
        seen.add(event_id)
        body = b64decode(envelope["body"])
        data = json.loads(body)["data"]
        accounts.setdefault(data["account"], []).append(_mark(envelope, event_id, headers, body))
        total = sums.setdefault(data["account"], {"events": 0})
        total["events"] += 1
        total[data["currency"]] = total.get(data["currency"], 0) + data["amount"]
    for done in [_pool().submit(_commit, group) for group in _groups(accounts, sums)]:
        done.result()
    return {"batchItemFailures": []}


def _mark(envelope: dict[str, Any], event_id: str, headers: str, body: bytes) -> dict[str, Any]:
    now = int(time())
    item = {
        "pk": {"S": f"payments#{event_id}"},
        "outcome": {"S": "applied"},
        "source": {"S": envelope["source"]},
        "event_id": {"S": event_id},
        "request_id": {"S": envelope["id"]},
        "type": {"S": "payment.succeeded"},
        "received_at": {"N": str(envelope["at"])},
        "applied_at": {"N": str(now * 1000)},
        "expires_at": {"N": str(now + 2_592_000)},
        "headers": {"S": headers},
        "body": {"B": body},
    }
    return {"Put": {"TableName": "events", "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}


def _add(account: str, sums: dict[str, int]) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": "balances",
            "Key": {"account": {"S": account}},
            "UpdateExpression": "ADD " + ", ".join(f"#{at} :{at}" for at in range(len(sums))),
            "ExpressionAttributeNames": {f"#{at}": name for at, name in enumerate(sums)},
            "ExpressionAttributeValues": {f":{at}": {"N": str(amount)} for at, amount in enumerate(sums.values())},
        }
    }


def _groups(accounts: dict[str, list[Any]], sums: dict[str, dict[str, int]]) -> list[list[Any]]:
    """Put each account's marks and balance into the first transaction that has room for them."""
    groups: list[list[Any]] = []
    for account, marks in sorted(accounts.items(), key=lambda entry: -len(entry[1])):
        room = next((group for group in groups if len(group) + len(marks) < ACTIONS_MAX), None)
        if room is None:
            groups.append(room := [])
        room += [*marks, _add(account, sums[account])]
    return groups


def _commit(actions: list[Any]) -> None:
    _client().transact_write_items(TransactItems=actions)
