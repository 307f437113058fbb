"""The engine's own process: MiniStack with a journal, so that a kill loses nothing that was answered.

MiniStack keeps all in memory and saves on a clean stop only. Here every call that changes something is appended to a
journal before its answer goes out; after an unclean end the next start replays the journal on top of the last save.
Replayed records get new sequence numbers, so a reader may meet a record twice; never not at all.

Run as ``python -m weir.infra.local.engine.engine_process PORT STATE_DIR``; the parent sets MiniStack's environment;
callers must name its ``AWS_ACCESS_KEY_ID``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, MutableMapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from zlib import crc32

from weir.infra.local.asgi import App, Receive, Scope, Send
from weir.infra.local.engine.guard import Guard
from weir.infra.local.engine.saved_state import JOURNAL, UNWRITABLE, SavedState, end, refuse_damaged

# Operations that change nothing; everything else is journaled. ReceiveMessage only hides messages for a while.
_READS = ("Get", "Describe", "List", "Query", "Scan", "BatchGet", "TransactGet", "ReceiveMessage")
_CRC = b'{"crc":"'
_REPLAYED_HEADERS = {b"x-amz-target", b"content-type", b"authorization", b"host", b"x-amz-content-sha256"}


class Journal:
    """Appends each changing call to a file and can play them again."""

    def __init__(self, path: Path, saved: SavedState) -> None:
        self._path = path
        self._saved = saved
        self._file: BinaryIO | None = None

    def append(self, scope: Scope, body: bytes) -> None:
        line = {
            "method": scope["method"],
            "path": scope["raw_path"].decode("latin-1"),
            "query": scope["query_string"].decode("latin-1"),
            "headers": [
                [name.decode("latin-1"), value.decode("latin-1")]
                for name, value in scope["headers"]
                if name in _REPLAYED_HEADERS or name.startswith(b"x-amz-meta")
            ],
            "body": base64.b64encode(body).decode("ascii"),
        }
        # One write call: a kill leaves a whole line or, at worst, a cut one at the end, whose answer never went out.
        content = _with_crc(json.dumps(line).encode("ascii")) + b"\n"
        try:
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
                self._saved.begin_journal()
            written = self._file.write(content)
        except OSError as error:
            self._give_up(error.strerror or str(error))
        if written != len(content):  # a disk that fills up takes a part
            self._give_up(os.strerror(errno.ENOSPC))

    def _give_up(self, why: str) -> NoReturn:
        """End the process before the answer goes out: what only memory holds must not be seen by anyone.

        A retry would find it there and take it for kept. The next start cuts off the torn line.
        """
        end(UNWRITABLE, f"{self._path}: {why}. Make room and start again; nothing that was answered is lost.")

    def check(self) -> None:
        """Cut off what was never answered; end the process if a line is damaged, before any of them is played."""
        if not self._path.exists():
            return
        with self._path.open("r+b") as journal:
            whole_bytes = 0
            for number, line in enumerate(journal, 1):
                if not line.endswith(b"\n"):
                    if line.startswith(_CRC) and _is_whole(line):
                        refuse_damaged(self._path, f"line {number} is damaged at its end")
                    sys.stderr.write(
                        f"{self._path}: line {number} was cut off by a kill or a full disk; never answered\n"
                    )
                    break
                whole_bytes += len(line)
                try:
                    _scope_of(json.loads(_checked(line)))
                except (ValueError, KeyError, TypeError, AttributeError):
                    refuse_damaged(self._path, f"line {number} is damaged")
            journal.truncate(whole_bytes)  # or the next call would be appended to a cut line

    def calls(self) -> Iterator[tuple[Scope, bytes]]:
        """Yield the calls of a journal that was checked."""
        if self._path.exists():
            with self._path.open("rb") as journal:
                yield from (_scope_of(json.loads(line)) for line in journal)

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)


class Journaled:
    """ASGI middleware: journals a changing call once it succeeded and before its answer is sent."""

    def __init__(
        self,
        app: App,
        journal: Journal,
        saved: Callable[[], bool],
        state: SavedState,
        loaded: Callable[[], None] = lambda: None,
    ) -> None:
        """``saved`` tells whether all state was written; ``loaded`` ends the process if some could not be read."""
        self._app, self._journal, self._saved, self._loaded = app, journal, saved, loaded
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif _is_read(scope):
            await self._app(scope, receive, send)
        else:
            await self._changing_call(scope, receive, send)

    async def _changing_call(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)

        async def journal_then_send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self._journal.append(scope, body)
            await send(message)

        await self._app(scope, _body_once(body), journal_then_send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def note_the_end() -> MutableMapping[str, Any]:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._begin_saving()
            return message

        async def replay_or_clear(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._loaded()
                await self._replay()
            if message["type"] == "lifespan.shutdown.complete" and self._saved():
                with contextlib.suppress(OSError):  # without room for the list the journal is kept, and counts
                    self._state.end_saving()
                    self._journal.clear()
            await send(message)

        await self._app(scope, note_the_end, replay_or_clear)

    def _begin_saving(self) -> None:
        try:
            self._state.begin_saving()
        except OSError as error:  # nothing may be replaced that the list still vouches for
            end(UNWRITABLE, f"{error.filename}: {error.strerror}. Nothing was saved; the journal brings back all.")

    async def _replay(self) -> None:
        count, started = 0, time.monotonic()
        for scope, body in self._journal.calls():
            await self._app(scope, _body_once(body), _discard)
            count += 1
        if count:
            print(f"replayed {count} calls in {time.monotonic() - started:.1f} s", flush=True)  # noqa: T201 - the engine's log


def _with_crc(line: bytes) -> bytes:
    """Return a JSON object with the check of its own text as its first member."""
    return b'%b%08x",%b' % (_CRC, crc32(line), line[1:])


def _is_whole(line: bytes) -> bool:
    """Tell whether a line lacks nothing but the right last byte."""
    try:
        return bool(json.loads(_checked(line)[:-1]))
    except ValueError:
        return False


def _checked(line: bytes) -> bytes:
    """Return a line of the journal, which has no check if an older version wrote it. Raises: ValueError."""
    if line.startswith(_CRC):
        text = b"{" + line[len(_CRC) + 10 : -1]
        if int(line[len(_CRC) : len(_CRC) + 8], 16) != crc32(text):
            raise ValueError
    return line


def _is_read(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    operation = headers.get(b"x-amz-target", b"").rpartition(b".")[2].decode("latin-1")
    if operation:
        return bool(operation.startswith(_READS))
    return scope["method"] in {"GET", "HEAD"} or scope["path"].startswith("/_ministack")


def _scope_of(line: dict[str, Any]) -> tuple[Scope, bytes]:
    path = line["path"]
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": line["method"],
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": line["query"].encode("latin-1"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in line["headers"]],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "state": {},
    }
    return scope, base64.b64decode(line["body"])


async def _read_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _body_once(body: bytes) -> Receive:
    sent = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal sent
        if sent:  # only a disconnect can follow a whole body
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _discard(_: MutableMapping[str, Any]) -> None:
    return None


class _Failures(logging.Handler):
    """Notes what MiniStack could not save or load: it logs that as an error and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note one."""
        self.said.append(record.getMessage())


def _saved_since(state: Path, started_s: float, served: Collection[str], failures: _Failures) -> bool:
    """Tell whether MiniStack wrote all of its state in this run; if not, the journal is kept and replayed."""
    return not failures.said and all(
        (file := state / f"{service}.json").exists() and file.stat().st_mtime >= started_s
        for service in ("kinesis", "dynamodb")
        if service in served
    )


def _journaled(state: Path, served: Collection[str]) -> Journaled:
    """Return MiniStack with a journal; it is imported here, after what notes what it cannot load."""
    failures = _Failures()
    logging.getLogger("persistence").addHandler(failures)
    from weir.infra.local.engine import dynamodb_patches, kinesis_patches

    # MiniStack saves an empty state, too, of what was only imported.
    if "kinesis" in served:
        kinesis_patches.install()
    if "dynamodb" in served:
        dynamodb_patches.install()
    from ministack.app import app

    started_s = time.time()
    listed = SavedState(state)
    return Journaled(
        app,
        Journal(state / JOURNAL, listed),
        state=listed,
        saved=lambda: _saved_since(state, started_s, served, failures),
        loaded=lambda: None if not failures.said else refuse_damaged(state, failures.said[0]),
    )


def main() -> None:
    """Serve until SIGTERM; also end, saving, when the parent dies."""
    port, state = int(sys.argv[1]), Path(sys.argv[2])
    import uvicorn

    from weir.infra.local.serving import OnePieceProtocol, SupervisedServer, end_with_parent

    end_with_parent()
    listed = SavedState(state)
    listed.check()
    Journal(state / JOURNAL, listed).check()
    # Eight hours: a connection that the gateway or the poller holds must not be closed under a call.
    config = uvicorn.Config(
        Guard(_journaled(state, os.environ["SERVICES"].split(",")), port, os.environ["AWS_ACCESS_KEY_ID"]),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        http=OnePieceProtocol,
        loop="uvloop",
        timeout_keep_alive=8 * 3600,
        timeout_graceful_shutdown=5,
    )
    SupervisedServer(config).run()
    sys.stdout.flush()
    os._exit(0)  # MiniStack's background threads would hold the process


if __name__ == "__main__":
    main()
