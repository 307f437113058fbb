"""The functions' clients: lean ones, or ordinary ones where this botocore cannot make them lean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import botocore
import botocore.session
from botocore.config import Config

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
    """Return an ordinary client of any service, with retries of its own: for functions that no one waits for."""
    import boto3  # noqa: PLC0415 - the consumer has no need of it

    make: Callable[..., Any] = boto3.client  # its types know names of services, not any string
    return make(service, config=Config(retries={"mode": "standard", "max_attempts": 5}))
