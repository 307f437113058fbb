"""Text with ``$context.x`` in it, as access logs and gateway responses have: plain substitution, no template language.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gatewayResponse-definition.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from weir.infra.local.gateway.exchange import LOG_ONLY, VARIABLES, Exchange
from weir.ingest.errors import TemplateUnsupported

_VARIABLE = re.compile(r"\$(?:context|stageVariables)\.\w+(?:\.\w+)*", re.ASCII)
_LANGUAGE = re.compile(r"\$\{|\$!|\$(?:input|util)\b|#(?:set|if|foreach)\s*\(")
# AWS writes this for a value that a request does not have.
_BLANK_IN_LOG = "-"
# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
_MAX_LOG_FORMAT_BYTES = 3 * 1024


class PlainText:
    """A text with variables in it; blank ones print ``blank``."""

    def __init__(
        self,
        source: str,
        where: str,
        *,
        stage_variables: Mapping[str, str],
        unknown: frozenset[str] = frozenset(),
        blank: str = "",
    ) -> None:
        if found := _LANGUAGE.search(source):
            raise TemplateUnsupported("only plain $context.x is replaced here", where=where, found=found[0])
        self._blank = blank
        self._parts: list[str | Callable[[Exchange], Any]] = []
        at = 0
        for variable in _VARIABLE.finditer(source):
            self._parts.append(source[at : variable.start()])
            root, _, name = variable[0].partition(".")
            if root == "$stageVariables":
                self._parts.append(stage_variables.get(name, ""))
            elif name in VARIABLES and name not in unknown:
                self._parts.append(VARIABLES[name])
            else:
                raise TemplateUnsupported("this variable is not supported here", where=where, found=variable[0])
            at = variable.end()
        self._parts.append(source[at:])

    def render(self, exchange: Exchange) -> str:
        """Return the text for one request."""
        return "".join(part if isinstance(part, str) else self._value(part(exchange)) for part in self._parts)

    def _value(self, value: Any) -> str:
        return self._blank if value is None else str(value)


def response_text(source: str, where: str, stage_variables: Mapping[str, str]) -> PlainText:
    """Load the body of a gateway response.

    Raises: TemplateUnsupported.
    """
    return PlainText(source, where, stage_variables=stage_variables, unknown=LOG_ONLY)


class AccessLog:
    """A file with one line a request.

    Raises: TemplateUnsupported for a format that API Gateway would refuse, or with a variable unknown here.
    """

    def __init__(self, path: Path, format_: str) -> None:
        where = "AccessLogSetting.Format"
        if len(format_.encode("utf-8")) > _MAX_LOG_FORMAT_BYTES or "\n" in format_:
            raise TemplateUnsupported("an access log format is one line of at most 3 KB", where=where)
        if "$context.requestId" not in format_ and "$context.extendedRequestId" not in format_:
            raise TemplateUnsupported("an access log format must have requestId or extendedRequestId", where=where)
        self._text = PlainText(format_, where, stage_variables={}, blank=_BLANK_IN_LOG)
        self._file = path.open("a", encoding="utf-8", errors="replace", buffering=1)

    def write(self, exchange: Exchange) -> None:
        """Write the line of a request that was answered."""
        self._file.write(self._text.render(exchange) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
