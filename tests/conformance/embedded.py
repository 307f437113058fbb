"""The embedded stack as a place: gateway, poller and function of ``weir.infra.local`` on the engine."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.conformance.apis import Api
from tests.conformance.aws import Aws, Topic
from tests.conformance.bench import ApiOptions, Bench, Place, Refused, RunningMapping
from tests.conformance.probe import Function
from tests.support.gateways import serving
from weir.infra.local.function.function import Function as LocalFunction
from weir.infra.local.poller.event_source_mapping import EventSourceMapping
from weir.infra.local.poller.poller import Poller
from weir.ingest.errors import TemplateUnsupported


class EmbeddedApi(Api):
    def __init__(self, port: int, log: Path | None) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

    async def log_lines(self, count: int) -> list[str]:
        if self._log is None:
            return []
        deadline = time.monotonic() + 5
        while len(lines := self._log.read_text().splitlines()) < count and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return lines


class EmbeddedMapping(RunningMapping):
    """A poller that is stopped and started again on the same checkpoints."""

    def __init__(self, mapping: EventSourceMapping, poller: Callable[[EventSourceMapping], Poller]) -> None:
        self._mapping = mapping
        self._new_poller = poller
        self._poller: Poller | None = None
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._poller = self._new_poller(self._mapping)
        self._running = asyncio.create_task(self._poller.run())

    async def pause(self) -> None:
        if self._poller is None or self._running is None:
            return
        await self._poller.stop()
        await self._running
        self._poller = self._running = None

    async def resume(self) -> None:
        await self.pause()
        self._mapping = dataclasses.replace(self._mapping, enabled=True)
        self.start()


class EmbeddedBench(Bench):
    def __init__(self, aws: Aws, place: Embedded) -> None:
        super().__init__(aws, place.prefix, place.table, place.tags)
        self.gateway_role = f"arn:aws:iam::{place.account}:role/conformance"
        self._endpoint = str(aws.clients.endpoint)
        self._functions: dict[str, LocalFunction] = {}
        self._ahead_s = 0.0
        folder = tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True)
        self.aws.undo.callback(folder.cleanup)
        self._folder = Path(folder.name)

    async def _make_api(self, definition: Mapping[str, Any], options: ApiOptions) -> Api:
        given: dict[str, Any] = {"stage_variables": options.variables}
        if options.throttle:
            rate, burst = options.throttle
            settings = {"ThrottlingRateLimit": rate, "ThrottlingBurstLimit": burst}
            given["method_settings"] = [{"ResourcePath": "/*", "HttpMethod": "*", **settings}]
        log = self._folder / "access.log" if options.access_log_format else None
        if options.access_log_format:
            given["access_log_format"] = options.access_log_format
        try:
            served = await self.aws.undo.enter_async_context(
                serving(definition, self._endpoint, access_log=log, **given)
            )
        except TemplateUnsupported as error:
            raise Refused("its definition is refused when it is loaded") from error
        return EmbeddedApi(served.port, log)

    async def _make_mapping(self, function: Function, properties: Mapping[str, Any]) -> RunningMapping:
        try:
            mapping = EventSourceMapping.from_properties(properties)
        except TemplateUnsupported as error:
            raise Refused("the mapping is refused when it is loaded") from error
        invoke = self._functions[function.name].invoke

        def poller(enabled: EventSourceMapping) -> Poller:
            return Poller(
                enabled,
                invoke,
                endpoint=self._endpoint,
                state=self._folder,
                clock=lambda: time.time() + self._ahead_s,
            )

        made = EmbeddedMapping(mapping, poller)
        made.start()
        self.aws.undo.push_async_callback(made.pause)
        return made

    async def topic(self) -> Topic:
        # The engine has no SNS; a mapping with a topic is refused before anyone would look for it.
        return Topic(self.aws.arn("sns", self.name))

    async def pass_time(self, seconds: float) -> None:
        self._ahead_s += seconds

    async def _make_function(self, name: str, source: str, variables: Mapping[str, str], **options: Any) -> None:
        root = self._folder / name
        root.mkdir()
        (root / "probe.py").write_text(source)
        made = LocalFunction(
            "probe.handler",
            {**variables, "AWS_ENDPOINT_URL": self._endpoint},
            root=root,
            log_path=self._folder / f"{name}.log",
            name=name,
            **options,
        )
        self._functions[name] = made
        self.aws.undo.push_async_callback(made.close)


class Embedded(Place):
    name = "embedded"
    about = "the embedded stack of this repository (`make run`)"
    at_once = 6
    limit_s = 45.0

    def bench(self, aws: Aws) -> Bench:
        return EmbeddedBench(aws, self)
