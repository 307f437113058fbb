"""LocalStack as a world, through the APIs of AWS alone."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
import zipfile
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from tests.conformance.bench import ACCOUNT, REGION, ROLE, Api, Bench, Function, Refused, RunningMapping, Stream, World

STAGE = "live"
_STATE_S = 60.0


class LocalStackApi(Api):
    def __init__(self, bench: Bench, api_id: str, log_group: str | None) -> None:
        self.url = f"{bench.endpoint}/_aws/execute-api/{api_id}/{STAGE}"
        self._bench = bench
        self._log_group = log_group

    async def log_lines(self, count: int) -> list[str]:
        if self._log_group is None:
            return []
        deadline = time.monotonic() + 5
        while True:
            found = await self._bench.aws("logs", "filter_log_events", logGroupName=self._log_group)
            lines = [event["message"] for event in found["events"]]
            if len(lines) >= count or time.monotonic() > deadline:
                return lines
            await asyncio.sleep(0.5)


class LocalStackMapping(RunningMapping):
    def __init__(self, bench: Bench, mapping_id: str) -> None:
        self._bench = bench
        self._id = mapping_id

    async def pause(self) -> None:
        await self._bench.aws("lambda", "update_event_source_mapping", UUID=self._id, Enabled=False)
        await self.reach("Disabled")

    async def resume(self) -> None:
        await self._bench.aws("lambda", "update_event_source_mapping", UUID=self._id, Enabled=True)
        await self.reach("Enabled")

    async def reach(self, state: str) -> None:
        """Wait until the mapping is in this state."""
        deadline = time.monotonic() + _STATE_S
        while True:
            found = await self._bench.aws("lambda", "get_event_source_mapping", UUID=self._id)
            if found["State"] == state:
                return
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.2)


class LocalStackBench(Bench):
    async def api(
        self,
        definition: Mapping[str, Any],
        *,
        variables: Mapping[str, str] | None = None,
        throttle: tuple[float, int] | None = None,
        access_log_format: str | None = None,
    ) -> Api:
        imported = await self.aws("apigateway", "import_rest_api", body=json.dumps(definition))
        self.later("apigateway", "delete_rest_api", restApiId=imported["id"])
        await self.aws(
            "apigateway", "create_deployment", restApiId=imported["id"], stageName=STAGE, variables=variables or {}
        )
        group = None
        changes = {}
        if throttle:
            changes["/*/*/throttling/rateLimit"], changes["/*/*/throttling/burstLimit"] = map(str, throttle)
        if access_log_format:
            group = f"/conformance/{self.name}"
            await self.aws("logs", "create_log_group", logGroupName=group)
            self.later("logs", "delete_log_group", logGroupName=group)
            changes["/accessLogSettings/destinationArn"] = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
            changes["/accessLogSettings/format"] = access_log_format
        if changes:
            patch = [{"op": "replace", "path": path, "value": value} for path, value in changes.items()]
            await self.aws(
                "apigateway", "update_stage", restApiId=imported["id"], stageName=STAGE, patchOperations=patch
            )
        return LocalStackApi(self, imported["id"], group)

    async def mapping(self, stream: Stream, function: Function, **properties: Any) -> RunningMapping:
        given = {"EventSourceArn": stream.arn, "FunctionName": function.name, "StartingPosition": "TRIM_HORIZON"}
        try:
            made = await self.aws("lambda", "create_event_source_mapping", **(given | properties))
        except (ClientError, ParamValidationError) as error:
            raise Refused(f"the mapping is refused: {type(error).__name__}") from error
        self.later("lambda", "delete_event_source_mapping", UUID=made["UUID"])
        mapping = LocalStackMapping(self, made["UUID"])
        await mapping.reach("Enabled")
        return mapping

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _make_function(self, name: str, source: str, timeout_s: int, variables: Mapping[str, str]) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("probe.py", source)
        await self.aws(
            "lambda",
            "create_function",
            FunctionName=name,
            Runtime="python3.13",
            Role=ROLE,
            Handler="probe.handler",
            Code={"ZipFile": packed.getvalue()},
            Timeout=timeout_s,
            Environment={"Variables": dict(variables)},
        )
        self.later("lambda", "delete_function", FunctionName=name)
        deadline = time.monotonic() + _STATE_S
        while (found := await self._state(name)) != "Active":
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.2)

    async def _state(self, name: str) -> str:
        return str((await self.aws("lambda", "get_function_configuration", FunctionName=name))["State"])


class LocalStack(World):
    name = "localstack"
    about = "LocalStack 4.14 with the mends of `infra/localstack/start.d`"
    at_once = 8
    limit_s = 120.0

    def bench(self, undo: contextlib.AsyncExitStack) -> Bench:
        return LocalStackBench(self.endpoint, self.table, undo, patience=1.5)
