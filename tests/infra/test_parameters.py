"""What a deployment passes on: given, kept, from the project; what it says of changes, and which it refuses."""

from __future__ import annotations

import uuid

import pytest

from tests.support.aws import ACCESS_KEY
from weir.infra import parameters, template
from weir.infra.local.engine.engine import Engine
from weir.infra.outputs import Outputs
from weir.infra.place import Place
from weir.ingest.errors import ParameterInvalid, StackFailed

PROJECT = {"ArtifactBucket": "artifacts", "ApiDefinitionKey": "apis/1", "FunctionKey": "functions/1"}
USUAL = template.defaults(template.load())


def test_a_new_stack_takes_the_defaults() -> None:
    values = parameters.choose(PROJECT, {})
    assert values.passed() == PROJECT
    assert values.all == {**USUAL, **PROJECT}


@pytest.mark.parametrize("name", sorted(USUAL))
def test_what_is_not_given_keeps_its_value(name: str) -> None:
    """Every parameter, whatever it was set to: the change set asks for the previous value, not for the default."""
    have = {**USUAL, **PROJECT}
    values = parameters.choose(PROJECT, have)
    assert values.passed()[name] is None
    assert values.all[name] == have[name]
    given = parameters.choose({**PROJECT, name: USUAL[name]}, have)
    assert given.passed()[name] == USUAL[name]


def test_what_was_set_stays_and_is_said() -> None:
    have = {**USUAL, **PROJECT, "RetentionHours": "720", "AlarmTopicArn": "arn:aws:sns:us-east-1:1:pager"}
    values = parameters.choose(PROJECT, have)
    assert values.all["RetentionHours"] == "720"
    said = list(parameters.told(values, have, unsaid=set(PROJECT)))
    assert said == ["as it was: AlarmTopicArn=arn:aws:sns:us-east-1:1:pager, RetentionHours=720"]


def test_each_change_is_named_and_what_it_destroys() -> None:
    have = {**USUAL, **PROJECT, "RetentionHours": "720"}
    given = {
        **PROJECT,
        "FunctionKey": "functions/2",
        "RetentionHours": "24",
        "SecretsPrefix": "/acme",
        "BatchSize": "9",
    }
    said = list(parameters.told(parameters.choose(given, have), have, unsaid=set(PROJECT)))
    assert said == [
        "BatchSize: 500 -> 9",
        "RetentionHours: 720 -> 24 (the stream drops at once what is older)",
        "SecretsPrefix: /weir/secrets -> /acme (every source needs its secrets there: `weir secrets list`)",
    ]


def test_a_longer_retention_needs_no_warning() -> None:
    have = {**USUAL, **PROJECT}
    said = list(parameters.told(parameters.choose({**PROJECT, "RetentionHours": "720"}, have), have, unsaid=set()))
    assert said == ["RetentionHours: 168 -> 720"]


def test_a_parameter_that_this_version_does_not_have_is_not_passed_on() -> None:
    values = parameters.choose(PROJECT, {**USUAL, **PROJECT, "OfAnEarlierVersion": "1"})
    assert "OfAnEarlierVersion" not in values.passed()


def test_a_kept_value_that_this_version_refuses_is_named() -> None:
    with pytest.raises(ParameterInvalid, match="MaxRecordKiB"):
        parameters.choose(PROJECT, {**USUAL, **PROJECT, "MaxRecordKiB": "1000"})


@pytest.mark.parametrize(
    ("have_mode", "have_count", "wanted", "refused"),
    [
        ("ON_DEMAND", "2", "4", None),
        ("ON_DEMAND", "2", "2", None),
        ("ON_DEMAND", "2", "1", "--set ShardCount=2 first"),
        ("PROVISIONED", "4", "9", "--set ShardCount=8 first"),
        ("PROVISIONED", "4", "8", None),
        ("PROVISIONED", "4", "4", None),
    ],
)
def test_shards_that_kinesis_would_refuse_are_refused_before(
    engine: Engine, have_mode: str, have_count: str, wanted: str, refused: str | None
) -> None:
    """An on-demand stream has scaled to four shards; so has the provisioned one."""
    stream = f"p{uuid.uuid4().hex[:8]}"
    outputs = Outputs(stream_name=stream)
    place = Place("embedded", "weir", endpoint=engine.endpoint, access_key=ACCESS_KEY, outputs=outputs)
    place.client("kinesis").create_stream(StreamName=stream, ShardCount=4)
    have = {**USUAL, **PROJECT, "StreamMode": have_mode, "ShardCount": have_count}
    values = parameters.choose({**PROJECT, "StreamMode": "PROVISIONED", "ShardCount": wanted}, have)
    if refused is None:
        parameters.check_shards(place, values, have)
        return
    with pytest.raises(StackFailed, match=refused):
        parameters.check_shards(place, values, have)


@pytest.mark.parametrize(
    ("principal", "effect", "lets"),
    [
        ("*", "Allow", True),
        ({"Service": "s3.amazonaws.com"}, "Allow", True),
        ({"Service": ["logs.amazonaws.com", "s3.amazonaws.com"]}, "Allow", True),
        ({"Service": "s3.amazonaws.com"}, "Deny", False),
        ({"Service": "fake-s3.amazonaws.com"}, "Allow", False),
        ({"AWS": "arn:aws:iam::123456789012:root"}, "Allow", False),
    ],
)
def test_whom_a_key_lets_in(principal: object, effect: str, lets: bool) -> None:
    """A service is let in by its name or as everyone, by a statement of several or the only one."""
    statement = {"Effect": effect, "Principal": principal, "Action": "kms:Decrypt", "Resource": "*"}
    for statements in (statement, [statement]):
        assert parameters.lets_in({"Statement": statements}, "s3.amazonaws.com") is lets
