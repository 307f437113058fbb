"""A running stack takes changed code, tables and sources at once, and loses and doubles nothing by it."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.running import Running
from weir.infra import place, secrets
from weir.ingest.schemes import signatures
from weir.ingest.sources.catalogue import Source
from weir.ingest.sources.sources_file import SourceEntry, resolve

pytestmark = pytest.mark.engine

CODE = """
from weir import Event, Table, Update, effect

counts = Table("counts", key={"name": str})


@effect("payments", "*")
def count(event: Event):
    return [Update(counts, {"name": "VERSION"}, add={"events": 1})]
"""
MORE_TABLE = """
more = Table("more", key={"name": str, "n": int})


@effect("others", "*")
def other(event: Event):
    return [Update(more, {"name": "other", "n": 1}, add={"events": 1})]
"""
PAYMENTS = resolve("payments", SourceEntry(preset="standard-webhooks"))
RATE, SECONDS = 200, 6


class Project:
    """A project in a folder, and the stack that runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "shop").mkdir(parents=True)
        (folder / "pyproject.toml").write_text('[tool.weir]\npackage = "shop"\n')
        (folder / "sources.yaml").write_text("payments: {preset: standard-webhooks}\n")
        self.code(CODE.replace("VERSION", "first"))
        self.stack = Running(folder / ".weir", WEIR_PROJECT=str(folder)).wait_ready()

    def code(self, text: str) -> None:
        (self.folder / "shop" / "__init__.py").write_text(text)

    def await_line(self, text: str, *, seen: int = 0) -> int:
        """Wait until the stack has said a line with this text, after ``seen`` letters; return how much it has said."""
        deadline_s = time.monotonic() + 30
        while text not in self.stack.output[seen:]:
            assert time.monotonic() < deadline_s, self.stack.output
            time.sleep(0.05)
        return len(self.stack.output)

    def counts(self) -> dict[str, int]:
        rows = map(json.loads, self.stack.weir("items", "counts", "--json").splitlines())
        return {row["name"]: row["events"] for row in rows}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path / "shop")
    yield made
    made.stack.stop()
    shutil.rmtree(tmp_path, ignore_errors=True)


def secret(project: Project) -> str:
    return secrets.live(place.embedded(project.stack.home), PAYMENTS)[0].value


async def send(url: str, source: Source, key: str, change: Callable[[], None]) -> int:
    """Post deliveries at a fixed rate, call ``change`` when a third is out, and return how many were acknowledged."""

    async def post(session: aiohttp.ClientSession, number: int) -> bool:
        body, at_ms = b'{"type": "paid"}', round(time.time() * 1000)
        headers = signatures.sign(source.scheme, key, body, at_ms=at_ms, message_id=f"msg_{number}")
        async with session.post(url, data=body, headers={**headers, "Content-Type": "application/json"}) as answer:
            return answer.status == 200

    began_s, sent = time.monotonic(), []
    async with aiohttp.ClientSession() as session:
        for number in range(RATE * SECONDS):
            await asyncio.sleep(max(0.0, began_s + number / RATE - time.monotonic()))
            sent.append(asyncio.create_task(post(session, number)))
            if number == RATE * SECONDS // 3:
                change()
        return sum(await asyncio.gather(*sent))


def test_changed_code_counts_each_event_once(project: Project) -> None:
    """While 200 deliveries a second come in the code is changed: each is applied once, by one of the two."""

    def change() -> None:
        project.code(CODE.replace("VERSION", "second"))

    url = f"http://127.0.0.1:{project.stack.port}/v1/payments"
    acknowledged = asyncio.run(send(url, PAYMENTS, secret(project), change))
    project.await_line("taken: business code")
    assert acknowledged == RATE * SECONDS
    deadline_s = time.monotonic() + 60
    while sum((counts := project.counts()).values()) < acknowledged and time.monotonic() < deadline_s:
        time.sleep(0.5)
    assert sum(counts.values()) == acknowledged
    assert counts["first"] > 0
    assert counts["second"] > 0
    found = json.loads(project.stack.weir("account", "--json", "--grace", "0s"))
    assert (found["acknowledged"], found["unaccounted"]) == (acknowledged, 0)


def test_what_is_broken_changes_nothing_and_says_why(project: Project) -> None:
    """A file that is not Python, a table that is not declared, a source without a preset: what ran before runs on."""
    seen = len(project.stack.output)
    for text, said in (
        (CODE + "\ndef broken(:\n", "shop/__init__.py:11: SyntaxError"),
        (CODE.replace("Update(counts", 'Update("nowhere"'), "no table 'nowhere' is declared"),
    ):
        project.code(text)
        seen = project.await_line(said, seen=seen)
        assert "not taken, what ran before runs on" in project.stack.output
    project.code(CODE.replace("VERSION", "first"))
    (project.folder / "sources.yaml").write_text("payments: {preset: nothing-of-this-name}\n")
    seen = project.await_line("The preset 'nothing-of-this-name' does not exist", seen=seen)
    (project.folder / "sources.yaml").unlink()
    seen = project.await_line("There is no sources.yaml in", seen=seen)
    (project.folder / "sources.yaml").write_text("payments: {preset: standard-webhooks}\n")
    (project.folder / "pyproject.toml").write_text("[tool.weir\n")
    seen = project.await_line("pyproject.toml cannot be read", seen=seen)
    (project.folder / "pyproject.toml").write_text('[tool.weir]\npackage = "nowhere"\n')
    seen = project.await_line("There is no package nowhere in", seen=seen)
    (project.folder / "pyproject.toml").write_text('[tool.weir]\npackage = "shop"\n')
    assert project.stack.weir("send", "payments").splitlines()[-1].strip() == "applied"
    assert project.counts() == {"first": 1}


def test_tables_and_sources_are_there_at_once(project: Project) -> None:
    """A table with its effect, and a source with its secret: the next delivery finds both."""
    project.code(CODE + MORE_TABLE)
    (project.folder / "sources.yaml").write_text("payments: {preset: standard-webhooks}\nothers: {preset: hmac}\n")
    project.await_line("taken: table more, source others, business code")
    assert project.stack.weir("send", "others").splitlines()[-1].strip() == "applied"
    row = json.loads(project.stack.weir("items", "more", "other", "1", "--json"))
    assert row == {"name": "other", "n": 1, "events": 1}
    (project.folder / "sources.yaml").write_text("payments: {preset: standard-webhooks}\n")
    project.await_line("taken: source others\n")
    assert project.stack.call("send", "others").stdout.startswith(b"404")
