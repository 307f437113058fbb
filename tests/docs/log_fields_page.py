"""docs/reference/log-fields.md: what the functions log."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.docs import markdown
from tests.docs.metrics_page import BATCH

_ROOT = Path(__file__).parents[2]

_COMMON = {
    "level": "`DEBUG`, `INFO`, `WARNING` or `ERROR`",
    "action": "what the line is about: the headings of this page",
}
_OF_BATCH = {
    "at": "when the batch began, milliseconds since the epoch",
    "invocation": "Lambda's id of the invocation",
    "shard_id": "the shard that the batch was read from",
}
ACTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "event": (
        "The consumer writes one for each event of a batch. Fields without a value are left out; a longer text is cut after 256 characters.",
        {
            **_OF_BATCH,
            "outcome": "`applied`, `duplicate`, `ignored`, `quarantined`, `waiting`, or `retry` if it is to be read again",
            "reason": "code of the error, if there is one (see [errors.md](errors.md))",
            "detail": "of a bug: the exception's type and place; of a retry: the code that the service gave. Never what business code or a sender wrote",
            "source": "name of the source",
            "event_id": "the provider's id of the event",
            "type": "type of the event",
            "request_id": "id of the delivery",
            "received_at": "when the delivery arrived, milliseconds since the epoch",
            "item": "key of its item in the events table, whole, where it does not follow from source, event id and request id",
            "sequence_number": "of its record in the stream",
            "sub_sequence": "place in a KPL aggregate, if not the first",
            "attempts": "of an event that has waited: how often it was tried, this time included",
        },
    ),
    "batch": (
        "The consumer writes one for each batch, and the metrics of the batch in a line of their own.",
        {
            **_OF_BATCH,
            "first_not_done": "the sequence number that was reported to Lambda: it reads from there again",
            **{re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): f"the metric `{name}`" for name in BATCH},
        },
    ),
    "bug": (
        "The consumer writes one for each exception that it did not foresee and that belongs to no single event.",
        {**_OF_BATCH, "detail": "the exception's type and place, without its message, which may quote the data"},
    ),
    "botocore_fallback": (
        "The consumer and the handshake function write one, and the metric `BotocoreFallbacks`, for each client that could not be made lean.",
        {
            "service": "the client's service",
            "botocore": "the version of botocore",
            "error": "type and place of the exception",
        },
    ),
    "handshake": (
        "The handshake function writes one for each question that it answers, and for what it could not store.",
        {
            "at": "arrival of the request, milliseconds since the epoch",
            "source": "name of the source",
            "status": "the status of the answer",
            "reason": "code of the error, or type and place of the exception",
            "request_id": "id of the request",
        },
    ),
    "account": (
        "The scheduled account check writes one for each run, from the values of `weir account --json`.",
        {
            "since_ms": "begin of the window, milliseconds since the epoch",
            "until_ms": "end of the window, milliseconds since the epoch",
            "acknowledged": "deliveries that were answered 2xx",
            "applied": "those of which every event was applied",
            "duplicate": "those that only repeated what had been applied before",
            "ignored": "those that no business code wants",
            "quarantined": "those in quarantine",
            "waiting": "those that business code lets wait",
            "in_flight": "those that the consumer has not read yet",
            "too_old_to_tell": "those without a mark that are older than marks live: they may have been applied",
            "unaccounted": "those that are nowhere they should be",
            "unacknowledged": "deliveries that are stored and were never answered 2xx: their sender tries again",
            "unarchived": "how many should be in the archive by now and are not",
            "repeated": "how many are in the stream more than once",
            "notes": "what could not be looked at, and why",
        },
    ),
    "unaccounted": (
        "The scheduled account check writes one for each of the first 50 deliveries that are unaccounted for.",
        {
            "request_id": "id of the delivery",
            "at_ms": "arrival, milliseconds since the epoch",
            "source": "name of the source, if known",
            "last_seen": "where the delivery was last seen",
        },
    ),
}


def page() -> str:
    """Return the page."""
    parts = []
    for action, (introduction, fields) in ACTIONS.items():
        rows = [(markdown.code(name), markdown.sentence(text)) for name, text in {**_COMMON, **fields}.items()]
        parts += [f"## {action}", introduction, markdown.table(["field", "meaning"], rows)]
    return markdown.page(
        "Log fields",
        "Each function logs lines of JSON. No line holds a body, the value of a header or a secret. `LOG_LEVEL=WARNING` leaves out what went well.",
        *parts,
    )


def logged() -> dict[str, set[str]]:
    """Return, for each action that the consumer's room logs, the fields named where it does."""
    found: dict[str, set[str]] = {}
    for path in (_ROOT / "consumers").rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                    action = _action(call)
                    if action:
                        names = {word.arg for word in call.keywords if word.arg}
                        spread = any(word.arg is None for word in call.keywords)
                        found.setdefault(action, set()).update(names | (_keys(function) if spread else set()))
    return found


def _action(call: ast.Call) -> str:
    is_add = isinstance(call.func, ast.Attribute) and call.func.attr == "add" and len(call.args) > 1
    second = call.args[1] if is_add else None
    return second.value if isinstance(second, ast.Constant) and isinstance(second.value, str) else ""


def _keys(function: ast.FunctionDef) -> set[str]:
    """Return the lower-case text keys of the dictionaries that a function writes out: what it spreads into a line."""
    keys = (key for node in ast.walk(function) if isinstance(node, ast.Dict) for key in node.keys)
    texts = {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    # The other dictionaries there are the properties of the metrics and the answer to Lambda.
    return {text for text in texts if text.islower()} - {"sources"}
