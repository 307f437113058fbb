"""boto3 clients for tests: of the engine, of LocalStack, or of whatever answers at an address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config

# What the engines of tests want to be called with; LocalStack takes it for a key of account 000000000000, too.
ACCESS_KEY = "weir"


def client(service: str, endpoint: str, config: Config | None = None) -> Any:
    """Return a new client of a service, with the credentials of tests."""
    make: Callable[..., Any] = boto3.client
    return make(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
        config=config,
    )
