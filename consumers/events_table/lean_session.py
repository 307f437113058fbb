"""botocore made lean: one session for the clients of the first batch, without what they do not need.

Making ``boto3.client("dynamodb")`` takes 50 ms beside the imports, most of it for looking through the directories of
400 services, for 1.2 MB of endpoints that the endpoint rules have replaced, for operations that are never called, and
for event handlers of other services. The data loader is a component that a session lets one replace, and handlers can
be registered one by one. These are internals of botocore: `lean_botocore.create_client` does without if they change.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import botocore.session
from botocore.handlers import BUILTIN_HANDLERS
from botocore.loaders import Loader

from weir.consumers.events_table.service_models import BY_SERVICE

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
