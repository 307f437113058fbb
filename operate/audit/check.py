"""The scheduled account: a function that EventBridge starts, which logs what is unaccounted for and counts it.

The event says what to look at: stream, access_log_group, function, archive (the template's ArchiveMode),
window_minutes. The window ends ``settle_s`` ago,
by default five minutes, and what is younger than ``grace_s`` may be on its way, so that neither is an alarm. Memory:
about 0.4 KB a delivery of the window.
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
from weir.operate.lookup.events import Table
from weir.operate.lookup.stack import AWS, Stack

_SETTLE_S = 300
_GRACE_S = 60
_NAMED = 50


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Close the account of the window before; return its sums. Raises: what keeps it from being closed."""
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
    for line in report(account, configured.stack):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    said = account.as_dict()
    return {name: said[name] for name in ("acknowledged", "unaccounted", "in_flight")}


def report(account: Account, stack: str) -> list[str]:
    """Return the lines to log: the sum, a line for each of the first that are missing, the metrics."""
    said = account.as_dict()
    missing = said.pop("missing")[:_NAMED]
    said["repeated"], said["unarchived"] = len(said["repeated"]), len(said["unarchived"])
    lines = [json.dumps({"level": "ERROR" if missing else "INFO", "action": "account", **said})]
    lines += [json.dumps({"level": "ERROR", "action": "unaccounted", **one}) for one in missing]
    values = {
        "Acknowledged": said["acknowledged"],
        "InFlight": said["in_flight"],
        "Unaccounted": said["unaccounted"],
        "Unarchived": said["unarchived"],
    }
    return [*lines, metrics.document(stack, values, {})]
