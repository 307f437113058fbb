"""How far each shard of a stream is done, in a file that survives a crash at any moment.

A position is where reading starts again: nothing before it is unfinished, some records after it may be done already, so
a restart delivers at least once and never skips. The file carries a digest of what it says: one byte changed in a
sequence number would skip records, and nothing else would show it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from weir.infra.local.engine_client.positions import Position, StreamIdentity

_VERSION = 2


class Checkpoints:
    """The positions of one stream's shards; ``save`` makes what was put durable.

    A shard is distinguished from an earlier one of the same id by the sequence number at which it starts.
    """

    def __init__(self, path: Path, identity: StreamIdentity, start: Position) -> None:
        self._path = path
        self._identity = identity
        self._start = start
        self._shards: dict[str, dict[str, Any]] = {}
        self._dirty = True
        self._load()

    @property
    def start(self) -> Position:
        """Where a shard begins that has no position yet; fixed when the stream is first read."""
        return self._start

    def position(self, shard_id: str, first_sequence_number: str) -> Position:
        """Return where to go on in a shard."""
        known = self._shards.get(shard_id)
        if known is None or known["first"] != first_sequence_number:
            return self._start
        return Position(**known["position"])

    def put(self, shard_id: str, first_sequence_number: str, position: Position) -> None:
        """Remember a position until the next save."""
        self._shards[shard_id] = {"first": first_sequence_number, "position": asdict(position)}
        self._dirty = True

    def keep_only(self, shard_ids: set[str]) -> None:
        """Forget the shards that are no longer there."""
        for shard_id in self._shards.keys() - shard_ids:
            del self._shards[shard_id]
            self._dirty = True

    def touch(self) -> None:
        """Let the next snapshot hold everything: the last one did not reach the file."""
        self._dirty = True

    def snapshot(self) -> bytes | None:
        """Return what is to be written, None if nothing changed since the last call."""
        if not self._dirty:
            return None
        self._dirty = False
        state = {
            "version": _VERSION,
            "stream": asdict(self._identity),
            "start": asdict(self._start),
            "shards": self._shards,
        }
        return json.dumps({**state, "sha256": _digest(state)}, indent=1).encode()

    def save(self, snapshot: bytes | None) -> None:
        """Write a snapshot so that the file is the old one or the new one, whatever happens meanwhile."""
        if snapshot is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        with draft.open("wb") as file:
            file.write(snapshot)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the renaming itself
        finally:
            os.close(folder)

    def _load(self) -> None:
        try:
            state = json.loads(self._path.read_bytes())
            if state.pop("sha256") != _digest(state) or state["version"] != _VERSION:
                return
            if StreamIdentity(**state["stream"]) != self._identity:
                return
            self._start = Position(**state["start"])
            self._shards = state["shards"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            # Not ours or damaged: reading from the start again repeats records, using it might skip some.
            return


def _digest(state: Mapping[str, Any]) -> str:
    return sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
