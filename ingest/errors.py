"""Every error Weir raises, in three branches; the branch alone decides what becomes of a record.

A leaf's docstring is its message, ``code`` is stable (it is the quarantine reason, and the README lists it) and
``hint`` says what a person can do. ``raised_in`` names the folders and files in which that hint fits the cause;
tests/test_errors.py holds every raise to it.
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    hint: ClassVar[str] = ""
    raised_in: ClassVar[tuple[str, ...]] = ()

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
        """Return the text for the command line: what is wrong, where, then what to do about it."""
        facts = ", ".join(f"{name}: {value}" for name, value in self.facts.items()).replace("\n", "\\n")
        what = self.detail or (type(self).__doc__ or "").strip().splitlines()[0]
        return "\n  ".join(part for part in (what, facts, self.hint) if part)


class RecordError(ServiceError):
    """The delivery itself is at fault: it is quarantined with its bytes and never retried."""

    code = "rejected"


class EnvelopeMalformed(RecordError):
    """The record is not an envelope that the gateway's mapping template writes."""

    code = "unreadable"
    hint = "Something other than the gateway writes to the stream; `weir events ID --body` prints its bytes."
    raised_in = (
        "ingest/envelope.py",
        "consumers/judging/",
    )


class AggregateDamaged(RecordError):
    """The record looks like a KPL aggregate but its checksum or its content is broken."""

    code = "aggregate_damaged"
    hint = "The whole aggregate is kept under its sequence number. Ask its producer to send it again."
    raised_in = ("consumers/judging/",)


class SourceUnknown(RecordError):
    """The envelope names a source that the sources file does not have."""

    code = "source_unknown"
    hint = "Add the source to sources.yaml, deploy, then verify the quarantine again."
    raised_in = ("consumers/judging/",)


class SignatureMissing(RecordError):
    """The delivery carries no signature."""

    code = "signature_missing"
    hint = "Turn on signing at the provider, or correct the scheme of the source."
    raised_in = ("ingest/schemes/",)


class SignatureMalformed(RecordError):
    """The signature or its timestamp cannot be read."""

    code = "signature_malformed"
    hint = "Compare the delivery's headers with the scheme of the source."
    raised_in = ("ingest/schemes/",)


class SignatureMismatch(RecordError):
    """No live secret gives the signature that the delivery carries."""

    code = "signature_mismatch"
    hint = "If the secret was changed at the provider: `weir secrets set SOURCE`, then verify the quarantine again."
    raised_in = ("ingest/schemes/", "ingest/handshakes/")


class SignatureExpired(RecordError):
    """The signed time is further from the time of arrival than the source allows."""

    code = "signature_expired"
    hint = "A late retry, or a replay by a third party. Raise `tolerance_s` only if the provider says so."
    raised_in = ("ingest/schemes/",)


class EventMalformed(RecordError):
    """The verified delivery has no event id or batch where its source says, or does not fit its effect's model."""

    code = "event_malformed"
    hint = "Compare the body with `event` in the source's definition or its preset."
    raised_in = (
        "ingest/sources/",
        "ingest/handshakes/",
        "consumers/business/models.py",
        "consumers/judging/judge.py",
    )


class TypeUnproven(RecordError):
    """The same signed content was applied as another type, and the sender does not sign the type."""

    code = "type_unproven"
    hint = (
        "Somebody may have changed the type of a delivery that they have seen: discard it. If the provider sends one "
        "body under several types, set `event.repeats: type`."
    )
    raised_in = ("consumers/commit/pending.py",)


class EventRejected(RecordError):
    """The business code refused the event."""

    code = "event_rejected"
    hint = "Fix the business code or the data, then verify the quarantine again."
    raised_in = ("consumers/business/",)


class EventFailed(RecordError):
    """The code failed on this event with an exception that it does not raise on purpose."""

    code = "event_failed"
    hint = "The detail names the file and line of the bug. Fix it, deploy, then verify the quarantine again."
    raised_in = ("consumers/",)


class ConditionFailed(RecordError):
    """A condition that the business code set on an item is not met."""

    code = "condition_failed"
    hint = "Fix the business code or the data, then verify the quarantine again."
    raised_in = (
        "consumers/",
        "operate/replay/targets/",
    )


class NotYet(RecordError):
    """What the business code waits for is not there yet."""

    code = "not_yet"
    hint = (
        "While the event is `waiting` it is tried again by itself. If it is in quarantine, its time is over: bring in "
        "what it waits for, then verify the quarantine again."
    )
    raised_in = (
        "consumers/",
        "operate/replay/targets/",
    )


class EventTooLarge(RecordError):
    """The event would write more than DynamoDB accepts in one transaction."""

    code = "too_large"
    hint = "An event may change 99 items and 3.6 MB, an item may have 400 KB. Make the business code write less."
    raised_in = ("consumers/",)


class ChangeInvalid(RecordError):
    """DynamoDB rejected the changes of the business code as invalid."""

    code = "change_invalid"
    hint = "The detail quotes DynamoDB. Fix the business code, then verify the quarantine again."
    raised_in = (
        "consumers/",
        "operate/replay/targets/",
    )


class TooOldToTell(RecordError):
    """The event has no mark and is older than marks live: whether it was applied cannot be told."""

    code = "too_old_to_tell"
    hint = "Look whether its changes are there. If they are not: `weir quarantine verify --past-marks`."
    raised_in = ("consumers/commit/", "operate/replay/targets/")


class SecretAbsent(RecordError):
    """The source had no readable secret within the time that its events wait for one."""

    code = "secret_unavailable"
    hint = "`weir secrets set SOURCE`, then verify the quarantine again: no signature was checked."
    raised_in = (
        "ingest/schemes/",
        "ingest/handshakes/",
        "consumers/judging/",
    )


class CertificateAbsent(RecordError):
    """The certificate that the delivery names could not be fetched."""

    code = "certificate_unavailable"
    hint = "Verify the quarantine again if the delivery is the provider's, or pin the certificate in the secret."
    raised_in = (
        "ingest/schemes/",
        "consumers/judging/",
    )


class TransientError(ServiceError):
    """Waiting may help: the record is not finished and will be read again."""

    code = "transient"


class StoreThrottled(TransientError):
    """DynamoDB asked for fewer calls."""

    code = "store_throttled"
    hint = "Raise the table's capacity or lower COMMIT_CONCURRENCY."
    raised_in = (
        "consumers/",
        "operate/",
    )


class StoreUnavailable(TransientError):
    """A store did not answer, or answered that it failed."""

    code = "store_unavailable"
    hint = "Nothing to do: the batch is read again. If it lasts, check the health of the AWS service."
    raised_in = (
        "consumers/",
        "operate/",
    )


class CommitConflict(TransientError):
    """Other transactions used the same items for as long as this invocation could wait."""

    code = "commit_conflict"
    hint = "Spread the writes over more items, or lower ParallelizationFactor."
    raised_in = ("consumers/",)


class SecretUnavailable(TransientError):
    """The secret store did not answer, so the signature was not checked."""

    code = "secret_store_unavailable"
    hint = "The event waits. Check that the function may read the parameter and use its KMS key."
    raised_in = ("ingest/schemes/", "consumers/")


class CertificateUnavailable(TransientError):
    """The provider's host of certificates did not answer, so the signature was not checked."""

    code = "certificate_host_unavailable"
    hint = "The event waits for a minute, then it is quarantined. Check the function's way to the provider's host."
    raised_in = ("ingest/schemes/",)


class DeadlineNear(TransientError):
    """The invocation's time is nearly over; the rest of the batch goes to the next one."""

    code = "deadline_near"
    hint = "If this happens often, lower BatchSize or raise the function's Timeout."
    raised_in = ("consumers/",)


class TargetUnavailable(TransientError):
    """The target of a replay does not accept deliveries."""

    code = "target_unavailable"
    hint = "Fix the target, then resume the replay: it continues where it stopped."
    raised_in = ("operate/replay/targets/",)


class QuarantineRefused(TransientError):
    """DynamoDB rejected the item of a delivery in quarantine."""

    code = "quarantine_refused"
    hint = "The log names the cause. The record is read again until it succeeds or goes to the failure destination."
    raised_in = ("consumers/commit/",)


class PayloadBucketUnset(TransientError):
    """The delivery is too large for an item, and PAYLOAD_BUCKET is not set."""

    code = "payload_bucket_unset"
    hint = "Give the function a bucket for large deliveries, as infra/template.yaml does."
    raised_in = ("consumers/commit/",)


class MemoryShort(TransientError):
    """The function had no memory left for this record."""

    code = "memory_short"
    hint = "Raise the function's MemorySize, or lower BatchSize."
    raised_in = ("consumers/judging/",)


class ConfigError(ServiceError):
    """The configuration is wrong; no delivery is at fault."""

    code = "config"


class SettingInvalid(ConfigError):
    """An environment variable of a function has a value that cannot be used."""

    code = "setting_invalid"
    hint = "consumers/settings.py lists every setting with its meaning."
    raised_in = ("consumers/settings.py",)


class OptionInvalid(ConfigError):
    """A command was asked for something that it cannot do."""

    code = "option_invalid"
    hint = "`weir COMMAND --help` lists the options and their values."
    raised_in = ("operate/", "infra/", "loadtest/", "cli/")


class IdUnknown(ConfigError):
    """Nothing has this id."""

    code = "id_unknown"
    hint = "Copy the id from `weir events`, `weir failures` or `weir quarantine`; they print it in full."
    raised_in = ("operate/", "cli/")


class SecretInvalid(ConfigError):
    """This cannot be kept as a secret of the source."""

    code = "secret_invalid"
    hint = "Copy the secret again from the provider's settings; `weir sources presets` says where it is."
    raised_in = ("infra/secrets.py",)


class SecretsFull(ConfigError):
    """The source has as many live secrets as it can have."""

    code = "secrets_full"
    hint = "`weir secrets list` numbers them, and `weir secrets remove SOURCE POSITION` retires one."
    raised_in = ("infra/secrets.py",)


class SampleInvalid(ConfigError):
    """A delivery of this body cannot be made for the source."""

    code = "sample_invalid"
    hint = "Give a body in the form that the provider sends: `weir send SOURCE FILE`."
    raised_in = ("ingest/",)


class InvocationInvalid(ConfigError):
    """A function was invoked with an event of the wrong kind."""

    code = "invocation_invalid"
    hint = "Only what infra/template.yaml connects to the function may invoke it."
    raised_in = ("consumers/",)


class StoreRefused(ConfigError):
    """A store rejects every call of the function."""

    code = "store_refused"
    hint = "Check that the tables and the bucket exist, and the function's role and credentials."
    raised_in = ("consumers/events_table/",)


class RecordTooLarge(ConfigError):
    """A record is larger than the stream accepts."""

    code = "record_too_large"
    hint = "Raise the template's parameter MaxRecordKiB, and deploy."
    raised_in = ("consumers/", "operate/")


class PackageAbsent(ConfigError):
    """A command needs a package that is not installed."""

    code = "package_absent"
    hint = (
        "In a clone: `make .venv/load`; elsewhere: `pip install 'weir-webhooks[load]'`. hdrhistogram has no wheel for "
        "Linux on ARM: with a C compiler, `pip install hdrhistogram`."
    )
    raised_in = ("infra/", "loadtest/", "cli/")


class EffectsInvalid(ConfigError):
    """The business code cannot be imported."""

    code = "effects_invalid"
    hint = "Fix the file, then deploy or start again. What has come waits and is not lost."
    raised_in = ("consumers/business/", "consumers/checks.py", "testing/", "cli/project_files.py")


class TableInvalid(ConfigError):
    """A table of the business code is not declared as DynamoDB could have it."""

    code = "table_invalid"
    hint = "Correct the declaration, `Table(...)` or `Index(...)`, in the business code."
    raised_in = ("consumers/business/", "infra/tables.py")


class ProjectInvalid(ConfigError):
    """The project's settings cannot be used."""

    code = "project_invalid"
    hint = "Correct [tool.weir] in pyproject.toml; docs/reference/project.md lists its fields."
    raised_in = ("infra/", "cli/")


class CatalogueInvalid(ConfigError):
    """The sources file cannot be used."""

    code = "sources_invalid"
    hint = "`weir sources check` names the line, the field and what to write."
    raised_in = (
        *("ingest/sources/", "ingest/contract/", "ingest/handshakes/", "consumers/wiring.py"),
        "cli/project_files.py",
    )


class NotConfirmed(ConfigError):
    """Not confirmed: nothing was changed."""

    code = "not_confirmed"
    hint = "Answer yes when the changes are what you want, or give --yes where there is no one to answer."
    raised_in = ("infra/",)


class TemplateUnsupported(ConfigError):
    """A template uses something that the embedded stack cannot do."""

    code = "template_unsupported"
    hint = "Use what infra/template.yaml and ingest/contract/ already use, or deploy to LocalStack."
    raised_in = ("infra/",)


class ParameterInvalid(ConfigError):
    """A parameter of the template has a value that the template does not allow."""

    code = "parameter_invalid"
    hint = "infra/template.yaml lists the parameters with their defaults and meanings."
    raised_in = ("infra/",)


class RightsMissing(ConfigError):
    """The credentials do not have a right that this takes."""

    code = "rights_missing"
    hint = "`weir policies ROLE` prints what a role's commands need: reader, operator, deployer."
    raised_in = ("infra/",)


class SecretUnset(ConfigError):
    """The source has no secret to sign a sample with."""

    code = "secret_unset"
    hint = "`weir secrets set SOURCE`, or `weir secrets generate SOURCE` to try things out."
    raised_in = ("infra/",)


class StackAbsent(ConfigError):
    """The stack does not exist."""

    code = "stack_absent"
    hint = "`make run` starts one on this machine; --at localstack or --at aws uses the one that `weir deploy` made."
    raised_in = ("infra/", "operate/", "cli/")


class StackFailed(ConfigError):
    """A part of the stack could not be started, called, created or deleted."""

    code = "stack_failed"
    hint = "Fix what the message names, then try again. Nothing that is stored was changed."
    raised_in = ("infra/", "operate/", "loadtest/", "cli/")


class DataLeft(ConfigError):
    """The stack is deleted, and a part of its data could not be."""

    code = "data_left"
    hint = "Fix what the message names, then run the same command again: it deletes what is left."
    raised_in = ("infra/destroy.py",)
