"""Every error Weir raises, in three branches; the branch alone decides what becomes of a record.

A leaf's docstring is its message, ``code`` is stable (it is the quarantine reason and stands in the README's table) and
``hint`` says what a person can do.
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    hint: ClassVar[str] = ""

    def __init__(self, detail: str = "", **facts: object) -> None:
        self.detail = detail
        self.facts = facts
        super().__init__(str(self))

    def __str__(self) -> str:
        message = (type(self).__doc__ or "").strip().splitlines()[0]
        facts = ", ".join(f"{name}={value!r}" for name, value in self.facts.items())
        return " ".join(part for part in (message, self.detail, f"({facts})" if facts else "") if part)

    @property
    def advice(self) -> str:
        """Return what a person is told at the command line: what is wrong, then what to do about it."""
        facts = ", ".join(f"{name}: {value}" for name, value in self.facts.items())
        what = self.detail or (type(self).__doc__ or "").strip().splitlines()[0]
        return "\n  ".join(part for part in (what, facts, self.hint) if part)


class RecordError(ServiceError):
    """This delivery is at fault: it is quarantined with its bytes and never retried."""

    code = "rejected"


class EnvelopeMalformed(RecordError):
    """The record is not an envelope that the gateway's mapping template writes."""

    code = "unreadable"
    hint = "Something other than the gateway writes to the stream; see `weir events ID --body` for its bytes."


class AggregateDamaged(RecordError):
    """The record looks like a KPL aggregate but its checksum or its content is broken."""

    code = "aggregate_damaged"
    hint = "The whole aggregate is kept under its sequence number; ask its producer to send it again."


class SourceUnknown(RecordError):
    """The envelope names a source that the sources file does not have."""

    code = "source_unknown"
    hint = "Add the source to sources.yaml, deploy, then verify the quarantine again."


class SignatureMissing(RecordError):
    """The delivery carries no signature."""

    code = "signature_missing"
    hint = "Switch signing on at the provider, or check the scheme of the source."


class SignatureMalformed(RecordError):
    """The signature or its timestamp cannot be read."""

    code = "signature_malformed"
    hint = "Compare the header with the scheme of the source."


class SignatureMismatch(RecordError):
    """No live secret gives the signature that the delivery carries."""

    code = "signature_mismatch"
    hint = "If the secret was changed at the provider: `weir secrets set SOURCE`, then verify the quarantine again."


class SignatureExpired(RecordError):
    """The signed time is further from the arrival time than the source tolerates."""

    code = "signature_expired"
    hint = "A late retry or a replay by a third party; raise `tolerance_s` only if the provider says so."


class EventMalformed(RecordError):
    """The verified delivery does not hold the id or the batch that its source describes."""

    code = "event_malformed"
    hint = "Compare the body with `event` in the source's definition."


class EventRejected(RecordError):
    """The business code refused the event."""

    code = "event_rejected"
    hint = "Mend the business code or the data, then retry the quarantined event."


class EventFailed(RecordError):
    """The code failed on this event in a way that it did not foresee."""

    code = "event_failed"
    hint = "A bug, at the place that the detail names; mend it, deploy, then verify the quarantine again."


class ConditionFailed(RecordError):
    """A condition that the business code set on an item does not hold."""

    code = "condition_failed"
    hint = "Mend the business code or the data, then retry the quarantined event."


class EventTooLarge(RecordError):
    """What the event would write is larger than DynamoDB takes in one transaction."""

    code = "too_large"
    hint = "An item holds 400 KB and a transaction 100 changes and 4 MB; let the business code write less."


class ChangeInvalid(RecordError):
    """DynamoDB refused the changes of the business code as invalid."""

    code = "change_invalid"
    hint = "The reason quotes DynamoDB; mend the business code, then retry the quarantined event."


class SecretAbsent(RecordError):
    """No readable secret for this source within the time that its events wait for one."""

    code = "secret_unavailable"
    hint = "`weir secrets set SOURCE`, then verify the quarantine again: nothing was judged."


class TransientError(ServiceError):
    """Waiting may help: the record is not done and will be read again."""

    code = "transient"


class StoreThrottled(TransientError):
    """DynamoDB asked for fewer calls."""

    code = "store_throttled"
    hint = "Raise the table's capacity or lower COMMIT_CONCURRENCY."


class StoreUnavailable(TransientError):
    """A store did not answer, or answered with its own failure."""

    code = "store_unavailable"
    hint = "Nothing to do: the batch is read again. If it lasts, look at the service's health."


class CommitConflict(TransientError):
    """Other transactions held the same items for as long as this invocation could wait."""

    code = "commit_conflict"
    hint = "Spread the hot item, or lower the number of concurrent batches."


class SecretUnavailable(TransientError):
    """The secret store did not answer; the signature was not judged."""

    code = "secret_store_unavailable"
    hint = "The event waits. Check the function's right to read the parameter and its KMS key."


class DeadlineNear(TransientError):
    """The invocation's time is nearly over; the rest of the batch goes to the next one."""

    code = "deadline_near"
    hint = "Lower BatchSize or raise the function's Timeout if this happens often."


class TargetUnavailable(TransientError):
    """The target of a replay does not take what it is given."""

    code = "target_unavailable"
    hint = "Mend it, then resume the replay: it goes on where it stopped."


class ConfigError(ServiceError):
    """The set-up is wrong; nobody's delivery is at fault."""

    code = "config"


class SettingInvalid(ConfigError):
    """An environment variable or option has a value that cannot be used."""

    code = "setting_invalid"
    hint = "consumers/settings.py lists every setting with its meaning."


class OptionInvalid(ConfigError):
    """A command was asked for something that it cannot do."""

    code = "option_invalid"
    hint = "`weir COMMAND --help` says what it takes."


class PackageAbsent(ConfigError):
    """A command needs a package that is not installed."""

    code = "package_absent"
    hint = (
        "In a clone: `make .venv/load`; elsewhere: `pip install 'weir-webhooks[load]'`. hdrhistogram has no wheel for "
        "Linux on ARM: with a C compiler, `pip install hdrhistogram`."
    )


class EffectsInvalid(ConfigError):
    """The business code cannot be imported."""

    code = "effects_invalid"
    hint = "Mend the file in consumers/business/effects, then deploy again: nothing was judged, and what waits is kept."


class CatalogueInvalid(ConfigError):
    """The sources file cannot be used."""

    code = "sources_invalid"
    hint = "`weir sources check` names line, field and remedy."


class TemplateUnsupported(ConfigError):
    """A template uses something that the embedded stack does not do."""

    code = "template_unsupported"
    hint = "Use what the mapping template or CloudFormation template already uses, or deploy to LocalStack."


class ParameterInvalid(ConfigError):
    """A parameter of the template has a value that it may not have."""

    code = "parameter_invalid"
    hint = "infra/template.yaml lists the parameters with their defaults and what they mean."


class SecretUnset(ConfigError):
    """A source has no secret that a sample could be signed with."""

    code = "secret_unset"
    hint = "`weir secrets set SOURCE`, or `weir secrets generate SOURCE` to try things out."


class StackAbsent(ConfigError):
    """There is no such stack."""

    code = "stack_absent"
    hint = "`make run` starts one on this machine; --at localstack or --at aws looks there for what `weir deploy` made."


class StackFailed(ConfigError):
    """A part of the stack could not be started, asked, created or deleted."""

    code = "stack_failed"
    hint = "Mend what the message names, and try again: nothing that is stored was touched."
