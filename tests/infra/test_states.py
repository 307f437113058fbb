"""Each state that CloudFormation can leave a stack in: what `deploy` and `destroy` make of it, on real storage."""

from __future__ import annotations

import threading
import uuid

import pytest

from tests.support.aws import ACCESS_KEY
from tests.support.cloudformation import PlaceWithStates, Stack
from weir.infra import change_sets, destroy, stored
from weir.infra.local.engine.engine import Engine
from weir.infra.stored import BUCKET, STREAM, TABLE, Stored
from weir.ingest.errors import DataLeft, StackFailed


def quiet(_text: str) -> None:
    """Say nothing."""


@pytest.fixture
def place(engine: Engine) -> PlaceWithStates:
    return PlaceWithStates(f"s{uuid.uuid4().hex[:8]}", endpoint=engine.endpoint, access_key=ACCESS_KEY)


def made(place: PlaceWithStates, label: str = "a") -> list[Stored]:
    """Make a stack's stream, protected table and bucket with an object, as its creation does."""
    name = f"{place.stack}-{label}"
    place.client("kinesis").create_stream(StreamName=name, ShardCount=1)
    place.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    place.client("s3").create_bucket(Bucket=name)
    place.client("s3").put_object(Bucket=name, Key="payloads/one", Body=b"stored")
    return [Stored(STREAM, name), Stored(TABLE, name), Stored(BUCKET, name)]


def stack_of(found: list[Stored], status: str) -> Stack:
    logical = {STREAM: "Stream", TABLE: "EventsTable", BUCKET: "Bucket"}
    own = [(logical[one.kind], one.kind, one.name) for one in found]
    return Stack(status, [*own, ("FailureQueue", "AWS::SQS::Queue", "queue")])


def apply(place: PlaceWithStates) -> bool:
    return change_sets.apply(
        place, "https://template", {}, change_sets.Options(), say=quiet, confirm=lambda _changes: True
    )


def left(place: PlaceWithStates, found: list[Stored]) -> list[Stored]:
    return [one for one in found if stored.exists(place, one)]


def test_a_first_creation_that_cannot_be_rolled_back_leaves_nothing(place: PlaceWithStates) -> None:
    """The protected tables stop CloudFormation's rollback: they are taken away. The reason is the creation's."""
    found = made(place)
    place.cloudformation.creation = stack_of(found, "ROLLBACK_FAILED")
    with pytest.raises(StackFailed, match=r"ROLLBACK_FAILED.*Stage: no role"):
        apply(place)
    assert left(place, found) == []
    assert change_sets.status_of(place) is None
    place.cloudformation.creation = stack_of(made(place, "b"), "CREATE_COMPLETE")
    assert apply(place)  # and it can be tried again


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED"])
def test_a_failed_creation_of_an_earlier_run_makes_way(place: PlaceWithStates, status: str) -> None:
    found = made(place)
    place.cloudformation.stacks[place.stack] = stack_of(found, status)
    place.cloudformation.creation = stack_of([], "CREATE_COMPLETE")
    assert apply(place)
    assert left(place, found) == []
    assert place.cloudformation.asked[-1]["ChangeSetType"] == "CREATE"


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name"),
        ("DELETE_FAILED", "weir destroy"),
        ("CREATE_FAILED", "weir destroy"),
    ],
)
def test_a_state_that_only_a_person_can_leave_names_the_way_out(
    place: PlaceWithStates, status: str, way_out: str
) -> None:
    found = made(place)
    place.cloudformation.stacks[place.stack] = stack_of(found, status)
    with pytest.raises(StackFailed, match=way_out):
        change_sets.settle(place, quiet)
    assert left(place, found) == found


def test_another_deployment_is_waited_for(place: PlaceWithStates) -> None:
    stack = stack_of([], "UPDATE_IN_PROGRESS")
    place.cloudformation.stacks[place.stack] = stack
    timer = threading.Timer(0.3, lambda: setattr(stack, "status", "UPDATE_COMPLETE"))
    timer.start()
    said: list[str] = []
    assert change_sets.settle(place, said.append) == "UPDATE_COMPLETE"
    assert "UPDATE_IN_PROGRESS" in said[0]
    timer.join()


def test_data_is_deleted_after_its_writers(place: PlaceWithStates, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery stream writes until it is gone, and a function that runs even after that."""
    monkeypatch.setattr(stored, "_EMPTY_PAUSE_S", 0.05)
    found = made(place)
    place.cloudformation.stacks[place.stack] = stack_of(found, "UPDATE_COMPLETE")
    s3, bucket = place.client("s3"), found[2].name
    writes, delete_bucket = iter(range(3)), s3.delete_bucket

    def delete(**options: str) -> object:
        for number in writes:
            s3.put_object(Bucket=bucket, Key=f"archive/{number}", Body=b"late")
            break
        return delete_bucket(**options)

    monkeypatch.setattr(s3, "delete_bucket", delete)
    said: list[str] = []
    assert destroy.destroy(place, delete_data=True, say=said.append) == []
    assert left(place, found) == []
    assert sum("again in" in line for line in said) == 3


def test_a_deletion_that_ended_early_is_finished_by_the_next(
    place: PlaceWithStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be deleted is named, the rest goes, and the same command deletes it when it can."""
    found = made(place)
    place.cloudformation.stacks[place.stack] = stack_of(found, "UPDATE_COMPLETE")
    with monkeypatch.context() as patched:
        patched.setattr(place.client("dynamodb"), "update_table", _refuse)
        with pytest.raises(DataLeft, match=f"this is left: {found[1]}"):
            destroy.destroy(place, delete_data=True, say=quiet)
    assert left(place, found) == [found[1]]
    with pytest.raises(StackFailed, match=f"There is no stack.* Its data is kept: {found[1]}; --delete-data"):
        destroy.destroy(place, delete_data=False, say=quiet)
    assert destroy.at_stake(place) == [found[1]]
    assert destroy.destroy(place, delete_data=True, say=quiet) == []
    assert left(place, found) == []
    with pytest.raises(StackFailed, match="There is no stack"):
        destroy.destroy(place, delete_data=True, say=quiet)


def test_what_an_older_stack_has_left_is_deleted_by_a_run_of_its_own(place: PlaceWithStates) -> None:
    """It was kept on purpose: it is named, and goes only when there is nothing newer."""
    older, newer = made(place, "older"), made(place, "newer")
    place.cloudformation.stacks[place.stack] = stack_of(older, "UPDATE_COMPLETE")
    assert destroy.destroy(place, delete_data=False, say=quiet) == [*map(str, older)]
    place.cloudformation.stacks[place.stack] = stack_of(newer, "UPDATE_COMPLETE")
    said: list[str] = []
    destroy.destroy(place, delete_data=True, say=said.append)
    assert (left(place, newer), left(place, older)) == ([], older)
    assert "older stack" in said[-1]
    assert older[0].name in said[-1]
    destroy.destroy(place, delete_data=True, say=quiet)
    assert left(place, older) == []


def test_another_product_s_stack_of_the_same_name_is_left_alone(place: PlaceWithStates) -> None:
    """Whether it lives, has failed or is deleted: a name given by mistake must not cost another team its data."""
    found = made(place)
    other = stack_of(found, "UPDATE_COMPLETE")
    other.description = "The shop"
    other.resources = [(f"Other{logical}", kind, name) for logical, kind, name in other.resources]
    for other.status in ("UPDATE_COMPLETE", "ROLLBACK_FAILED"):
        place.cloudformation.stacks[place.stack] = other
        for touch in (
            lambda: destroy.destroy(place, delete_data=True, say=quiet),
            lambda: change_sets.settle(place, quiet),
        ):
            with pytest.raises(StackFailed, match="is not one of Weir's"):
                touch()
    place.cloudformation.delete_stack(StackName=place.stack)
    assert destroy.at_stake(place) == []
    assert left(place, found) == found


def test_a_stack_that_another_tool_deployed_is_known_by_its_resources(place: PlaceWithStates) -> None:
    stack = stack_of(made(place), "UPDATE_COMPLETE")
    stack.description = ""
    place.cloudformation.stacks[place.stack] = stack
    assert change_sets.settle(place, quiet) == "UPDATE_COMPLETE"


def test_an_object_that_cannot_be_deleted_is_named(place: PlaceWithStates, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers 200 with the refusal inside; that does not call for emptying the bucket again and again."""
    found = made(place)
    place.cloudformation.stacks[place.stack] = stack_of(found, "UPDATE_COMPLETE")
    refused = {"Errors": [{"Key": "payloads/one", "Code": "AccessDenied", "Message": "no right"}]}
    monkeypatch.setattr(place.client("s3"), "delete_objects", lambda **_: refused)
    with pytest.raises(DataLeft, match="payloads/one: no right"):
        destroy.destroy(place, delete_data=True, say=quiet)
    assert left(place, found) == [found[2]]


def _refuse(**_options: object) -> None:
    from botocore.exceptions import ClientError

    raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no right"}}, "UpdateTable")
