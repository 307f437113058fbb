"""The names that API Gateway defines for templates; any other member of these is a mistake, found when it is loaded.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html
"""

from __future__ import annotations

from typing import Final

CONTEXT: Final = frozenset(
    {
        "accountId",
        "apiId",
        "domainName",
        "domainPrefix",
        "extendedRequestId",
        "httpMethod",
        "path",
        "protocol",
        "requestId",
        "requestTime",
        "requestTimeEpoch",
        "resourcePath",
        "stage",
    }
)
# The rest of `identity` needs an authorizer, an API key or a client certificate.
IDENTITY: Final = frozenset({"sourceIp", "userAgent"})
RESERVED: Final = frozenset({"context", "foreach", "input", "stageVariables", "util"})
