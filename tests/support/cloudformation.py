"""CloudFormation's states of a stack that no emulator takes on, with real tables, streams and buckets behind them.

What it does is what AWS says: a stack whose creation fails is rolled back, which fails at a table that is protected
against deletion; a deleted stack leaves what its policy retains, and its resources can be asked for by its id.
Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStackResources.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from weir.infra.outputs import Outputs
from weir.infra.place import Place


@dataclass
class Stack:
    """A stack: its status, its resources as (logical id, type, physical id), and what an update ends in."""

    status: str
    resources: list[tuple[str, str, str]]
    parameters: dict[str, str] = field(default_factory=dict)
    ends_in: str = "UPDATE_COMPLETE"
    description: str = "Weir: of a test"
    deleted: datetime | None = None


class CloudFormation:
    """The calls that Weir makes. ``stacks``: by id, of which the living one's is its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stacks: dict[str, Stack] = {}
        self.creation: Stack | None = None  # what the next creation makes
        self.asked: list[dict[str, Any]] = []
        self._since: str | None = None

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:
        if StackName not in self.stacks:
            raise ClientError(
                {"Error": {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}},
                "DescribeStacks",
            )
        stack = self.stacks[StackName]
        listed = [{"ParameterKey": name, "ParameterValue": value} for name, value in stack.parameters.items()]
        return {"Stacks": [{"StackStatus": stack.status, "Parameters": listed, "Description": stack.description}]}

    def create_change_set(self, **asked: Any) -> None:
        self.asked.append(asked)
        if asked["ChangeSetType"] == "CREATE":
            self.stacks[self.name] = Stack("REVIEW_IN_PROGRESS", [])

    def describe_change_set(self, **_: Any) -> dict[str, Any]:
        change = {"Action": "Add", "ResourceType": "AWS::DynamoDB::Table", "LogicalResourceId": "EventsTable"}
        return {"Status": "CREATE_COMPLETE", "Changes": [{"ResourceChange": change}]}

    def execute_change_set(self, **_: Any) -> None:
        stack = self.stacks[self.name]
        if stack.status == "REVIEW_IN_PROGRESS":
            assert self.creation is not None
            self.stacks[self.name], self.creation = self.creation, None
        else:
            stack.status = stack.ends_in

    def describe_stack_events(self, **_: Any) -> dict[str, Any]:
        event = {"EventId": "1", "ResourceStatus": "CREATE_FAILED", "LogicalResourceId": "Stage"}
        return {"StackEvents": [{**event, "ResourceStatusReason": "no role", "Timestamp": datetime.now(UTC)}]}

    def delete_stack(self, *, StackName: str) -> None:
        stack = self.stacks.pop(StackName)
        stack.status, stack.deleted = "DELETE_COMPLETE", datetime.now(UTC) + timedelta(seconds=len(self.stacks))
        self.stacks[f"arn:{StackName}/{len(self.stacks)}"] = stack

    def get_paginator(self, call: str) -> Any:
        return _Pages(self._list_stacks if call == "list_stacks" else self._list_resources)

    def _list_stacks(self, **_: Any) -> dict[str, Any]:
        return {
            "StackSummaries": [
                {"StackId": one, "StackName": self.name, "CreationTime": stack.deleted, "DeletionTime": stack.deleted}
                for one, stack in self.stacks.items()
                if stack.deleted
            ]
        }

    def _list_resources(self, *, StackName: str) -> dict[str, Any]:
        return {
            "StackResourceSummaries": [
                {"LogicalResourceId": logical, "ResourceType": kind, "PhysicalResourceId": name}
                for logical, kind, name in self.stacks[StackName].resources
            ]
        }


class _Pages:
    def __init__(self, call: Any) -> None:
        self._call = call

    def paginate(self, **options: Any) -> Iterator[Any]:
        yield self._call(**options)


class PlaceWithStates(Place):
    """A place whose storage is the embedded engine's, and whose stacks are these."""

    def __init__(self, stack: str, *, endpoint: str, access_key: str, outputs: Outputs | None = None) -> None:
        super().__init__("embedded", stack, endpoint=endpoint, access_key=access_key, outputs=outputs)
        self.cloudformation = CloudFormation(stack)

    def client(self, service: str) -> Any:
        return self.cloudformation if service == "cloudformation" else super().client(service)
