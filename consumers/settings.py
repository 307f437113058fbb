"""What the functions read from their environment, once: every variable, its meaning and its default.

``AWS_ENDPOINT_URL``, ``AWS_REGION`` and the other ``AWS_`` variables belong to botocore and to the Lambda runtime, and
``AWS_EMF_NAMESPACE``, ``AWS_EMF_DISABLE_METRIC_EXTRACTION`` to aws-embedded-metrics; they read those themselves.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from weir.ingest.errors import SettingInvalid

LOG_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


class Settings(NamedTuple):
    """The consumer's configuration; ``VARIABLES`` says what each field means."""

    events_table: str
    tables: Mapping[str, str]
    effects: str
    effects_folder: Path
    payload_bucket: str
    secrets_prefix: str
    sources_file: Path
    secrets_ttl_s: int
    secret_patience_s: int
    commit_concurrency: int
    quarantine_days: int
    unproven_days: int
    deadline_margin_ms: int
    stack: str
    log_level: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read every variable; an empty value counts as absent.

        Raises: SettingInvalid, which names the variable and what it needs.
        """
        return cls(**{variable.field: _read(variable, environ) for variable in VARIABLES})


class HandshakeSettings(NamedTuple):
    """The handshake function's configuration; ``HANDSHAKE_VARIABLES`` says what each field means."""

    stream: str
    secrets_prefix: str
    sources_file: Path
    secrets_ttl_s: int
    max_record_kib: int
    max_body_kib: int
    stack: str
    log_level: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> HandshakeSettings:
        """Read every variable; an empty value counts as absent. Raises: SettingInvalid."""
        return cls(**{variable.field: _read(variable, environ) for variable in HANDSHAKE_VARIABLES})


class RelaySettings(NamedTuple):
    """The configuration of the function that posts alarms; ``RELAY_VARIABLES`` says what each field means."""

    form: str
    secret_name: str
    stack: str


def relay_from_process() -> RelaySettings:
    """Read this process's environment. Raises: SettingInvalid."""
    return RelaySettings(**{variable.field: _read(variable, os.environ) for variable in RELAY_VARIABLES})


def handshake_from_process() -> HandshakeSettings:
    """Read this process's environment. Raises: SettingInvalid."""
    return HandshakeSettings.from_environment(os.environ)


def from_process() -> Settings:
    """Read this process's environment. Raises: SettingInvalid."""
    return Settings.from_environment(os.environ)


def stack_from_process() -> str:
    """Return the stack's name from this process's environment, for any of the functions. Raises: SettingInvalid."""
    return str(_read(next(variable for variable in VARIABLES if variable.name == "STACK"), os.environ))


def skip_plugin_search() -> None:
    """Spare pydantic the search for plugins among all installed packages, before it is imported: 7 ms, and it has none.

    Source: https://docs.pydantic.dev/latest/concepts/plugins/
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


class Variable(NamedTuple):
    """One environment variable; ``default`` is the text used for an absent value, None if it is required."""

    name: str
    field: str
    parse: Callable[[str], Any]
    default: str | None
    meaning: str


def _read(variable: Variable, environ: Mapping[str, str]) -> Any:
    text = environ.get(variable.name) or variable.default
    if text is None:
        raise SettingInvalid(f"{variable.name} is not set: {variable.meaning}")
    try:
        return variable.parse(text)
    except ValueError as error:
        raise SettingInvalid(f"{variable.name}: {error}: {variable.meaning}", value=text) from error


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _tables(text: str) -> Mapping[str, str]:
    try:
        tables = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"must be JSON ({error.msg} at character {error.pos})") from error
    if not isinstance(tables, dict) or not all(isinstance(name, str) and name for name in tables.values()):
        raise ValueError('must be a JSON object of logical name to table name, such as {"orders": "weir-orders"}')
    return tables


def _folder(text: str) -> Path:
    return Path(text) if text else _BESIDE


def _package(text: str) -> str:
    if text and not text.isidentifier():
        raise ValueError("must be the name of a package")
    return text


def _prefix(text: str) -> str:
    if not text.startswith("/") or text.endswith("/"):
        raise ValueError("must begin with a slash and not end with one")
    return text


def _ascii(text: str) -> str:
    # A metric's dimension: aws-embedded-metrics refuses any other value, and so would every batch.
    if not (text.isascii() and text.isprintable() and text.strip()):
        raise ValueError("must be printable ASCII")
    return text


def _log_level(text: str) -> int:
    if text.upper() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return LOG_LEVELS[text.upper()]


# The folder of the package `weir`: the deployment puts the compiled sources and the project's own package beside it.
_BESIDE = Path(__file__).parents[2]

VARIABLES: tuple[Variable, ...] = (
    Variable("EVENTS_TABLE", "events_table", str, None, "the table of events and their dedupe marks"),
    Variable("TABLES", "tables", _tables, "{}", "JSON object: table names of the business code, by logical name"),
    Variable("EFFECTS", "effects", _package, "", "name of the package with the business code; none if empty"),
    Variable(
        "EFFECTS_FOLDER", "effects_folder", _folder, "", "the folder with that package; if empty, the one with `weir`"
    ),
    Variable("PAYLOAD_BUCKET", "payload_bucket", str, "", "bucket for bodies too large for an item; none if empty"),
    Variable("SECRETS_PREFIX", "secrets_prefix", _prefix, "/weir/secrets", "SSM path above the sources' secrets"),
    Variable("SOURCES_FILE", "sources_file", Path, str(_BESIDE / "sources.json"), "the compiled sources"),
    Variable("SECRETS_TTL_S", "secrets_ttl_s", _whole(0, 86_400), "300", "seconds for which a read secret is used"),
    Variable(
        "SECRET_PATIENCE_S",
        "secret_patience_s",
        _whole(0, 604_800),
        "900",
        "seconds since arrival for which an event waits while its secret cannot be read",
    ),
    Variable("COMMIT_CONCURRENCY", "commit_concurrency", _whole(1, 64), "8", "database calls in flight in one batch"),
    Variable("QUARANTINE_DAYS", "quarantine_days", _whole(1, 3650), "90", "days for which a quarantined event is kept"),
    Variable(
        "UNPROVEN_DAYS",
        "unproven_days",
        _whole(1, 3650),
        "14",
        "days for which a quarantined delivery is kept that no secret has proven",
    ),
    Variable(
        "DEADLINE_MARGIN_MS",
        "deadline_margin_ms",
        _whole(0, 60_000),
        "2000",
        "milliseconds before the function's timeout at which a batch stops taking new work",
    ),
    Variable("STACK", "stack", _ascii, "weir", "the dimension of every metric: the CloudFormation stack's name"),
    Variable("LOG_LEVEL", "log_level", _log_level, "INFO", "DEBUG, INFO, WARNING (no line for what went well), ERROR"),
)

_SHARED = {"SECRETS_PREFIX", "SOURCES_FILE", "SECRETS_TTL_S", "STACK", "LOG_LEVEL"}

HANDSHAKE_VARIABLES: tuple[Variable, ...] = (
    Variable("STREAM", "stream", str, None, "the stream that everything but questions is written to"),
    Variable("MAX_RECORD_KIB", "max_record_kib", _whole(1, 10_240), "1024", "what a record holds, for the 413 answer"),
    Variable("MAX_BODY_KIB", "max_body_kib", _whole(1, 10_240), "750", "how large a body may be, for the 413 answer"),
    *(variable for variable in VARIABLES if variable.name in _SHARED),
)

RELAY_VARIABLES: tuple[Variable, ...] = (
    Variable("ALARM_CHAT", "form", str, None, "the form in which alarms are posted: slack or pagerduty"),
    Variable(
        "ALARM_SECRET", "secret_name", str, None, "the SSM parameter with the webhook's address or the routing key"
    ),
    *(variable for variable in VARIABLES if variable.name == "STACK"),
)
