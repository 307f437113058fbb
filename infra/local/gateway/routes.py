"""Which method of the API a request is for.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-method-settings-method-request.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote

from weir.ingest.errors import TemplateUnsupported

Entry = TypeVar("Entry")


@dataclass(slots=True)
class _Node(Generic[Entry]):
    literal: dict[str, _Node[Entry]] = field(default_factory=dict)
    parameter: _Node[Entry] | None = None
    name: str = ""
    methods: Mapping[str, Entry] | None = None


class Routes(Generic[Entry]):
    """Resources by path, literal segments before parameters; ``{name+}`` is not known here."""

    def __init__(self, resources: Mapping[str, Mapping[str, Entry]]) -> None:
        self._root: _Node[Entry] = _Node()
        for path, methods in resources.items():
            self._add(path, methods)

    def match(self, method: str, raw_path: str) -> tuple[Entry, dict[str, str]] | None:
        """Return the method and the path's parameters, URL-decoded; None if there is no such resource or method.

        A slash at the end makes no difference, as in API Gateway.
        """
        found = _find(self._root, raw_path.rstrip("/").split("/")[1:], 0)
        if found is None:
            return None
        methods, parameters = found
        entry = methods.get(method) or methods.get("ANY")
        return None if entry is None else (entry, parameters)

    def _add(self, path: str, methods: Mapping[str, Entry]) -> None:
        node = self._root
        for segment in path.rstrip("/").split("/")[1:]:
            if not segment.startswith("{"):
                node = node.literal.setdefault(segment, _Node())
                continue
            name = segment[1:-1]
            if not segment.endswith("}") or not name.replace("_", "a").replace("-", "a").isalnum():
                raise TemplateUnsupported("a path parameter is {name} and a segment of its own", where=path)
            node.parameter = node.parameter or _Node(name=name)
            if node.parameter.name != name:
                raise TemplateUnsupported("two parameters at the same position of the path", where=path)
            node = node.parameter
        node.methods = methods


def _find(node: _Node[Entry], segments: list[str], at: int) -> tuple[Mapping[str, Entry], dict[str, str]] | None:
    if at == len(segments):
        return None if node.methods is None else (node.methods, {})
    following = node.literal.get(segments[at])
    if following is not None and (found := _find(following, segments, at + 1)) is not None:
        return found
    if node.parameter is None or not segments[at]:
        return None
    found = _find(node.parameter, segments, at + 1)
    if found is not None:
        found[1][node.parameter.name] = unquote(segments[at], errors="replace")
    return found
