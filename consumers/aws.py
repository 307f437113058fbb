"""botocore made lean: one session for the clients of the first batch, without what they do not need.

Making ``boto3.client("dynamodb")`` takes 50 ms beside the imports, most of it for looking through the directories of
400 services, for 1.2 MB of endpoints that the endpoint rules have replaced, and for SSM's 150 operations of which one
is called. All of that comes from botocore's data loader, a component that a session lets one replace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader

from consumers.secrets import Reading, ReadParameters
from ingest.errors import SecretUnavailable

# Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
_PARAMETERS_IN_A_CALL = 10

# botocore's own model of SSM, cut down to the one operation in use; a test holds it to the original.
SSM_MODEL: dict[str, Any] = {
    "version": "2.0",
    "metadata": {
        "apiVersion": "2014-11-06",
        "auth": ["aws.auth#sigv4"],
        "endpointPrefix": "ssm",
        "jsonVersion": "1.1",
        "protocol": "json",
        "protocols": ["json"],
        "serviceFullName": "Amazon Simple Systems Manager (SSM)",
        "serviceId": "SSM",
        "signatureVersion": "v4",
        "targetPrefix": "AmazonSSM",
        "uid": "ssm-2014-11-06",
    },
    "operations": {
        "GetParameters": {
            "name": "GetParameters",
            "http": {"method": "POST", "requestUri": "/"},
            "input": {"shape": "GetParametersRequest"},
            "output": {"shape": "GetParametersResult"},
        }
    },
    "shapes": {
        "GetParametersRequest": {
            "type": "structure",
            "required": ["Names"],
            "members": {"Names": {"shape": "ParameterNameList"}, "WithDecryption": {"shape": "Boolean"}},
        },
        "GetParametersResult": {"type": "structure", "members": {"Parameters": {"shape": "ParameterList"}}},
        "ParameterNameList": {"type": "list", "member": {"shape": "PSParameterName"}},
        "ParameterList": {"type": "list", "member": {"shape": "Parameter"}},
        "Parameter": {
            "type": "structure",
            "members": {"Name": {"shape": "PSParameterName"}, "Value": {"shape": "PSParameterValue"}},
        },
        "PSParameterName": {"type": "string"},
        "PSParameterValue": {"type": "string", "sensitive": True},
        "Boolean": {"type": "boolean"},
    },
}


class _LeanLoader(Loader):  # type: ignore[misc] # botocore has no types
    """botocore's loader, for DynamoDB and SSM alone."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        return ["dynamodb", "ssm"]

    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> Any:
        if (service_name, type_name) == ("ssm", "service-2"):
            return SSM_MODEL
        return super().load_service_model(service_name, type_name, api_version)

    def load_data_with_path(self, name: str) -> Any:
        if name != "endpoints":
            return super().load_data_with_path(name)
        # Without these, and as long as they look like its own, botocore goes by its endpoint rules alone (not for S3).
        return {"partitions": []}, f"{self.BUILTIN_DATA_PATH}/endpoints"


@cache
def session() -> Any:
    """Return the session for DynamoDB and SSM clients; S3 needs an ordinary one."""
    lean = botocore.session.get_session()
    lean.register_component("data_loader", _LeanLoader())
    return lean


def ssm_client() -> Any:
    """Return a client whose worst case leaves a batch most of its time."""
    retries = {"mode": "standard", "total_max_attempts": 2}
    lean = Config(connect_timeout=2, read_timeout=3, retries=retries, parameter_validation=False)
    return session().create_client("ssm", config=lean)


def s3_client() -> Any:
    """Return an ordinary client: few batches hold a body that is too large for an item."""
    import boto3  # noqa: PLC0415 - 10 ms that most processes never need

    return boto3.client("s3", config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}))


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
    found = {parameter["Name"]: parameter["Value"] for parameter in answer["Parameters"]}
    return {name: found.get(name) for name in names}


def _may_be_one_of_them(error: ClientError | BotoCoreError) -> bool:
    # One parameter that this function may not read, or whose key it may not use, fails a call for ten.
    return isinstance(error, ClientError) and "Throttl" not in _code(error) and _status(error) < 500


def _code(error: ClientError | BotoCoreError) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
