"""The inside of an execution environment: ``python -m weir.infra.local.function.runtime MODULE.ATTRIBUTE DESCRIPTOR``.

It does what Lambda's runtime interface client does: import the handler once, then take one invocation after the other
from the socket ``DESCRIPTOR``. Standard output and error belong to the function's log. A message is two frames, each a
4-byte length and that many bytes: in, the context's facts and the event; out, ``{"ok", "max_memory_mb"}``
and the response or the error document. The first message out says whether the import worked.

Source: https://github.com/aws/aws-lambda-python-runtime-interface-client (names and texts of errors)
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import logging
import os
import queue
import resource
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEADER = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1  # prctl(2), Linux

Handler = Callable[[Any, "Context"], Any]


class Context:
    """What Lambda hands a Python handler beside the event.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    def __init__(self, *, request_id: str, remaining_ms: int, function_arn: str) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = function_arn
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self._deadline_s = time.monotonic() + remaining_ms / 1000

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function's timeout, never below 0."""
        return max(0, int((self._deadline_s - time.monotonic()) * 1000))


class Channel:
    """The socket to the parent; an end of file means that the parent has gone."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._input = self._socket.makefile("rb")

    def receive(self) -> bytes:
        """Return the next frame. Raises: EOFError."""
        header = self._input.read(HEADER.size)
        if len(header) < HEADER.size:
            raise EOFError
        (size,) = HEADER.unpack(header)
        frame = self._input.read(size)
        if len(frame) < size:
            raise EOFError
        return frame

    def reply(self, payload: bytes, *, ok: bool) -> None:
        """Send one message: how it went, then the payload."""
        status = json.dumps({"ok": ok, "max_memory_mb": _max_memory_mb()}).encode()
        self._socket.sendall(HEADER.pack(len(status)) + status + HEADER.pack(len(payload)) + payload)


class InitError(Exception):
    """The handler could not be imported; ``document`` says why in Lambda's words."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(document["errorMessage"])
        self.document = document


def load_handler(name: str) -> Handler:
    """Import ``module.attribute``. Raises: InitError."""
    module_name, dot, attribute = name.replace("/", ".").rpartition(".")
    if not dot:
        raise InitError(_document("Runtime.MalformedHandlerName", f"Bad handler '{name}': it has no dot"))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        text = f"Unable to import module '{module_name}': {error}"
        raise InitError(_document("Runtime.ImportModuleError", text, error)) from error
    except SyntaxError as error:
        text = f"Syntax error in module '{module_name}': {error}"
        raise InitError(_document("Runtime.UserCodeSyntaxError", text, error)) from error
    except Exception as error:
        raise InitError(_document(type(error).__name__, str(error), error)) from error
    handler: Handler | None = getattr(module, attribute, None)
    if handler is None:
        text = f"Handler '{attribute}' missing on module '{module_name}'"
        raise InitError(_document("Runtime.HandlerNotFound", text))
    return handler


def run(handler: Handler, event: bytes, context: Context) -> tuple[bool, bytes]:
    """Run one invocation; return whether it went well and the response, or the error document, as JSON."""
    try:
        response = handler(json.loads(event), context)
    except Exception as error:  # noqa: BLE001 (whatever the function raises is its answer)
        return False, _failure(_document(type(error).__name__, str(error), error), context.aws_request_id)
    try:
        return True, json.dumps(response).encode()
    except (TypeError, ValueError) as error:
        text = f"Unable to marshal response: {error}"
        return False, _failure(_document("Runtime.MarshalError", text), context.aws_request_id)


def main(handler_name: str, descriptor: int) -> None:
    """Serve invocations until the parent goes away."""
    _die_with_parent()
    channel = Channel(descriptor)
    _prepare_output()
    try:
        handler = load_handler(handler_name)
    except InitError as error:
        channel.reply(_failure(error.document, None), ok=False)
        return
    channel.reply(b"null", ok=True)
    inbox: queue.SimpleQueue[tuple[bytes, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, inbox), daemon=True).start()
    while True:
        call, event = inbox.get()
        ok, payload = run(handler, event, _begin(json.loads(call)))
        sys.stdout.flush()
        sys.stderr.flush()
        channel.reply(payload, ok=ok)


def _begin(call: dict[str, Any]) -> Context:
    _RequestId.current = call["request_id"]
    return Context(**call)


def _listen(channel: Channel, inbox: queue.SimpleQueue[tuple[bytes, bytes]]) -> None:
    # A thread of its own, so that the parent's death ends an invocation that is under way too, on every system.
    with contextlib.suppress(EOFError, OSError):
        while True:
            inbox.put((channel.receive(), channel.receive()))
    os._exit(0)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Ctrl-C is the parent's business: it lets invocations in flight end before it stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _prepare_output() -> None:
    # A line must reach the log before a kill -9 does; many environments append to one file, one write a line.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    # Lambda puts a handler on the root logger before the function's code runs: logging.basicConfig does nothing there.
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        logging.Formatter("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s")
    )
    handler.formatter.converter = time.gmtime  # type: ignore[union-attr]
    handler.formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"  # type: ignore[union-attr]
    handler.addFilter(_RequestId())
    logging.getLogger().addHandler(handler)


class _RequestId(logging.Filter):
    current = ""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.current
        return True


def _document(kind: str, message: str, error: BaseException | None = None) -> dict[str, Any]:
    trace = traceback.extract_tb(error.__traceback__) if error is not None else []
    frames = [
        frame for frame in trace if frame.filename != __file__ and not frame.filename.startswith("<frozen importlib")
    ]
    return {"errorType": kind, "errorMessage": message, "stackTrace": traceback.format_list(frames)}


def _failure(document: dict[str, Any], request_id: str | None) -> bytes:
    if request_id is not None:
        document = {**document, "requestId": request_id}
    trace = "".join(document["stackTrace"])
    head = f"[ERROR] {document['errorType']}: {document['errorMessage']}"
    sys.stdout.write(f"{head}\nTraceback (most recent call last):\n{trace}" if trace else f"{head}\n")
    sys.stdout.flush()
    return json.dumps(document).encode()


def _max_memory_mb() -> int:
    try:
        # Not ru_maxrss, which on Linux starts at the memory of the process that forked this one.
        with Path("/proc/self/status").open(encoding="ascii") as status:
            return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)  # bytes there, kilobytes elsewhere


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
