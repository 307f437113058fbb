"""The function runner, with real child processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from weir.infra.local.function.function import Function
from weir.infra.local.function.invocations import InvocationResult

CODE = """
import logging, os, sys, time
logging.basicConfig(level=logging.DEBUG)
state = []

def handler(event, context):
    do = event["do"]
    if do == "echo":
        state.append(1)
        print("seen", event.get("value"))
        return {"value": event.get("value"), "pid": os.getpid(), "calls": len(state)}
    if do == "environment":
        return dict(os.environ)
    if do == "context":
        first = context.get_remaining_time_in_millis()
        time.sleep(0.05)
        names = ("aws_request_id", "function_name", "memory_limit_in_mb", "invoked_function_arn", "log_stream_name")
        later = context.get_remaining_time_in_millis()
        return {"first": first, "later": later} | {name: getattr(context, name) for name in names}
    if do == "raise":
        raise ValueError("no such account")
    if do == "exit":
        sys.exit(3)
    if do == "sleep":
        time.sleep(event["s"])
        return os.getpid()
    if do == "grow":
        kept = []
        while True:
            kept.append(bytearray(4 << 20))
            time.sleep(0.01)
    if do == "log":
        logging.warning("watch out")
        os.write(1, b"raw bytes\\n")
        return None
    if do == "large":
        return "x" * (6 * 1024 * 1024)
    if do == "unserialisable":
        return object()
"""


@asynccontextmanager
async def function(tmp_path: Path, code: str = CODE, **options: Any) -> AsyncIterator[Function]:
    (tmp_path / "business.py").write_text(code)
    given: dict[str, Any] = {"root": tmp_path, "log_path": tmp_path / "log", "name": "orders", "timeout_s": 20}
    made = Function(options.pop("handler", "business.handler"), {"TABLE": "t"}, **given | options)
    try:
        yield made
    finally:
        await made.close()


def error_of(result: InvocationResult) -> tuple[str | None, str]:
    return result.function_error, result.payload["errorType"]


async def gone(pid: int) -> bool:
    """Wait a little for a process to end."""
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        await asyncio.sleep(0.05)
    return False


async def test_an_environment_is_started_on_demand_and_used_again(tmp_path: Path) -> None:
    """Invocations one after the other share a process and its module state; those at the same time do not."""
    async with function(tmp_path) as made:
        first = await made.invoke({"do": "echo", "value": 1})
        second = await made.invoke({"do": "echo", "value": "ü\n'\""})
        both = await asyncio.gather(*(made.invoke({"do": "sleep", "s": 0.2}) for _ in range(2)))
    assert first.succeeded
    assert (first.payload["calls"], second.payload["calls"]) == (1, 2)
    assert first.payload["pid"] == second.payload["pid"]
    assert second.payload["value"] == "ü\n'\""
    assert both[0].payload != both[1].payload


async def test_the_environment_is_what_was_given_and_what_lambda_sets(tmp_path: Path) -> None:
    """Nothing of the parent's environment reaches the function, not even a profile of the AWS tools."""
    os.environ["WEIR_TEST_LEAK"] = "1"
    async with function(tmp_path, memory_mb=300) as made:
        seen = (await made.invoke({"do": "environment"})).payload
    del os.environ["WEIR_TEST_LEAK"]
    assert "WEIR_TEST_LEAK" not in seen
    assert seen["TABLE"] == "t"
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "orders"
    assert seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "300"
    assert seen["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert seen["AWS_REGION"] == "us-east-1"
    assert seen["AWS_CONFIG_FILE"] == os.devnull


async def test_the_context_counts_down(tmp_path: Path) -> None:
    """The context object names the request and says how much time is left."""
    async with function(tmp_path, timeout_s=7) as made:
        result = await made.invoke({"do": "context"})
    seen = result.payload
    assert seen["aws_request_id"] == result.request_id
    assert seen["function_name"] == "orders"
    assert seen["memory_limit_in_mb"] == "128"
    assert seen["invoked_function_arn"] == "arn:aws:lambda:us-east-1:000000000000:function:orders"
    assert 6000 < seen["first"] <= 7000
    assert 40 <= seen["first"] - seen["later"] < 2000


async def test_an_exception_is_the_error_document(tmp_path: Path) -> None:
    """What the handler raises comes back as Lambda's error document, and the process serves on."""
    async with function(tmp_path) as made:
        result = await made.invoke({"do": "raise"})
        after = await made.invoke({"do": "echo"})
        log = (tmp_path / "log").read_text()
    assert error_of(result) == ("Unhandled", "ValueError")
    assert result.payload["errorMessage"] == "no such account"
    assert [line for line in result.payload["stackTrace"] if "business.py" in line]
    assert not [line for line in result.payload["stackTrace"] if "runtime.py" in line]
    assert result.error == "ValueError: no such account"
    assert after.succeeded
    assert "[ERROR] ValueError: no such account\nTraceback" in log


async def test_a_timeout_kills_the_process(tmp_path: Path) -> None:
    """An invocation past its timeout is killed and reported in Lambda's words; the next one gets a new process."""
    async with function(tmp_path, timeout_s=1) as made:
        pid = (await made.invoke({"do": "echo"})).payload["pid"]
        result = await made.invoke({"do": "sleep", "s": 30})
        after = await made.invoke({"do": "echo"})
    assert error_of(result) == ("Unhandled", "Sandbox.Timedout")
    assert result.payload["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert 900 < result.duration_ms < 5000
    assert after.payload["pid"] != pid
    assert "Status: timeout" in (tmp_path / "log").read_text()


async def test_too_much_memory_kills_the_process(tmp_path: Path) -> None:
    """A process that holds more than its memory is killed as out of memory, well before its timeout."""
    async with function(tmp_path, memory_mb=90) as made:
        started = time.monotonic()
        result = await made.invoke({"do": "grow"})
    assert error_of(result) == ("Unhandled", "Runtime.OutOfMemory")
    assert time.monotonic() - started < 10
    assert "Error Type: Runtime.OutOfMemory" in (tmp_path / "log").read_text()


async def test_a_crash_is_an_exit_error(tmp_path: Path) -> None:
    """A process that ends in mid-invocation, killed or by itself, gives Runtime.ExitError with the reason."""
    async with function(tmp_path) as made:
        exited = await made.invoke({"do": "exit"})
        await made.invoke({"do": "echo"})
        running = asyncio.ensure_future(made.invoke({"do": "sleep", "s": 30}))
        await asyncio.sleep(0.2)
        os.kill(made.environment_pids[0], signal.SIGKILL)
        killed = await running
    assert error_of(exited) == error_of(killed) == ("Unhandled", "Runtime.ExitError")
    assert exited.payload["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert killed.payload["errorMessage"].endswith("Runtime exited with error: signal: killed")


async def test_an_idle_process_that_dies_is_replaced_in_silence(tmp_path: Path) -> None:
    """Killing an idle environment costs no invocation."""
    async with function(tmp_path) as made:
        pid = (await made.invoke({"do": "echo"})).payload["pid"]
        os.kill(pid, signal.SIGKILL)
        assert await gone(pid)
        await asyncio.sleep(0.1)  # a process is a zombie a moment before it can be waited for
        result = await made.invoke({"do": "echo"})
    assert result.succeeded
    assert result.payload["pid"] != pid


async def test_reserved_concurrency_throttles(tmp_path: Path) -> None:
    """One invocation more than the reserved concurrency is refused with 429 and never reaches the function."""
    async with function(tmp_path, reserved_concurrency=1) as made:
        running = asyncio.ensure_future(made.invoke({"do": "sleep", "s": 0.3}))
        await asyncio.sleep(0)
        refused = await made.invoke({"do": "echo"})
        first = await running
    assert first.succeeded
    assert (refused.status_code, refused.reached, refused.function_error) == (429, False, None)
    assert "Rate Exceeded" in str(refused.error)


async def test_a_handler_that_cannot_be_imported_says_why(tmp_path: Path) -> None:
    """A missing module, attribute or a syntax error is the function's error, named as Lambda names it."""
    cases = {
        "nothing.handler": ("x = 1", "Runtime.ImportModuleError"),
        "business.absent": ("x = 1", "Runtime.HandlerNotFound"),
        "business.handler": ("def handler(:", "Runtime.UserCodeSyntaxError"),
        "business": ("x = 1", "Runtime.MalformedHandlerName"),
    }
    for name, (code, kind) in cases.items():
        async with function(tmp_path, code, handler=name) as made:
            result = await made.invoke({"do": "echo"})
            warmed = await made.warm()
        assert error_of(result) == ("Unhandled", kind)
        assert warmed is not None
        assert warmed.startswith(kind)


async def test_a_response_that_cannot_be_returned_is_an_error(tmp_path: Path) -> None:
    """More than 6 MB, or what is not JSON, is an error of the function."""
    async with function(tmp_path) as made:
        large = await made.invoke({"do": "large"})
        strange = await made.invoke({"do": "unserialisable"})
    assert error_of(large) == ("Unhandled", "Function.ResponseSizeTooLarge")
    assert error_of(strange) == ("Unhandled", "Runtime.MarshalError")


async def test_the_log_reads_like_cloudwatch(tmp_path: Path) -> None:
    """Prints, logging and raw writes stand between START and END; REPORT gives duration and memory."""
    async with function(tmp_path) as made:
        result = await made.invoke({"do": "log"})
        lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == f"START RequestId: {result.request_id} Version: $LATEST"
    assert lines[1].startswith("[WARNING]\t")
    assert lines[1].endswith(f"Z\t{result.request_id}\twatch out")  # basicConfig did nothing, as on Lambda
    assert lines[2] == "raw bytes"
    assert lines[3] == f"END RequestId: {result.request_id}"
    assert lines[4].startswith(f"REPORT RequestId: {result.request_id}\tDuration: ")
    assert f"Max Memory Used: {result.max_memory_mb} MB\tInit Duration: " in lines[4]
    assert 5 < result.max_memory_mb < 100


async def test_closing_ends_the_processes_and_counts_against_no_batch(tmp_path: Path) -> None:
    """close() leaves no process; an invocation it cuts off counts as not reached."""
    async with function(tmp_path) as made:
        running = asyncio.ensure_future(made.invoke({"do": "sleep", "s": 30}))
        while made.busy_count == 0 or not made.environment_pids:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        pids = made.environment_pids
        await made.close()
        result = await running
        refused = await made.invoke({"do": "echo"})
    assert pids
    assert all([await gone(pid) for pid in pids])
    assert result.status_code == refused.status_code == 503


async def test_cancelling_an_invocation_ends_its_process(tmp_path: Path) -> None:
    """A caller that gives up leaves no process behind that still works."""
    async with function(tmp_path) as made:
        pid = (await made.invoke({"do": "echo"})).payload["pid"]
        running = asyncio.ensure_future(made.invoke({"do": "sleep", "s": 30}))
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait({running})
        assert await gone(pid)
        assert made.environment_pids == []


async def test_the_processes_die_with_the_parent(tmp_path: Path) -> None:
    """kill -9 of the parent ends an environment at once, also in the middle of an invocation."""
    (tmp_path / "business.py").write_text(CODE)
    program = f"""
import asyncio
from pathlib import Path
from weir.infra.local.function.function import Function
async def main():
    code = Path({str(tmp_path)!r})
    made = Function("business.handler", {{}}, root=code, log_path=code / "log", timeout_s=60)
    print((await made.invoke({{"do": "echo"}})).payload["pid"], flush=True)
    await made.invoke({{"do": "sleep", "s": 60}})
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert parent.stdout is not None
    pid = json.loads(await asyncio.to_thread(parent.stdout.readline))
    await asyncio.sleep(0.2)
    assert not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert await gone(pid)
