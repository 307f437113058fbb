"""The wire form of marks and fences: what is written under an event's key, and on which condition.

A fence is the mark of an event whose changes were refused. It names the refused deliveries and keeps those out; any
other delivery of the event may still take its place. The commit raises fences, an operator's retry lifts them.
"""

from __future__ import annotations

from typing import Any

from weir.consumers.events_table.actions import ActionJson, to_json
from weir.consumers.events_table.attributes import Field, item_json, string
from weir.consumers.events_table.mark import refusals
from weir.consumers.outcome import Outcome

_NAMES = {"#outcome": "outcome"}
_ABSENT = '"attribute_not_exists(pk)"'


def put_if_free(table: str, fields: list[Field]) -> ActionJson:
    """Return the action that writes an item if its key is free; a cancellation tells what is there instead."""
    return _put(table, fields, _ABSENT)


def put_through_fence(table: str, fields: list[Field], refused: frozenset[str], own: str = "") -> ActionJson:
    """Return the action that writes a mark in place of a fence, as long as it names the same refused deliveries.

    The new item goes on to name them: each keeps its outcome when it is read again; but for its ``own`` delivery, if
    that has waited.
    """
    names = to_json({"SS": sorted(refused)})
    kept = sorted(refused - {*refusals(own)})
    return _put(
        table,
        [*fields, ("refused", to_json({"SS": kept}))] if kept else fields,
        '"attribute_not_exists(pk) OR (#outcome = :fenced AND refused = :refused)",'
        '"ExpressionAttributeNames":{"#outcome":"outcome"},'
        f'"ExpressionAttributeValues":{{":fenced":{string(Outcome.FENCED)},":refused":{names}}}',
    )


def put_over_ignored(table: str, fields: list[Field], request_id: str) -> ActionJson:
    """Return the action that writes a mark in place of its own delivery's, as long as that says ignored."""
    return _put(
        table,
        fields,
        '"#outcome = :ignored AND request_id = :request",'
        '"ExpressionAttributeNames":{"#outcome":"outcome"},'
        f'"ExpressionAttributeValues":{{":ignored":{string(Outcome.IGNORED)},":request":{string(request_id)}}}',
    )


def raise_fence(table: str, key: str, delivery: str, *, reason: str, expires_at_s: int) -> ActionJson:
    """Return the action that keeps a delivery out, with those that are kept out already, unless the event is there."""
    update = {
        "TableName": table,
        "Key": {"pk": {"S": key}},
        "UpdateExpression": "SET #outcome = :fenced, reason = :reason, expires_at = :expires ADD refused :delivery",
        "ConditionExpression": "attribute_not_exists(pk) OR #outcome = :fenced",
        "ExpressionAttributeNames": _NAMES,
        "ExpressionAttributeValues": {
            ":fenced": {"S": Outcome.FENCED},
            ":reason": {"S": reason},
            ":expires": {"N": str(expires_at_s)},
            ":delivery": {"SS": [delivery]},
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    return to_json({"Update": update})


def lift_fence(table: str, key: str, delivery: str) -> dict[str, Any]:
    """Return the parameters of an UpdateItem that lets a delivery in again; its condition fails if there is no fence.

    DynamoDB drops a set that becomes empty, so a fence that names this delivery alone is better removed.
    """
    return {
        "TableName": table,
        "Key": {"pk": {"S": key}},
        "UpdateExpression": "DELETE refused :delivery",
        "ConditionExpression": "#outcome = :fenced",
        "ExpressionAttributeNames": _NAMES,
        "ExpressionAttributeValues": {":fenced": {"S": Outcome.FENCED}, ":delivery": {"SS": [delivery]}},
    }


def readmit(table: str, key: str, delivery: str) -> dict[str, Any]:
    """Return the parameters of an UpdateItem that takes a delivery from those that a mark names as refused."""
    return {
        "TableName": table,
        "Key": {"pk": {"S": key}},
        "UpdateExpression": "DELETE refused :delivery",
        "ConditionExpression": "attribute_exists(pk) AND #outcome <> :fenced",
        "ExpressionAttributeNames": _NAMES,
        "ExpressionAttributeValues": {":fenced": {"S": Outcome.FENCED}, ":delivery": {"SS": [*refusals(delivery)]}},
    }


def remove_fence(table: str, key: str, delivery: str) -> dict[str, Any]:
    """Return the parameters of a DeleteItem for a fence; its condition fails if it names others than this delivery."""
    return {
        "TableName": table,
        "Key": {"pk": {"S": key}},
        "ConditionExpression": "#outcome = :fenced AND refused = :delivery",
        "ExpressionAttributeNames": _NAMES,
        "ExpressionAttributeValues": {":fenced": {"S": Outcome.FENCED}, ":delivery": {"SS": [delivery]}},
    }


def _put(table: str, fields: list[Field], condition: str) -> ActionJson:
    return (
        f'{{"Put":{{"TableName":"{table}","Item":{item_json(fields)},'
        f'"ReturnValuesOnConditionCheckFailure":"ALL_OLD","ConditionExpression":{condition}}}}}'
    )
