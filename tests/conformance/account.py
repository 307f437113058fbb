"""An account of AWS as a place, through the public APIs alone. LocalStack is one with another endpoint.

What a run makes begins with `prefix_of` its id and has its tag. Whatever happens, `leftovers` finds it by that.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import http.client
import io
import json
import re
import time
import uuid
import zipfile
from collections.abc import AsyncIterator, Mapping
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from tests.conformance import leftovers
from tests.conformance.apis import Api
from tests.conformance.aws import BUSY, Aws, Clients, Waits, code_of
from tests.conformance.bench import ApiOptions, Bench, Place, Refused, RunningMapping, Unavailable, tag_list
from tests.conformance.definitions import INTEGRATION, JSON, TEXT, kinesis, stored, storing
from tests.conformance.probe import Function
from weir.infra import Say

STAGE = "live"
READY = "/weir-conf-ready"
MEMORY_MB = 512
# What a stage with an access log needs of the account, and what AWS says when the account lacks it.
# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
LOG_POLICY = "iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
# A role is known to IAM at once, and to other services seconds later; until then they refuse it in these words.
# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
_OF_ROLES = re.compile(r"\brole\b|permission|cannot access stream", re.IGNORECASE)
_SOON_S = 30.0
_STATE_S = 40.0


class NotReadyError(Exception):
    """The account did not come to where scenarios can run."""


class Pace:
    """Lets a call through every so many seconds: what API Gateway lets an account do is counted over all its APIs.

    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next_s = 0.0
        self._turn = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until it is this call's turn."""
        async with self._turn:
            await asyncio.sleep(max(0.0, self._next_s - time.monotonic()))
            self._next_s = time.monotonic() + self._seconds


class AwsApi(Api):
    """An API that was deployed; ``log_group`` is None without an access log."""

    def __init__(self, aws: Aws, api_id: str, log_group: str | None) -> None:
        self._aws = aws
        clients = aws.clients
        domain = "amazonaws.com.cn" if clients.partition == "aws-cn" else "amazonaws.com"
        self.url = f"https://{api_id}.execute-api.{clients.region}.{domain}/{STAGE}"
        self.via = clients.endpoint.partition("://")[2].rstrip("/") if clients.endpoint else None
        self._log_group = log_group

    async def ready(self) -> None:
        """Wait until the deployment answers so often that all of API Gateway's hosts seem to have it.

        Raises: NotReadyError.
        """
        deadline = time.monotonic() + _SOON_S * self._aws.patience
        answers = 0
        while answers < self._aws.waits.ready_in_a_row:
            status = await self._status()
            # What is not deployed is 403; 429 is the scenario's own throttle.
            answers = 0 if status in {None, 403} else answers + 1
            if time.monotonic() > deadline:
                raise NotReadyError(f"{self.url}: answers {status} after {_SOON_S * self._aws.patience:.0f} s")
            if answers < self._aws.waits.ready_in_a_row:
                await asyncio.sleep(self._aws.waits.poll_s)
        await self._log_ready()

    async def log_lines(self, count: int) -> list[str]:
        deadline = time.monotonic() + 5 * self._aws.patience
        while True:
            lines = [line for line in await self._lines() if READY not in line]
            if len(lines) >= count or time.monotonic() > deadline:
                return lines
            await asyncio.sleep(self._aws.waits.poll_s)

    async def _log_ready(self) -> None:
        """Wait until requests are logged; where none ever is, the scenario shows that."""
        deadline = time.monotonic() + 10 * self._aws.patience
        while self._log_group and not await self._lines() and time.monotonic() < deadline:
            await self._status()
            await asyncio.sleep(self._aws.waits.poll_s)

    async def _status(self) -> int | None:
        try:
            return (await self.send(READY, method="GET")).status
        except (OSError, http.client.HTTPException):  # its name is not known yet, or a host of it is not there
            return None

    async def _lines(self) -> list[str]:
        events: list[dict[str, Any]] = []
        given: dict[str, Any] = {}
        if self._log_group is None:
            return []
        while True:
            page = await self._aws.call("logs", "filter_log_events", logGroupName=self._log_group, **given)
            events += page["events"]
            if "nextToken" not in page:
                return [event["message"] for event in sorted(events, key=lambda event: event["timestamp"])]
            given = {"nextToken": page["nextToken"]}


class AwsMapping(RunningMapping):
    def __init__(self, aws: Aws, mapping_id: str) -> None:
        self._aws = aws
        self._id = mapping_id

    async def pause(self) -> None:
        await self._switch(on=False)

    async def resume(self) -> None:
        await self._switch(on=True)

    async def _switch(self, *, on: bool) -> None:
        await self._aws.call("lambda", "update_event_source_mapping", UUID=self._id, Enabled=on)
        await self.reach("Enabled" if on else "Disabled")

    async def reach(self, state: str) -> None:
        """Wait until the mapping is in this state.

        Raises: NotReadyError.
        """
        deadline = time.monotonic() + _STATE_S * self._aws.patience
        while True:
            found = await self._aws.call("lambda", "get_event_source_mapping", UUID=self._id)
            if found["State"] == state:
                return
            if time.monotonic() > deadline:
                raise NotReadyError(f"mapping {self._id} is {found['State']} and not {state}")
            await asyncio.sleep(self._aws.waits.poll_s)


class AwsBench(Bench):
    def __init__(self, aws: Aws, account: Account) -> None:
        super().__init__(aws, account.prefix, account.table, account.tags)
        self._account = account
        self.gateway_role = account.role("gateway")

    async def _make_api(self, definition: Mapping[str, Any], options: ApiOptions) -> Api:
        try:
            api_id = await self._import(definition)
            await self._deploy(api_id, options.variables)
        except ClientError as error:
            if code_of(error) != "BadRequestException":
                raise
            raise Refused("its definition is refused: BadRequestException") from error
        group = await self._log_group() if options.access_log_format else None
        changes: dict[str, str] = {}
        if options.throttle:
            changes["/*/*/throttling/rateLimit"], changes["/*/*/throttling/burstLimit"] = map(str, options.throttle)
        if group:
            changes["/accessLogSettings/destinationArn"] = self.aws.arn("logs", f"log-group:{group}")
            changes["/accessLogSettings/format"] = str(options.access_log_format)
        if changes:
            patch = [{"op": "replace", "path": path, "value": value} for path, value in changes.items()]
            await self._change_stage(api_id, patch)
        api = AwsApi(self.aws, api_id, group)
        await api.ready()
        return api

    async def _import(self, definition: Mapping[str, Any]) -> str:
        """Import a definition under this bench's name, with one more path by which it is seen that it is deployed."""
        await self._account.imports.turn()
        # What is imported is EDGE unless the call names another type, which takes minutes and ten times the quota.
        # Source: https://docs.aws.amazon.com/apigateway/latest/api/API_ImportRestApi.html
        regional = {"endpointConfigurationTypes": "REGIONAL"}
        body = json.dumps(_with_ready(definition, self.name))
        imported = await self.aws.call("apigateway", "import_rest_api", parameters=regional, body=body)
        self.aws.undo.push_async_callback(self._delete_api, imported["id"])
        arn = f"arn:{self.aws.clients.partition}:apigateway:{self.aws.clients.region}::/restapis/{imported['id']}"
        await self.aws.call("apigateway", "tag_resource", resourceArn=arn, tags=self.tags)
        return str(imported["id"])

    async def _deploy(self, api_id: str, variables: Mapping[str, str]) -> None:
        async def deploy() -> None:
            await self._account.deployments.turn()
            await self.aws.call(
                "apigateway", "create_deployment", restApiId=api_id, stageName=STAGE, variables=variables
            )

        await retried(self.aws, deploy, lambda error: code_of(error) in BUSY)

    async def _change_stage(self, api_id: str, patch: list[dict[str, str]]) -> None:
        async def change() -> None:
            await self.aws.call("apigateway", "update_stage", restApiId=api_id, stageName=STAGE, patchOperations=patch)

        # The account's role for logs may be so new that API Gateway refuses the log of a stage.
        await retried(self.aws, change, lambda error: code_of(error) in {*BUSY, "BadRequestException"})

    async def _delete_api(self, api_id: str) -> None:
        await self._account.deletions.turn()
        with contextlib.suppress(ClientError):  # what stays is found at the end of the run
            await self.aws.call("apigateway", "delete_rest_api", restApiId=api_id)

    async def _log_group(self) -> str:
        await self._account.let_log(self.aws)
        self.aws.later("logs", "delete_log_group", logGroupName=self.name)
        await self.aws.call("logs", "create_log_group", logGroupName=self.name, tags=self.tags)
        return self.name

    async def _make_mapping(self, function: Function, properties: Mapping[str, Any]) -> RunningMapping:
        async def make() -> Any:
            return await self.aws.call("lambda", "create_event_source_mapping", **properties, Tags=self.tags)

        try:
            made = await retried(self.aws, make, _is_of_a_role)
        except (ClientError, ParamValidationError) as error:
            if isinstance(error, ClientError) and not _is_a_refusal(error):
                raise
            raise Refused(f"the mapping is refused: {type(error).__name__}") from error
        self.aws.later("lambda", "delete_event_source_mapping", UUID=made["UUID"])
        mapping = AwsMapping(self.aws, made["UUID"])
        await mapping.reach("Enabled" if properties.get("Enabled", True) else "Disabled")
        return mapping

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _make_function(self, name: str, source: str, variables: Mapping[str, str], **options: Any) -> None:
        endpoint = self.aws.clients("dynamodb").meta.endpoint_url

        async def make() -> None:
            await self.aws.call(
                "lambda",
                "create_function",
                FunctionName=name,
                Runtime="python3.13",
                Role=self._account.role("function"),
                Handler="probe.handler",
                Code={"ZipFile": _packed(source)},
                Timeout=options["timeout_s"],
                MemorySize=MEMORY_MB,
                Environment={"Variables": {**variables, "PROBE_ENDPOINT": endpoint}},
                Tags=self.tags,
            )

        self.aws.later("lambda", "delete_function", FunctionName=name)
        await retried(self.aws, make, _is_of_a_role)
        await self._reach_active(name)
        if (reserved := options["reserved_concurrency"]) is not None:
            await self._reserve(name, reserved)

    async def _reach_active(self, name: str) -> None:
        """Wait until a function can be invoked. Raises: NotReadyError."""
        deadline = time.monotonic() + _STATE_S * self.aws.patience
        while True:
            found = await self.aws.call("lambda", "get_function_configuration", FunctionName=name)
            if found["State"] == "Active":
                return
            if found["State"] == "Failed" or time.monotonic() > deadline:
                raise NotReadyError(
                    f"function {name} is {found['State']}: {found.get('StateReason', 'no reason given')}"
                )
            await asyncio.sleep(self.aws.waits.poll_s)

    async def _reserve(self, name: str, count: int) -> None:
        try:
            await self.aws.call(
                "lambda", "put_function_concurrency", FunctionName=name, ReservedConcurrentExecutions=count
            )
        except ClientError as error:
            if "UnreservedConcurrentExecution" not in str(error):
                raise
            # Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
            raise Unavailable("The account's concurrency is so low that none of it can be reserved.") from error


class Account(Place):
    """An account in one Region. ``say`` gets a line when something takes long.

    Raises, when it is opened: NotReadyError.
    """

    tries = 2

    def __init__(self, clients: Clients, *, run: str = "", account: str = "", say: Say = lambda _: None) -> None:
        self.run = run or uuid.uuid4().hex[: leftovers.RUN_DIGITS]
        account = account or clients("sts").get_caller_identity()["Account"]
        super().__init__(clients, account=account, prefix=leftovers.prefix_of(clients.region, self.run))
        self.table = leftovers.table_of(self.prefix)
        self.tags = {leftovers.TAG: self.run}
        self._say = say
        self.imports, self.deployments, self.deletions = Pace(0), Pace(0), Pace(0)
        self._log_role = asyncio.Lock()

    def bench(self, aws: Aws) -> Bench:
        return AwsBench(aws, self)

    def role(self, what: str) -> str:
        """Return the ARN of a role of the run: ``gateway``, ``function`` or ``logs``."""
        return f"arn:{self.clients.partition}:iam::{self.account}:role{leftovers.PATH}{self.prefix}-{what}"

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Make table and roles, wait until they can be used, and take away all that the run has made in the end.

        Raises: NotReadyError when something cannot be made or used, or something is left.
        """
        self.imports, self.deployments = Pace(self.waits.import_s), Pace(self.waits.deploy_s)
        self.deletions, self._log_role = Pace(self.waits.delete_s), asyncio.Lock()
        beating: asyncio.Task[None] | None = None
        try:
            await self.make_table()
            beating = asyncio.create_task(self._beat())
            await self._make_roles()
            await self._prove()
            yield
        finally:
            self._say(f"removing what begins with {self.prefix} ...")
            left = await asyncio.to_thread(leftovers.remove, self.clients, [self.prefix], self.waits)
            if beating is not None:
                beating.cancel()
            if left:
                raise NotReadyError(f"not removed: {'; '.join(left)}")

    async def let_log(self, aws: Aws) -> None:
        """See to it that API Gateway has a role for logs in this account: its own, or one for the time of the run.

        Raises: Unavailable where it has none and may be given none.
        """
        async with self._log_role:
            if (await aws.call("apigateway", "get_account")).get("cloudwatchRoleArn"):
                return
            try:
                await self._make_log_role(aws)
            except ClientError as error:
                raise Unavailable(
                    f"API Gateway has no role for logs in this account, and could be given none: {code_of(error)}."
                ) from error

    async def _make_log_role(self, aws: Aws) -> None:
        welcome = await aws.call("logs", "describe_log_groups", logGroupNamePrefix=leftovers.WELCOME)
        tags = {**self.tags, leftovers.WELCOME_TAG: "ours" if not welcome["logGroups"] else "theirs"}
        name = await self._make_role(aws, "logs", "apigateway", tags)
        policy = f"arn:{self.clients.partition}:{LOG_POLICY}"
        await aws.call("iam", "attach_role_policy", RoleName=name, PolicyArn=policy)
        patch = [{"op": "replace", "path": "/cloudwatchRoleArn", "value": self.role("logs")}]

        async def hand_over() -> None:
            await aws.call("apigateway", "update_account", patchOperations=patch)

        await retried(aws, hand_over, lambda error: code_of(error) == "BadRequestException" or code_of(error) in BUSY)

    async def _make_roles(self) -> None:
        async with contextlib.AsyncExitStack() as undo:
            aws = self.aws(undo)
            for what, service, statements in (
                ("gateway", "apigateway", self._gateway_may(aws)),
                ("function", "lambda", self._function_may(aws)),
            ):
                name = await self._make_role(aws, what, service, self.tags)
                document = json.dumps({"Version": "2012-10-17", "Statement": statements})
                await aws.call("iam", "put_role_policy", RoleName=name, PolicyName=what, PolicyDocument=document)

    async def _make_role(self, aws: Aws, what: str, service: str, tags: Mapping[str, str]) -> str:
        name = f"{self.prefix}-{what}"
        trust = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        await aws.call(
            "iam",
            "create_role",
            RoleName=name,
            Path=leftovers.PATH,
            AssumeRolePolicyDocument=document,
            Tags=tag_list(tags),
        )
        return name

    def _gateway_may(self, aws: Aws) -> list[dict[str, Any]]:
        return [_allow(["kinesis:PutRecord"], aws.arn("kinesis", f"stream/{self.prefix}-*"))]

    def _function_may(self, aws: Aws) -> list[dict[str, Any]]:
        """What a function with these mappings needs; not to write logs, or Lambda would make a group for each."""
        reading = ["DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards"]
        bucket = f"arn:{self.clients.partition}:s3:::{self.prefix}-*"
        return [
            _allow([f"kinesis:{each}" for each in reading], aws.arn("kinesis", f"stream/{self.prefix}-*")),
            _allow(["kinesis:ListStreams"], "*"),
            _allow(["s3:PutObject"], f"{bucket}/*"),
            _allow(["s3:ListBucket"], bucket),
            _allow(["sqs:SendMessage"], aws.arn("sqs", f"{self.prefix}-*")),
            _allow(["sns:Publish"], aws.arn("sns", f"{self.prefix}-*")),
            _allow(["dynamodb:PutItem", "dynamodb:UpdateItem"], aws.arn("dynamodb", f"table/{self.table}")),
        ]

    async def _prove(self) -> None:
        """Wait until both roles do what they are for, again and again: IAM's news reach other hosts at other times.

        Raises: NotReadyError.
        """
        self._say("waiting until AWS knows the roles ...")
        try:
            async with contextlib.AsyncExitStack() as undo:
                bench = self.bench(self.aws(undo))
                stream, api = await stored(bench, kinesis(bench, storing("$input.body")))
                await self._prove_gateway(api)
                function = await bench.function()
                await bench.mapping(stream, function)
                if not await function.texts(1):
                    raise NotReadyError("a function that reads a stream and writes to the table does not")
        except (Refused, ClientError) as error:
            raise NotReadyError(f"what every scenario needs cannot be made: {error}") from error

    async def _prove_gateway(self, api: Api) -> None:
        deadline = time.monotonic() + _SOON_S * self.waits.patience
        answers = 0
        while answers < self.waits.steady_in_a_row:
            try:
                said = (await api.send("/probe", b"{}", TEXT)).body
            except (OSError, http.client.HTTPException) as error:
                said = str(error).encode()
            answers = answers + 1 if b"SequenceNumber" in said else 0
            if time.monotonic() > deadline:
                raise NotReadyError(f"an API does not write to its stream: {said[:300]!r}")
            await asyncio.sleep(self.waits.poll_s)

    async def _beat(self) -> None:
        """Show that the run lives, as long as its table is there: others leave it alone by that."""
        while True:
            with contextlib.suppress(ClientError):
                await asyncio.to_thread(leftovers.beat, self.clients, self.prefix)
            await asyncio.sleep(self.waits.beat_s)


class AwsAccount(Account):
    """AWS itself. What it takes time for, and what it lets an account do how often, is in its waits."""

    name = "aws"
    about = "an account of AWS"
    at_once = 8
    limit_s = 900.0
    # A mapping may take minutes before it reads; API Gateway's quotas are fixed.
    # Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html
    # Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
    waits = Waits(
        patience=10.0,
        poll_s=2.0,
        ready_in_a_row=5,
        steady_in_a_row=10,
        import_s=3.2,
        deploy_s=5.2,
        delete_s=3.2,
        beat_s=15.0,
        silence_s=60.0,
    )


async def retried(aws: Aws, call: Any, is_passing: Any) -> Any:
    """Do something again while it is refused for a reason that passes."""
    deadline = time.monotonic() + _SOON_S * aws.patience
    while True:
        try:
            return await call()
        except ClientError as error:
            if not is_passing(error) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(aws.waits.poll_s)


def _is_a_refusal(error: ClientError) -> bool:
    return code_of(error) in {"InvalidParameterValueException", "ValidationException", "BadRequestException"}


def _is_of_a_role(error: ClientError) -> bool:
    return code_of(error) == "InvalidParameterValueException" and bool(_OF_ROLES.search(str(error)))


def _allow(actions: list[str], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


def _packed(source: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        # Lambda's user must be able to read it, whatever this process' umask is.
        entry = zipfile.ZipInfo("probe.py")
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, source)
    return packed.getvalue()


def _with_ready(definition: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Add a mock that answers 200 to GET, whatever types are binary; the API gets the name."""
    document = copy.deepcopy(dict(definition))
    document["info"] = {**document["info"], "title": name}
    integration = {
        "type": "mock",
        "passthroughBehavior": "when_no_match",
        "contentHandling": "CONVERT_TO_TEXT",
        "requestTemplates": {JSON: '{"statusCode": 200}'},
        "responses": {"default": {"statusCode": "200", "contentHandling": "CONVERT_TO_TEXT"}},
    }
    document["paths"][READY] = {"get": {"responses": {"200": {"description": ""}}, INTEGRATION: integration}}
    return document
