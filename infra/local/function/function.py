"""A function as Lambda runs it: execution environments on demand, one invocation at a time in each, and a log.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weir.infra import CODE
from weir.infra.local.function.environment import Environment, EnvironmentLostError, HandlerImportError, Reply
from weir.infra.local.function.invocations import PAYLOAD_LIMIT_BYTES, InvocationResult

# Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
ACCOUNT_CONCURRENCY = 1000
ACCOUNT = "000000000000"


class Function:
    """A function; ``invoke`` may be called by any number of tasks at once and starts as many environments as it needs.

    ``environment`` is all that the function's processes see beside what Lambda itself sets. ``root`` is the folder
    with the code. ``log_path`` is appended to.
    """

    def __init__(
        self,
        handler: str,
        environment: Mapping[str, str],
        *,
        root: Path,
        log_path: Path,
        name: str = "function",
        timeout_s: float = 3,
        memory_mb: int = 128,
        reserved_concurrency: int | None = None,
        region: str = "us-east-1",
        access_key: str = "weir",
    ) -> None:
        self.handler = handler
        self.name = name
        self.arn = f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name}"
        self.timeout_s = timeout_s
        self.memory_mb = memory_mb
        self._limit = ACCOUNT_CONCURRENCY if reserved_concurrency is None else reserved_concurrency
        self._root = root.resolve()
        self._region, self._access_key = region, access_key
        self._given = dict(environment)
        self._log_path = log_path
        self._log: int | None = None
        self._idle: list[Environment] = []
        self._all: set[Environment] = set()
        self._busy = 0
        self._closed = False

    @property
    def busy_count(self) -> int:
        """Return how many invocations run now."""
        return self._busy

    @property
    def environment_pids(self) -> list[int]:
        """Return the process ids of the execution environments, busy or idle."""
        return [environment.pid for environment in self._all]

    async def invoke(self, event: dict[str, Any]) -> InvocationResult:
        """Run one synchronous invocation. It never raises for what the function does or fails to do."""
        request_id = str(uuid.uuid4())
        if self._closed:
            return _not_reached(503, request_id, "ServiceException", "The function is being stopped.")
        if self._busy >= self._limit:
            # Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html (TooManyRequestsException)
            reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
            return _not_reached(429, request_id, reason, "Rate Exceeded.")
        self._busy += 1
        try:
            return await self._invoke(request_id, json.dumps(event, separators=(",", ":")).encode())
        except OSError as error:
            return _not_reached(500, request_id, "ServiceException", f"No process could be started: {error}")
        finally:
            self._busy -= 1

    async def warm(self, count: int = 1) -> str | None:
        """Start environments until ``count`` are idle; return what kept one from starting, None if nothing did."""
        while len(self._idle) < count:
            try:
                self._idle.append(await self._start())
            except HandlerImportError as failed:
                return InvocationResult(200, "", json.loads(failed.reply.payload), "Unhandled").error
            except (EnvironmentLostError, OSError) as error:
                return str(error)
        return None

    async def close(self) -> None:
        """End every environment; an invocation that still runs ends with its process."""
        self._closed = True
        for environment in list(self._all):
            if environment not in self._idle:
                environment.kill()
            await environment.close()
        self._idle.clear()
        self._all.clear()
        if self._log is not None:
            os.close(self._log)
            self._log = None

    async def _invoke(self, request_id: str, event: bytes) -> InvocationResult:
        started_s = time.monotonic()
        init_ms = None
        try:
            environment = await self._take_idle()
            if environment is None:
                environment = await self._start()
                init_ms = _since_ms(started_s)
                started_s = time.monotonic()
            self._write(f"START RequestId: {request_id} Version: $LATEST")
            reply = await self._run(environment, request_id, event)
        except HandlerImportError as failed:
            reply = failed.reply
        except EnvironmentLostError as lost:
            return self._lost(request_id, lost, _since_ms(started_s))
        return self._answer(request_id, reply, _since_ms(started_s), init_ms)

    async def _run(self, environment: Environment, request_id: str, event: bytes) -> Reply:
        call = {"request_id": request_id, "remaining_ms": round(self.timeout_s * 1000), "function_arn": self.arn}
        try:
            reply = await environment.invoke(call, event, timeout_s=self.timeout_s, memory_mb=self.memory_mb)
        except BaseException:
            await self._discard(environment)
            raise
        self._idle.append(environment)
        return reply

    async def _take_idle(self) -> Environment | None:
        while self._idle:
            environment = self._idle.pop()
            if environment.alive:
                return environment
            await self._discard(environment)  # killed while it was idle: Lambda, too, replaces it in silence
        return None

    async def _start(self) -> Environment:
        """Start one more environment. Raises: HandlerImportError, EnvironmentLostError, OSError."""
        if self._log is None:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            self._log = os.open(self._log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        variables = self._given | self._reserved_variables()
        environment = await Environment.start(self.handler, root=self._root, variables=variables, log=self._log)
        self._all.add(environment)
        try:
            await environment.initialise(memory_mb=self.memory_mb)
        except BaseException:
            await self._discard(environment)
            raise
        return environment

    async def _discard(self, environment: Environment) -> None:
        self._all.discard(environment)
        await environment.close()

    def _reserved_variables(self) -> dict[str, str]:
        # Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html (reserved)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stream = f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        return {
            "PATH": os.defpath,
            "HOME": tempfile.gettempdir(),
            "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(self._root), str(CODE)])),
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "_HANDLER": self.handler,
            "LAMBDA_TASK_ROOT": str(self._root),
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}",
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_ACCESS_KEY_ID": self._access_key,
            "AWS_SECRET_ACCESS_KEY": self._access_key,
            # Whatever profile the person at this machine has must not reach the function.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def _answer(self, request_id: str, reply: Reply, duration_ms: float, init_ms: float | None) -> InvocationResult:
        ok, payload = reply.ok, json.loads(reply.payload)
        if len(reply.payload) > PAYLOAD_LIMIT_BYTES:
            text = f"Response payload size exceeded maximum allowed payload size ({PAYLOAD_LIMIT_BYTES} bytes)."
            ok, payload = False, {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": text}
        self._report(request_id, duration_ms, reply.max_memory_mb, init_ms=init_ms)
        error = None if ok else "Unhandled"
        return InvocationResult(200, request_id, payload, error, duration_ms, reply.max_memory_mb)

    def _lost(self, request_id: str, lost: EnvironmentLostError, duration_ms: float) -> InvocationResult:
        if self._closed:
            return _not_reached(503, request_id, "ServiceException", "The function is being stopped.")
        kind, text, status = self._obituary(lost)
        self._write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}Z {request_id} {text}")
        memory_mb = self.memory_mb if lost.fate == "memory" else 0
        self._report(request_id, duration_ms, memory_mb, status=status)
        document = {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {text}"}
        return InvocationResult(200, request_id, document, "Unhandled", duration_ms, memory_mb)

    def _obituary(self, lost: EnvironmentLostError) -> tuple[str, str, str]:
        """Return error type, message and the status of the REPORT line."""
        if lost.fate == "timeout":
            return "Sandbox.Timedout", f"Task timed out after {self.timeout_s:.2f} seconds", "timeout"
        kind = "Runtime.OutOfMemory" if lost.fate == "memory" else "Runtime.ExitError"
        return kind, f"Runtime exited with error: {lost.how}", f"error\tError Type: {kind}"

    def _report(
        self, request_id: str, duration_ms: float, memory_mb: int, *, init_ms: float | None = None, status: str = ""
    ) -> None:
        fields = [
            f"REPORT RequestId: {request_id}",
            f"Duration: {duration_ms:.2f} ms",
            f"Billed Duration: {int(duration_ms) + 1} ms",
            f"Memory Size: {self.memory_mb} MB",
            f"Max Memory Used: {memory_mb} MB",
        ]
        if init_ms is not None:
            fields.append(f"Init Duration: {init_ms:.2f} ms")
        if status:
            fields.append(f"Status: {status}")
        self._write(f"END RequestId: {request_id}\n" + "\t".join(fields))

    def _write(self, text: str) -> None:
        if self._log is not None:
            os.write(self._log, f"{text}\n".encode())


def _not_reached(status: int, request_id: str, reason: str, message: str) -> InvocationResult:
    return InvocationResult(status, request_id, {"Reason": reason, "message": message})


def _since_ms(started_s: float) -> float:
    return (time.monotonic() - started_s) * 1000
