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
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weir.infra import CODE, Say, lifetimes, sender, signing_keys
from weir.infra.control import PAUSE_FILE
from weir.infra.local import lifecycle, logs, provision, version
from weir.infra.local.archiver import Archiver, Delivery, Disaggregate
from weir.infra.local.console import Console
from weir.infra.local.engine.engine import STORE_SERVICES, STREAM_SERVICES, Engine, divide
from weir.infra.local.function.function import Function
from weir.infra.local.function.invocations import InvocationResult
from weir.infra.local.gateway import GENERATION_FILE
from weir.infra.local.poller.event_source_mapping import EventSourceMapping
from weir.infra.local.poller.poller import Poller
from weir.infra.local.reload import Reload
from weir.infra.local.schedule import Schedule
from weir.infra.local.stream_readers import StreamReaders
from weir.infra.local.version import STACK, Inputs, ProjectFiles, Version
from weir.infra.outputs import Outputs
from weir.infra.place import EMBEDDED_ACCOUNT, REGION, STATE_FILE, Place
from weir.ingest.errors import StackFailed
from weir.ingest.sources.catalogue import Catalogue

SIGNING_FILE = "signing.json"
GATEWAY_FILE = "gateway.json"
# Log group -> file under the state folder.
_LOGS = {"AccessLog": "access.log", "ConsumerLog": "consumer.log", "HandshakeLog": "handshake.log"}
# What is kept under the state folder: folders, and files by the ends of their names.
_FOLDERS = ("stream", "store", "engine", "checkpoints", "replays", "load", "bench", version.CODE_FOLDER)
_SUFFIXES = frozenset((".json", ".jsonl", ".log", ".new"))
_DAY_S = 86_400
_WATCH_S = 0.2
_CAN_WAIT = 19  # nice; the usual is 0
_GATEWAY_START_S = 30.0
_GATEWAY_STOP_S = 15.0


@dataclass(frozen=True, slots=True)
class EngineAddresses:
    """Ports of the engines, 0 for a free one; ``via`` is what gateway, function and poller call instead of either."""

    stream_port: int = 0
    store_port: int = 0
    via: str = ""


def run(
    home: Path,
    files: ProjectFiles,
    *,
    port: int,
    say: Say,
    engines: EngineAddresses | None = None,
    disaggregate: Disaggregate = lambda data: [data],
) -> int:
    """Run the stack until SIGINT or SIGTERM; return the exit code: 0, or 1 when a part ended by itself.

    ``files`` are the project's; what changes in them is taken while the stack runs. ``disaggregate`` opens KPL
    aggregates for the archive, as Firehose does.

    Raises: ServiceError when the stack cannot be started; whatever was started is stopped again.
    """
    os.umask(0o077)  # child processes inherit it
    with tempfile.TemporaryDirectory(prefix="weir-") as trial:
        # Before anything is made: code that cannot be imported would hold up every event.
        inputs = files.read(lambda business, catalogue: version.copy_into(Path(trial), business, catalogue))
        home.mkdir(parents=True, exist_ok=True)
        with _lock(home):
            _make_private(home)
            _check_port(port)
            folder = version.copy_into(home, inputs.business, inputs.catalogue)
            version.forget_others(home, folder)
            inputs = inputs._replace(business=inputs.business._replace(folder=folder))
            stack = _Stack(home, port, inputs, say, engines=engines or EngineAddresses(), disaggregate=disaggregate)
            return asyncio.run(stack.run(files))


class _Stack:
    def __init__(
        self,
        home: Path,
        port: int,
        inputs: Inputs,
        say: Say,
        *,
        engines: EngineAddresses,
        disaggregate: Disaggregate,
    ) -> None:
        self._home, self._port, self._say = home, port, say
        self._version = version.make(inputs)
        self._disaggregate = disaggregate
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
        self._generation = 0
        self._retired: list[Function] = []  # of earlier versions, with batches under way
        self._function: Function | None = None
        self._readers: StreamReaders | None = None
        self._schedule: asyncio.Task[None] | None = None

    async def run(self, files: ProjectFiles) -> int:
        """Start, watch, stop."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        try:
            await self._start()
            self._introduce()
            reload = Reload(self._home, files, self._version.inputs, self._take, self._say)
            try:
                ended = await self._watch(stop, reload)
            finally:
                await reload.stop()
        finally:
            await self._stop()
        if ended:
            self._say(f"stopped because {ended}; what was acknowledged is kept, and is there again at the next start")
            return 1
        self._say("stopped; the data is kept, and is there again at the next start")
        return 0

    async def _start(self) -> None:
        await asyncio.to_thread(divide, self._home / "engine", stream=self._stream.state, store=self._store.state)
        made_ms = None if any(engine.has_state for engine in self._engines) else round(time.time() * 1000)
        self._tell_about_data()
        await asyncio.to_thread(self._expire_logs)
        await asyncio.gather(*(asyncio.to_thread(engine.start) for engine in self._engines))
        place = self._place()
        await asyncio.to_thread(provision.provision, place, self._version.resources)
        await asyncio.to_thread(
            lifecycle.expire, place.client("s3"), self._version.resources["Bucket"], datetime.now(UTC)
        )
        await asyncio.to_thread(
            lifetimes.record_after, place, place.outputs().bucket, self._version.catalogue, made_ms=made_ms
        )
        self._write_state(place)
        await asyncio.to_thread(_provide_secrets, place, self._version.catalogue)
        self._gateway = await asyncio.to_thread(self._start_gateway)
        self._let_senders_go_first()
        self._function = self._make_function()
        if reason := await self._function.warm():
            raise StackFailed(f"The consumer does not start: {reason}", log=str(self._home / "consumer.log"))
        self._readers = self._make_readers()
        await self._readers.start()
        rule = self._version.resources["WaitingRule"].properties
        schedule = Schedule(rule, self._invoke, self._say, is_paused=(self._home / PAUSE_FILE).exists)
        self._schedule = asyncio.create_task(schedule.run())

    def _write_state(self, place: Place) -> None:
        engines = {"engine": self._store.endpoint, "kinesis": self._stream.endpoint, "access_key": self._key}
        _write_private(self._home / STATE_FILE, {"stack": STACK, **engines, "outputs": place.outputs().as_dict()})

    async def _take(self, inputs: Inputs) -> None:
        """Take another version of the project while everything runs.

        First what the new code needs is made, then batches go to it, then the gateway knows its sources. Batches under
        way end with the code that they began with. Raises: ServiceError; what ran before then runs on.
        """
        before, self._version = self._version, version.make(inputs._replace(given=self._version.inputs.given))
        try:
            function = await self._begin_version()
        except BaseException:
            self._version = before
            raise
        retired, self._function = self._function, function
        if retired is not None:
            self._retired.append(retired)
        await self._tell_gateway(before)

    async def _begin_version(self) -> Function:
        place, resources = self._place(), self._version.resources
        # The stream is as it is: parameters count from the next start.
        new = {name: one for name, one in resources.items() if one.type != "AWS::Kinesis::Stream"}
        await asyncio.to_thread(provision.provision, place, new)
        bucket = place.outputs().bucket
        await asyncio.to_thread(lifetimes.record_after, place, bucket, self._version.catalogue, made_ms=None)
        await asyncio.to_thread(_provide_secrets, place, self._version.catalogue)
        function = self._make_function()
        try:
            reason = await function.warm()
        except BaseException:
            await function.close()
            raise
        if reason:
            await function.close()
            raise StackFailed(f"The consumer does not start: {reason}", log=str(self._home / "consumer.log"))
        self._write_state(place)
        return function

    async def _tell_gateway(self, before: Version) -> None:
        """Let the gateway serve the sources of this version, if they are others; it goes on without a pause."""
        config = self._gateway_config()
        if config == self._gateway_config(before) or self._gateway is None:
            return
        self._generation += 1
        (self._home / GATEWAY_FILE).write_text(json.dumps({**config, "generation": self._generation}), encoding="utf-8")
        self._gateway.send_signal(signal.SIGHUP)
        told, deadline_s = self._home / GENERATION_FILE, time.monotonic() + _GATEWAY_START_S
        while not told.exists() or told.read_text(encoding="ascii") != str(self._generation):
            if time.monotonic() > deadline_s or self._gateway.poll() is not None:
                raise StackFailed("The gateway did not take the sources.", log=str(self._home / "gateway.log"))
            await asyncio.sleep(0.02)

    def _let_senders_go_first(self) -> None:
        """Put this process and the store, and so every environment of the function, behind gateway and stream."""
        for pid in (0, self._store.pid):
            if pid is not None:
                os.setpriority(os.PRIO_PROCESS, pid, _CAN_WAIT)

    def _place(self) -> Place:
        outputs = {
            **self._version.outputs,
            "Endpoint": f"http://127.0.0.1:{self._port}/v1",
            "ConsumerLog": str(self._home / "consumer.log"),
            "AccessLog": str(self._home / "access.log"),
            "SigningFile": str(self._home / SIGNING_FILE),
            "Home": str(self._home),
            "FailureQueueUrl": f"{self._store.endpoint}/{EMBEDDED_ACCOUNT}/{self._version.outputs['FailureQueueUrl']}",
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
            if logical_id in self._version.resources:
                kept_s = int(self._version.resources[logical_id].properties["RetentionInDays"]) * _DAY_S
                logs.end_last_line(self._home / name)
                logs.expire(self._home / name, round((time.time() - kept_s) * 1000))

    # ------------------------------------------------------------------------------------------ parts

    def _gateway_config(self, of: Version | None = None) -> dict[str, Any]:
        of = of or self._version
        stage = of.resources["Stage"].properties
        return {
            "definition": of.definition,
            "stage_variables": stage["Variables"],
            "method_settings": stage["MethodSettings"],
            "access_log_format": stage["AccessLogSetting"]["Format"],
            "access_log": str(self._home / "access.log"),
            "engine": self._stream_url,
            "access_key": self._key,
            "port": self._port,
            "functions": self._handshake_function(of),
        }

    def _start_gateway(self) -> subprocess.Popen[bytes]:
        path = self._home / GATEWAY_FILE
        path.write_text(json.dumps(self._gateway_config()), encoding="utf-8")
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
        properties = self._version.resources["Consumer"].properties
        return Function(
            properties["Handler"],
            self._variables(self._version, "Consumer"),
            root=CODE,
            log_path=self._home / "consumer.log",
            name=properties["FunctionName"],
            timeout_s=float(properties["Timeout"]),
            memory_mb=int(properties["MemorySize"]),
            reserved_concurrency=properties.get("ReservedConcurrentExecutions"),
            region=REGION,
            access_key=self._key,
        )

    def _handshake_function(self, of: Version) -> dict[str, Any]:
        """Return what the gateway runs the handshake function with; nothing if no source asks for it."""
        if "Handshake" not in of.resources:
            return {}
        properties = of.resources["Handshake"].properties
        given = {
            "handler": properties["Handler"],
            "environment": self._variables(of, "Handshake"),
            "log_path": str(self._home / "handshake.log"),
            "timeout_s": float(properties["Timeout"]),
            "memory_mb": int(properties["MemorySize"]),
            "reserved_concurrency": properties.get("ReservedConcurrentExecutions"),
        }
        return {properties["FunctionName"]: given}

    def _variables(self, of: Version, logical_id: str) -> dict[str, str]:
        """Return a function's environment: the template's, and where the engine and the sources are on this machine."""
        given = of.resources[logical_id].properties["Environment"]["Variables"]
        local = {
            "AWS_ENDPOINT_URL": self._store_url,
            "AWS_ENDPOINT_URL_KINESIS": self._stream_url,
            "SOURCES_FILE": str(of.sources_file),
            "EFFECTS_FOLDER": str(of.folder),
        }
        return {name: str(value) for name, value in (given | local).items()}

    async def _invoke(self, event: dict[str, Any]) -> InvocationResult:
        """Invoke the function of the version that runs when the batch is ready."""
        function = self._function
        if function is None:
            raise StackFailed("The consumer has not been started.")
        return await function.invoke(event)

    def _make_readers(self) -> StreamReaders:
        mapping = EventSourceMapping.from_properties(self._version.resources["ConsumerMapping"].properties)
        state = self._home / "checkpoints"

        console = Console(self._home / "consumer.log", self._say)

        def make_poller() -> Poller:
            return Poller(
                mapping,
                self._invoke,
                endpoint=self._store_url,
                kinesis=self._stream_url,
                access_key=self._key,
                state=state,
                on_batch=console.on_batch,
                on_notice=console.on_notice,
            )

        archiver = None
        if "Archive" in self._version.resources:
            archiver = Archiver(
                Delivery.from_properties(self._version.resources["Archive"].properties),
                endpoint=self._store_url,
                kinesis=self._stream_url,
                access_key=self._key,
                state=state,
                disaggregate=self._disaggregate,
                on_notice=console.on_notice,
            )
        return StreamReaders(make_poller, archiver, home=self._home, say=self._say)

    # ------------------------------------------------------------------------------------------ life

    async def _watch(self, stop: asyncio.Event, reload: Reload) -> str | None:
        """Return why the stack must stop; None when it was asked to."""
        while not stop.is_set():
            for engine in self._engines:
                if (code := engine.poll()) is not None:
                    return f"the engine of the {engine.state.name} ended (exit code {code}); see {engine.log}"
            if self._gateway is not None and (code := self._gateway.poll()) is not None:
                return f"the gateway ended (exit code {code}); see {self._home / 'gateway.log'}"
            if self._readers is not None and (ended := await self._readers.look()):
                return ended
            if self._schedule is not None and self._schedule.done():
                return f"the schedule ended: {self._schedule.exception()!r}"
            await reload.look()
            for function in [one for one in self._retired if not one.busy_count]:
                self._retired.remove(function)
                await function.close()
            try:
                await asyncio.wait_for(stop.wait(), _WATCH_S)
            except TimeoutError:
                continue
        return None

    async def _stop(self) -> None:
        if self._gateway is not None:
            await asyncio.to_thread(_end, self._gateway)
        if self._schedule is not None:
            self._schedule.cancel()
        if self._readers is not None:
            await self._readers.stop()
        for function in (self._function, *self._retired):
            if function is not None:
                await function.close()
        await asyncio.gather(*(asyncio.to_thread(engine.stop) for engine in self._engines))

    def _introduce(self) -> None:
        base = f"http://127.0.0.1:{self._port}/v1"
        mapping = self._version.resources["ConsumerMapping"].properties
        self._say(f"  gateway   {base}/{{source}}   sources: {', '.join(self._version.catalogue)}")
        self._say(f"  stream    {self._stream.endpoint}   MiniStack: Kinesis (pid {self._stream.pid})")
        self._say(f"  store     {self._store.endpoint}   MiniStack: DynamoDB, S3, SQS, SSM (pid {self._store.pid})")
        self._say(
            f"  consumer  batches of {mapping['BatchSize']}, {mapping['ParallelizationFactor']} at once a shard, "
            f"log {self._home / 'consumer.log'}"
        )
        for name, source in self._version.catalogue.items():
            for warning in lifetimes.warnings(source, self._version.parameters):
                self._say(f"  warning   {name}: {warning}")
        example = sender.curl(self._place(), self._version.catalogue)
        first = next(iter(self._version.catalogue), "SOURCE")
        weir = _command()
        self._say(f"  try       {weir} send {first}     {weir} events{'     or paste:' if example else ''}")
        if example:
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


def _command() -> str:
    """Return what to type for `weir`: the name alone if the shell finds it, else the path that it was called by."""
    called = Path(sys.argv[0])
    if called.name != "weir" or shutil.which("weir"):
        return "weir"
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)


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
