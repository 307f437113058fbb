"""Old data taken up again: a stack adopts a stream, tables and a bucket that are there already.

CloudFormation imports them, each as it is, by a change set that can do nothing else; the update after it makes of them
what the template says. Neither step names them in the template: a name that the import gives and the update leaves out
would replace the resource by an empty one. Into a new stack they are imported alone. In a stack that lives a table
takes the place of another one: first everything that used the old one is given the name of the new one, which leaves
the old one out of the stack and keeps it; then the new one is imported; then the names become references again.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-manually.html
Source: https://docs.aws.amazon.com/cdk/v2/guide/ref-cli-cmd-import.html (a bucket that is imported without its name)
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from weir.infra import Say, control, shapes, stored, template
from weir.infra.change_sets import WORKING, Confirm, Options, apply, import_resources, parameters_of
from weir.infra.place import Place
from weir.infra.shapes import Properties
from weir.infra.stored import BUCKET, STREAM, TABLE, Stored
from weir.ingest.errors import CatalogueInvalid, StackFailed
from weir.ingest.sources import mark_lives

_EVENTS, _BUCKET, _STREAM = "EventsTable", "Bucket", "Stream"
# The property by which a resource is identified when it is imported.
# Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-manually.html
_IDENTIFIERS = {STREAM: "Name", TABLE: "TableName", BUCKET: "BucketName"}
_WORDS = {STREAM: "stream", TABLE: "table", BUCKET: "bucket"}
_ARN = re.compile(r"arn:[a-z-]+:(?P<service>kinesis|dynamodb|s3):(?P<region>[^:]*):(?P<account>[^:]*):(?P<name>.+)")
# So many items of an events table are looked at.
_SAMPLE = 100
# What `weir deploy` fills in by itself, by its description in the template.
_FILLED = "(deploy)"
_STRONG = "of multi-Region strong consistency"
# What a stack has that is whole.
_WHOLE = (_STREAM, _EVENTS, _BUCKET)


class Wish(NamedTuple):
    """What to adopt.

    ``left``: what the last deleted stack of this name has left; over it ``names``, names or ARNs by logical id.
    ``unreadable`` says of items of an events table what this version cannot read; "" if it reads all.
    """

    left: bool
    names: Mapping[str, str]
    unreadable: Callable[[Sequence[Mapping[str, Any]]], str] = lambda _items: ""


class Present(NamedTuple):
    """What is there of the stack: its parameters, none unless it is whole, and what it holds, by logical id."""

    parameters: Mapping[str, str] = {}
    holds: Mapping[str, Stored] = {}


class Adoption(NamedTuple):
    """What is adopted, by logical id, and as it is; ``parameters`` are those by which it stays so."""

    found: Mapping[str, Stored] = {}
    real: Mapping[str, Properties] = {}
    parameters: Mapping[str, str] = {}
    present: Present = Present()
    unreadable: Callable[[Sequence[Mapping[str, Any]]], str] = lambda _items: ""


class Step(NamedTuple):
    """How the stack is changed: with what, and by whose word. ``publish`` uploads a template and returns its URL."""

    options: Options
    values: Mapping[str, str | None]
    publish: Callable[[bytes], str]
    say: Say
    confirm: Confirm


def present(place: Place, status: str | None, wish: Wish | None) -> Present:
    """Return what is there of a stack with this status.

    Raises: StackFailed for one that has lost a part of its data and does not adopt it: an update would make it anew.
    """
    if status not in WORKING:
        return Present()
    found = Present(parameters_of(place), stored.held(place))
    if wish is not None:
        return found
    if found.holds and not found.parameters:
        raise StackFailed(
            f"The stack {place.stack} has adopted {_listed(found.holds)}, and nothing else of it is there: a "
            "deployment has ended early. Go on with --adopt; `weir destroy` lets go of them and deletes none."
        )
    if found.parameters and (lost := [one for one in _WHOLE if one not in found.holds]):
        known = place.outputs().as_dict()
        given = " ".join(f"--adopt {name}={known.get(name, 'NAME')}" for name in lost)
        raise StackFailed(
            f"The stack {place.stack} does not hold its {' and '.join(lost)}: an adoption has ended early. Go on with "
            f"`weir deploy {given}`; without that, an empty one would be made."
        )
    return found


def find(place: Place, wish: Wish | None, present: Present, ready: Mapping[str, Any], say: Say) -> Adoption:
    """Find what is to be adopted; nothing without a wish. ``ready`` is the finished template.

    Raises: StackFailed in a sentence for each thing that is not there, or not in a state to be imported.
    """
    if wish is None:
        return Adoption(present=present)
    declared = {name: one["Type"] for name, one in ready["Resources"].items() if one["Type"] in _WORDS}
    wanted, before = _wanted(place, wish, present, declared, say)
    found = {name: one for name, one in wanted.items() if present.holds.get(name) != one}
    if refused := [why for name, one in found.items() for why in _not_ready(place, name, one)]:
        raise StackFailed("\n".join(("Nothing is adopted.", *refused)))
    real = {name: shapes.shape(place, one) for name, one in wanted.items()}
    if present.parameters:
        return Adoption(found, real, {}, present, wish.unreadable)
    shaped = [shapes.parameters(one.kind, real[name]) for name, one in wanted.items() if name in _WHOLE]
    usual = template.defaults(template.load())
    kept = {**before, **_not_shorter({**usual, **before}, [pair for part in shaped for pair in part.items()])}
    unusual = {name: value for name, value in kept.items() if value != usual.get(name, "")}
    if unusual:
        say("  as it was: " + ", ".join(f"{name}={value}" for name, value in sorted(unusual.items())))
    return Adoption(found, real, kept, present, wish.unreadable)


def _not_shorter(before: Mapping[str, str], shaped: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters by which data stays as it is; of what is kept for a time, none shorter than ``before``."""
    return {name: max(value, before[name], key=int) if name in shapes.LIVES else value for name, value in shaped}


def examine(place: Place, adoption: Adoption, ready: Mapping[str, Any], values: Mapping[str, str], say: Say) -> None:
    """Say what is adopted, and what the update after the import changes of it, a line for each property.

    ``ready`` is the finished template, ``values`` its parameters. Raises: StackFailed in a sentence for each thing that
    cannot be adopted.
    """
    if not adoption.found:
        return
    wanted = template.outline(ready, values, region=place.region)
    refused = [*_not_together(adoption)]
    for name, one in adoption.found.items():
        refused += _not_fitting(name, one, adoption.real[name], wanted[name].properties)
        refused += _owned(place, name, one)
    if not refused:
        refused = [*_unread(place, adoption)]
    if refused:
        raise StackFailed("\n".join(("Nothing is adopted.", *refused)))
    for name, one in adoption.found.items():
        say(f"  adopting {one} as {name}")
        for line in shapes.differences(adoption.real[name], wanted[name].properties):
            say(f"    then {line}")


def take_up(place: Place, adoption: Adoption, ready: Mapping[str, Any], step: Step) -> None:
    """Import what was found and examined; ``ready`` is the finished template.

    Raises: StackFailed with CloudFormation's reason, NotConfirmed. Nothing that is adopted is deleted or emptied then.
    """
    if not adoption.found:
        return
    base: Mapping[str, Any] = {name: ready[name] for name in ("AWSTemplateFormatVersion", "Description")}
    parameters: list[str] = []
    if adoption.present.parameters:
        _check_paused(place)
        base = detached(place, ready, adoption.found)
        parameters = [*base["Parameters"]]
        keeps = adoption.present.holds.keys() - adoption.found.keys()
        url = step.publish(_dump(base))
        apply(place, url, step.values, step.options, say=step.say, confirm=step.confirm, keeps=keeps)
    resources = {**base.get("Resources", {}), **{name: _as_it_is(adoption, name) for name in adoption.found}}
    identified = [_identified(name, one) for name, one in adoption.found.items()]
    url = step.publish(_dump({**base, "Resources": resources}))
    import_resources(place, url, identified, parameters, step.options, say=step.say, confirm=step.confirm)


def detached(place: Place, ready: Mapping[str, Any], found: Mapping[str, Stored]) -> dict[str, Any]:
    """Return the template without these tables, and with the names of the ones found wherever it refers to them."""
    base = copy.deepcopy(dict(ready))
    for name in found:
        del base["Resources"][name]
    for resource in base["Resources"].values():
        waits = resource.get("DependsOn", [])
        resource["DependsOn"] = [one for one in ([waits] if isinstance(waits, str) else waits) if one not in found]
        if not resource["DependsOn"]:
            del resource["DependsOn"]
    where = f"arn:{place.partition}:dynamodb:{place.region}:{place.account()}:table"
    replaced: dict[str, Any] = _replaced(base, {name: (one.name, f"{where}/{one.name}") for name, one in found.items()})
    return replaced


def _replaced(node: Any, known: Mapping[str, tuple[str, str]]) -> Any:
    """Return a copy in which each reference to a resource is its name, and to its ARN the ARN."""
    if isinstance(node, list):
        return [_replaced(part, known) for part in node]
    if isinstance(node, str):
        for name, (real, arn) in known.items():
            node = node.replace(f"${{{name}}}", real).replace(f"${{{name}.Arn}}", arn)
        return node
    if not isinstance(node, Mapping):
        return node
    if node.get("Ref") in known:
        return known[node["Ref"]][0]
    name, attribute = (node.get("Fn::GetAtt") or ("", ""))[:2]
    if name in known and attribute == "Arn":
        return known[name][1]
    return {member: _replaced(part, known) for member, part in node.items()}


def _as_it_is(adoption: Adoption, name: str) -> dict[str, Any]:
    """Return a resource for the import: it stays whatever becomes of the stack, and has no name of its own."""
    kept = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    return {"Type": adoption.found[name].kind, **kept, "Properties": adoption.real[name]}


def _identified(name: str, one: Stored) -> dict[str, Any]:
    identifier = {_IDENTIFIERS[one.kind]: one.name}
    return {"ResourceType": one.kind, "LogicalResourceId": name, "ResourceIdentifier": identifier}


def _dump(whole: Mapping[str, Any]) -> bytes:
    return json.dumps(whole, indent=1).encode("utf-8")


def _wanted(
    place: Place, wish: Wish, present: Present, declared: Mapping[str, str], say: Say
) -> tuple[dict[str, Stored], dict[str, str]]:
    """Return what is wished for, by logical id, and the parameters of the deleted stack that had it."""
    if wish.left and present.parameters:
        raise StackFailed(
            f"The stack {place.stack} is there and holds its data. Name the table that takes the place of one of its "
            "tables: --adopt EventsTable=NAME."
        )
    left = next(stored.left(place), None) if wish.left else None
    if wish.left and not left and not wish.names:
        raise StackFailed(
            f"No deleted stack {place.stack} has left anything in {place.region}, or it was deleted more than 90 days "
            "ago. Name what to adopt: --adopt EventsTable=NAME --adopt Bucket=NAME --adopt Stream=NAME."
        )
    found: dict[str, Stored] = {}
    for name, one in left.found.items() if left else ():
        if declared.get(name) == one.kind:
            found[name] = one
        else:
            say(f"  {one} stays as it is: the project has no {name}")
    for name, given in wish.names.items():
        if name not in declared:
            raise StackFailed(f"The stack has no table, stream or bucket {name}: it has {', '.join(sorted(declared))}.")
        found[name] = Stored(declared[name], _name(place, name, declared[name], given))
    names = [one.name for one in found.values() if one.kind == TABLE]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise StackFailed(f"The table {repeated[0]} is to be adopted twice: each of the stack's tables needs its own.")
    if present.holds and not present.parameters and found != present.holds:
        raise StackFailed(
            f"The stack {place.stack} has adopted {_listed(present.holds)} before, and that is not what is to be "
            "adopted now. `weir destroy` lets go of it and deletes none; then adopt again."
        )
    return found, _parameters_of(place, left.stack_id) if left else {}


def _name(place: Place, name: str, kind: str, given: str) -> str:
    """Return the name in a name or an ARN. Raises: StackFailed for an ARN of another service, Region or account."""
    arn = _ARN.fullmatch(given)
    if arn is None:
        return given
    if arn["service"] != {STREAM: "kinesis", TABLE: "dynamodb", BUCKET: "s3"}[kind]:
        raise StackFailed(f"{name}={given}: that is not the ARN of a {_WORDS[kind]}.")
    if arn["region"] not in {"", place.region}:
        raise StackFailed(
            f"{name}={given}: it is in {arn['region']}, and the stack in {place.region}. CloudFormation adopts what is "
            "in its own Region: restore the table into that, or deploy there."
        )
    if arn["account"] not in {"", place.account()}:
        raise StackFailed(f"{name}={given}: it belongs to the account {arn['account']}, not to {place.account()}.")
    return arn["name"].rpartition("/")[2]


def _parameters_of(place: Place, stack_id: str) -> dict[str, str]:
    """Return the parameters of a deleted stack that the template still has, without what a deployment fills in."""
    stacks = place.client("cloudformation").describe_stacks(StackName=stack_id)["Stacks"]
    declared = template.load()["Parameters"]
    filled = {name for name, spec in declared.items() if spec.get("Description", "").startswith(_FILLED)}
    given = {one["ParameterKey"]: one["ParameterValue"] for one in stacks[0].get("Parameters", [])}
    return {name: value for name, value in given.items() if name in declared and name not in filled}


def _not_ready(place: Place, name: str, one: Stored) -> Iterator[str]:
    """Yield why something cannot be imported at this moment: it is not there, elsewhere, or on its way."""
    here = f"in {place.region}, account {place.account()}"
    try:
        state = _state(place, one)
    except ClientError as error:
        if error.response["Error"]["Code"] not in stored.GONE:
            raise
        yield f"{name}={one.name}: there is no such {_WORDS[one.kind]} {here}."
        return
    if one.kind == BUCKET:
        if state not in {"", place.region}:
            yield f"{name}={one.name}: the bucket is in {state}, and the stack in {place.region}."
    elif state == "DELETING":
        yield f"{name}={one.name}: the {_WORDS[one.kind]} is being deleted, and nothing of it can be kept."
    elif state == _STRONG:
        yield f"{name}={one.name}: a global table with strong consistency takes no transactions, and Weir makes them."
    elif state != "ACTIVE":
        yield f"{name}={one.name}: the {_WORDS[one.kind]} is {state}. Adopt it when it is ACTIVE."


def _state(place: Place, one: Stored) -> str:
    """Return the status of a stream or table, of a bucket its Region. Raises: ClientError when it is not there."""
    if one.kind == STREAM:
        found = place.client("kinesis").describe_stream_summary(StreamName=one.name)
        return str(found["StreamDescriptionSummary"]["StreamStatus"])
    if one.kind == TABLE:
        table: Mapping[str, Any] = place.client("dynamodb").describe_table(TableName=one.name)["Table"]
        # Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html
        is_strong = table.get("MultiRegionConsistency") == "STRONG"
        return _STRONG if is_strong else str(table["TableStatus"])
    answer: Mapping[str, Any] = place.client("s3").head_bucket(Bucket=one.name)
    return str(answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", ""))


def _not_together(adoption: Adoption) -> Iterator[str]:
    """Yield what may not be adopted without something else."""
    if adoption.present.parameters:
        for name, one in adoption.found.items():
            if one.kind != TABLE:
                yield f"{name}: the {_WORDS[one.kind]} of a stack that is there cannot be changed, only its tables."
        return
    old = adoption.found.keys()
    if _BUCKET in old and _EVENTS not in old:
        yield (
            "Bucket without EventsTable: the bucket says since when there are marks, and a new table has none. Name "
            "the table, restored if need be (--adopt EventsTable=NAME); or only the stream (--adopt Stream=NAME)."
        )
    if _EVENTS in old and _BUCKET not in old:
        yield (
            "EventsTable without Bucket: the bodies of large events are in the bucket, and the record of how long "
            "marks live. Name it, too: --adopt Bucket=NAME."
        )
    tables = [name for name, one in adoption.found.items() if one.kind == TABLE and name != _EVENTS]
    if tables and _EVENTS not in old:
        yield f"{', '.join(tables)} without EventsTable: what was applied has no mark in a new one, and counts twice."


def _not_fitting(name: str, one: Stored, real: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Yield what no update can change: keys and indexes of a table, or shards by more than half or double."""
    if one.kind == STREAM and "ShardCount" in real and "ShardCount" in wanted:
        # Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html
        now, then = int(real["ShardCount"]), int(wanted["ShardCount"])
        low, high = (now + 1) // 2, now * 2
        if not low <= then <= high:
            yield f"{name}={one.name}: it has {now} shards; one update goes to {low} at least and {high} at most."
    if one.kind != TABLE:
        return
    if not shapes.alike(real["KeySchema"], wanted["KeySchema"]):
        yield f"{name}={one.name}: its key is {_keys(real)}, and the stack's is {_keys(wanted)}."
        return
    have, want = _indexes(real), _indexes(wanted)
    for index in sorted(want.keys() - have.keys()):
        yield (
            f"{name}={one.name}: it has no index {index!r}, and an update makes one index at a time only. Restore it "
            "with its indexes, or make the index (`aws dynamodb update-table`)."
        )
    for index in sorted(have.keys() - want.keys()):
        yield f"{name}={one.name}: its index {index!r} is not in the template, and would be deleted. Delete it first."
    for index in sorted(index for index in have.keys() & want.keys() if not shapes.alike(have[index], want[index])):
        yield f"{name}={one.name}: its index {index!r} has other keys or attributes than the template's: make it again."
    types = {one["AttributeName"]: one["AttributeType"] for one in real["AttributeDefinitions"]}
    for attribute in wanted["AttributeDefinitions"] if not have.keys() ^ want.keys() else ():
        if types.get(attribute["AttributeName"]) != attribute["AttributeType"]:
            yield f"{name}={one.name}: its key attribute {attribute['AttributeName']!r} is of another type."


def _keys(properties: Mapping[str, Any]) -> str:
    return ", ".join(f"{one['AttributeName']} ({one['KeyType']})" for one in properties["KeySchema"])


def _indexes(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return keys and attributes of each index, global or local, by its name."""
    listed = [*properties.get("GlobalSecondaryIndexes", ()), *properties.get("LocalSecondaryIndexes", ())]
    return {one["IndexName"]: [one["KeySchema"], one["Projection"]] for one in listed}


def _owned(place: Place, name: str, one: Stored) -> Iterator[str]:
    """Yield which stack owns a resource, if one does: CloudFormation would refuse to import it.

    Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackResources.html
    """
    cloudformation = place.client("cloudformation")
    try:
        listed = cloudformation.describe_stack_resources(PhysicalResourceId=one.name)["StackResources"]
    except ClientError as error:
        if "does not exist" in str(error):
            return
        raise
    # Of a large stack the answer names a hundred resources only: this one need not be among them.
    own = [part for part in listed if part.get("PhysicalResourceId") == one.name] or listed
    stacks = {str(part["StackId"]): part["StackName"] for part in own if part["ResourceStatus"][:7] != "DELETE_"}
    for stack_id, stack in stacks.items():
        status = cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"]
        if status != "DELETE_COMPLETE":
            yield f"{name}={one.name}: it belongs to the stack {stack}, which is {status}. A resource is in one stack."


def _unread(place: Place, adoption: Adoption) -> Iterator[str]:
    """Yield what of marks and their lives this version cannot read."""
    if table := adoption.found.get(_EVENTS):
        items = place.client("dynamodb").scan(TableName=table.name, Limit=_SAMPLE)["Items"]
        if why := adoption.unreadable(items):
            yield f"{_EVENTS}={table.name}: {why}"
    if bucket := adoption.found.get(_BUCKET):
        try:
            mark_lives.load(place.client("s3"), bucket.name)
        except CatalogueInvalid as error:
            yield f"{_BUCKET}={bucket.name}: {error}"


def _check_paused(place: Place) -> None:
    """Raises: StackFailed while the consumer runs: what it applies meanwhile would be missing in the new tables."""
    if not control.is_paused(place):
        raise StackFailed(
            "The consumer runs, and what it applies meanwhile would be missing in the table that is adopted. "
            "`weir pause` first, then adopt, then `weir resume`; the stream keeps what arrives."
        )


def _listed(found: Mapping[str, Stored]) -> str:
    return ", ".join(f"{name} ({one.name})" for name, one in found.items())
