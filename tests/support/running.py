"""A whole embedded stack as a user runs it: `weir run` in a process of its own, asked through the command line."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ledger import FOLDER
from weir.infra.local.engine.engine import free_port

ROOT = Path(__file__).parents[2]
WEIR = Path(sys.executable).with_name("weir")
READY_S = 60.0


class Running:
    """One running stack; ``output`` is what it has printed so far."""

    def __init__(self, home: Path, *arguments: str, port: int | None = None, **variables: str) -> None:
        self.home, self.port = home, port or free_port()
        home.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEIR_"))}
        self.environment = {
            **kept,
            "WEIR_HOME": str(home),
            "WEIR_PROJECT": str(FOLDER),
            "PORT": str(self.port),
            **variables,
        }
        self._output = (home / "output").open("wb")
        self.process = subprocess.Popen(
            [WEIR, "run", *arguments],
            cwd=home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def output(self) -> str:
        return (self.home / "output").read_text(encoding="utf-8", errors="replace")

    def wait_ready(self) -> Running:
        deadline = time.monotonic() + READY_S
        while not any(line.startswith("ready") for line in self.output.splitlines()):
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)
        return self

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal, as Ctrl-C does, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(60)

    def wait(self, within_s: float) -> int:
        """Wait until the stack has ended and return its exit code."""
        code = self.process.wait(within_s)
        self._output.close()
        return code

    def weir(self, *arguments: str, text: str | None = None, check: bool = True) -> str:
        """Run a command against this stack and return what it printed."""
        done = self.call(*arguments, text=text)
        assert done.returncode == 0 or not check, done.stderr.decode()
        return done.stdout.decode()

    def call(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [WEIR, *arguments],
            cwd=self.home,
            env=self.environment,
            input=text.encode() if text is not None else b"",
            capture_output=True,
            check=False,
            timeout=60,
        )

    def post(
        self, path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request to the gateway; the header names of the answer are lower case."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return response.status, names, response.read()
        finally:
            connection.close()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.weir("events", "--json").splitlines()]

    def settled(self, count: int, within_s: float = 60.0) -> list[dict[str, Any]]:
        """Return the events once there are so many, or what there is when the time is over."""
        deadline = time.monotonic() + within_s
        while True:
            found = self.events()
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.3)


@contextmanager
def running(home: Path, *arguments: str, port: int | None = None, **variables: str) -> Iterator[Running]:
    """Run a stack for the length of a block."""
    stack = Running(home, *arguments, port=port, **variables)
    try:
        yield stack.wait_ready()
    finally:
        stack.stop()


def github(secret: str, body: bytes, delivery: str, event: str = "push") -> dict[str, str]:
    """Sign as GitHub's documentation says, with nothing but the standard library."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-GitHub-Delivery": delivery,
        "X-GitHub-Event": event,
        "X-Hub-Signature-256": f"sha256={digest}",
    }


def payment(secret: str, body: bytes, message_id: str, at_s: int) -> dict[str, str]:
    """Sign as the Standard Webhooks specification says, with nothing but the standard library."""
    import base64

    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{at_s}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
