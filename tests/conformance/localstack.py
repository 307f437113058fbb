"""LocalStack as an emulator, through the APIs of AWS alone."""

from __future__ import annotations

import asyncio
import io
import json
import time
import zipfile
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from tests.conformance.apis import Api
from tests.conformance.aws import ACCOUNT, REGION, Aws
from tests.conformance.bench import ROLE, ApiOptions, Bench, Emulator, Refused, RunningMapping
from tests.conformance.probe import Function

STAGE = "live"
_STATE_S = 60.0


class LocalStackApi(Api):
    def __init__(self, aws: Aws, api_id: str, log_group: str | None) -> None:
        self.url = f"{aws.endpoint}/_aws/execute-api/{api_id}/{STAGE}"
        self._aws = aws
        self._log_group = log_group

    async def log_lines(self, count: int) -> list[str]:
        if self._log_group is None:
            return []
        deadline = time.monotonic() + 5
        while True:
            found = await self._aws.call("logs", "filter_log_events", logGroupName=self._log_group)
            lines = [event["message"] for event in found["events"]]
            if len(lines) >= count or time.monotonic() > deadline:
                return lines
            await asyncio.sleep(0.5)


class LocalStackMapping(RunningMapping):
    def __init__(self, aws: Aws, mapping_id: str) -> None:
        self._aws = aws
        self._id = mapping_id

    async def pause(self) -> None:
        await self._aws.call("lambda", "update_event_source_mapping", UUID=self._id, Enabled=False)
        await self.reach("Disabled")

    async def resume(self) -> None:
        await self._aws.call("lambda", "update_event_source_mapping", UUID=self._id, Enabled=True)
        await self.reach("Enabled")

    async def reach(self, state: str) -> None:
        """Wait until the mapping is in this state."""
        deadline = time.monotonic() + _STATE_S
        while True:
            found = await self._aws.call("lambda", "get_event_source_mapping", UUID=self._id)
            if found["State"] == state:
                return
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.2)


class LocalStackBench(Bench):
    async def _make_api(self, definition: Mapping[str, Any], options: ApiOptions) -> Api:
        imported = await self.aws.call("apigateway", "import_rest_api", body=json.dumps(definition))
        self.aws.later("apigateway", "delete_rest_api", restApiId=imported["id"])
        await self.aws.call(
            "apigateway", "create_deployment", restApiId=imported["id"], stageName=STAGE, variables=options.variables
        )
        group = None
        changes = {}
        if options.throttle:
            changes["/*/*/throttling/rateLimit"], changes["/*/*/throttling/burstLimit"] = map(str, options.throttle)
        if options.access_log_format:
            group = f"/conformance/{self.name}"
            await self.aws.call("logs", "create_log_group", logGroupName=group)
            self.aws.later("logs", "delete_log_group", logGroupName=group)
            changes["/accessLogSettings/destinationArn"] = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
            changes["/accessLogSettings/format"] = options.access_log_format
        if changes:
            patch = [{"op": "replace", "path": path, "value": value} for path, value in changes.items()]
            await self.aws.call(
                "apigateway", "update_stage", restApiId=imported["id"], stageName=STAGE, patchOperations=patch
            )
        return LocalStackApi(self.aws, imported["id"], group)

    async def _make_mapping(self, function: Function, properties: Mapping[str, Any]) -> RunningMapping:
        try:
            made = await self.aws.call("lambda", "create_event_source_mapping", **properties)
        except (ClientError, ParamValidationError) as error:
            raise Refused(f"the mapping is refused: {type(error).__name__}") from error
        self.aws.later("lambda", "delete_event_source_mapping", UUID=made["UUID"])
        mapping = LocalStackMapping(self.aws, made["UUID"])
        await mapping.reach("Enabled" if properties.get("Enabled", True) else "Disabled")
        return mapping

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _make_function(self, name: str, source: str, variables: Mapping[str, str], **options: Any) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("probe.py", source)
        await self.aws.call(
            "lambda",
            "create_function",
            FunctionName=name,
            Runtime="python3.13",
            Role=ROLE,
            Handler="probe.handler",
            Code={"ZipFile": packed.getvalue()},
            Timeout=options["timeout_s"],
            Environment={"Variables": dict(variables)},
        )
        self.aws.later("lambda", "delete_function", FunctionName=name)
        deadline = time.monotonic() + _STATE_S
        while (found := await self._state(name)) != "Active":
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.2)
        if (reserved := options["reserved_concurrency"]) is not None:
            await self.aws.call(
                "lambda", "put_function_concurrency", FunctionName=name, ReservedConcurrentExecutions=reserved
            )

    async def _state(self, name: str) -> str:
        return str((await self.aws.call("lambda", "get_function_configuration", FunctionName=name))["State"])


class LocalStack(Emulator):
    name = "localstack"
    about = "LocalStack 4.14 with the fixes of `infra/localstack/start.d`"
    at_once = 8
    limit_s = 150.0
    patience = 1.5
    tries = 2

    def bench(self, aws: Aws) -> Bench:
        return LocalStackBench(aws, self.table)
