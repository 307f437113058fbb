"""An engine of the embedded stack: MiniStack as a child process on loopback, with its state in a folder.

The stack runs two, one for the stream and one for everything else: on AWS they share nothing either, and one process
would let a sender wait while a transaction of a hundred actions is made.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from weir.infra import CODE
from weir.infra.local.engine.saved_state import JOURNAL, LIST
from weir.ingest.errors import StackFailed
from weir.ingest.opener import open_url

STREAM_SERVICES = ("kinesis",)
STORE_SERVICES = ("dynamodb", "s3", "sqs", "ssm", "secretsmanager", "sts")
SERVICES = (*STREAM_SERVICES, *STORE_SERVICES)
_START_S = 60.0
_REPLAY_S = 600.0
_STOP_S = 60.0


class Engine:
    """One engine process; ``endpoint`` is its address. Data survives a clean stop and a kill alike.

    It answers only calls that name ``access_key``.
    """

    def __init__(self, state: Path, *, access_key: str, port: int = 0, services: Sequence[str] = SERVICES) -> None:
        self.state = state
        self._access_key = access_key
        self.port = port or free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._services = services
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.state / "engine.log"

    @property
    def has_state(self) -> bool:
        """True when an earlier session left data."""
        return any((self.state / f"{service}.json").exists() for service in self._services) or self.ended_uncleanly

    @property
    def ended_uncleanly(self) -> bool:
        """True when a journal waits to be replayed."""
        journal = self.state / JOURNAL
        return journal.exists() and journal.stat().st_size > 0

    def start(self) -> None:
        """Start and wait until it answers, journal replayed.

        Raises: StackFailed with the end of its log.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        patience_s = _REPLAY_S if self.ended_uncleanly else _START_S
        command = [
            sys.executable,
            "-P",
            "-m",
            "weir.infra.local.engine.engine_process",
            str(self.port),
            str(self.state),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=self._environment()
            )
        deadline = time.monotonic() + patience_s
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise StackFailed("The engine did not start.", log=str(self.log), said=self._tail())
            time.sleep(0.05)

    def poll(self) -> int | None:
        """Return the exit code if it ended, None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Stop it; it saves its state first. Does nothing when it does not run."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with open_url(f"{self.endpoint}/_ministack/health", timeout_s=2):
                return True
        except OSError:
            return False

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        return kept | {
            "PYTHONPATH": str(CODE),
            # Variables, since arguments are for every user of the machine to see. MiniStack checks presigned addresses.
            "AWS_ACCESS_KEY_ID": self._access_key,
            "AWS_SECRET_ACCESS_KEY": self._access_key,
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "SERVICES": ",".join(self._services),
            "LOG_LEVEL": "WARNING",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.state),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.state / "s3"),
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",  # it would listen on every interface
        }

    def _tail(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-5:]


def divide(old: Path, *, stream: Path, store: Path) -> None:
    """Divide the folder in which one engine kept everything, as Weir had it at first, between the two that do now.

    The journal goes to both: an engine refuses the calls that it does not serve. Nothing leaves the old folder before
    the stream's is whole, so an interrupted division is gone on with.

    Raises: StackFailed when there is a later session's data too.
    """
    if not old.exists():
        return
    if store.exists():
        raise StackFailed(
            f"{old} and {store} both hold the data of a session. Move one of them away, then start again."
        )
    if not stream.exists():
        draft = stream.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for path in (old / "kinesis.json", old / JOURNAL):
            if path.exists():
                shutil.copy(path, draft)
        draft.rename(stream)
    (old / LIST).unlink(missing_ok=True)  # it was of one engine's files
    (old / "kinesis.json").unlink(missing_ok=True)
    old.rename(store)


def free_port() -> int:
    """Return a loopback port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
