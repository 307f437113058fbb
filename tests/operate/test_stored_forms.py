"""What any version of Weir has stored stays readable: the files of tests/vectors/stored, byte for byte.

A change that cannot read one of them must not be made: what they stand for lies in streams, archives and buckets.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack_env import StackEnv
from weir.consumers.events_table.blob import FORMS, is_envelope, unpack, unpack_raw
from weir.consumers.events_table.dictionary import WEBHOOKS_1
from weir.consumers.judging.records import open_record
from weir.ingest.envelope import VERSION, Envelope, decode
from weir.ingest.errors import EnvelopeMalformed
from weir.ingest.ids import SequenceNumber
from weir.loadtest.judging.stores import body_of
from weir.operate.lookup.delivery import Delivery
from weir.operate.replay.origins.archive_objects import Archive
from weir.operate.replay.origins.from_archive import FromArchive
from weir.operate.replay.origins.from_failures import FailedBatch, FromFailures

STORED = Path(__file__).parents[1] / "vectors" / "stored"
RECORDS, BLOBS = sorted(STORED.glob("records/*.record")), sorted(STORED.glob("blobs/*.blob"))
ARCHIVED, FAILED = (
    sorted(path for path in STORED.glob(f"{folder}/*") if not path.suffix) for folder in ("archive", "failures")
)


def expected(path: Path) -> Any:
    """Return what a file must be read as."""
    beside = path.with_suffix(".json") if path.suffix else path.with_name(f"{path.name}.json")
    return json.loads(beside.read_text(encoding="utf-8"))


def plain(one: Envelope) -> dict[str, Any]:
    """Write an envelope as JSON, its bodies in base64."""
    other = one.alternative_body
    return {
        **{name: getattr(one, name) for name in ("request_id", "arrived_at_ms", "source", "key", "source_ip", "path")},
        "query": one.query,
        "headers": [list(pair) for pair in one.headers],
        "body": b64encode(one.body).decode(),
        "alternative_body": None if other is None else b64encode(other).decode(),
    }


def opened(data: bytes) -> list[bytes]:
    """Return the records in the data of one record of the stream."""
    return [one.data for one in open_record("shardId-000000000000", SequenceNumber("1"), 0, data)]


def ids(paths: Iterable[Path]) -> list[str]:
    return [path.stem for path in paths]


@pytest.mark.parametrize("path", RECORDS, ids=ids(RECORDS))
def test_a_record_is_read_as_the_delivery_that_it_was(path: Path) -> None:
    """Records of every version and every writer, aggregates opened; any other record is refused."""
    wanted, found = expected(path), opened(path.read_bytes())
    if not wanted:
        with pytest.raises(EnvelopeMalformed):
            decode(found[0])
        return
    assert [plain(decode(one)) for one in found] == wanted


@pytest.mark.parametrize("path", BLOBS, ids=ids(BLOBS))
def test_a_blob_is_read_as_what_was_packed(path: Path) -> None:
    """Blobs of every form, by the product and by the oracle of load tests, which shares no code with it."""
    wanted, content = expected(path), path.read_bytes()
    assert path.name.startswith(f"form-{content[0]}-")
    body = body_of(content, WEBHOOKS_1)
    if not is_envelope(content):
        assert b64encode(unpack_raw(content)).decode() == b64encode(body or b"").decode() == wanted
        return
    given = {name: wanted[name] for name in ("request_id", "arrived_at_ms", "source", "key")}
    assert plain(unpack(content, **given)) == wanted
    assert b64encode(body or b"").decode() == wanted["body"]


@pytest.mark.engine
@pytest.mark.parametrize("path", ARCHIVED, ids=ids(ARCHIVED))
def test_an_object_of_the_archive_gives_its_deliveries(path: Path, stack_env: StackEnv) -> None:
    """Every delivery in it, byte for byte, by the origin of replays and by the command."""
    key = f"archive/2025/11/26/02/{path.name}"
    stack_env.s3.put_object(Bucket=stack_env.outputs.bucket, Key=key, Body=path.read_bytes())
    origin = FromArchive(Archive(stack_env.s3, stack_env.outputs.bucket))
    found = [step.data for step in origin.read({}) if isinstance(step, Delivery)]
    assert sorted(str(decode(one).request_id) for one in found) == sorted(expected(path))
    assert set(found) <= {one for record in RECORDS for one in opened(record.read_bytes())}
    assert replayed(stack_env, "archive") == len(expected(path))


@pytest.mark.engine
@pytest.mark.parametrize("path", FAILED, ids=ids(FAILED))
def test_an_object_of_the_failures_gives_its_records(path: Path, stack_env: StackEnv) -> None:
    """Why it was given up and each record in it, by the origin of replays and by the command."""
    key = f"aws/lambda/00000000-0000-0000-0000-000000000000/shardId-000000000000/2025/11/26/{path.name}"
    stack_env.s3.put_object(Bucket=stack_env.outputs.bucket, Key=key, Body=path.read_bytes())
    (batch,) = FromFailures(stack_env.s3, stack_env.outputs.bucket).batches()
    assert isinstance(batch, FailedBatch)
    assert {
        "condition": batch.condition,
        "error": batch.error,
        "request_ids": [decode(one.data).request_id for one in batch.records],
    } == expected(path)
    assert replayed(stack_env, "failures") == len(batch.records)


def replayed(stack_env: StackEnv, origin: str) -> int:
    """Replay an origin into a file; return how many deliveries it then has."""
    out = stack_env.home / f"{origin}.jsonl"
    stack_env.weir("replay", "--from", origin, "--to", str(out), "--json")
    return len(out.read_bytes().splitlines())


def test_each_version_and_form_has_a_file() -> None:
    """A new version of the envelope, or form of blob, comes with files here; so does what holds its records."""
    for version in range(1, VERSION + 1):
        for folder in (RECORDS, ARCHIVED, FAILED):
            assert [path for path in folder if path.name.startswith(f"v{version}-")], f"version {version}"
    assert {path.name.split("-")[1] for path in BLOBS} == {str(form) for form in FORMS}


def test_files_are_added_and_never_changed() -> None:
    """What was stored once does not change because it is inconvenient to read."""
    lines = (STORED / "sha256.txt").read_text(encoding="ascii").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    files = (path for path in sorted(STORED.glob("*/*")) if path.is_file())
    found = {str(path.relative_to(STORED)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert found == listed, "a new file needs its line in sha256.txt: `sha256sum */*` there"
