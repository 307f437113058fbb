"""Mapping templates of API Gateway: the subset of Velocity 1.7 that they use, compiled once and rendered fast.

Whatever the subset does not have is refused when the template is loaded, never printed as text: what renders here
renders to the same bytes on Apache Velocity.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from weir.infra.local.vtl.codegen import Compiled, compile_tree
from weir.infra.local.vtl.input import BodyNotJsonError, Input
from weir.infra.local.vtl.java import RenderError
from weir.infra.local.vtl.syntax import parse
from weir.ingest.errors import TemplateUnsupported

__all__ = ["BodyNotJsonError", "Input", "Overrides", "RenderError", "Template", "load"]

# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
MAX_TEMPLATE_BYTES = 300 * 1024


class Overrides:
    """What templates set in ``$context.responseOverride``: ``status`` (None if unset) and ``headers``.

    Each may be set once; the second time API Gateway answers 5XX.
    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-override-request-response-parameters.html
    """

    __slots__ = ("headers", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, Any] = {}

    def set_status(self, value: Any) -> None:
        """Override the status; what is not an integer of 100 to 599 is ignored, as API Gateway does."""
        if self.status is not None:
            raise RenderError("$context.responseOverride.status was set twice")
        if type(value) is int and 100 <= value <= 599:
            self.status = value

    def set_header(self, name: str, value: Any) -> None:
        """Override one header of the response."""
        if name in self.headers:
            raise RenderError(f"$context.responseOverride.header.{name} was set twice")
        self.headers[name] = value


class Template:
    """A loaded template. ``constant`` is what it always prints, or None; ``uses_body`` whether it looks at the body."""

    __slots__ = ("_render", "constant", "name", "uses_body")

    def __init__(self, name: str, compiled: Compiled) -> None:
        self.name = name
        self.constant = compiled.constant
        self.uses_body = compiled.uses_body
        self._render = compiled.function

    def render(
        self, given: Input, context: Mapping[str, Any], stage_variables: Mapping[str, str], overrides: Overrides
    ) -> str:
        """Render for one request; ``overrides`` collects what the template sets.

        ``context`` has every name of ``vtl_names.CONTEXT`` and ``identity``; the maps of ``given`` are plain dicts.

        Raises: RenderError.
        """
        return self._render(given, context, stage_variables, overrides)


@lru_cache(maxsize=512)
def load(source: str, name: str) -> Template:
    """Compile a template; ``name`` is for messages. The same text under the same name is compiled once.

    Raises: TemplateUnsupported, with line and column.
    """
    size = len(source.encode("utf-8"))
    if size > MAX_TEMPLATE_BYTES:
        raise TemplateUnsupported(f"larger than API Gateway's {MAX_TEMPLATE_BYTES} bytes", template=name, bytes=size)
    return Template(name, compile_tree(parse(source, name), name))
