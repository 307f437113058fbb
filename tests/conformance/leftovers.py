"""What runs on an account have made and not removed, found by its name; and which runs still live.

A name says in which Region and by which run a thing was made: roles and buckets have no Region of their own. A run
counts on in its table while it lives. One whose count stands still, or that has no table, was killed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.conformance.aws import Clients, Waits, code_of, empty_and_delete

BASE = "weir-conf"
PATH = f"/{BASE}/"
TAG = "weir-conformance"
RUN_DIGITS = 10
# API Gateway makes this group when an account gets a role for logs; the tag of our role says whose it was before.
# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
WELCOME, WELCOME_TAG = "/aws/apigateway/welcome", "weir-conformance-welcome"
_LIMIT_S = 600.0
_BEAT = {"function": {"S": "(the run)"}, "call": {"N": "0"}}


@dataclass(frozen=True)
class Kind:
    """A kind of thing. ``find`` yields id and name of those that may be ours, ``remove`` takes one away by its id.

    ``last`` ones are removed when no other is left: what removes the others may need them.
    """

    what: str
    find: Callable[[Clients, str], Iterable[tuple[str, str]]]
    remove: Callable[[Clients, str], Any]
    last: bool = False


@dataclass(frozen=True)
class Left:
    """One thing that is there."""

    kind: Kind
    id: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.what} {self.name}"


def prefix_of(region: str, run: str) -> str:
    """Return what the names of all that a run makes begin with."""
    return f"{BASE}-{region}-{run}"


def table_of(prefix: str) -> str:
    """Return the name of a run's table."""
    return f"{prefix}-notes"


def find(clients: Clients, prefixes: Iterable[str] | None = None) -> list[Left]:
    """Return what is there of these runs, by their prefixes; of all runs of this Region if none are given.

    Raises: ClientError where the account may not be asked.
    """
    base = prefix_of(clients.region, "")
    ours = re.compile(rf"{re.escape(base)}[0-9a-f]{{{RUN_DIGITS}}}(?=-|$)")
    wanted = None if prefixes is None else set(prefixes)
    return [
        Left(kind, id_, name)
        for kind in KINDS
        for id_, name in kind.find(clients, base)
        if (found := ours.match(name)) and (wanted is None or found[0] in wanted)
    ]


def prefixes_in(found: Iterable[Left], region: str) -> list[str]:
    """Return the prefixes of the runs that made these."""
    length = len(prefix_of(region, "")) + RUN_DIGITS
    return sorted({one.name[:length] for one in found})


def beat(clients: Clients, prefix: str) -> None:
    """Show that a run lives.

    Raises: ClientError when its table is not there.
    """
    values = {":one": {"N": "1"}}
    clients("dynamodb").update_item(
        TableName=table_of(prefix), Key=_BEAT, UpdateExpression="ADD beats :one", ExpressionAttributeValues=values
    )


def dead(clients: Clients, prefixes: Iterable[str], waits: Waits) -> list[str]:
    """Return those of these runs that show no life for ``waits.silence_s``, which is waited for."""
    before = {prefix: _beats(clients, prefix) for prefix in prefixes}
    if before:
        time.sleep(waits.silence_s)
    # A run that just begins has no table before, and one that lives has counted on.
    return [prefix for prefix, count in before.items() if _beats(clients, prefix) in {None, count}]


def remove(clients: Clients, prefixes: Iterable[str], waits: Waits) -> list[str]:
    """Remove all that these runs have made; return what is still there after ten minutes, with the reason.

    Raises: ClientError where the account may not be asked, BotoCoreError where it cannot be reached for so long.
    """
    prefixes = list(prefixes)
    deadline = time.monotonic() + _LIMIT_S
    errors: dict[str, str] = {}
    while True:
        try:
            found = find(clients, prefixes)
        except BotoCoreError:  # the network may come back
            if time.monotonic() > deadline:
                raise
        else:
            if not found:
                return []
            _remove_first(clients, found, errors, waits)
            if time.monotonic() > deadline:
                return [f"{one} ({errors.get(str(one), 'still listed')})" for one in found]
        time.sleep(waits.poll_s)


def _remove_first(clients: Clients, found: list[Left], errors: dict[str, str], waits: Waits) -> None:
    for one in [one for one in found if not one.kind.last] or found:
        try:
            one.kind.remove(clients, one.id)
        except (BotoCoreError, ClientError) as error:  # gone, being removed, or refused: the next look tells
            errors[str(one)] = str(error)
        if one.kind.what == _API:
            time.sleep(waits.delete_s)


def _beats(clients: Clients, prefix: str) -> str | None:
    try:
        item = clients("dynamodb").get_item(TableName=table_of(prefix), Key=_BEAT, ConsistentRead=True).get("Item")
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        return None
    return str(item["beats"]["N"]) if item else None


def _pages(clients: Clients, service: str, operation: str, members: str, **given: Any) -> Iterator[Any]:
    for page in clients(service).get_paginator(operation).paginate(**given):
        yield from page.get(members) or []


def _mappings(clients: Clients, _: str) -> Iterator[tuple[str, str]]:
    for one in _pages(clients, "lambda", "list_event_source_mappings", "EventSourceMappings"):
        if one["State"] == "Deleting":  # goes by itself, and LocalStack lists some for ever
            continue
        yield one["UUID"], one.get("FunctionArn", "").partition(":function:")[2]


def _functions(clients: Clients, _: str) -> Iterator[tuple[str, str]]:
    for one in _pages(clients, "lambda", "list_functions", "Functions"):
        yield one["FunctionName"], one["FunctionName"]


def _apis(clients: Clients, _: str) -> Iterator[tuple[str, str]]:
    for one in _pages(clients, "apigateway", "get_rest_apis", "items"):
        yield one["id"], one["name"]


def _streams(clients: Clients, _: str) -> Iterator[tuple[str, str]]:
    for name in _pages(clients, "kinesis", "list_streams", "StreamNames"):
        yield name, name


def _log_groups(clients: Clients, base: str) -> Iterator[tuple[str, str]]:
    # A function here may not write logs, but LocalStack's do.
    for prefix in ("", "/aws/lambda/"):
        for one in _pages(clients, "logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix + base):
            yield one["logGroupName"], one["logGroupName"].removeprefix(prefix)


def _queues(clients: Clients, base: str) -> Iterator[tuple[str, str]]:
    for url in _pages(clients, "sqs", "list_queues", "QueueUrls", QueueNamePrefix=base):
        yield url, url.rpartition("/")[2]


def _topics(clients: Clients, _: str) -> Iterator[tuple[str, str]]:
    for one in _pages(clients, "sns", "list_topics", "Topics"):
        yield one["TopicArn"], one["TopicArn"].rpartition(":")[2]


def _buckets(clients: Clients, _: str) -> Iterator[tuple[str, str]]:
    for one in clients("s3").list_buckets()["Buckets"]:
        yield one["Name"], one["Name"]


def _account_role(clients: Clients, _: str) -> Iterator[tuple[str, str]]:
    arn = clients("apigateway").get_account().get("cloudwatchRoleArn") or ""
    if f":role{PATH}" in arn:
        yield arn, arn.rpartition("/")[2]


def _roles(clients: Clients, _: str) -> Iterator[tuple[str, str]]:
    for one in _pages(clients, "iam", "list_roles", "Roles", PathPrefix=PATH):
        yield one["RoleName"], one["RoleName"]


def _tables(clients: Clients, _: str) -> Iterator[tuple[str, str]]:
    for name in _pages(clients, "dynamodb", "list_tables", "TableNames"):
        yield name, name


def _leave_account(clients: Clients, arn: str) -> None:
    """Take our role for logs back, and the group that API Gateway made for it."""
    patch = [{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}]
    clients("apigateway").update_account(patchOperations=patch)
    tags = clients("iam").list_role_tags(RoleName=arn.rpartition("/")[2])["Tags"]
    if {"Key": WELCOME_TAG, "Value": "ours"} in tags:
        clients("logs").delete_log_group(logGroupName=WELCOME)


def _remove_role(clients: Clients, name: str) -> None:
    iam = clients("iam")
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for attached in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=attached["PolicyArn"])
    iam.delete_role(RoleName=name)


def _by(service: str, operation: str, parameter: str, **given: Any) -> Callable[[Clients, str], Any]:
    return lambda clients, id_: getattr(clients(service), operation)(**{parameter: id_}, **given)


_API = "REST API"
KINDS = (
    Kind("event source mapping", _mappings, _by("lambda", "delete_event_source_mapping", "UUID")),
    Kind("function", _functions, _by("lambda", "delete_function", "FunctionName")),
    Kind(_API, _apis, _by("apigateway", "delete_rest_api", "restApiId")),
    Kind("stream", _streams, _by("kinesis", "delete_stream", "StreamName", EnforceConsumerDeletion=True)),
    Kind("log group", _log_groups, _by("logs", "delete_log_group", "logGroupName")),
    Kind("queue", _queues, _by("sqs", "delete_queue", "QueueUrl")),
    Kind("topic", _topics, _by("sns", "delete_topic", "TopicArn")),
    Kind("bucket", _buckets, empty_and_delete),
    Kind("account's role for logs", _account_role, _leave_account),
    Kind("role", _roles, _remove_role, last=True),
    Kind("table", _tables, _by("dynamodb", "delete_table", "TableName"), last=True),
)
