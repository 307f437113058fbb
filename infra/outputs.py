"""The outputs of a stack as typed attributes: those of infra/template.yaml, and files of the embedded stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from weir.ingest.errors import StackFailed


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a stack says of its parts. An attribute ``events_table`` is the output ``EventsTable``.

    Only the embedded stack has ``home``, ``access_log``, ``consumer_log`` and ``signing_file``; only a stack with an
    archive has ``archive_name``.
    """

    endpoint: str = ""  # where senders POST, with stage and version: https://.../live/v1
    api_id: str = ""
    stream_name: str = ""
    events_table: str = ""
    tables: str = ""  # JSON: tables of the business code by logical name
    bucket: str = ""
    account_function: str = ""
    failure_queue_url: str = ""
    function_name: str = ""
    mapping_id: str = ""
    waiting_rule: str = ""  # the schedule of what waits
    secrets_prefix: str = ""
    access_log_group: str = ""
    consumer_log_group: str = ""
    quarantine_days: str = ""
    unproven_days: str = ""
    max_record_age_seconds: str = ""
    archive_name: str | None = None
    alarm_topic: str | None = None
    domain_target: str | None = None  # what the DNS record of a domain that the stack made is an alias of
    domain_target_zone: str | None = None
    home: Path | None = None
    access_log: Path | None = None
    consumer_log: Path | None = None
    signing_file: Path | None = None

    @classmethod
    def read(cls, given: Mapping[str, str], *, origin: str) -> Outputs:
        """Read outputs by the names of the template; others are left out.

        Raises: StackFailed, with ``origin``, for outputs that every stack has and this one has not.
        """
        if missing := [name for name, field in _REQUIRED.items() if name not in given]:
            raise StackFailed(f"{origin} has no output {', '.join(missing)}: another version of Weir made it.")
        found = {field: given[name] for name, field in NAMES.items() if name in given}
        paths = {field: Path(found[field]) for field in _PATHS if field in found}
        return cls(**{**found, **paths})  # type: ignore[arg-type] # the fields' names decide between text and path

    def table(self, name: str) -> str:
        """Return the real name of a table of the business code. Raises: StackFailed when the stack has none of it."""
        known: dict[str, str] = json.loads(self.tables or "{}")
        if name not in known:
            raise StackFailed(f"The stack has no table {name!r}; its tables: {', '.join(sorted(known)) or 'none'}.")
        return known[name]

    def as_dict(self) -> dict[str, str]:
        """Return the outputs that there are, by the names of the template."""
        return {name: str(value) for name, field in NAMES.items() if (value := getattr(self, field)) not in (None, "")}


_PATHS = ("home", "access_log", "consumer_log", "signing_file")
# The attribute of each output, by the output's name in the template.
NAMES = {field.name.title().replace("_", ""): field.name for field in fields(Outputs)}
# What stacks of an earlier version do not say, and what has a default then.
_OPTIONAL = {
    *_PATHS,
    *("archive_name", "alarm_topic", "domain_target", "domain_target_zone"),
    *("quarantine_days", "unproven_days", "waiting_rule", "max_record_age_seconds"),
}
_REQUIRED = {name: field for name, field in NAMES.items() if field not in _OPTIONAL}
