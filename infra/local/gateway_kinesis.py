"""The gateway's calls to the engine: bytes in, bytes out, over connections that stay open."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

# aiohttp warns of larger bodies given as bytes; as a file they go in pieces.
_PIECEMEAL_BYTES = 512 * 1024
_KEEP_ALIVE_S = 60.0


class UnreachableError(Exception):
    """The engine gave no answer: not there, or it closed the connection."""


@dataclass(frozen=True, slots=True)
class IntegrationAnswer:
    """What the engine answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class KinesisIntegration:
    """Calls one engine; made and closed inside the event loop that uses it."""

    def __init__(self, endpoint: str, *, region: str) -> None:
        self._url = endpoint.rstrip("/") + "/"
        # The engine routes by the credential scope and checks no signature.
        scope = f"gateway/20260101/{region}/kinesis/aws4_request"
        self._authorization = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            auto_decompress=False,
        )

    async def call(
        self, target: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float
    ) -> IntegrationAnswer:
        """Send one request and never a second one: the first may have been stored.

        Raises: TimeoutError, UnreachableError.
        """
        request = {"X-Amz-Target": target, "Authorization": self._authorization, **headers}
        data: bytes | io.BytesIO = body if len(body) < _PIECEMEAL_BYTES else io.BytesIO(body)
        try:
            async with asyncio.timeout(timeout_s):
                async with self._session.post(self._url, data=data, headers=request) as response:
                    return IntegrationAnswer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise UnreachableError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
