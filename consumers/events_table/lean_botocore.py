"""The functions' clients, and the calls that they make beside those of the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import botocore
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from weir.consumers.judging.secrets import Reading, ReadParameters
from weir.ingest.errors import SecretUnavailable
from weir.ingest.sources.catalogue import SECRETS_MANAGER

# Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
_PARAMETERS_IN_A_CALL = 10
# Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html
_SECRETS_IN_A_CALL = 20
_ABSENT = {"ResourceNotFoundException", "ResourceNotFound"}

BOTOCORE_VERSION: str = botocore.__version__

# Called with a service and what botocore raised, when a client is an ordinary one and not lean.
FellBack: TypeAlias = Callable[[str, Exception], None]


def create_client(service: str, config: Config, fell_back: FellBack) -> Any:
    """Return a lean client; an ordinary one, after a call of ``fell_back``, if this botocore cannot make a lean one.

    A lean client is made with parts of botocore that it does not promise to keep. Lambda's own version may be any: an
    ordinary client costs a slower cold start and does the same. Raises: what the ordinary client raises, too.
    """
    try:
        from weir.consumers.events_table import lean_session  # noqa: PLC0415 - what is missing fails the import

        return lean_session.session().create_client(service, config=config)
    except Exception as error:  # noqa: BLE001 - a changed internal can fail in any way
        ordinary: Any = botocore.session.Session()  # its types know names of services, not any string
        client = ordinary.create_client(service, config=config)
        fell_back(service, error)
        return client


def ssm_client(fell_back: FellBack) -> Any:
    """Return a client whose worst case leaves a batch most of its time."""
    lean = Config(
        connect_timeout=2,
        read_timeout=3,
        retries={"mode": "standard", "total_max_attempts": 2},
        parameter_validation=False,
    )
    return create_client("ssm", lean, fell_back)


def secrets_manager_client(fell_back: FellBack) -> Any:
    """Return a client like that for SSM."""
    lean = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
    return create_client("secretsmanager", lean, fell_back)


def kinesis_client(fell_back: FellBack) -> Any:
    """Return a client that calls once: an answer that was lost is the sender's to ask for again."""
    lean = Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}, parameter_validation=False)
    return create_client("kinesis", lean, fell_back)


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
