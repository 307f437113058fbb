"""CloudFormation's stacks: changed by a change set that is shown first, followed to their end, deleted.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html (the states of a stack)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from weir.infra import Say, stored
from weir.infra.place import Place
from weir.ingest.errors import NotConfirmed, StackFailed

if TYPE_CHECKING:
    from types_boto3_cloudformation.literals import ChangeSetTypeType
    from types_boto3_cloudformation.type_defs import StackEventTypeDef

_POLL_S = 2.0
_CLOCK_S = 5.0  # by how much this machine's clock may be ahead of AWS's
_DONE = ("COMPLETE", "FAILED")
# A stack that an update goes on from: it has tables.
WORKING = {
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
}
# A first creation that failed: nothing ever worked, and all that can be done to it is to delete it.
NEVER_WORKED = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}
_NEW = {None, "REVIEW_IN_PROGRESS"}
_WAYS_OUT = {
    "UPDATE_ROLLBACK_FAILED": "Fix what its events name, then `aws cloudformation continue-update-rollback "
    "--stack-name {stack}` brings it back to where it was; deploy again after that.",
    "DELETE_FAILED": "Its deletion ended early: fix what its events name, then `weir destroy` again.",
    "CREATE_FAILED": "Its creation ended without a rollback: `weir destroy`, then deploy again.",
    "IMPORT_ROLLBACK_FAILED": "What it had begun to adopt is kept: `weir destroy` lets go of it, then adopt again.",
}


class Options(NamedTuple):
    """What a change set is made with beside template and parameters."""

    tags: Mapping[str, str] = {}
    role_arn: str | None = None


# Shown the changes, tells whether they shall be made.
Confirm = Callable[[Sequence["Change"]], bool]


class Change(NamedTuple):
    """One change of a resource. ``replaces``: "" for no, or CloudFormation's word: True or Conditional."""

    action: str
    type: str
    logical_id: str
    replaces: str = ""

    def line(self) -> str:
        """Write it for a person."""
        note = {"True": "   REPLACED by a new one", "Conditional": "   perhaps replaced by a new one"}
        return f"  {self.action.lower():8} {self.type:42} {self.logical_id}{note.get(self.replaces, '')}"


def apply(
    place: Place,
    template_url: str,
    values: Mapping[str, str | None],
    options: Options,
    *,
    say: Say,
    confirm: Confirm,
    keeps: Collection[str] = (),
) -> bool:
    """Make a change set, show it, and execute it; return False when there is nothing to change.

    ``values``: parameters of the template; one that is None keeps what the stack has. A first creation that fails is
    taken away whole, so that it can be tried again. ``keeps``: logical ids that no change may replace or take out.

    Raises: StackFailed with CloudFormation's reason, NotConfirmed when ``confirm`` says no: then nothing is changed.
    """
    cloudformation = place.client("cloudformation")
    if status_of(place) in NEVER_WORKED:
        _clear(place, say)
    kind: ChangeSetTypeType = "CREATE" if status_of(place) in _NEW else "UPDATE"
    name = f"weir-{int(time.time())}"
    _create(place, kind, name, template_url, values=values, options=options)
    changes = _wait_for_changes(place, name)
    if changes is None:
        cloudformation.delete_change_set(StackName=place.stack, ChangeSetName=name)
        say("  nothing to change")
        return False
    _show(place, name, changes, keeps=keeps, is_new=kind == "CREATE", say=say, confirm=confirm)
    began_s = time.time()
    cloudformation.execute_change_set(StackName=place.stack, ChangeSetName=name)
    status = _follow(place, say)
    if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        reasons = _reasons(place, began_s)
        if status == "ROLLBACK_FAILED":
            _clear(place, say)
        raise StackFailed(f"stack {place.stack} ended in {status}", reasons=reasons)
    return True


def import_resources(
    place: Place,
    template_url: str,
    resources: Sequence[Mapping[str, Any]],
    parameters: Iterable[str],
    options: Options,
    *,
    say: Say,
    confirm: Confirm,
) -> None:
    """Let a stack, which may be new, own resources that are there already, by a change set that does nothing else.

    ``resources`` are CloudFormation's ResourcesToImport; ``parameters`` those that the stack has, which are kept. Tags
    cannot be given here: the next update gives them.
    Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-manually.html

    Raises: StackFailed with CloudFormation's reason, NotConfirmed. The resources are as they were then.
    """
    if status_of(place) in NEVER_WORKED:
        _clear(place, say)
    is_new = status_of(place) in _NEW
    name = f"weir-import-{int(time.time())}"
    untagged = Options(role_arn=options.role_arn)
    kept = dict.fromkeys(parameters)
    _create(place, "IMPORT", name, template_url, values=kept, options=untagged, resources=resources)
    changes = _wait_for_changes(place, name) or []
    _show(place, name, changes, keeps=(), is_new=is_new, say=say, confirm=confirm)
    began_s = time.time()
    place.client("cloudformation").execute_change_set(StackName=place.stack, ChangeSetName=name)
    status = _follow(place, say)
    if status == "IMPORT_COMPLETE":
        return
    reasons = _reasons(place, began_s)
    if is_new and not stored.held(place):
        delete_stack(place, say)  # it is empty
    raise StackFailed(f"the import into stack {place.stack} ended in {status}; nothing was deleted", reasons=reasons)


def _show(
    place: Place,
    name: str,
    changes: Sequence[Change],
    *,
    keeps: Collection[str],
    is_new: bool,
    say: Say,
    confirm: Confirm,
) -> None:
    """Show changes and have them confirmed; else take the change set back. Raises: NotConfirmed, StackFailed."""
    for change in changes:
        say(change.line())
    lost = [one.logical_id for one in changes if one.logical_id in keeps and (one.replaces or one.action == "Remove")]
    if not lost and confirm(changes):
        return
    cloudformation = place.client("cloudformation")
    cloudformation.delete_change_set(StackName=place.stack, ChangeSetName=name)
    if is_new:  # the change set had made an empty stack
        cloudformation.delete_stack(StackName=place.stack)
    if lost:
        raise StackFailed(f"CloudFormation would replace or take out {', '.join(lost)}, and the data with it.")
    raise NotConfirmed


def settle(place: Place, say: Say) -> str | None:
    """Wait until no other command changes the stack; return its status, or None when there is none.

    Raises: StackFailed for a state that nothing can be deployed to, with the way out, and for another product's stack.
    """
    status = status_of(place)
    if status not in _NEW:
        stored.check_is_weir(place, description_of(place))
    if status is not None and status not in _NEW and not status.endswith(_DONE):
        say(f"  the stack is {status}, by another command: waiting for its end")
        _follow(place, say)
        status = status_of(place)
    if (way := way_out(place, status)) is not None:
        raise StackFailed(f"stack {place.stack} is {status}. {way}", reasons=_reasons(place, 0.0))
    return status


def way_out(place: Place, status: str | None) -> str | None:
    """Return what a person must do before anything can be deployed to a stack; None if nothing must be done."""
    found = _WAYS_OUT.get(status or "")
    return None if found is None else found.format(stack=place.stack)


def _clear(place: Place, say: Say) -> None:
    """Delete a stack whose creation failed, with what that made to hold data.

    CloudFormation would delete it by its policy (RetainExceptOnCreate), and cannot delete a table that is protected.
    What the stack has adopted was there before, and stays.
    """
    say("  taking away what the failed creation has left")
    taken = stored.imported(place)
    found = [one for one in stored.of_stack(place) if one.name not in taken]
    delete_stack(place, say)
    for one in found:
        stored.delete(place, one, say)


def _create(
    place: Place,
    kind: ChangeSetTypeType,
    name: str,
    template_url: str,
    *,
    values: Mapping[str, str | None],
    options: Options,
    resources: Sequence[Mapping[str, Any]] = (),
) -> None:
    given: dict[str, Any] = {"RoleARN": options.role_arn} if options.role_arn else {}
    if resources:
        given["ResourcesToImport"] = [*resources]
    if options.tags:
        given["Tags"] = [{"Key": key, "Value": value} for key, value in options.tags.items()]
    place.client("cloudformation").create_change_set(
        StackName=place.stack,
        ChangeSetName=name,
        ChangeSetType=kind,
        TemplateURL=template_url,
        Parameters=[
            {"ParameterKey": key, "UsePreviousValue": True}
            if value is None
            else {"ParameterKey": key, "ParameterValue": value}
            for key, value in values.items()
        ],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        **given,
    )


def _wait_for_changes(place: Place, name: str) -> list[Change] | None:
    """Return the changes of a change set once it is made; None if there are none. Raises: StackFailed."""
    cloudformation = place.client("cloudformation")
    while True:
        found = cloudformation.describe_change_set(StackName=place.stack, ChangeSetName=name)
        if found["Status"] == "CREATE_COMPLETE":
            break
        if found["Status"] == "FAILED":
            reason = found.get("StatusReason", "")
            if "didn't contain changes" in reason or "No updates" in reason:
                return None
            raise StackFailed(f"the change set was refused: {reason}")
        time.sleep(_POLL_S)
    changes = [*found.get("Changes", [])]
    while token := found.get("NextToken"):
        found = cloudformation.describe_change_set(StackName=place.stack, ChangeSetName=name, NextToken=token)
        changes += found.get("Changes", [])
    resources = (change["ResourceChange"] for change in changes)
    return [
        Change(
            str(one["Action"]),
            one["ResourceType"],
            one["LogicalResourceId"],
            str(one.get("Replacement", "")).replace("False", "") if one["Action"] == "Modify" else "",
        )
        for one in resources
    ]


def _follow(place: Place, say: Say) -> str:
    """Print each event once until the stack rests; return its status."""
    seen: set[str] = set()
    started = time.time() - _CLOCK_S
    while True:
        status = status_of(place) or "DELETE_COMPLETE"
        for event in _new_events(place, seen, started):
            reason = event.get("ResourceStatusReason", "")
            say(f"  {event['ResourceStatus']:28} {event['LogicalResourceId']} {reason}".rstrip())
        if status.endswith(_DONE) and not status.endswith("CLEANUP_IN_PROGRESS"):
            return status
        time.sleep(0.5 if place.emulated else _POLL_S)


def _new_events(place: Place, seen: set[str], since_s: float) -> Iterator[StackEventTypeDef]:
    try:
        answer = place.client("cloudformation").describe_stack_events(StackName=place.stack)
    except ClientError:  # the stack is gone
        return
    for event in reversed(answer["StackEvents"]):
        if event["EventId"] not in seen and event["Timestamp"].timestamp() >= since_s:
            seen.add(event["EventId"])
            yield event


def description_of(place: Place) -> str:
    """Return the description of the stack, which must be there."""
    return place.client("cloudformation").describe_stacks(StackName=place.stack)["Stacks"][0].get("Description", "")


def status_of(place: Place) -> str | None:
    try:
        stacks = place.client("cloudformation").describe_stacks(StackName=place.stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return str(stacks[0]["StackStatus"]) if stacks else None


def parameters_of(place: Place) -> dict[str, str]:
    """Return the parameters that the stack has; none when there is no stack that works."""
    stacks = place.client("cloudformation").describe_stacks(StackName=place.stack)["Stacks"]
    return {one["ParameterKey"]: one["ParameterValue"] for one in stacks[0].get("Parameters", [])}


def _reasons(place: Place, since_s: float) -> list[str]:
    """Return what failed first since a moment (epoch seconds): an earlier deployment's failures explain nothing."""
    events = place.client("cloudformation").describe_stack_events(StackName=place.stack)["StackEvents"]
    return [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
        for event in reversed(events)
        if event["ResourceStatus"].endswith("FAILED") and event["Timestamp"].timestamp() >= since_s - _CLOCK_S
    ][:5]


def delete_stack(place: Place, say: Say) -> None:
    began_s = time.time()
    place.client("cloudformation").delete_stack(StackName=place.stack)
    status = _follow(place, say)
    if status != "DELETE_COMPLETE":
        raise StackFailed(f"stack {place.stack} ended in {status}", reasons=_reasons(place, began_s))
