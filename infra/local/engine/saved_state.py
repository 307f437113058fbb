"""Which files a clean stop of the engine left, and what was in them: a damaged or missing one stops the next start.

MiniStack reads what it finds. A file that is gone is an empty service to it, and a changed byte that is still JSON is
data. So a list stands beside the files, with a digest of each, and says whether a journal must be there. While files
are being saved the list says so, and the journal, which is whole then, is what counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

LIST = "saved"
JOURNAL = "journal.jsonl"
UNWRITABLE = 74  # EX_IOERR of sysexits.h
DAMAGED = 65  # EX_DATAERR


class SavedState:
    """The list of one engine's files in its folder. Each of its writes is whole or has not happened."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._path = state / LIST

    def check(self) -> None:
        """End the process if a file that was saved, or the journal, is missing or is not what was written.

        Without a list, as an older version left it, a file must at least be JSON.
        """
        known = self._read()
        if known.get("journal") and not (self._state / JOURNAL).exists():
            refuse_damaged(self._state / JOURNAL, "the file is gone")
        files = known.get("files") or {}
        for path in sorted({*self._state.glob("*.json"), *(self._state / name for name in files)}):
            if path.name in files:
                _demand_unchanged(path, files[path.name])
            else:
                _demand_json(path)

    def begin_journal(self) -> None:
        """Note that from now on there must be a journal. Raises: OSError."""
        self._write({**self._read(), "journal": True})

    def begin_saving(self) -> None:
        """Note that files are being replaced, so that only the journal counts. Raises: OSError."""
        self._write({"files": None, "journal": (self._state / JOURNAL).exists()})

    def end_saving(self) -> None:
        """Note what each file is now, and that no journal is needed. Raises: OSError."""
        files = {path.name: _digest(path) for path in sorted(self._state.glob("*.json"))}
        self._write({"files": files, "journal": False})

    def _read(self) -> dict[str, Any]:
        try:
            said = json.loads(self._path.read_text(encoding="ascii"))
            if said.pop("sha256") != _digest_of(said):
                refuse_damaged(self._path, "the file is damaged")
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, AttributeError, TypeError):
            refuse_damaged(self._path, "the file is damaged")
        return dict(said)

    def _write(self, said: Mapping[str, Any]) -> None:
        content = {name: value for name, value in said.items() if name != "sha256"}
        draft = self._path.with_suffix(".new")
        with draft.open("w", encoding="ascii") as file:
            json.dump({**content, "sha256": _digest_of(content)}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)


def refuse_damaged(path: Path, what: str) -> NoReturn:
    """End the process before it answers anything: a start without a part of the data would look like one with all."""
    end(
        DAMAGED,
        f"{path}: {what}. Nothing was started and nothing was changed. Restore the file from a copy, or move "
        f"{path.parent} away to start empty.",
    )


def end(code: int, why: str) -> NoReturn:
    """End the process whatever happens: the log lies on the disk that may be full, and then takes no last words."""
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"{why}\n".encode())
    os._exit(code)


def _demand_unchanged(path: Path, digest: str) -> None:
    try:
        if _digest(path) != digest:
            refuse_damaged(path, "the file is damaged")
    except FileNotFoundError:
        refuse_damaged(path, "the file is gone")


def _demand_json(path: Path) -> None:
    try:
        json.loads(path.read_bytes())
    except ValueError:  # MiniStack would log that and start empty
        refuse_damaged(path, "the file is damaged")


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _digest_of(said: Mapping[str, Any]) -> str:
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
