"""Old data taken up again: what is found, refused, imported and left alone, on real storage.

CloudFormation is the project's double, which does what AWS says of imports (tests/support/cloudformation.py). No
emulator has them; tests/test_localstack_adopt.py runs LocalStack's own engine with imports put in.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.aws import ACCESS_KEY
from tests.support.cloudformation import PlaceWithStates, Stack
from tests.support.ledger import LEDGER
from weir.consumers.events_table.readable import unreadable
from weir.infra import adopt, change_sets, shapes, stored, template
from weir.infra.adopt import Adoption, Present, Step, Wish
from weir.infra.change_sets import Options
from weir.infra.local import provision
from weir.infra.local.engine.engine import Engine
from weir.infra.outputs import Outputs
from weir.infra.place import EMBEDDED_ACCOUNT, REGION
from weir.infra.stored import BUCKET, STREAM, TABLE, Stored
from weir.ingest.errors import NotConfirmed, StackFailed
from weir.ingest.sources import mark_lives

GIVEN = {"ArtifactBucket": "none", "ApiDefinitionKey": "none", "FunctionKey": "none"}
KINDS = {"Stream": STREAM, "EventsTable": TABLE, "BalancesTable": TABLE, "Bucket": BUCKET}
ALL = Wish(left=True, names={}, unreadable=unreadable)


def quiet(_text: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def ready() -> dict[str, Any]:
    """The finished template of the example."""
    return template.prepare(template.load(), b'{"paths": {}}', {}, {}, LEDGER.tables)


@pytest.fixture
def place(engine: Engine, tmp_path: Path) -> PlaceWithStates:
    outputs = Outputs(home=tmp_path, events_table="known", bucket="known")
    name = f"a{uuid.uuid4().hex[:8]}"
    made = PlaceWithStates(name, endpoint=engine.endpoint, access_key=ACCESS_KEY, outputs=outputs)
    made.client("s3").create_bucket(Bucket=f"{name}-templates")
    return made


def stocked(place: PlaceWithStates, ready: dict[str, Any], label: str, **given: str) -> dict[str, Stored]:
    """Make stream, tables and bucket as a stack's creation does; the events table has an event."""
    values = {**GIVEN, "StreamMode": "PROVISIONED", "ShardCount": "1", **given}
    resources, _ = template.evaluate(
        ready, values, stack=f"{place.stack}-{label}", region=REGION, account=EMBEDDED_ACCOUNT
    )
    provision.provision(place, resources)
    found = {name: Stored(kind, resources[name].name) for name, kind in KINDS.items()}
    item = {"pk": {"S": "github#1"}, "outcome": {"S": "applied"}, "request_id": {"S": "one"}}
    place.client("dynamodb").put_item(TableName=found["EventsTable"].name, Item=item)
    return found


def destroyed(place: PlaceWithStates, found: dict[str, Stored], **parameters: str) -> None:
    """Let there have been a stack with these, which is deleted."""
    resources = [(name, one.kind, one.name) for name, one in found.items()]
    place.cloudformation.stacks[place.stack] = Stack("UPDATE_COMPLETE", resources, parameters)
    place.cloudformation.delete_stack(StackName=place.stack)


def publish(place: PlaceWithStates) -> Any:
    def upload(content: bytes) -> str:
        key = f"{uuid.uuid4().hex}.json"
        place.client("s3").put_object(Bucket=f"{place.stack}-templates", Key=key, Body=content)
        return f"{place.endpoint}/{place.stack}-templates/{key}"

    return upload


def found_by(place: PlaceWithStates, ready: dict[str, Any], wish: Wish = ALL) -> tuple[Adoption, list[str]]:
    """Find and examine, as a deployment does; return also what is said."""
    said: list[str] = []
    present = adopt.present(place, change_sets.status_of(place), wish)
    adoption = adopt.find(place, wish, present, ready, said.append)
    adopt.examine(place, adoption, ready, {**GIVEN, **adoption.parameters}, said.append)
    return adoption, said


def step(place: PlaceWithStates, *answers: bool) -> Step:
    """Return how the stack is changed: confirmed, unless an answer in turn is no."""
    left = iter(answers)
    values: dict[str, str | None] = {"BatchSize": "10"}
    return Step(Options({"team": "shop"}), values, publish(place), quiet, lambda _changes: next(left, True))


def deployed(place: PlaceWithStates, ready: dict[str, Any], adoption: Adoption, *answers: bool) -> bool:
    """Import, and update to the whole template."""
    how = step(place, *answers)
    adopt.take_up(place, adoption, ready, how)
    url = how.publish(json.dumps(ready).encode())
    return change_sets.apply(place, url, how.values, how.options, say=quiet, confirm=how.confirm, keeps=adoption.found)


def is_whole(place: PlaceWithStates, found: dict[str, Stored]) -> bool:
    """Tell whether everything is there, the event included."""
    table = place.client("dynamodb").scan(TableName=found["EventsTable"].name)
    return all(stored.exists(place, one) for one in found.values()) and table["Count"] == 1


# ---------------------------------------------------------------------------------------------- after a destroy


def test_what_a_deleted_stack_has_left_is_imported_and_then_updated(
    place: PlaceWithStates, ready: dict[str, Any]
) -> None:
    """The import has no name in its template, no output and no change; the stack then owns the old data."""
    found = stocked(place, ready, "old")
    destroyed(place, found)
    adoption, said = found_by(place, ready)
    assert adoption.found == found
    assert deployed(place, ready, adoption)
    first, second = place.cloudformation.asked
    assert [first["ChangeSetType"], second["ChangeSetType"]] == ["IMPORT", "UPDATE"]
    identifiers = {one["LogicalResourceId"]: one["ResourceIdentifier"] for one in first["ResourcesToImport"]}
    assert identifiers == {
        "Stream": {"Name": found["Stream"].name},
        "EventsTable": {"TableName": found["EventsTable"].name},
        "BalancesTable": {"TableName": found["BalancesTable"].name},
        "Bucket": {"BucketName": found["Bucket"].name},
    }
    imported = place.cloudformation.templates[0]
    assert set(imported) == {"AWSTemplateFormatVersion", "Description", "Resources"}
    for resource in imported["Resources"].values():
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
        assert not {"TableName", "BucketName", "Name"} & resource["Properties"].keys()
        assert "Ref" not in json.dumps(resource)
    assert stored.held(place) == found
    assert is_whole(place, found)
    assert any(f"adopting {found['EventsTable']} as EventsTable" in line for line in said)


def test_the_template_of_an_import_is_one_for_cfn_lint(
    place: PlaceWithStates, ready: dict[str, Any], tmp_path: Path
) -> None:
    """Each property is one that CloudFormation's schema of its type knows."""
    import subprocess
    import sys

    destroyed(place, stocked(place, ready, "old"))
    adopt.take_up(place, found_by(place, ready)[0], ready, step(place))
    file = tmp_path / "import.json"
    file.write_text(json.dumps(place.cloudformation.templates[0]))
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_parameters_are_those_of_the_deleted_stack_and_keep_nothing_for_shorter(
    place: PlaceWithStates, ready: dict[str, Any]
) -> None:
    """Else the template's defaults would drop records; what a deployment fills in is not taken over."""
    found = stocked(place, ready, "old")
    place.client("kinesis").increase_stream_retention_period(StreamName=found["Stream"].name, RetentionPeriodHours=700)
    had = {"RetentionHours": "500", "BatchSize": "77", "ApiDefinitionKey": "old", "Gone": "1", "ArchiveDays": "800"}
    destroyed(place, found, **had)
    parameters = found_by(place, ready)[0].parameters
    assert (parameters["RetentionHours"], parameters["BatchSize"]) == ("700", "77")
    assert (parameters["StreamMode"], parameters["ShardCount"], parameters["TableMode"]) == (
        "PROVISIONED",
        "1",
        "ON_DEMAND",
    )
    assert int(parameters["ArchiveDays"]) == 800
    assert not {"ApiDefinitionKey", "Gone"} & parameters.keys()


def test_the_latest_deleted_stack_counts_and_what_is_not_declared_any_more_stays(
    place: PlaceWithStates, ready: dict[str, Any]
) -> None:
    """A table that the project has dropped is named and left alone."""
    older, newer = stocked(place, ready, "older"), stocked(place, ready, "newer")
    destroyed(place, older)
    dropped = Stored(TABLE, newer["BalancesTable"].name)
    destroyed(place, {**newer, "DroppedTable": dropped})
    adoption, said = found_by(place, ready)
    assert adoption.found == newer
    assert f"  {dropped} stays as it is: the project has no DroppedTable" in said


def test_a_restored_table_goes_over_the_one_that_was_left(place: PlaceWithStates, ready: dict[str, Any]) -> None:
    """By its name or its ARN; the others are still those of the deleted stack."""
    old, restored = stocked(place, ready, "old"), stocked(place, ready, "restored")
    destroyed(place, old)
    arn = f"arn:aws:dynamodb:{REGION}:{EMBEDDED_ACCOUNT}:table/{restored['EventsTable'].name}"
    for given in (restored["EventsTable"].name, arn):
        adoption, _ = found_by(place, ready, ALL._replace(names={"EventsTable": given}))
        assert adoption.found == {**old, "EventsTable": restored["EventsTable"]}


def test_nothing_to_adopt_says_so(place: PlaceWithStates, ready: dict[str, Any]) -> None:
    """With how to name it."""
    with pytest.raises(StackFailed, match=r"No deleted stack .* has left anything.*--adopt EventsTable=NAME"):
        found_by(place, ready)


# ---------------------------------------------------------------------------------------------- what is refused


def create(place: PlaceWithStates, **changed: Any) -> str:
    """Create a table that is not quite an events table."""
    name = f"{place.stack}-{uuid.uuid4().hex[:6]}"
    keys = {"AttributeName": "pk", "AttributeType": "S"}
    shape: dict[str, Any] = {
        "AttributeDefinitions": [keys],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    place.client("dynamodb").create_table(TableName=name, **{**shape, **changed})
    return name


def copy_of(place: PlaceWithStates, table: str, **changed: Any) -> str:
    """Create a table with the keys and indexes of another one, some of them changed."""
    real = shapes.shape(place, Stored(TABLE, table))
    shape = {name: real[name] for name in ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")}
    return create(place, **{**shape, **changed})


def refused(place: PlaceWithStates, ready: dict[str, Any], **names: str) -> str:
    """Return why these are not adopted, beside what is left."""
    with pytest.raises(StackFailed) as raised:
        found_by(place, ready, ALL._replace(names=names))
    assert place.cloudformation.asked == []
    return str(raised.value)


def test_a_table_of_another_shape_is_refused_with_what_differs(place: PlaceWithStates, ready: dict[str, Any]) -> None:
    """Key, missing and other indexes, types: what no update can change."""
    destroyed(place, found := stocked(place, ready, "old"))
    events = found["EventsTable"].name
    indexes = shapes.shape(place, found["EventsTable"])["GlobalSecondaryIndexes"]
    definitions = shapes.shape(place, found["EventsTable"])["AttributeDefinitions"]
    assert "its key is account (HASH), and the stack's is pk (HASH)" in refused(
        place, ready, EventsTable=found["BalancesTable"].name, BalancesTable=create(place)
    )
    bare = refused(place, ready, EventsTable=create(place))
    for index in ("quarantine", "sent_id", "waits"):
        assert f"it has no index '{index}', and an update makes one index at a time only" in bare
    more = {**indexes[0], "IndexName": "more"}
    assert "its index 'more' is not in the template" in refused(
        place, ready, EventsTable=copy_of(place, events, GlobalSecondaryIndexes=[*indexes, more])
    )
    other = [{**one, "Projection": {"ProjectionType": "ALL"}} for one in indexes]
    assert "its index 'quarantine' has other keys or attributes" in refused(
        place, ready, EventsTable=copy_of(place, events, GlobalSecondaryIndexes=other)
    )
    texts = [{**one, "AttributeType": "S"} for one in definitions]
    assert "its key attribute 'received_at' is of another type" in refused(
        place, ready, EventsTable=copy_of(place, events, AttributeDefinitions=texts)
    )


def test_more_shards_than_kinesis_makes_at_once_are_refused(place: PlaceWithStates, ready: dict[str, Any]) -> None:
    """By `--set ShardCount`; without it the stream keeps its shards."""
    destroyed(place, stocked(place, ready, "old"))
    adoption, _ = found_by(place, ready)
    for count, is_refused in (("2", False), ("3", True)):
        values = {**GIVEN, **adoption.parameters, "ShardCount": count}
        if is_refused:
            with pytest.raises(StackFailed, match="it has 1 shards; one update goes to 1 at least and 2 at most"):
                adopt.examine(place, adoption, ready, values, quiet)
        else:
            adopt.examine(place, adoption, ready, values, quiet)


def test_marks_that_this_version_cannot_read_are_refused(place: PlaceWithStates, ready: dict[str, Any]) -> None:
    """An outcome or a form of a newer version, a table of another product, a record of another version."""
    destroyed(place, found := stocked(place, ready, "old"))
    dynamodb, events = place.client("dynamodb"), found["EventsTable"].name
    item = {"pk": {"S": "github#2"}, "outcome": {"S": "applied"}}
    for changed, why in (
        ({"outcome": {"S": "postponed"}}, "outcome 'postponed', which only a newer version of Weir knows"),
        ({"envelope": {"B": b"\x09abc"}}, "in a form that only a newer version of Weir reads"),
    ):
        dynamodb.put_item(TableName=events, Item={**item, **changed})
        assert why in refused(place, ready)
    dynamodb.put_item(TableName=events, Item={"pk": {"S": "github#2"}})
    assert "not an events table of Weir's" in refused(place, ready)
    dynamodb.delete_item(TableName=events, Key={"pk": {"S": "github#2"}})
    place.client("s3").put_object(Bucket=found["Bucket"].name, Key=mark_lives.KEY, Body=b'{"v": 9}')
    assert "marks/lives.json in the bucket cannot be read" in refused(place, ready)


def test_what_another_stack_owns_is_refused(place: PlaceWithStates, ready: dict[str, Any]) -> None:
    """With that stack's name and state; a deleted one owns nothing."""
    destroyed(place, found := stocked(place, ready, "old"))
    owner = Stack("UPDATE_COMPLETE", [("Theirs", TABLE, found["BalancesTable"].name)])
    place.cloudformation.stacks = {"theirs": owner, **place.cloudformation.stacks}
    assert "it belongs to the stack theirs, which is UPDATE_COMPLETE" in refused(place, ready)


def test_what_is_elsewhere_or_not_there_is_refused(
    place: PlaceWithStates, ready: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong Region, account or service by ARN, a wrong Region of a bucket, a wrong name."""
    destroyed(place, stocked(place, ready, "old"))
    account = EMBEDDED_ACCOUNT
    for given, why in (
        (f"arn:aws:dynamodb:eu-west-1:{account}:table/t", "it is in eu-west-1, and the stack in us-east-1"),
        (f"arn:aws:dynamodb:{REGION}:111111111111:table/t", "it belongs to the account 111111111111"),
        (f"arn:aws:kinesis:{REGION}:{account}:stream/s", "that is not the ARN of a table"),
        ("nowhere", f"there is no such table in {REGION}, account {account}"),
    ):
        assert why in refused(place, ready, EventsTable=given)
    assert "there is no such stream" in refused(place, ready, Stream="nowhere")
    assert "there is no such bucket" in refused(place, ready, Bucket="nowhere-at-all")
    assert "has no table, stream or bucket OrdersTable: it has BalancesTable" in refused(
        place, ready, OrdersTable="nowhere"
    )
    head: dict[str, Any] = {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}}}
    monkeypatch.setattr(place.client("s3"), "head_bucket", lambda **_: head)
    assert "the bucket is in eu-west-1, and the stack in us-east-1" in refused(place, ready)


def test_what_is_on_its_way_is_refused(
    place: PlaceWithStates, ready: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is being deleted, a table that is being restored, a global table that takes no transactions."""
    destroyed(place, found := stocked(place, ready, "old"))
    kinesis, dynamodb = place.client("kinesis"), place.client("dynamodb")
    with monkeypatch.context() as patched:
        going = {"StreamDescriptionSummary": {"StreamStatus": "DELETING"}}
        patched.setattr(kinesis, "describe_stream_summary", lambda **_: going)
        assert "the stream is being deleted, and nothing of it can be kept" in refused(place, ready)
    for table, why in (
        ({"TableStatus": "CREATING"}, "the table is CREATING. Adopt it when it is ACTIVE"),
        ({"TableStatus": "ACTIVE", "MultiRegionConsistency": "STRONG"}, "takes no transactions"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(dynamodb, "describe_table", lambda table=table, **_: {"Table": table})
            assert why in refused(place, ready, EventsTable=found["EventsTable"].name)


def test_marks_effects_and_bodies_are_adopted_together(place: PlaceWithStates, ready: dict[str, Any]) -> None:
    """Effects without marks count twice; a record of marks without marks, and marks without bodies, say too much."""
    found = stocked(place, ready, "old")
    named = {name: one.name for name, one in found.items()}
    for names, why in (
        (["BalancesTable"], "BalancesTable without EventsTable: what was applied has no mark"),
        (["Bucket", "Stream"], "Bucket without EventsTable"),
        (["EventsTable", "Stream"], "EventsTable without Bucket"),
        (["EventsTable", "Bucket", "BalancesTable"], ""),
        (["Stream"], ""),
    ):
        wish = Wish(left=False, names={name: named[name] for name in names}, unreadable=unreadable)
        if why:
            with pytest.raises(StackFailed, match=why):
                found_by(place, ready, wish)
        else:
            assert set(found_by(place, ready, wish)[0].found) == set(names)
    with pytest.raises(StackFailed, match="is to be adopted twice"):
        found_by(place, ready, ALL._replace(left=False, names={**named, "BalancesTable": named["EventsTable"]}))


# ---------------------------------------------------------------------------------------------- what fails


def test_an_import_that_fails_leaves_everything_and_no_stack(place: PlaceWithStates, ready: dict[str, Any]) -> None:
    """It can be tried again."""
    destroyed(place, found := stocked(place, ready, "old"))
    adoption, _ = found_by(place, ready)
    place.cloudformation.import_ends_in = "IMPORT_ROLLBACK_COMPLETE"
    with pytest.raises(StackFailed, match="ended in IMPORT_ROLLBACK_COMPLETE; nothing was deleted"):
        deployed(place, ready, adoption)
    assert is_whole(place, found)
    assert change_sets.status_of(place) is None
    place.cloudformation.import_ends_in = "IMPORT_COMPLETE"
    assert deployed(place, ready, found_by(place, ready)[0])


def test_an_import_that_is_not_confirmed_changes_nothing(place: PlaceWithStates, ready: dict[str, Any]) -> None:
    """The empty stack that its change set had made is gone."""
    destroyed(place, found := stocked(place, ready, "old"))
    with pytest.raises(NotConfirmed):
        deployed(place, ready, found_by(place, ready)[0], False)
    assert is_whole(place, found)
    assert change_sets.status_of(place) is None


def test_an_update_that_ends_early_is_gone_on_with_and_never_from_defaults(
    place: PlaceWithStates, ready: dict[str, Any]
) -> None:
    """The stack then has what was adopted and nothing else: a deployment without --adopt is refused."""
    destroyed(place, found := stocked(place, ready, "old"), RetentionHours="700")
    with pytest.raises(NotConfirmed):
        deployed(place, ready, found_by(place, ready)[0], True, False)
    assert change_sets.status_of(place) == "IMPORT_COMPLETE"
    with pytest.raises(StackFailed, match=r"has adopted .* Go on with --adopt"):
        adopt.present(place, "IMPORT_COMPLETE", None)
    adoption, _ = found_by(place, ready)
    assert (adoption.found, adoption.parameters["RetentionHours"]) == ({}, "700")
    assert deployed(place, ready, adoption)
    assert stored.held(place) == found
    assert is_whole(place, found)


def test_other_data_than_an_early_end_has_adopted_is_refused(place: PlaceWithStates, ready: dict[str, Any]) -> None:
    """Both would be in one stack under one logical id."""
    destroyed(place, stocked(place, ready, "old"))
    with pytest.raises(NotConfirmed):
        deployed(place, ready, found_by(place, ready)[0], True, False)
    other = stocked(place, ready, "other")
    with pytest.raises(StackFailed, match=r"has adopted .* before, and that is not what is to be adopted now"):
        found_by(place, ready, ALL._replace(names={"EventsTable": other["EventsTable"].name}))


def test_an_update_that_would_replace_what_was_adopted_is_not_made(
    place: PlaceWithStates, ready: dict[str, Any]
) -> None:
    """A replaced table begins empty, and its marks are gone."""
    destroyed(place, found := stocked(place, ready, "old"))
    adoption, _ = found_by(place, ready)
    adopt.take_up(place, adoption, ready, step(place))
    named = json.loads(json.dumps(ready))
    named["Resources"]["EventsTable"]["Properties"]["TableName"] = "another"
    how = step(place)
    with pytest.raises(StackFailed, match="would replace or take out EventsTable"):
        change_sets.apply(
            place,
            how.publish(json.dumps(named).encode()),
            {},
            Options(),
            say=quiet,
            confirm=lambda _changes: True,
            keeps=adoption.found,
        )
    assert place.cloudformation.stacks[place.stack].status == "IMPORT_COMPLETE"
    assert is_whole(place, found)


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED"])
def test_a_stack_that_never_worked_keeps_what_it_has_adopted(
    place: PlaceWithStates, ready: dict[str, Any], status: str
) -> None:
    """It is taken away to be made again; only what it made itself goes with it."""
    found = stocked(place, ready, "old")
    resources = [(name, one.kind, one.name) for name, one in found.items()]
    failed = Stack(status, resources, imported=[one.name for name, one in found.items() if name != "BalancesTable"])
    place.cloudformation.stacks[place.stack] = failed
    place.cloudformation.creation = Stack("CREATE_COMPLETE", [])
    change_sets.apply(place, "https://template", {}, Options(), say=quiet, confirm=lambda _changes: True)
    left = [name for name, one in found.items() if stored.exists(place, one)]
    assert left == ["Stream", "EventsTable", "Bucket"]


# ---------------------------------------------------------------------------------------------- in a stack that lives


def living(place: PlaceWithStates, ready: dict[str, Any], home: Path, *, is_paused: bool = True) -> dict[str, Stored]:
    """Let there be a whole stack, with its consumer paused."""
    found = stocked(place, ready, "live")
    resources = [(name, one.kind, one.name) for name, one in found.items()]
    stack = Stack("UPDATE_COMPLETE", resources, {"BatchSize": "10"}, template=ready)
    place.cloudformation.stacks[place.stack] = stack
    if is_paused:
        (home / "paused").touch()
    return found


def test_a_restored_table_takes_the_place_of_one_while_the_door_stays_open(
    place: PlaceWithStates, ready: dict[str, Any], tmp_path: Path
) -> None:
    """Users of a table get its name, then it is imported, then the names are references again; the old one stays."""
    live, restored = living(place, ready, tmp_path), stocked(place, ready, "restored")
    names = {name: restored[name].name for name in ("EventsTable", "BalancesTable")}
    adoption, _ = found_by(place, ready, Wish(left=False, names=names, unreadable=unreadable))
    assert deployed(place, ready, adoption)
    assert [one["ChangeSetType"] for one in place.cloudformation.asked] == ["UPDATE", "IMPORT", "UPDATE"]
    detached, imported, last = place.cloudformation.templates
    assert not names.keys() & detached["Resources"].keys()
    assert '"Ref": "EventsTable"' not in json.dumps(detached)
    variables = detached["Resources"]["Consumer"]["Properties"]["Environment"]["Variables"]
    assert variables["EVENTS_TABLE"] == names["EventsTable"]
    assert json.loads(variables["TABLES"]["Fn::Sub"]) == {"balances": names["BalancesTable"]}
    role = json.dumps(detached["Resources"]["ConsumerRole"])
    for name in names.values():
        assert f"arn:aws:dynamodb:{REGION}:{EMBEDDED_ACCOUNT}:table/{name}" in role
    assert {name: one for name, one in imported["Resources"].items() if name not in names} == detached["Resources"]
    assert last == ready
    assert stored.held(place) == {**live, **{name: restored[name] for name in names}}
    assert is_whole(place, live)


def test_a_template_without_its_tables_is_one_for_cfn_lint(
    place: PlaceWithStates, ready: dict[str, Any], tmp_path: Path
) -> None:
    """Nothing in it refers to what it has not."""
    import subprocess
    import sys

    found = {name: Stored(TABLE, f"restored-{name}") for name in ("EventsTable", "BalancesTable")}
    file = tmp_path / "detached.json"
    file.write_text(json.dumps(adopt.detached(place, ready, found)))
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--non-zero-exit-code", "error", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_while_the_consumer_runs_no_table_is_changed(
    place: PlaceWithStates, ready: dict[str, Any], tmp_path: Path
) -> None:
    """What it applied meanwhile would be missing in the new one."""
    living(place, ready, tmp_path, is_paused=False)
    restored = stocked(place, ready, "restored")
    wish = Wish(left=False, names={"EventsTable": restored["EventsTable"].name}, unreadable=unreadable)
    with pytest.raises(StackFailed, match="`weir pause` first"):
        deployed(place, ready, found_by(place, ready, wish)[0])
    assert place.cloudformation.asked == []


def test_an_import_that_fails_in_a_stack_that_lives_is_gone_on_with(
    place: PlaceWithStates, ready: dict[str, Any], tmp_path: Path
) -> None:
    """The consumer has the restored table by its name; a plain deployment would make an empty one, and is refused."""
    live, restored = living(place, ready, tmp_path), stocked(place, ready, "restored")
    wish = Wish(left=False, names={"EventsTable": restored["EventsTable"].name}, unreadable=unreadable)
    place.cloudformation.import_ends_in = "IMPORT_ROLLBACK_COMPLETE"
    with pytest.raises(StackFailed, match="nothing was deleted"):
        deployed(place, ready, found_by(place, ready, wish)[0])
    assert (is_whole(place, live), is_whole(place, restored)) == (True, True)
    with pytest.raises(StackFailed, match=r"does not hold its EventsTable.*--adopt EventsTable=known"):
        adopt.present(place, change_sets.status_of(place), None)
    place.cloudformation.import_ends_in = "IMPORT_COMPLETE"
    assert deployed(place, ready, found_by(place, ready, wish)[0])
    assert stored.held(place)["EventsTable"] == restored["EventsTable"]


def test_only_tables_of_a_stack_that_lives_are_changed(
    place: PlaceWithStates, ready: dict[str, Any], tmp_path: Path
) -> None:
    """And each by its name: what a stack has left itself is nothing that it needs."""
    living(place, ready, tmp_path)
    other = stocked(place, ready, "other")
    wish = Wish(left=False, names={"Stream": other["Stream"].name}, unreadable=unreadable)
    with pytest.raises(StackFailed, match="the stream of a stack that is there cannot be changed, only its tables"):
        found_by(place, ready, wish)
    with pytest.raises(StackFailed, match=r"is there and holds its data. Name the table"):
        found_by(place, ready)


def test_without_a_wish_nothing_is_asked(place: PlaceWithStates, ready: dict[str, Any]) -> None:
    """A usual deployment is as it was."""
    adoption = adopt.find(place, None, Present(), ready, quiet)
    adopt.examine(place, adoption, ready, {}, quiet)
    adopt.take_up(place, adoption, ready, step(place))
    assert (adoption.found, place.cloudformation.asked) == ({}, [])
