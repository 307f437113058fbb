"""botocore made lean, and the calls that the functions make beside those of the store.

One session serves the clients of the first batch, without what they do not need.

Making ``boto3.client("dynamodb")`` takes 50 ms beside the imports, most of it for looking through the directories of
400 services, for 1.2 MB of endpoints that the endpoint rules have replaced, for operations that are never called, and
for event handlers of other services. The data loader is a component that a session lets one replace, and handlers can
be registered one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.handlers import BUILTIN_HANDLERS
from botocore.loaders import Loader

from weir.consumers.events_table.service_models import BY_SERVICE
from weir.consumers.judging.secrets import Reading, ReadParameters
from weir.ingest.errors import SecretUnavailable
from weir.ingest.sources.catalogue import SECRETS_MANAGER

# Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
_PARAMETERS_IN_A_CALL = 10
# Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html
_SECRETS_IN_A_CALL = 20
_ABSENT = {"ResourceNotFoundException", "ResourceNotFound"}

# The services that the lean session knows; S3 goes by other rules.
_SERVICES = ("dynamodb", "ssm", "secretsmanager", "kinesis")


class _LeanLoader(Loader):
    """botocore's loader, for a few services."""

    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> Any:
        if type_name == "service-2" and service_name in BY_SERVICE:
            return BY_SERVICE[service_name]
        return super().load_service_model(service_name, type_name, api_version)

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        return list(_SERVICES)

    def load_data_with_path(self, name: str) -> Any:
        if name != "endpoints":
            return super().load_data_with_path(name)
        # Without these, and as long as they look like its own, botocore goes by its endpoint rules alone (not for S3).
        return {"partitions": []}, f"{self.BUILTIN_DATA_PATH}/endpoints"


@cache
def session() -> Any:
    """Return the session for the clients of these few services; DynamoDB's and SSM's know the calls in `models`."""
    lean = botocore.session.Session(include_builtin_handlers=False)
    for event_name, *handler in builtin_handlers():
        lean.register(event_name, *handler)
    lean.register_component("data_loader", _LeanLoader())
    return lean


def builtin_handlers() -> list[tuple[Any, ...]]:
    """Return those of botocore's 130 event handlers that concern every service or one of ours, as (event, function)."""
    return [spec for spec in BUILTIN_HANDLERS if _service(spec[0]) in {"", *_SERVICES}]


def _service(event_name: str) -> str:
    # "before-call", "before-sign.s3", "docs.*.ec2.RunInstances.complete-section"
    return event_name.partition(".")[2].partition(".")[0]


def ssm_client() -> Any:
    """Return a client whose worst case leaves a batch most of its time."""
    lean = Config(
        connect_timeout=2,
        read_timeout=3,
        retries={"mode": "standard", "total_max_attempts": 2},
        parameter_validation=False,
    )
    return session().create_client("ssm", config=lean)


def secrets_manager_client() -> Any:
    """Return a client like that for SSM."""
    lean = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
    return session().create_client("secretsmanager", config=lean)


def kinesis_client() -> Any:
    """Return a client that calls once: an answer that was lost is the sender's to ask for again."""
    lean = Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}, parameter_validation=False)
    return session().create_client("kinesis", config=lean)


def s3_client() -> Any:
    """Return an ordinary client: few batches hold a body that is too large for an item."""
    import boto3  # noqa: PLC0415 - 10 ms that most processes never need

    return boto3.client("s3", config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}))


def general_client(service: str) -> Any:
    """Return an ordinary client of any service, with retries of its own: for functions that nobody waits for."""
    import boto3  # noqa: PLC0415 - the consumer has no need of it

    make: Callable[..., Any] = boto3.client  # its types know names of services, not any string
    return make(service, config=Config(retries={"mode": "standard", "max_attempts": 5}))


def secret_reader(ssm: Callable[[], Any], secrets_manager: Callable[[], Any]) -> ReadParameters:
    """Return a function that reads secrets wherever they are kept; a client is asked for when it is first needed.

    Names that begin with ``secretsmanager:`` are those of Secrets Manager, all others those of parameters.
    """
    parameters = parameter_reader(ssm)

    def read(names: Sequence[str]) -> Mapping[str, Reading]:
        managed = [name for name in names if name.startswith(SECRETS_MANAGER)]
        readings = dict(parameters([name for name in names if not name.startswith(SECRETS_MANAGER)]))
        for start in range(0, len(managed), _SECRETS_IN_A_CALL):
            readings.update(_get_secrets(secrets_manager(), managed[start : start + _SECRETS_IN_A_CALL]))
        return readings

    return read


def parameter_reader(client: Callable[[], Any]) -> ReadParameters:
    """Return a function that reads SecureStrings, ten a call; the client is asked for when it is first needed."""

    def read(names: Sequence[str]) -> Mapping[str, Reading]:
        readings: dict[str, Reading] = {}
        for start in range(0, len(names), _PARAMETERS_IN_A_CALL):
            readings.update(_get_parameters(client(), list(names[start : start + _PARAMETERS_IN_A_CALL])))
        return readings

    return read


def record_putter(client: Any, stream: str) -> Callable[[str, bytes], str]:
    """Return a function that stores one record under a partition key and returns its sequence number."""

    def put(partition_key: str, data: bytes) -> str:
        try:
            answer = client.put_record(StreamName=stream, PartitionKey=partition_key, Data=data)
        except ClientError as error:
            raise _refused_record(error) from error
        return str(answer["SequenceNumber"])

    return put


def _refused_record(error: ClientError) -> Exception:
    """Tell by Kinesis' message what the mapping template of the gateway tells by it."""
    from weir.consumers.handshake.responder import KeyTooLong, RecordTooLarge  # noqa: PLC0415 - the consumer has no need of it

    code, message = _code(error), str(error.response["Error"].get("Message", ""))
    if "partitionKey" in message or "artition key" in message:
        return KeyTooLong()
    marks = ("'data'", "too large", "ecord size", "less than or equal to")
    return RecordTooLarge() if code == "RequestEntityTooLarge" or any(mark in message for mark in marks) else error


def _get_parameters(client: Any, names: list[str]) -> dict[str, Reading]:
    try:
        answer = client.get_parameters(Names=names, WithDecryption=True)
    except (ClientError, BotoCoreError) as error:
        if len(names) > 1 and _may_be_one_of_them(error):
            half = len(names) // 2
            return _get_parameters(client, names[:half]) | _get_parameters(client, names[half:])
        return dict.fromkeys(names, SecretUnavailable("", cause=_code(error)))
    if "Parameters" not in answer:  # botocore takes any body under a 200 for an answer
        return dict.fromkeys(names, SecretUnavailable("", cause="what answered was not SSM"))
    found = {parameter["Name"]: parameter["Value"] for parameter in answer["Parameters"]}
    return {name: found.get(name) for name in names}


def _get_secrets(client: Any, names: list[str]) -> dict[str, Reading]:
    """Read secrets by name or ARN. One that cannot be read is told apart in the answer and fails none of the others."""
    by_id = {name.removeprefix(SECRETS_MANAGER): name for name in names}
    try:
        answer = client.batch_get_secret_value(SecretIdList=list(by_id))
    except (ClientError, BotoCoreError) as error:
        return dict.fromkeys(names, SecretUnavailable("", cause=_code(error)))
    readings: dict[str, Reading] = dict.fromkeys(names, SecretUnavailable("", cause="it was left out of the answer"))
    for refused in answer.get("Errors", ()):
        name, code = by_id.get(refused["SecretId"]), refused.get("ErrorCode", "")
        if name is not None:
            readings[name] = None if code in _ABSENT else SecretUnavailable("", cause=code)
    for secret in answer.get("SecretValues", ()):
        # A partial ARN, as one without the six characters at its end, is a way to name a secret too.
        for identity, name in by_id.items():
            if identity == secret["Name"] or secret["ARN"].startswith(identity):
                readings[name] = secret.get("SecretString", "")
    return readings


def _may_be_one_of_them(error: ClientError | BotoCoreError) -> bool:
    # One parameter that this function may not read, or whose key it may not use, fails a call for ten.
    return isinstance(error, ClientError) and "Throttl" not in _code(error) and _status(error) < 500


def _code(error: ClientError | BotoCoreError) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
