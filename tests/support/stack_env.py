"""The template's resources on the shared engine under names of their own, and a home that commands find them by.

Nothing runs here by itself: a test puts records, lets the consumer read them batch by batch, and calls `weir`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.ledger import LEDGER
from weir.cli.main import main
from weir.consumers.events_table.item import EventResult, JudgedEvent
from weir.consumers.events_table.store import client_config
from weir.consumers.judging.records import Record
from weir.infra import lifetimes, secrets, tables, template
from weir.infra.local import provision
from weir.infra.local.engine.engine import Engine
from weir.infra.outputs import Outputs
from weir.infra.place import EMBEDDED_ACCOUNT, REGION, STATE_FILE, Place
from weir.ingest.envelope import Envelope, encode
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.schemes import signatures
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.sources_file import load
from weir.operate.lookup.events import Table
from weir.operate.lookup.preview import Previewer
from weir.operate.lookup.stack import EMULATOR, Stack
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.progress import Progress
from weir.operate.replay.targets.in_process import Pipeline, make_judge, make_pipeline, settings_of
from weir.operate.replay.targets.to_consumer import ToConsumer, into_table

ROOT = Path(__file__).parents[2]
WEIR = Path(sys.executable).with_name("weir")
SECRET = "whsec_" + b64encode(b"the secret of every test source ").decode()
SOURCES = """
payments: {preset: standard-webhooks}
others: {preset: standard-webhooks}
batches:
  scheme: {signature: {at: "header:X-Signature"}, content: "{body}"}
  event: {split: "$.events", id: $.id, type: $.type}
hooks:
  scheme: {signature: {at: "header:X-Signature"}, content: "{body}"}
  event: {id: "header:X-Event-Id", type: "header:X-Event-Type"}
"""
_GIVEN = {"ArtifactBucket": "none", "ApiDefinitionKey": "none", "FunctionKey": "none", "StreamMode": "PROVISIONED"}


class StackEnv:
    """Tables, stream, bucket and secrets of one test."""

    def __init__(self, engine: Engine, home: Path, *, shards: int = 1) -> None:
        self.home = home
        name = f"t{uuid.uuid4().hex[:10]}"
        given = {**_GIVEN, "ShardCount": str(shards), "SecretsPrefix": f"/{name}/secrets"}
        ready = template.load()
        tables.expand(ready, LEDGER.tables, emulated=True)
        resources, outputs = template.evaluate(ready, given, stack=name, region=REGION, account=EMBEDDED_ACCOUNT)
        files = {"Home": str(home), "AccessLog": str(home / "access.log"), "ConsumerLog": str(home / "consumer.log")}
        self.outputs = Outputs.read({**outputs, **files}, origin="the template")
        self.place = Place("embedded", name, endpoint=engine.endpoint, outputs=self.outputs)
        provision.provision(self.place, resources)
        (home / "sources.yaml").write_text(SOURCES)
        self.catalogue: Catalogue = load(home / "sources.yaml")
        lifetimes.record_after(self.place, self.outputs.bucket, self.catalogue, made_ms=round(time.time() * 1000))
        for source in self.catalogue.values():
            secrets.add(self.place, source, SECRET)
        state = {"stack": name, "engine": engine.endpoint, "outputs": self.outputs.as_dict()}
        (home / STATE_FILE).write_text(json.dumps(state))
        self.dynamodb, self.kinesis, self.s3 = map(self.place.client, ("dynamodb", "kinesis", "s3"))
        self.stream = self.outputs.stream_name
        self.access_log = home / "access.log"
        self.settings = settings_of(self.outputs)
        self._read: dict[str, str] = {}

    # ------------------------------------------------------------------------------------------ deliveries

    def delivery(
        self,
        payload: Any,
        *,
        source: str = "payments",
        message_id: str = "",
        key: str = "",
        at_ms: int | None = None,
        secret: str = SECRET,
        request_id: str = "",
    ) -> Envelope:
        """Return what the gateway stores of a correctly signed delivery."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        at_ms = round(time.time() * 1000) if at_ms is None else at_ms
        message_id = message_id or f"msg_{uuid.uuid4().hex[:16]}"
        proof = signatures.sign(self.catalogue[source].scheme, secret, body, at_ms=at_ms, message_id=message_id)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **proof}
        return Envelope(
            RequestId(request_id or f"{uuid.uuid4().hex[:15]}="),
            at_ms,
            SourceName(source),
            key,
            "192.0.2.1",
            f"/v1/{source}",
            {},
            tuple(headers.items()),
            body,
        )

    def payment(self, account: str, cents: int, **options: Any) -> Envelope:
        """Return a delivery that credits an account."""
        data = {"account": account, "amount": cents, "currency": "EUR"}
        return self.delivery({"type": "payment.succeeded", "data": data}, **options)

    def put(self, *envelopes: Envelope | bytes, logged: bool = True) -> None:
        """Put deliveries into the stream as the gateway does, acknowledged in the access log."""
        for start in range(0, len(envelopes), 400):
            chunk = envelopes[start : start + 400]
            records = [
                {
                    "Data": encode(one) if isinstance(one, Envelope) else one,
                    "PartitionKey": (one.key or one.request_id) if isinstance(one, Envelope) else "raw",
                }
                for one in chunk
            ]
            assert self.kinesis.put_records(StreamName=self.stream, Records=records)["FailedRecordCount"] == 0
        if logged:
            self.log_access(one for one in envelopes if isinstance(one, Envelope))

    def log_access(self, envelopes: Iterable[Envelope]) -> None:
        """Write the access log's lines of some requests."""
        with self.access_log.open("a") as log:
            for one in envelopes:
                line = {"id": one.request_id, "at": str(one.arrived_at_ms), "method": "POST", "status": "200"}
                log.write(json.dumps({**line, "integration_status": "200"}) + "\n")

    # ------------------------------------------------------------------------------------------ the live consumer

    def stack(self) -> Stack:
        """Return what account, lag and replays ask."""
        return Stack(
            table=self.table(),
            kinesis=self.kinesis,
            stream=self.stream,
            service=EMULATOR,
            catalogue=self.catalogue,
            access_log=self.access_log,
        )

    def context(self) -> ReplayContext:
        """Return what replays are made with; nothing stops them."""
        label = f"{self.place.label}, {self.home}"
        return ReplayContext(
            self.stack(), self.settings, self.place.client, self.place.client_with, Silent(), label=label
        )

    def table(self) -> Table:
        return Table(self.dynamodb, self.outputs.events_table, self.s3, self.outputs.bucket)

    def pipeline(self) -> Pipeline:
        """Return the consumer's way from records to outcomes, with connections of its own."""
        judge = make_judge(self.catalogue, self.place.client, self.settings)
        client = self.place.client_with("dynamodb", client_config(4))
        return make_pipeline(judge, client, self.settings, s3=self.s3)

    def to_consumer(self, *, retries: bool = False) -> ToConsumer:
        previewer, table = Previewer(self.catalogue), self.settings.events_table
        horizons = self.stack().horizons
        return into_table(self.pipeline(), previewer, self.dynamodb, table, horizons, retries=retries)

    def consume(self, limit: int = 10_000) -> list[tuple[JudgedEvent, EventResult]]:
        """Let the live consumer read on, shard by shard, and keep a checkpoint as the poller does."""
        done: list[tuple[JudgedEvent, EventResult]] = []
        pipeline = self.pipeline()
        for shard in self.kinesis.list_shards(StreamName=self.stream)["Shards"]:
            records = self.unread(shard["ShardId"], limit)
            if records:
                done += pipeline.run(records)
                self._read[shard["ShardId"]] = records[-1].sequence_number
        self._save_checkpoints()
        return done

    def unread(self, shard_id: str, limit: int = 10_000) -> list[Record]:
        """Return what the live consumer has not read of a shard."""
        from weir.consumers.judging.records import open_record

        start: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if shard_id in self._read:
            start = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": self._read[shard_id],
            }
        iterator = self.kinesis.get_shard_iterator(StreamName=self.stream, ShardId=shard_id, **start)["ShardIterator"]
        page = self.kinesis.get_records(ShardIterator=iterator, Limit=limit)["Records"]
        return [
            record
            for one in page
            for record in open_record(
                shard_id,
                one["SequenceNumber"],
                round(one["ApproximateArrivalTimestamp"].timestamp() * 1000),
                one["Data"],
            )
        ]

    def _save_checkpoints(self) -> None:
        folder = self.home / "checkpoints"
        folder.mkdir(exist_ok=True)
        shards = {
            shard_id: {"position": {"kind": "AFTER_SEQUENCE_NUMBER", "sequence_number": number, "at_s": None}}
            for shard_id, number in self._read.items()
        }
        (folder / f"{self.stream}.json").write_text(json.dumps({"shards": shards}))

    # ------------------------------------------------------------------------------------------ what is stored

    def events(self) -> dict[str, dict[str, Any]]:
        """Return the items of the events table by key."""
        return {item["pk"]["S"]: item for item in self.scan(self.outputs.events_table)}

    def balances(self) -> dict[str, dict[str, int]]:
        """Return the ledger by account."""
        return {
            item["account"]["S"]: {name: int(value["N"]) for name, value in item.items() if name != "account"}
            for item in self.scan(self.outputs.table("balances"))
        }

    def scan(self, table: str) -> list[dict[str, Any]]:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    # ------------------------------------------------------------------------------------------ the command line

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEIR_"))}
        return {**kept, **self._own_variables()}

    def _own_variables(self) -> dict[str, str]:
        sources = str(self.home / "sources.yaml")
        return {"WEIR_HOME": str(self.home), "WEIR_SOURCES": sources, "WEIR_PROJECT": str(LEDGER.folder)}

    def weir(self, *arguments: str, code: int | None = 0) -> str:
        """Run a command here, in this process, and return what it printed as its result."""
        done = self.invoke(*arguments)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.exit_code == code, (done.exit_code, done.stdout, done.stderr)
        return done.stdout

    def invoke(self, *arguments: str) -> Result:
        """Run a command here, in this process."""
        gone = {name: None for name in os.environ if name.startswith(("AWS_", "WEIR_"))}
        return CliRunner().invoke(main, arguments, env={**gone, **self._own_variables()})

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command here."""
        return subprocess.Popen(
            [WEIR, *arguments],
            cwd=self.home,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )


class Silent:
    """A console that keeps what is said in ``lines`` and never stops."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stopped(self) -> bool:
        return False

    def say(self, line: str) -> None:
        self.lines.append(line)

    def result(self, value: Mapping[str, Any], lines: Iterable[str]) -> None:
        self.lines += lines

    def watch(self, progress: Progress) -> None:
        pass


def shuffled(items: Sequence[Any], seed: int) -> list[Any]:
    """Return the items in another order, the same for the same seed."""
    mixed = list(items)
    random.Random(seed).shuffle(mixed)
    return mixed


@pytest.fixture
def stack_env(engine: Engine, tmp_path: Path) -> StackEnv:
    """Provision a stack for one test."""
    return StackEnv(engine, tmp_path)
