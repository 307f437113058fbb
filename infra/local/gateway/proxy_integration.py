"""Proxy integrations: a request handed to a function as it came, and the function's answer handed back.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from weir.infra.local.function.function import Function
from weir.infra.local.function.invocations import InvocationResult
from weir.infra.local.gateway.exchange import Exchange, Fault
from weir.infra.local.gateway.responses import JSON, Response

_INTERNAL = "Internal server error"
_ANSWER = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}


class LambdaIntegration:
    """Invokes functions by name; each starts as many execution environments as there are requests at once."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions

    async def call(
        self, name: str, exchange: Exchange, content: bytes, stage_variables: Mapping[str, str], *, timeout_s: float
    ) -> Response:
        """Invoke a function with one request.

        Raises: Fault when there is no such function, it does not answer in time, or its answer is none.
        """
        if name not in self._functions:
            raise Fault("API_CONFIGURATION_ERROR", _INTERNAL, integration_error=f"there is no function {name}")
        event = proxy_event(exchange, content, stage_variables)
        try:
            async with asyncio.timeout(timeout_s):
                result = await self._functions[name].invoke(event)
        except TimeoutError as error:
            message = "Endpoint request timed out"
            raise Fault("INTEGRATION_TIMEOUT", message, integration_error=message) from error
        exchange.integration_status = result.status_code
        answer = _response(result)
        # The access log has what the function's code returned, not what Lambda did.
        # Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html
        exchange.integration_status = answer.status
        return answer

    async def close(self) -> None:
        """End every execution environment."""
        for function in self._functions.values():
            await function.close()


def proxy_event(exchange: Exchange, content: bytes, stage_variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the event for one request; its body is base64, since every media type of the API is binary."""
    shown = exchange.headers.shown
    query = exchange.query or None
    return {
        "resource": exchange.context["resourcePath"],
        "path": exchange.path,
        "httpMethod": exchange.method,
        "headers": shown,
        "multiValueHeaders": {name: [value] for name, value in shown.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} if query else None,
        "pathParameters": exchange.path_parameters or None,
        "stageVariables": dict(stage_variables),
        "requestContext": exchange.context,
        "body": b64encode(content).decode("ascii") if content else None,
        "isBase64Encoded": bool(content),
    }


def _response(result: InvocationResult) -> Response:
    answer = result.payload
    is_sound = isinstance(answer, dict) and set(answer) <= _ANSWER and isinstance(answer.get("body", ""), str | None)
    if not result.succeeded or not is_sound:
        raise Fault("INTEGRATION_FAILURE", _INTERNAL, integration_error=result.error or "Malformed proxy response")
    headers = {"Content-Type": JSON, **(answer.get("headers") or {})}
    pairs = [(name, str(value)) for name, value in headers.items()]
    return Response(int(answer.get("statusCode", 200)), pairs, (answer.get("body") or "").encode("utf-8"))
