"""Where Weir runs: the embedded stack, LocalStack or AWS, and how commands find its parts there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload
from urllib.parse import urlsplit

import boto3
import localstack_client.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from weir.infra import LOCALSTACK
from weir.infra.outputs import Outputs
from weir.ingest.errors import OptionInvalid, StackAbsent, StackFailed
from weir.ingest.lines import whole

if TYPE_CHECKING:
    from types_boto3_apigateway import APIGatewayClient
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_kinesis import KinesisClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient
    from types_boto3_ssm import SSMClient
    from types_boto3_sts import STSClient

REGION = "us-east-1"  # of the embedded stack and of LocalStack, unless the environment names another
EMBEDDED_ACCOUNT = "000000000000"
STATE_FILE = "stack.json"
_LOOPBACK = {"127.0.0.1", "localhost", "::1", "localhost.localstack.cloud"}


class Account(NamedTuple):
    """Which Region and which profile of the AWS configuration are meant; None for what the environment says."""

    region: str | None = None
    profile: str | None = None


class Place:
    """One running or deployable stack: its clients and its outputs.

    ``kinesis`` is the address of the stream where it is not at ``endpoint`` with the rest. ``access_key`` is what the
    embedded engines want to be called with.
    """

    def __init__(
        self,
        kind: str,
        stack: str,
        *,
        endpoint: str | None,
        kinesis: str | None = None,
        access_key: str = "weir",
        outputs: Outputs | None = None,
        account: Account | None = None,
    ) -> None:
        self.kind = kind  # embedded | localstack | aws
        self.stack = stack
        self.endpoint = endpoint
        self._kinesis = kinesis or endpoint
        self.access_key = access_key
        self._account = account or Account()
        self.home: Path | None = None  # where this machine keeps what belongs to the stack
        self._outputs = outputs
        self._clients: dict[str, Any] = {}

    @property
    def emulated(self) -> bool:
        return self.kind != "aws"

    @property
    def label(self) -> str:
        return {"embedded": "the embedded stack", "aws": "AWS"}.get(self.kind, f"LocalStack at {self.endpoint}")

    @cached_property
    def _session(self) -> Any:
        region = self._account.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if self.kind == "aws":
            return boto3.Session(region_name=region, profile_name=self._account.profile)
        host = urlsplit(self.endpoint or "")
        if self.kind == "localstack":
            address = f"{host.hostname}:{host.port or 4566}"
            return localstack_client.session.Session(localstack_host=address, region_name=region or REGION)
        return boto3.Session(self.access_key, self.access_key, region_name=region or REGION)

    @property
    def region(self) -> str:
        region = self._session.region_name
        if not region:
            raise StackFailed("No AWS Region is set. Set AWS_REGION, or `region` in your AWS profile.")
        return str(region)

    @property
    def partition(self) -> str:
        if self.emulated:
            return "aws"
        return str(boto3.Session().get_partition_for_region(self.region))

    @overload
    def client(self, service: Literal["apigateway"]) -> APIGatewayClient: ...

    @overload
    def client(self, service: Literal["cloudformation"]) -> CloudFormationClient: ...

    @overload
    def client(self, service: Literal["cloudwatch"]) -> CloudWatchClient: ...

    @overload
    def client(self, service: Literal["dynamodb"]) -> DynamoDBClient: ...

    @overload
    def client(self, service: Literal["kinesis"]) -> KinesisClient: ...

    @overload
    def client(self, service: Literal["lambda"]) -> LambdaClient: ...

    @overload
    def client(self, service: Literal["logs"]) -> CloudWatchLogsClient: ...

    @overload
    def client(self, service: Literal["s3"]) -> S3Client: ...

    @overload
    def client(self, service: Literal["secretsmanager"]) -> SecretsManagerClient: ...

    @overload
    def client(self, service: Literal["sqs"]) -> SQSClient: ...

    @overload
    def client(self, service: Literal["ssm"]) -> SSMClient: ...

    @overload
    def client(self, service: Literal["sts"]) -> STSClient: ...

    @overload
    def client(self, service: str) -> Any: ...

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service here, made once."""
        if service not in self._clients:
            config = Config(retries={"mode": "standard", "max_attempts": 5})
            if self.emulated and service == "s3":
                config = config.merge(Config(s3={"addressing_style": "path"}))
            self._clients[service] = self.client_with(service, config)
        return self._clients[service]

    def client_with(self, service: str, config: Config) -> Any:
        """Return a new client of a service here, configured otherwise than the usual one."""
        options: dict[str, Any] = {"config": config}
        if self.endpoint and self.kind != "localstack":
            options["endpoint_url"] = self._kinesis if service == "kinesis" else self.endpoint
        return self._session.client(service, **options)

    def variables(self) -> dict[str, str]:
        """Return the environment in which the AWS CLI and AWS's SDKs call this place; nothing to set for AWS itself."""
        if self.endpoint is None or self.kind == "aws":
            return {}
        key = self.access_key if self.kind == "embedded" else "test"  # LocalStack takes any
        found = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": key, "AWS_REGION": self.region}
        found |= {"AWS_DEFAULT_REGION": self.region, "AWS_ENDPOINT_URL": self.endpoint}
        if self._kinesis and self._kinesis != self.endpoint:
            found["AWS_ENDPOINT_URL_KINESIS"] = self._kinesis
        return found

    def account(self) -> str:
        """Return the account id."""
        if self.kind == "embedded":
            return EMBEDDED_ACCOUNT
        return str(self.client("sts").get_caller_identity()["Account"])

    def outputs(self) -> Outputs:
        """Return the stack's outputs, as they are now.

        Raises: StackAbsent when there is no such stack, StackFailed for a stack of another version of Weir.
        """
        if self._outputs is not None:
            return self._outputs
        try:
            stacks = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        except (ClientError, BotoCoreError) as error:
            raise StackAbsent(f"{self.label}: stack {self.stack}: {error}") from error
        found = {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}
        if not found:
            raise StackAbsent(f"{self.label}: stack {self.stack} is {stacks[0]['StackStatus']} and has no outputs.")
        if self.kind == "localstack":
            found["Endpoint"] = f"{self.endpoint}/_aws/execute-api/{found['ApiId']}/live/v1"
        return Outputs.read(found, origin=f"{self.label}: stack {self.stack}")

    def log_lines(self, identifiers: Sequence[str], *, since_ms: int = 0) -> list[dict[str, Any]]:
        """Return the consumer's log lines about an event or request, oldest first; ``time`` is when their batch began.

        ``since_ms``: nothing about it was logged before, so that CloudWatch need not look there.

        Raises: StackFailed when the log group cannot be read.
        """
        if (log := self.outputs().consumer_log) is not None:
            texts = _matching_lines(log, identifiers)
        else:
            texts = self._cloudwatch_lines(identifiers, since_ms)
        return [found for text in texts if (found := _log_line(text, identifiers)) is not None]

    def _cloudwatch_lines(self, identifiers: Sequence[str], since_ms: int) -> Iterator[str]:
        quoted = " ".join(f'?"{identifier}"' for identifier in identifiers if '"' not in identifier)
        pages = self.client("logs").get_paginator("filter_log_events")
        try:
            group = self.outputs().consumer_log_group
            for page in pages.paginate(logGroupName=group, filterPattern=quoted, startTime=since_ms):
                yield from (event["message"] for event in page["events"])
        except (ClientError, BotoCoreError) as error:
            raise StackFailed(f"{self.label}: the consumer's log: {error}") from error


def _matching_lines(log: Path, identifiers: Sequence[str]) -> Iterator[str]:
    if log.exists():
        with log.open(encoding="utf-8", errors="replace") as lines:
            yield from (line for line in whole(lines) if any(identifier in line for identifier in identifiers))


def _log_line(text: str, identifiers: Sequence[str]) -> dict[str, Any] | None:
    """Read one line about a record; None for any other, and for one that only mentions the id."""
    try:
        line = json.loads(text[text.index("{") :])
    except ValueError:
        return None
    if not isinstance(line, dict) or "outcome" not in line:
        return None
    if not {line.get("event_id"), line.get("request_id")} & set(identifiers):
        return None
    began = datetime.fromtimestamp(line["at"] / 1000, UTC).isoformat(timespec="milliseconds")
    return {"time": began.replace("+00:00", "Z"), **line}


def embedded(home: Path) -> Place:
    """Return the embedded stack that runs, or last ran, with its state under ``home``.

    Raises: StackAbsent when none runs there.
    """
    state = home / STATE_FILE
    try:
        facts = json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StackAbsent(f"No embedded stack runs with its state in {home}.") from error
    outputs = Outputs.read(facts["outputs"], origin=str(state))
    engines = {name: facts[name] for name in ("kinesis", "access_key") if name in facts}
    return Place("embedded", facts["stack"], endpoint=facts["engine"], outputs=outputs, **engines)


def choose(kind: str | None, *, home: Path, stack: str, endpoint: str | None, account: Account | None = None) -> Place:
    """Return a place by its kind; the embedded stack with its state under ``home`` if nothing else is asked for.

    AWS has to be asked for by name: credentials that happen to be in the environment must not send a command there.
    Raises: StackAbsent when no embedded stack is there, OptionInvalid for an address that cannot be used.
    """
    chosen = _choose(kind, home, stack, endpoint, account)
    chosen.home = home
    return chosen


def _choose(kind: str | None, home: Path, stack: str, endpoint: str | None, account: Account | None) -> Place:
    if kind == "aws":
        return Place("aws", stack, endpoint=endpoint, account=account)
    given = endpoint or os.environ.get("AWS_ENDPOINT_URL")
    if kind == "localstack":
        return at_endpoint(given or LOCALSTACK, stack, account)
    if kind is None and given:
        return at_endpoint(given, stack, account)
    return embedded(home)


def at_endpoint(endpoint: str, stack: str, account: Account | None = None) -> Place:
    """Return the stack behind one endpoint address, taken for LocalStack when it is on this machine.

    Raises: OptionInvalid for an address that cannot be used.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise OptionInvalid(f"{endpoint} is not an address. Example: {LOCALSTACK}.")
    kind = "localstack" if parts.hostname in _LOOPBACK or parts.port == 4566 else "aws"
    return Place(kind, stack, endpoint=endpoint.rstrip("/"), account=account)
