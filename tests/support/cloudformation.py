"""CloudFormation's states of a stack that no emulator takes on, with real tables, streams and buckets behind them.

What it does is what AWS says: a stack whose creation fails is rolled back, which fails at a table that is protected
against deletion; a deleted stack leaves what its policy retains, and its resources can be asked for by its id. A change
set of type IMPORT takes up what is there and changes nothing; a resource whose name an update leaves out is replaced.
Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-manually.html
Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStackResources.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

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
    template: dict[str, Any] = field(default_factory=dict)
    imported: list[str] = field(default_factory=list)  # physical ids


_NAMES = ("TableName", "BucketName", "Name")


class CloudFormation:
    """The calls that Weir makes. ``stacks``: by id, of which the living one's is its name.

    ``read`` returns the template at a URL. ``import_ends_in`` is what the next import ends in.
    """

    def __init__(self, name: str, read: Callable[[str], dict[str, Any]] = lambda _url: {}) -> None:
        self.name = name
        self.stacks: dict[str, Stack] = {}
        self.creation: Stack | None = None  # what the next creation makes
        self.asked: list[dict[str, Any]] = []
        self.templates: list[dict[str, Any]] = []  # of each that was asked
        self.import_ends_in = "IMPORT_COMPLETE"
        self._read = read

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:
        if StackName not in self.stacks:
            raise _invalid(f"Stack with id {StackName} does not exist", "DescribeStacks")
        stack = self.stacks[StackName]
        listed = [{"ParameterKey": name, "ParameterValue": value} for name, value in stack.parameters.items()]
        return {"Stacks": [{"StackStatus": stack.status, "Parameters": listed, "Description": stack.description}]}

    def create_change_set(self, **asked: Any) -> None:
        self.asked.append(asked)
        self.templates.append(self._read(asked["TemplateURL"]))
        if asked["ChangeSetType"] == "CREATE":
            self.stacks[self.name] = Stack("REVIEW_IN_PROGRESS", [])
        elif asked["ChangeSetType"] == "IMPORT":
            assert "Tags" not in asked
            self.stacks.setdefault(self.name, Stack("REVIEW_IN_PROGRESS", []))
            self._check_import(asked["ResourcesToImport"], self.templates[-1], self.stacks[self.name].template)

    def _check_import(self, wanted: list[Any], template: dict[str, Any], before: dict[str, Any]) -> None:
        """Refuse what AWS refuses: anything else that changes, and what another stack owns."""
        names = {one["LogicalResourceId"] for one in wanted}
        others = {name: one for name, one in template["Resources"].items() if name not in names}
        if others != before.get("Resources", {}) or template.get("Outputs", {}) != before.get("Outputs", {}):
            raise _invalid("As part of the import operation, you cannot modify or add", "CreateChangeSet")
        for one in wanted:
            (name,) = one["ResourceIdentifier"].values()
            assert template["Resources"][one["LogicalResourceId"]]["DeletionPolicy"]
            if any(name in _physical(stack) for stack in self.stacks.values() if not stack.deleted):
                raise _invalid(f"{name} already exists in a stack", "CreateChangeSet")

    def describe_change_set(self, **_: Any) -> dict[str, Any]:
        asked, template = self.asked[-1], self.templates[-1]
        if asked["ChangeSetType"] == "CREATE" or not template:
            change = {"Action": "Add", "ResourceType": "AWS::DynamoDB::Table", "LogicalResourceId": "EventsTable"}
            return {"Status": "CREATE_COMPLETE", "Changes": [{"ResourceChange": change}]}
        before, after = self.stacks[self.name].template.get("Resources", {}), template["Resources"]
        is_import = asked["ChangeSetType"] == "IMPORT"
        changes = [*_changes(before, after, "Import" if is_import else "Add")]
        if not changes:
            return {"Status": "FAILED", "StatusReason": "The submitted information didn't contain changes."}
        return {"Status": "CREATE_COMPLETE", "Changes": [{"ResourceChange": one} for one in changes]}

    def delete_change_set(self, **_: Any) -> None:
        """Nothing is kept of a change set."""

    def execute_change_set(self, **_: Any) -> None:
        stack, asked, template = self.stacks[self.name], self.asked[-1], self.templates[-1]
        if asked["ChangeSetType"] == "CREATE":
            assert self.creation is not None
            self.stacks[self.name], self.creation = self.creation, None
            return
        stack.status = self.import_ends_in if asked["ChangeSetType"] == "IMPORT" else stack.ends_in
        if stack.status.endswith("ROLLBACK_COMPLETE") or not template:
            return
        names = {one["LogicalResourceId"]: next(iter(one["ResourceIdentifier"].values())) for one in _to_import(asked)}
        stack.imported += names.values()
        known = {logical: name for logical, _, name in stack.resources} | names
        stack.template, made = template, template["Resources"].items()
        stack.resources = [(logical, one["Type"], known.get(logical, f"made-{logical}")) for logical, one in made]
        given = {one["ParameterKey"]: one.get("ParameterValue") for one in asked["Parameters"]}
        stack.parameters |= {name: value for name, value in given.items() if value is not None}

    def describe_stack_events(self, **_: Any) -> dict[str, Any]:
        event = {"EventId": "1", "ResourceStatus": "CREATE_FAILED", "LogicalResourceId": "Stage"}
        return {"StackEvents": [{**event, "ResourceStatusReason": "no role", "Timestamp": datetime.now(UTC)}]}

    def delete_stack(self, *, StackName: str) -> None:
        stack = self.stacks.pop(StackName)
        stack.status, stack.deleted = "DELETE_COMPLETE", datetime.now(UTC) + timedelta(seconds=len(self.stacks))
        self.stacks[f"arn:{StackName}/{len(self.stacks)}"] = stack

    def get_paginator(self, call: str) -> Any:
        calls = {"list_stacks": self._list_stacks, "describe_stack_events": self._imports}
        return _Pages(calls.get(call, self._list_resources))

    def _imports(self, *, StackName: str) -> dict[str, Any]:
        imported = self.stacks[StackName].imported
        return {"StackEvents": [{"ResourceStatus": "IMPORT_COMPLETE", "PhysicalResourceId": one} for one in imported]}

    def describe_stack_resources(self, *, PhysicalResourceId: str) -> dict[str, Any]:
        for stack_id, stack in self.stacks.items():
            if PhysicalResourceId in _physical(stack):
                status = "DELETE_SKIPPED" if stack.deleted else "CREATE_COMPLETE"
                found = {"StackId": stack_id, "StackName": stack_id, "ResourceStatus": status}
                return {"StackResources": [{**found, "PhysicalResourceId": PhysicalResourceId}]}
        raise _invalid(f"Stack for {PhysicalResourceId} does not exist", "DescribeStackResources")

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
                {
                    "LogicalResourceId": logical,
                    "ResourceType": kind,
                    "PhysicalResourceId": name,
                    "ResourceStatus": "CREATE_COMPLETE",
                }
                for logical, kind, name in self.stacks[StackName].resources
            ]
        }


def _to_import(asked: Mapping[str, Any]) -> list[Any]:
    return [*asked.get("ResourcesToImport", [])]


def _physical(stack: Stack) -> set[str]:
    return {name for _, _, name in stack.resources}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], added: str) -> Iterator[dict[str, Any]]:
    """Yield the changes between two sets of resources. One whose name changes is replaced."""
    for name in sorted({*before, *after}):
        one = {"LogicalResourceId": name, "ResourceType": (after.get(name) or before.get(name) or {})["Type"]}
        if name not in after:
            yield {**one, "Action": "Remove"}
        elif name not in before:
            yield {**one, "Action": added}
        elif before[name] != after[name]:
            old, new = (side[name].get("Properties", {}) for side in (before, after))
            is_replaced = any(old.get(part) != new.get(part) for part in _NAMES)
            yield {**one, "Action": "Modify", "Replacement": str(is_replaced)}


def _invalid(message: str, call: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationError", "Message": message}}, call)


class _Pages:
    def __init__(self, call: Any) -> None:
        self._call = call

    def paginate(self, **options: Any) -> Iterator[Any]:
        yield self._call(**options)


class PlaceWithStates(Place):
    """A place whose storage is the embedded engine's, and whose stacks are these."""

    def __init__(self, stack: str, *, endpoint: str, access_key: str, outputs: Outputs | None = None) -> None:
        super().__init__("embedded", stack, endpoint=endpoint, access_key=access_key, outputs=outputs)
        self.cloudformation = CloudFormation(stack, self._template)

    def _template(self, url: str) -> dict[str, Any]:
        """Return the template that was uploaded to the engine; none for another URL."""
        if not self.endpoint or not url.startswith(self.endpoint):
            return {}
        bucket, _, key = urlsplit(url).path.lstrip("/").partition("/")
        found: dict[str, Any] = json.loads(self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        return found

    def client(self, service: str) -> Any:
        return self.cloudformation if service == "cloudformation" else super().client(service)
