"""The embedded stack: engines, gateway, function and poller on one machine, each as the template says.

    stream    MiniStack's Kinesis, a child process                weir.infra.local.engine
    store     MiniStack's DynamoDB, S3, SQS, SSM, likewise        weir.infra.local.engine
    gateway   the API definition, a child process                 weir.infra.local.gateway
    function  the consumer, one process an environment            weir.infra.local.function
    poller    the event source mapping, in this process           weir.infra.local.poller
    archiver  the delivery stream to the archive, likewise        weir.infra.local.archiver

Started in this order and stopped in the reverse one, so that nothing is accepted that is not stored, and nothing is
fetched that is not checkpointed. A part that ends by itself takes the rest down, cleanly. On AWS these are machines of
their own; here the parts that can wait, from the store on, let those go first that answer a sender.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weir.infra import CODE, Say, lifetimes, sender, signing_keys, template
from weir.infra.business import Business
from weir.infra.local import lifecycle, logs, provision
from weir.infra.local.archiver import Archiver, Delivery, Disaggregate
from weir.infra.local.console import Console
from weir.infra.local.engine.engine import STORE_SERVICES, STREAM_SERVICES, Engine, divide
from weir.infra.local.function.function import Function
from weir.infra.local.poller.event_source_mapping import EventSourceMapping
from weir.infra.local.poller.poller import Poller
from weir.infra.local.stream_readers import StreamReaders
from weir.infra.outputs import Outputs
from weir.infra.place import EMBEDDED_ACCOUNT, REGION, STATE_FILE, Place
from weir.infra.synth import readers, sources_parameters, throttles
from weir.ingest.contract import routes
from weir.ingest.errors import StackFailed
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.sources_file import load

STACK = "weir"
SIGNING_FILE = "signing.json"
# Log group -> file under the state folder.
_LOGS = {"AccessLog": "access.log", "ConsumerLog": "consumer.log", "HandshakeLog": "handshake.log"}
# What is kept under the state folder: folders, and files by the ends of their names.
_FOLDERS = ("stream", "store", "engine", "checkpoints", "replays", "load", "bench")
_SUFFIXES = frozenset((".json", ".jsonl", ".log", ".new"))
_DAY_S = 86_400
_WATCH_S = 0.2
_CAN_WAIT = 19  # nice; the usual is 0
_GATEWAY_START_S = 30.0
_GATEWAY_STOP_S = 15.0
# One machine has one processor family and no artifacts to fetch; a provisioned stream shows its shards.
_GIVEN = {
    "ArtifactBucket": "none",
    "ApiDefinitionKey": "none",
    "FunctionKey": "none",
    "StreamMode": "PROVISIONED",
    "ArchiveBufferSeconds": "10",  # a person who tries things out wants to see what was archived
}


@dataclass(frozen=True, slots=True)
class EngineAddresses:
    """Ports of the engines, 0 for a free one; ``via`` is what gateway, function and poller call instead of either."""

    stream_port: int = 0
    store_port: int = 0
    via: str = ""


def run(
    home: Path,
    *,
    port: int,
    sources_file: Path,
    given: Mapping[str, str],
    say: Say,
    business: Business | None = None,
    engines: EngineAddresses | None = None,
    disaggregate: Disaggregate = lambda data: [data],
) -> int:
    """Run the stack until SIGINT or SIGTERM; return the exit code: 0, or 1 when a part ended by itself.

    ``disaggregate`` opens KPL aggregates for the archive, as Firehose does.

    Raises: ServiceError when the stack cannot be started; whatever was started is stopped again.
    """
    os.umask(0o077)  # child processes inherit it
    home.mkdir(parents=True, exist_ok=True)
    with _lock(home):
        _make_private(home)
        _check_port(port)
        catalogue = load(sources_file)
        stack = _Stack(
            home,
            port,
            catalogue,
            given,
            say,
            business=business or Business(),
            engines=engines or EngineAddresses(),
            disaggregate=disaggregate,
        )
        return asyncio.run(stack.run())


def _definition(catalogue: Catalogue) -> dict[str, Any]:
    """Return the API definition as the gateway process serves it."""
    substitutions = {
        "partition": "aws",
        "region": REGION,
        "credentials": "embedded",
        "handshake_function": f"arn:aws:lambda:{REGION}:{EMBEDDED_ACCOUNT}:function:{STACK}-handshake",
    }
    return routes.api_definition(catalogue, substitutions)


class _Stack:
    def __init__(
        self,
        home: Path,
        port: int,
        catalogue: Catalogue,
        given: Mapping[str, str],
        say: Say,
        *,
        business: Business,
        engines: EngineAddresses,
        disaggregate: Disaggregate,
    ) -> None:
        self._home, self._port, self._say = home, port, say
        self._catalogue, self._business = catalogue, business
        self._disaggregate = disaggregate
        self._definition = _definition(catalogue)
        definition = routes.render(self._definition)
        ready = template.prepare(
            template.load(), definition, throttles(catalogue), readers(catalogue), business.tables, emulated=True
        )
        needed = sources_parameters(catalogue, partition="aws", region=REGION, account=EMBEDDED_ACCOUNT)
        given = {**_GIVEN, **needed, "Effects": business.package, **given}
        self._parameters = template.parameters(ready, given)
        self._resources, self._outputs = template.evaluate(
            ready, given, stack=STACK, region=REGION, account=EMBEDDED_ACCOUNT
        )
        # Known to who can read the state file: other users of this machine reach loopback, too.
        self._key = f"weir{secrets.token_hex(16)}"
        stream, store = home / "stream", home / "store"
        self._stream = Engine(stream, access_key=self._key, port=engines.stream_port, services=STREAM_SERVICES)
        self._store = Engine(store, access_key=self._key, port=engines.store_port, services=STORE_SERVICES)
        self._engines = (self._stream, self._store)
        # What the parts call: the engines, or a proxy in front of them.
        self._stream_url = engines.via or self._stream.endpoint
        self._store_url = engines.via or self._store.endpoint
        self._gateway: subprocess.Popen[bytes] | None = None
        self._function: Function | None = None
        self._readers: StreamReaders | None = None

    async def run(self) -> int:
        """Start, watch, stop."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        try:
            await self._start()
            self._introduce()
            ended = await self._watch(stop)
        finally:
            await self._stop()
        if ended:
            self._say(f"stopped because {ended}")
            return 1
        self._say("stopped; the data is kept, `make run` brings it back")
        return 0

    async def _start(self) -> None:
        await asyncio.to_thread(divide, self._home / "engine", stream=self._stream.state, store=self._store.state)
        made_ms = None if any(engine.has_state for engine in self._engines) else round(time.time() * 1000)
        self._tell_about_data()
        await asyncio.to_thread(self._expire_logs)
        await asyncio.gather(*(asyncio.to_thread(engine.start) for engine in self._engines))
        place = self._place()
        await asyncio.to_thread(provision.provision, place, self._resources)
        await asyncio.to_thread(lifecycle.expire, place.client("s3"), self._resources["Bucket"], datetime.now(UTC))
        await asyncio.to_thread(lifetimes.record_after, place, place.outputs().bucket, self._catalogue, made_ms=made_ms)
        (self._home / "sources.json").write_text(self._catalogue.dump(), encoding="utf-8")
        engines = {"engine": self._store.endpoint, "kinesis": self._stream.endpoint, "access_key": self._key}
        _write_private(self._home / STATE_FILE, {"stack": STACK, **engines, "outputs": place.outputs().as_dict()})
        await asyncio.to_thread(_provide_secrets, place, self._catalogue)
        self._gateway = await asyncio.to_thread(self._start_gateway)
        self._let_senders_go_first()
        self._function = self._make_function()
        if reason := await self._function.warm():
            raise StackFailed(f"The consumer does not start: {reason}", log=str(self._home / "consumer.log"))
        self._readers = self._make_readers(self._function)
        await self._readers.start()

    def _let_senders_go_first(self) -> None:
        """Put this process and the store, and so every environment of the function, behind gateway and stream."""
        for pid in (0, self._store.pid):
            if pid is not None:
                os.setpriority(os.PRIO_PROCESS, pid, _CAN_WAIT)

    def _place(self) -> Place:
        outputs = {
            **self._outputs,
            "Endpoint": f"http://127.0.0.1:{self._port}/v1",
            "ConsumerLog": str(self._home / "consumer.log"),
            "AccessLog": str(self._home / "access.log"),
            "SigningFile": str(self._home / SIGNING_FILE),
            "Home": str(self._home),
            "FailureQueueUrl": f"{self._store.endpoint}/{EMBEDDED_ACCOUNT}/{self._outputs['FailureQueueUrl']}",
        }
        return Place(
            "embedded",
            STACK,
            endpoint=self._store.endpoint,
            kinesis=self._stream.endpoint,
            access_key=self._key,
            outputs=Outputs.read(outputs, origin="the template"),
        )

    def _tell_about_data(self) -> None:
        if any(engine.ended_uncleanly for engine in self._engines):
            self._say("the last session did not end cleanly; replaying its journal ...")
        elif any(engine.has_state for engine in self._engines):
            self._say(f"bringing back the data of the last session from {self._home}")
        else:
            self._say(f"starting empty; the data will be kept in {self._home}")

    def _expire_logs(self) -> None:
        for logical_id, name in _LOGS.items():
            if logical_id in self._resources:
                kept_s = int(self._resources[logical_id].properties["RetentionInDays"]) * _DAY_S
                logs.end_last_line(self._home / name)
                logs.expire(self._home / name, round((time.time() - kept_s) * 1000))

    # ------------------------------------------------------------------------------------------ parts

    def _start_gateway(self) -> subprocess.Popen[bytes]:
        stage = self._resources["Stage"].properties
        config = {
            "definition": self._definition,
            "stage_variables": stage["Variables"],
            "method_settings": stage["MethodSettings"],
            "access_log_format": stage["AccessLogSetting"]["Format"],
            "access_log": str(self._home / "access.log"),
            "engine": self._stream_url,
            "access_key": self._key,
            "port": self._port,
            "functions": self._handshake_function(),
        }
        path = self._home / "gateway.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        log = self._home / "gateway.log"
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                [sys.executable, "-P", "-m", "weir.infra.local.gateway.gateway_process", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(CODE)},
            )
        _wait_for_port(process, self._port, log)
        return process

    def _make_function(self) -> Function:
        properties = self._resources["Consumer"].properties
        return Function(
            properties["Handler"],
            self._variables("Consumer"),
            root=CODE,
            log_path=self._home / "consumer.log",
            name=properties["FunctionName"],
            timeout_s=float(properties["Timeout"]),
            memory_mb=int(properties["MemorySize"]),
            reserved_concurrency=properties.get("ReservedConcurrentExecutions"),
            region=REGION,
            access_key=self._key,
        )

    def _handshake_function(self) -> dict[str, Any]:
        """Return what the gateway runs the handshake function with; nothing if no source asks for it."""
        if "Handshake" not in self._resources:
            return {}
        properties = self._resources["Handshake"].properties
        given = {
            "handler": properties["Handler"],
            "environment": self._variables("Handshake"),
            "log_path": str(self._home / "handshake.log"),
            "timeout_s": float(properties["Timeout"]),
            "memory_mb": int(properties["MemorySize"]),
            "reserved_concurrency": properties.get("ReservedConcurrentExecutions"),
        }
        return {properties["FunctionName"]: given}

    def _variables(self, logical_id: str) -> dict[str, str]:
        """Return a function's environment: the template's, and where the engine and the sources are on this machine."""
        given = self._resources[logical_id].properties["Environment"]["Variables"]
        local = {
            "AWS_ENDPOINT_URL": self._store_url,
            "AWS_ENDPOINT_URL_KINESIS": self._stream_url,
            "SOURCES_FILE": str(self._home / "sources.json"),
            "EFFECTS_FOLDER": str(self._business.folder),
        }
        return {name: str(value) for name, value in (given | local).items()}

    def _make_readers(self, function: Function) -> StreamReaders:
        mapping = EventSourceMapping.from_properties(self._resources["ConsumerMapping"].properties)
        state = self._home / "checkpoints"

        console = Console(self._home / "consumer.log", self._say)

        def make_poller() -> Poller:
            return Poller(
                mapping,
                function.invoke,
                endpoint=self._store_url,
                kinesis=self._stream_url,
                access_key=self._key,
                state=state,
                on_batch=console.on_batch,
                on_notice=console.on_notice,
            )

        archiver = None
        if "Archive" in self._resources:
            archiver = Archiver(
                Delivery.from_properties(self._resources["Archive"].properties),
                endpoint=self._store_url,
                kinesis=self._stream_url,
                access_key=self._key,
                state=state,
                disaggregate=self._disaggregate,
                on_notice=console.on_notice,
            )
        return StreamReaders(make_poller, archiver, home=self._home, say=self._say)

    # ------------------------------------------------------------------------------------------ life

    async def _watch(self, stop: asyncio.Event) -> str | None:
        """Return why the stack must stop; None when it was asked to."""
        while not stop.is_set():
            for engine in self._engines:
                if (code := engine.poll()) is not None:
                    return f"the engine of the {engine.state.name} ended (exit code {code}); see {engine.log}"
            if self._gateway is not None and (code := self._gateway.poll()) is not None:
                return f"the gateway ended (exit code {code}); see {self._home / 'gateway.log'}"
            if self._readers is not None and (ended := await self._readers.look()):
                return ended
            try:
                await asyncio.wait_for(stop.wait(), _WATCH_S)
            except TimeoutError:
                continue
        return None

    async def _stop(self) -> None:
        if self._gateway is not None:
            await asyncio.to_thread(_end, self._gateway)
        if self._readers is not None:
            await self._readers.stop()
        if self._function is not None:
            await self._function.close()
        await asyncio.gather(*(asyncio.to_thread(engine.stop) for engine in self._engines))

    def _introduce(self) -> None:
        base = f"http://127.0.0.1:{self._port}/v1"
        mapping = self._resources["ConsumerMapping"].properties
        self._say(f"  gateway   {base}/{{source}}   sources: {', '.join(self._catalogue)}")
        self._say(f"  stream    {self._stream.endpoint}   MiniStack: Kinesis (pid {self._stream.pid})")
        self._say(f"  store     {self._store.endpoint}   MiniStack: DynamoDB, S3, SQS, SSM (pid {self._store.pid})")
        self._say(
            f"  consumer  batches of {mapping['BatchSize']}, {mapping['ParallelizationFactor']} at once a shard, "
            f"log {self._home / 'consumer.log'}"
        )
        for name, source in self._catalogue.items():
            for warning in lifetimes.warnings(source, self._parameters):
                self._say(f"  warning   {name}: {warning}")
        self._say("  try       .venv/bin/weir send github     .venv/bin/weir events     or paste:")
        if example := sender.curl(self._place(), self._catalogue):
            self._say(f"  {example}")
        self._say(f"ready: POST to {base}/{{source}}; Ctrl-C stops everything")


# ---------------------------------------------------------------------------------------------- set-up


@contextmanager
def _lock(home: Path) -> Iterator[None]:
    with (home / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StackFailed(
                f"Weir already runs with its state in {home}; give this one another WEIR_HOME=."
            ) from error
        yield


def _make_private(home: Path) -> None:
    """Take from group and others every right to what an earlier session left: secrets and webhooks of senders.

    Of a folder that WEIR_HOME names, only what Weir keeps there: it may hold other things.
    """
    folders = [path for name in _FOLDERS if (path := home / name).is_dir()]
    files = [path for path in home.iterdir() if path.is_file() and path.suffix in _SUFFIXES]
    for path in (home, *files, *folders, *(path for folder in folders for path in folder.rglob("*"))):
        if not path.is_symlink() and (mode := path.stat().st_mode) & 0o077:
            path.chmod(mode & 0o700)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackFailed(
                f"Port {port} is in use; choose another with PORT=, as in `make run PORT=8081`."
            ) from error


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _GATEWAY_START_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    _end(process)
    said = log.read_text(errors="replace").splitlines()[-3:]
    raise StackFailed("The gateway did not start.", log=str(log), said=said)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GATEWAY_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _provide_secrets(place: Place, catalogue: Catalogue) -> None:
    for source in catalogue.values():
        signing_keys.provide(place, source)


def _write_private(path: Path, content: Mapping[str, Any]) -> None:
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(content, indent=1), encoding="utf-8")
    draft.replace(path)
