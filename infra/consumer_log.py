"""The consumer's log, a file or a group of CloudWatch Logs: read from its end backwards, and added to by a replay.

A replay to the consumer runs in the operator's process. What it does is a part of the events' history all the same.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from weir.infra.place import Place
from weir.ingest.errors import StackFailed

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_logs.type_defs import InputLogEventTypeDef

_BLOCK_BYTES = 1 << 20
# The metrics of a batch are stamped when it ends, and are the last line of what is written at once.
_WRITTEN = re.compile(r'^\{.*"_aws": ?\{[^{]*"Timestamp": ?(\d{13}).*"Namespace": ?"Weir"')
_FIRST_WINDOW_MS = 2000
_DAY_MS = 86_400_000
# A line may be dated a little ahead of this machine's clock, and the newest arrive some seconds late.
_AHEAD_MS = 60_000
# A call takes 1 MB; a line has 1,500 bytes at most.
# Source: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
_PUT_LINES = 500


class LogPart(NamedTuple):
    """Some lines. What was written at ``since_ms`` or later (epoch milliseconds) is in this part or in one before."""

    since_ms: int
    lines: list[str]


def backwards(place: Place) -> Iterator[LogPart]:
    """Yield the log in parts, the newest first, to its beginning; nothing is read that is not asked for.

    Raises: StackFailed when the log cannot be read.
    """
    outputs = place.outputs()
    if outputs.consumer_log is not None:
        return _of_file(outputs.consumer_log)
    return _of_group(place, outputs.consumer_log_group)


def writer(place: Place, say: Callable[[str], object]) -> Callable[[str], object]:
    """Return what adds lines to the log. One that cannot be written is said once, and holds nothing up."""
    outputs, silent = place.outputs(), False

    def write(text: str) -> None:
        nonlocal silent
        if silent:
            return
        try:
            if outputs.consumer_log is not None:
                _append(outputs.consumer_log, text)
            else:
                _put(place.client("logs"), outputs.consumer_log_group, text.splitlines())
        except (OSError, ClientError, BotoCoreError) as error:
            silent = True
            say(
                f"the consumer's log cannot be written, so that `weir events` may not list what is applied now: {error}"
            )

    return write


def _append(log: Path, text: str) -> None:
    """Add lines in one write, as the consumer does: neither cuts the other's."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, text.encode("utf-8"))
    finally:
        os.close(file)


def _put(logs: CloudWatchLogsClient, group: str, lines: list[str]) -> None:
    stream, now_ms = f"replay/{datetime.now(UTC):%Y-%m-%d}", round(time.time() * 1000)
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    for start in range(0, len(lines), _PUT_LINES):
        events: list[InputLogEventTypeDef] = [
            {"timestamp": now_ms, "message": line} for line in lines[start : start + _PUT_LINES]
        ]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def _of_file(log: Path) -> Iterator[LogPart]:
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return
    with file:
        end = _last_whole(file)
        since_ms = round(time.time() * 1000) + _AHEAD_MS
        begun = b""  # the end of a line whose beginning is in the block before
        while end:
            start = max(0, end - _BLOCK_BYTES)
            file.seek(start)
            block = file.read(end - start) + begun
            cut = block.find(b"\n") + 1 if start else 0
            begun, end = block[:cut] if cut or not start else block, start
            if start and not cut:
                continue
            lines = block[cut:].decode("utf-8", "replace").split("\n")[:-1]  # it ends with a whole one
            written = next((int(found[1]) for line in lines if (found := _WRITTEN.search(line))), since_ms)
            since_ms = min(since_ms, written) if start else 0
            yield LogPart(since_ms, lines)


def _last_whole(file: BinaryIO) -> int:
    """Return where the last whole line ends: one that is still being written is left out."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _of_group(place: Place, group: str) -> Iterator[LogPart]:
    logs = place.client("logs")
    try:
        oldest_ms = _oldest_ms(logs, group)
        end_ms = round(time.time() * 1000) + _AHEAD_MS
        window_ms = _FIRST_WINDOW_MS + _AHEAD_MS
        while end_ms > oldest_ms:
            start_ms = max(oldest_ms, end_ms - window_ms)
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=start_ms, endTime=end_ms - 1
            )
            lines = [event["message"] for page in pages for event in page["events"]]
            yield LogPart(start_ms if start_ms > oldest_ms else 0, lines)
            # A window that brought nothing costs a call, and one that brings too much a page for each 10,000 lines.
            end_ms, window_ms = start_ms, window_ms * 2 if len(lines) < 10_000 else window_ms
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: the consumer's log: {error}") from error


def _oldest_ms(logs: CloudWatchLogsClient, group: str) -> int:
    """Return from when on a log group has lines: since it was made, or for as long as it keeps them."""
    listed = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    found = [one for one in listed if one["logGroupName"] == group]
    if not found:
        return round(time.time() * 1000)
    kept_ms = found[0].get("retentionInDays", 3650) * _DAY_MS
    return max(found[0]["creationTime"], round(time.time() * 1000) - kept_ms)
