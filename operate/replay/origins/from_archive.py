"""The archive as an origin: every delivery in the order of its arrival, although Firehose gives its objects none.

Nothing in an object tells a record's position in the stream, and objects overlap: of several shards, of one that
Firehose fell behind with. What they hold of an hour is sorted in a file, so that memory stays small.

    folder 10 --+                          +--> what arrived before 11:00 less the slack, in order
    folder 11 --+--> sorted in a file -----+--> the rest waits for folder 11, then 12 ...
                                           a folder is named by the oldest record in its objects

What was put into the stream again later, and is in a later folder than its arrival, comes with that folder.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from weir.ingest.envelope import decode
from weir.ingest.errors import RecordError
from weir.operate.lookup.delivery import Advance, Cursor, Delivery, Estimate
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.filters import Filter
from weir.operate.replay.origins.archive_objects import STAMP_SLACK_MS, Archive, ArchiveObject, Corrupt, starts_ms
from weir.operate.replay.request import ReplayRequest

LANE = "archive"
_END_MS = 1 << 60
_TABLE = """CREATE TABLE found (
    at INTEGER, name TEXT, number INTEGER, line BLOB, PRIMARY KEY (at, name, number)) WITHOUT ROWID"""
_BEHIND = """SELECT at, name, number, line FROM found
    WHERE at < ? AND (at, name, number) > (?, ?, ?) ORDER BY at, name, number"""


class _Position(NamedTuple):
    """How far reading has come: the first folder that may have more, the folder being read out, the line."""

    first: str = ""
    folder: str = ""
    at_ms: int = -1
    name: str = ""
    number: int = 0

    @classmethod
    def parse(cls, text: str) -> _Position:
        return cls(*json.loads(text)) if text else cls()

    def __str__(self) -> str:
        return json.dumps(self)


@dataclass(slots=True)
class FromArchive:
    """Reads an archive in order of arrival."""

    archive: Archive

    @property
    def label(self) -> str:
        return self.archive.label

    def estimate(self) -> Estimate:
        """Return the archive's."""
        return self.archive.estimate()

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:
        """Yield the envelopes behind the cursor."""
        done = _Position.parse(cursor.get(LANE, ""))
        with tempfile.TemporaryDirectory(prefix="weir-") as folder:
            order = sqlite3.connect(f"{folder}/order", isolation_level=None)
            try:
                order.execute("PRAGMA journal_mode = OFF")
                order.execute("PRAGMA synchronous = OFF")
                order.execute(_TABLE)
                yield from self._folders(order, done)
            finally:
                order.close()
        self.archive.report()

    def _folders(self, order: sqlite3.Connection, done: _Position) -> Iterator[Delivery | Advance | None]:
        folders = self.archive.folders(done.first)
        current = next(folders, None)
        while current is not None:
            folder, objects = current
            first = _oldest_folder(order) or folder
            for one in objects:
                self._load(order, one)
                yield None  # a moment to stop at
            current = next(folders, None)
            border_ms = _END_MS if current is None else _border_ms(current[0])
            if folder >= done.folder:
                behind = done if folder == done.folder else _Position()
                start = _Position(first, folder)
                yield from _give_out(order, start, behind, border_ms)
                yield Advance(LANE, str(start._replace(at_ms=_END_MS)))
            order.execute("DELETE FROM found WHERE at < ?", (border_ms,))

    def _load(self, order: sqlite3.Connection, one: ArchiveObject) -> None:
        order.execute("BEGIN")
        try:
            order.executemany("INSERT INTO found VALUES (?, ?, ?, ?)", self._rows(one))
        except Corrupt:
            order.execute("DELETE FROM found WHERE name = ?", (one.name,))
        order.execute("COMMIT")

    def _rows(self, one: ArchiveObject) -> Iterator[tuple[int, str, int, bytes]]:
        for number, (at_ms, line) in enumerate(self.archive.lines(one.key), 1):
            if not self.archive.wants(at_ms):
                continue
            try:
                decode(line)
            except RecordError:
                self.archive.fragments += 1
            else:
                yield at_ms, one.name, number, line


def make(context: ReplayContext, request: ReplayRequest, selection: Filter) -> FromArchive:  # noqa: ARG001 - the port
    """Return the stack's archive as the origin of a replay."""
    table, say = context.stack.table, context.console.say
    return FromArchive(Archive(table.s3, table.bucket, request.since_ms, request.until_ms, request.ends_ms, say=say))


def _give_out(order: sqlite3.Connection, start: _Position, behind: _Position, border_ms: int) -> Iterator[Delivery]:
    rows = order.execute(_BEHIND, (border_ms, *behind[2:]))
    for at_ms, name, number, line in rows:
        yield Delivery(line, LANE, str(start._replace(at_ms=at_ms, name=name, number=number)), at_ms)


def _oldest_folder(order: sqlite3.Connection) -> str:
    (name,) = order.execute("SELECT min(name) FROM found").fetchone()
    return str(name or "").rpartition("/")[0]


def _border_ms(next_folder: str) -> int:
    """Return up to when everything has been read once a folder and those before it are; -1 where that is not known."""
    next_ms = starts_ms(next_folder)
    return -1 if next_ms is None else next_ms - STAMP_SLACK_MS
