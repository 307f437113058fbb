"""A small asyncio client for the engine: AWS's JSON protocols and S3's PutObject over one pool of connections.

It is for engines on this machine, which route by the credential scope of the Authorization header and check no
signature: the header is well formed and constant. What AWS itself must accept goes through boto3.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp

Read = TypeVar("Read")

# Target prefix -> (service in the credential scope, version of the JSON protocol).
_SERVICES = {
    "Kinesis_20131202": ("kinesis", "1.1"),
    "DynamoDB_20120810": ("dynamodb", "1.0"),
    "AmazonSQS": ("sqs", "1.0"),
    "AmazonSSM": ("ssm", "1.1"),
    "TrentService": ("kms", "1.1"),
    "Firehose_20150804": ("firehose", "1.1"),
    "Logs_20140328": ("logs", "1.1"),
}
_THROTTLES = {"ProvisionedThroughputExceededException", "LimitExceededException", "ThrottlingException", "SlowDown"}
UNREACHABLE = "EndpointUnreachable"  # our own type: no answer at all, status 0
_S3_CODE = re.compile(r"<Code>([^<]*)</Code>.*?<Message>([^<]*)</Message>", re.DOTALL)
_KEEP_ALIVE_S = 30  # shorter than any engine's own, so that a connection is never reused while the engine closes it


class AwsError(Exception):
    """An error answer: ``type`` is the bare name in ``__type`` (S3: ``Code``), ``status`` is 0 where none came."""

    def __init__(self, type_: str, message: str, *, status: int, operation: str) -> None:
        super().__init__(f"{operation}: {type_}: {message}" if message else f"{operation}: {type_}")
        self.type = type_
        self.message = message
        self.status = status

    @property
    def transient(self) -> bool:
        """Tell whether the same call may succeed later with nothing changed."""
        return self.status == 0 or self.status >= 500 or self.type in _THROTTLES


class AwsClient:
    """Calls one endpoint, and ``kinesis`` for the stream where that is another; safe for any tasks of one loop."""

    def __init__(
        self,
        endpoint: str,
        *,
        kinesis: str | None = None,
        region: str = "us-east-1",
        access_key: str = "weir",
        timeout_s: float = 60,
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._kinesis = (kinesis or endpoint).rstrip("/")
        self.region = region
        self._access_key = access_key
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; the client may be used again afterwards."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, target: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Call one action, named as in ``X-Amz-Target``, such as ``Kinesis_20131202.GetRecords``.

        Raises: AwsError.
        """
        service, version = _SERVICES[target.partition(".")[0]]
        headers = {"X-Amz-Target": target, "Content-Type": f"application/x-amz-json-{version}"}
        request = json.dumps(parameters).encode()
        status, body, _ = await self._send(service, "POST", "/", headers=headers, body=request, operation=target)
        if status != 200:
            raise _json_error(body, status, target)
        return _answer(body, target)

    async def ask(self, target: str, parameters: Mapping[str, Any], read: Callable[[dict[str, Any]], Read]) -> Read:
        """Call one action and return what ``read`` makes of its answer; one that lacks what it reads is none.

        Raises: AwsError.
        """
        answer = await self.call(target, parameters)
        try:
            return read(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _stranger(str(answer), target) from error

    async def put_object(self, bucket: str, key: str, body: bytes, *, content_type: str = "application/json") -> None:
        """Write one S3 object, addressed by path.

        Raises: AwsError.
        """
        path = f"/{quote(bucket)}/{quote(key)}"
        headers = {"Content-Type": content_type}
        status, answer, etag = await self._send("s3", "PUT", path, headers=headers, body=body, operation="s3.PutObject")
        if status == 200 and not etag:
            raise _stranger(answer.decode("utf-8", "replace"), "s3.PutObject")
        if status != 200:
            found = _S3_CODE.search(answer.decode("utf-8", "replace"))
            code, message = found.groups() if found else (f"Http{status}", "")
            raise AwsError(code, message, status=status, operation="s3.PutObject")

    async def _send(
        self, service: str, method: str, path: str, *, headers: dict[str, str], body: bytes, operation: str
    ) -> tuple[int, bytes, str]:
        """Return status, body and ETag, which every object has."""
        headers["Authorization"] = self._authorization(service)
        endpoint = self._kinesis if service == "kinesis" else self.endpoint
        try:
            url = f"{endpoint}{path}"
            # As a file: aiohttp warns of large bytes, and sends a file in pieces between which the loop can turn.
            content = io.BytesIO(body)
            async with self._connected().request(
                method, url, data=content, headers=headers, allow_redirects=False
            ) as response:
                return response.status, await response.read(), response.headers.get("ETag", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise AwsError(UNREACHABLE, f"{endpoint}: {reason}", status=0, operation=operation) from error

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self._session

    def _authorization(self, service: str) -> str:
        scope = f"{self._access_key}/20260101/{self.region}/{service}/aws4_request"
        return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"


def _answer(body: bytes, operation: str) -> dict[str, Any]:
    """Return the parameters of an answer. Raises: AwsError where what answered is not the service, as for no answer."""
    try:
        answer = json.loads(body or b"{}")
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise _stranger(body.decode("utf-8", "replace"), operation)
    return answer


def _stranger(said: str, operation: str) -> AwsError:
    return AwsError(UNREACHABLE, f"no answer of the service: {said[:80]!r}", status=0, operation=operation)


def _json_error(body: bytes, status: int, operation: str) -> AwsError:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return AwsError(f"Http{status}", body[:200].decode("utf-8", "replace"), status=status, operation=operation)
    type_ = str(answer.get("__type") or f"Http{status}").rpartition("#")[2]
    return AwsError(
        type_, str(answer.get("message") or answer.get("Message") or ""), status=status, operation=operation
    )
