"""A real embedded stack for tests: `weir run` in a process of its own, with its state in a temporary folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from weir.ingest.errors import StackFailed

_READY_S, _STOP_S, _COMMAND_S = 90.0, 40.0, 120.0


class Stack:
    """A running stack; ``url`` is where senders post to, without the source."""

    def __init__(self, project: Path, home: Path) -> None:
        self._project, self._home = project, home
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> None:
        """Start it and wait until it is ready. Raises: StackFailed with its last words."""
        port = _free_port()
        self._home.mkdir(parents=True, exist_ok=True)
        log = self._home / "run.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                [*_WEIR, "run", "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=self._project,
            )
        deadline_s = time.monotonic() + _READY_S
        while "\nready" not in (said := log.read_text(encoding="utf-8", errors="replace")):
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                raise StackFailed("The stack did not start.", said=said.splitlines()[-5:])
            time.sleep(0.05)
        self.url = f"http://127.0.0.1:{port}/v1"

    def stop(self) -> None:
        """Stop it in good order."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def weir(self, *arguments: str) -> str:
        """Run a command of `weir` against it; return what it printed. Raises: StackFailed unless it exits with 0."""
        done = subprocess.run(  # noqa: S603 - our own arguments
            [*_WEIR, *arguments],
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
            env=self._environment(),
            cwd=self._project,
        )
        if done.returncode:
            raise StackFailed(f"weir {' '.join(arguments)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def send(self, source: str, body: bytes | None = None, *, key: str = "") -> str:
        """Post a signed delivery, the source's sample or this body, and return its outcome once it has one."""
        path = self._home / "body"
        if body is not None:
            path.write_bytes(body)
        options = ["--json", *(["--key", key] if key else [])]
        (line,) = self.weir("send", source, *([str(path)] if body is not None else []), *options).splitlines()
        return str(json.loads(line)["outcome"])

    def items(self, table: str, *key: str) -> list[dict[str, Any]]:
        """Return the items of a table as `weir items --json` prints them."""
        return [json.loads(line) for line in self.weir("items", table, *key, "--json").splitlines()]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEIR_"))}
        return {**kept, "WEIR_HOME": str(self._home), "WEIR_PROJECT": str(self._project)}


_WEIR = (sys.executable, "-P", "-m", "weir")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
