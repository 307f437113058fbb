"""The scheduled account: a function that EventBridge starts, which logs what is unaccounted for and counts it.

The event names what to check: stream, access_log_group, function, archive (the template's ArchiveMode),
window_minutes, and record_age_s, the age at which the mapping gives a record up. The window ends ``settle_s`` ago, by
default five minutes, and what is younger than ``grace_s`` may be on its way, so that neither raises an alarm.

The window has a ceiling. All of it is held in memory, some 430 bytes a delivery (measured with tracemalloc), and the
template gives the function 1,024 MB and 900 seconds: about two million deliveries, which is 280 a second over the
default window of 120 minutes. Above that the function fails and the alarm `AccountCheckAlarm` says so: make
AccountWindowMinutes and AccountSchedule shorter, or run `weir account`, which has the memory of its own machine.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from weir.consumers import settings, wiring
from weir.consumers.batch import metrics
from weir.consumers.events_table import lean_botocore
from weir.operate.audit.account import Account, compute_account
from weir.operate.audit.sources import open_audit_sources
from weir.operate.lag import LagReader
from weir.operate.lookup.events import Table
from weir.operate.lookup.stack import AWS, Stack

_SETTLE_S = 300
_GRACE_S = 60
_NAMED = 50


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Compute the account of the last window; return its sums. Raises: what its reads raise, which Lambda counts."""
    now_ms = time.time_ns() // 1_000_000
    until_ms = now_ms - int(event.get("settle_s", _SETTLE_S)) * 1000
    grace_ms = int(event.get("grace_s", _GRACE_S)) * 1000
    since_ms = until_ms - int(event["window_minutes"]) * 60_000
    configured = settings.from_process()
    stack = Stack(
        table=Table(
            lean_botocore.general_client("dynamodb"),
            configured.events_table,
            lean_botocore.general_client("s3"),
            configured.payload_bucket,
        ),
        kinesis=lean_botocore.general_client("kinesis"),
        stream=event["stream"],
        service=AWS,
        catalogue=wiring.catalogue(configured.sources_file),
        access_group=event.get("access_log_group", ""),
        logs=lean_botocore.general_client("logs"),
        cloudwatch=lean_botocore.general_client("cloudwatch"),
        function=event["function"],
        has_archive=event.get("archive") == "firehose",
    )
    account = compute_account(
        open_audit_sources(stack, since_ms, until_ms, now_ms, grace_ms=grace_ms), since_ms, until_ms
    )
    used_up = _lag(stack, float(event["record_age_s"])).used_up()
    for line in report(account, configured.stack, used_up):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    sums = account.as_dict()
    return {name: sums[name] for name in ("acknowledged", "unaccounted", "in_flight")}


def _lag(stack: Stack, record_age_s: float) -> LagReader:
    return LagReader(
        stack.kinesis,
        stack.stream,
        stack.statuses,
        stack.checkpoints,
        retention_s=stack.retention_s,
        record_age_s=record_age_s,
        service=stack.service,
    )


def report(account: Account, stack: str, used_up: float) -> list[str]:
    """Return the lines to log: the sum, a line for each of the first that are missing, the metrics.

    ``used_up`` is how much of the time to loss the oldest unread record has used, 0 to 1: whether or not anything
    reads, which the mapping's own metrics cannot tell.
    """
    values = account.as_dict()
    missing = values.pop("missing")[:_NAMED]
    values["repeated"], values["unarchived"] = len(values["repeated"]), len(values["unarchived"])
    lines = [json.dumps({"level": "ERROR" if missing else "INFO", "action": "account", **values})]
    lines += [json.dumps({"level": "ERROR", "action": "unaccounted", **one}) for one in missing]
    counted = {
        "Acknowledged": values["acknowledged"],
        "InFlight": values["in_flight"],
        "Unaccounted": values["unaccounted"],
        "Unarchived": values["unarchived"],
        "TimeToLossUsed": round(100 * used_up, 2),
    }
    return [*lines, metrics.document(stack, counted, {})]
