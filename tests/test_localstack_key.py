"""A stack whose data a key of one's own encrypts, on LocalStack; a key whose policy leaves a service out is refused."""

from __future__ import annotations

import http.client
import json
import os
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.receiver import Receiver
from tests.support.running import github
from tests.test_localstack_deploy import weir
from weir.infra import place

ENDPOINT = os.environ.get("LOCALSTACK_ENDPOINT")
pytestmark = [
    pytest.mark.localstack,
    pytest.mark.skipif(
        not ENDPOINT, reason="set LOCALSTACK_ENDPOINT=http://127.0.0.1:4566 after `docker compose up -d`"
    ),
]
SECRET = "It's a Secret to Everybody"
ACCOUNT = {
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
    "Action": "kms:*",
    "Resource": "*",
}
SERVICES = ["s3.amazonaws.com", "cloudwatch.amazonaws.com", "logs.us-east-1.amazonaws.com"]
USERS = {"Effect": "Allow", "Principal": {"Service": SERVICES}, "Action": "kms:*", "Resource": "*"}


@pytest.fixture(scope="module")
def kms() -> Any:
    return place.at_endpoint(str(ENDPOINT), "any").client("kms")


@pytest.fixture
def key(kms: Any) -> Iterator[str]:
    """A key whose policy lets no service in."""
    policy = json.dumps({"Version": "2012-10-17", "Statement": [ACCOUNT]})
    made = kms.create_key(Policy=policy)["KeyMetadata"]["Arn"]
    yield made
    kms.schedule_key_deletion(KeyId=made, PendingWindowInDays=7)


def test_a_key_that_a_service_could_not_use_is_refused(kms: Any, key: str) -> None:
    """By its policy, its state, and its Region: before anything is made."""
    stack = f"t{uuid.uuid4().hex[:8]}"
    said = weir("deploy", "--set", f"DataKmsKey={key}", at=stack, code=2)
    assert "does not let cloudwatch.amazonaws.com, logs.us-east-1.amazonaws.com, s3.amazonaws.com in" in said
    said = weir("deploy", "--set", f"DataKmsKey={key.replace('us-east-1', 'eu-west-1')}", at=stack, code=2)
    assert "is a key of eu-west-1" in said
    kms.disable_key(KeyId=key)
    assert "must be enabled" in weir("deploy", "--set", f"DataKmsKey={key}", at=stack, code=2)
    assert "no stack" in weir("destroy", "--yes", at=stack, code=2).lower()


def test_what_is_stored_is_under_the_key(kms: Any, key: str) -> None:
    """A delivery ends in the table, and a large one in the bucket, as ever; the queue is under the key."""
    kms.put_key_policy(
        KeyId=key, PolicyName="default", Policy=json.dumps({"Version": "2012-10-17", "Statement": [ACCOUNT, USERS]})
    )
    stack = f"t{uuid.uuid4().hex[:8]}"
    chat = f"/chat/{stack}"
    settings = ["StreamMode=PROVISIONED", "ShardCount=1", f"DataKmsKey={key}", f"SecretsPrefix=/key/{stack}"]
    settings += ["AlarmChat=slack", f"AlarmChatParameter={chat}"]
    weir("deploy", *(word for one in settings for word in ("--set", one)), at=stack)
    where = place.at_endpoint(str(ENDPOINT), stack)
    outputs = where.outputs()
    weir("secrets", "set", "github", at=stack, text=SECRET)
    address = urlsplit(outputs.endpoint)
    for number, body in enumerate(
        (b'{"zen": "small"}', json.dumps({"zen": b64encode(os.urandom(500_000)).decode()}).encode())
    ):
        connection = http.client.HTTPConnection(address.netloc, timeout=60)
        connection.request("POST", f"{address.path}/github", body=body, headers=github(SECRET, body, f"d{number}"))
        assert connection.getresponse().status == 200
        connection.close()
    deadline = time.monotonic() + 60
    while len(events := weir("events", "--json", at=stack).splitlines()) < 2:
        assert time.monotonic() < deadline, events
        time.sleep(0.5)
    assert {json.loads(line)["outcome"] for line in events} == {"ignored"}
    # LocalStack's CloudFormation leaves the keys of buckets and logs out.
    queue = where.client("sqs").get_queue_attributes(QueueUrl=outputs.failure_queue_url, AttributeNames=["All"])
    assert queue["Attributes"]["KmsMasterKeyId"] == key
    _alarm_is_posted(where, chat)
    weir("destroy", "--yes", "--delete-data", at=stack)


def _alarm_is_posted(where: place.Place, parameter: str) -> None:
    """An alarm goes through the topic under the key to the function, and from there to the chat."""
    receiver = Receiver()
    where.client("ssm").put_parameter(Name=parameter, Type="SecureString", Value=receiver.url)
    topic = where.client("cloudformation").describe_stack_resource(
        StackName=where.stack, LogicalResourceId="AlarmTopic"
    )["StackResourceDetail"]["PhysicalResourceId"]
    alarm = {"AlarmName": f"{where.stack}-LagAlarm", "NewStateValue": "ALARM", "NewStateReason": "a test"}
    where.client("sns").publish(TopicArn=topic, Message=json.dumps(alarm))
    assert receiver.arrived.wait(60)
    receiver.close()
    assert json.loads(receiver.received[0])["text"] == f"ALARM: {where.stack}-LagAlarm"
