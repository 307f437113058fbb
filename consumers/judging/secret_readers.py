"""Reading secrets in bulk, from Parameter Store and from Secrets Manager."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from weir.consumers.judging.secrets import Reading, ReadParameters
from weir.ingest.errors import SecretUnavailable
from weir.ingest.sources.catalogue import SECRETS_MANAGER

# Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
_PARAMETERS_IN_A_CALL = 10
# Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html
_SECRETS_IN_A_CALL = 20
_ABSENT = {"ResourceNotFoundException", "ResourceNotFound"}


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
    """Read secrets by name or ARN. One that cannot be read is named in the answer and fails none of the others."""
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
