"""The API definition: ``openapi.yaml`` with a pair of paths for each source and the mapping template under each type.

API Gateway imports the result (https://docs.aws.amazon.com/apigateway/latest/developerguide/import-edge-optimized-api.html);
LocalStack does too, and the embedded gateway serves it.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from weir.ingest.contract.sharing import SOURCE_PARAMETER, Sharing
from weir.ingest.errors import CatalogueInvalid
from weir.ingest.handshakes.handshake_templates import Questions, constant
from weir.ingest.sources.catalogue import Ack, Source

_HERE = Path(__file__).parent

# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
MAX_DEFINITION_BYTES = 6 * 1024 * 1024
MAX_RESOURCES = 300

_INTEGRATION = "x-amazon-apigateway-integration"

# LocalStack 4.14 ignores `*/*`, and `application/*` would match Kinesis' own answer there.
_CONCRETE_BINARY_TYPES = ("text/*", "multipart/*", "image/*", "binary/*", "message/*")


def mapping_template(source: str) -> str:
    """Return the request mapping template of a source; all but its first line is the same for every one."""
    return f'#set($source = "{source}")\n{_put_record()}'


def api_definition(sources: Iterable[str] | Mapping[str, Source], substitutions: Mapping[str, str]) -> dict[str, Any]:
    """Build the OpenAPI document to import.

    ``sources`` are the catalogue, or names alone where none has needs of its own. ``substitutions`` fill
    ``${partition}``, ``${region}``, ``${credentials}`` (the ARN of the role that may call PutRecord) and
    ``${handshake_function}`` (an ARN) in the integrations; the mapping template is never touched.

    Each source has a pair of paths as long as all fit into one REST API. Beyond that, sources without a throttle,
    handshakes or an acknowledgement of their own share the pair ``/v1/{source}``; the first of the file keep theirs.

    Raises: CatalogueInvalid when one REST API cannot hold the sources, or an answer cannot be a template.
    """
    return _Definition(sources, substitutions).whole()


def shared_sources(sources: Mapping[str, Source]) -> list[str]:
    """Return the sources that share the paths ``/v1/{source}``, and so what these take a second, in the file's order.

    Raises: CatalogueInvalid, as `api_definition`.
    """
    return _Definition(sources, {}).shared


class _Definition:
    """The document in the making: ``own`` paths by source, and the sources that share a pair."""

    def __init__(self, sources: Iterable[str] | Mapping[str, Source], substitutions: Mapping[str, str]) -> None:
        import yaml  # noqa: PLC0415 - the function imports this room and must start without YAML

        text = (_HERE / "openapi.yaml").read_text(encoding="utf-8")
        for name, value in substitutions.items():
            text = text.replace(f"${{{name}}}", value)
        root: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(text)))  # no object shared by YAML's anchors
        self._known = sources if isinstance(sources, Mapping) else {}
        self._common: list[str] = root.pop("x-weir-media-types")
        own_types = [media_type for source in self._known.values() for media_type in source.content_types]
        root["x-amazon-apigateway-binary-media-types"] += _binary_types(_spellings([*self._common, *own_types]))
        self._patterns: dict[str, Any] = root.pop("paths")
        self._question, self._function = root.pop("x-weir-question"), root.pop("x-weir-function")
        self._root = root
        self._pairs: dict[str, dict[str, Any]] = {}
        names = list(sources)
        needing = [name for name in names if name in self._known and _has_needs(self._known[name])]
        plain = [name for name in names if name not in set(needing)]
        left = _Room(MAX_DEFINITION_BYTES - len(render({**root, "paths": {}})), MAX_RESOURCES - 2)  # `/` and `/v1`
        if not all(left.take(self._pair(name)) for name in needing):
            raise _too_many(len(names), len(needing))
        fitting = self._fitting(plain, left)
        if len(fitting) < len(plain):
            if not left.take(self._shared_pair(plain)):
                raise _too_many(len(names), len(needing))
            fitting = self._fitting(plain, left)
        self._own = [name for name in names if name in {*needing, *fitting}]
        self.shared = [name for name in plain if name not in fitting]

    def whole(self) -> dict[str, Any]:
        """Return the document."""
        paths = {path: item for name in self._own for path, item in self._pair(name).items()}
        return {**self._root, "paths": paths | (self._shared_pair(self.shared) if self.shared else {})}

    def _fitting(self, names: list[str], room: _Room) -> set[str]:
        """Return the first of these sources whose paths there is room for."""
        left = copy.copy(room)
        return set(itertools.takewhile(lambda name: left.take(self._pair(name)), names))

    def _pair(self, name: str) -> dict[str, Any]:
        """Return the two paths of one source."""
        if name not in self._pairs:
            source = self._known.get(name)
            media_types = _spellings([*self._common, *(source.content_types if source else ())])
            pair = {}
            for pattern, path in self._patterns.items():
                item = copy.deepcopy(path)
                if source is not None:
                    _adapt(item, source, self._question, self._function, mapping_template(name))
                for operation in item.values():
                    _complete(operation, media_types, mapping_template(name))
                pair[pattern.replace("{source}", name)] = item
            self._pairs[name] = pair
        return self._pairs[name]

    def _shared_pair(self, names: list[str]) -> dict[str, Any]:
        """Return the two paths that these sources share; they store what any of them names in ``content_types``."""
        own_types = [one for name in names if name in self._known for one in self._known[name].content_types]
        sharing = Sharing(names)
        request = sharing.request(_put_record())
        pair = copy.deepcopy(self._patterns)
        for item in pair.values():
            for operation in item.values():
                _complete(operation, _spellings([*self._common, *own_types]), request)
                for response in _refusals(operation):
                    templates = response["responseTemplates"]
                    templates["application/json"] = sharing.refusal(templates["application/json"])
            item["post"]["responses"]["404"] = {"description": "No source at this path"}
            item.setdefault("parameters", []).insert(0, SOURCE_PARAMETER)
        return pair


class _Room:
    """What is left of one REST API: bytes of its definition, and resources."""

    def __init__(self, size_bytes: int, resources: int) -> None:
        self._bytes, self._resources = size_bytes, resources

    def take(self, pair: Mapping[str, Any]) -> bool:
        """Take the room of some paths; False if there is not enough."""
        self._bytes -= len(render(pair)) + 1  # the comma before it
        self._resources -= len(pair)
        return self._bytes >= 0 and self._resources >= 0


def stored_types() -> frozenset[str]:
    """Return the media types that are stored for every source, in lower case."""
    import yaml  # noqa: PLC0415 - as above

    contract = yaml.safe_load((_HERE / "openapi.yaml").read_text(encoding="utf-8"))
    return frozenset(media_type.lower() for media_type in contract["x-weir-media-types"])


def render(definition: Mapping[str, Any]) -> bytes:
    """Serialise a definition, the same bytes for the same content."""
    return json.dumps(definition, separators=(",", ":"), sort_keys=False).encode("utf-8")


def _put_record() -> str:
    return (_HERE / "put_record.vtl").read_text(encoding="utf-8")


def _adapt(
    item: dict[str, Any], source: Source, question: Mapping[str, Any], function: Mapping[str, Any], template: str
) -> None:
    """Add to a path what only its source has: the answer to a delivery, and handshakes by method."""
    responses = item["post"][_INTEGRATION]["responses"]
    if source.ack is not None:
        headers = {"Content-Type": {"schema": {"type": "string"}}}
        item["post"]["responses"][str(source.ack.status)] = {"description": "Stored", "headers": headers}
        responses["200"] = _acknowledgement(source.ack)
    for method in sorted({handshake.match.method for handshake in source.handshakes}):
        if method in source.methods_by_function:
            item[method.lower()] = copy.deepcopy(dict(function))
            continue
        asked = [each for each in source.handshakes if each.match.method == method and not each.needs_code]
        if asked and method == "POST":
            _ask_in_delivery(item["post"][_INTEGRATION], Questions(asked), template)
        elif asked:
            item[method.lower()] = copy.deepcopy(dict(question))
            _ask_in_mock(item[method.lower()][_INTEGRATION], Questions(asked))


def _acknowledgement(ack: Ack) -> dict[str, Any]:
    return {
        "statusCode": str(ack.status),
        "contentHandling": "CONVERT_TO_TEXT",
        "responseParameters": {"method.response.header.Content-Type": f"'{ack.content_type}'"},
        "responseTemplates": {"application/json": constant(ack.body)},
    }


def _ask_in_delivery(integration: dict[str, Any], questions: Questions, template: str) -> None:
    integration["requestTemplates"] = questions.request("{}", template)
    for status in ("4\\d{2}", "default"):  # Kinesis refuses with 400; LocalStack's breaks on it with 500
        refusal = integration["responses"][status]["responseTemplates"]
        refusal["application/json"] = questions.answer(refusal["application/json"])


def _ask_in_mock(integration: dict[str, Any], questions: Questions) -> None:
    integration["requestTemplates"] = questions.request('{"statusCode":200}', '{"statusCode":405}')
    integration["responses"]["200"]["responseTemplates"]["application/json"] = questions.answer("")


def _complete(operation: Any, media_types: list[str], put_record: str) -> None:
    """Put the request template of an operation under each media type."""
    integration = operation.get(_INTEGRATION, {}) if isinstance(operation, dict) else {}
    if "requestTemplates" in integration:
        template = integration["requestTemplates"]
        text = put_record if template == "put_record" else template
        integration["requestTemplates"] = dict.fromkeys(media_types, text)


def _refusals(operation: Any) -> list[dict[str, Any]]:
    """Return the integration responses of an operation that are not for what was stored."""
    responses = operation.get(_INTEGRATION, {}).get("responses", {}) if isinstance(operation, dict) else {}
    return [response for response in responses.values() if response["statusCode"] != "200"]


def _has_needs(source: Source) -> bool:
    """Tell whether a source needs paths of its own. Content types are none: the shared paths store those of all."""
    return source.throttle is not None or source.ack is not None or bool(source.handshakes)


def _spellings(media_types: Iterable[str]) -> list[str]:
    """Return each type once, and again in lower case: the gateway compares letter by letter."""
    return list(dict.fromkeys(spelled for given in media_types for spelled in (given, given.lower())))


def _binary_types(media_types: list[str]) -> list[str]:
    covered = tuple(pattern.removesuffix("*") for pattern in _CONCRETE_BINARY_TYPES)
    concrete = [name for name in media_types if not name.startswith(covered)]
    return [*_CONCRETE_BINARY_TYPES, *concrete]


def _too_many(sources: int, needing: int) -> CatalogueInvalid:
    return CatalogueInvalid(
        "One REST API cannot hold this many sources and content types. Sources with a throttle, handshakes or an "
        "answer of their own need most room; split the sources file over two stacks.",
        sources=sources,
        with_paths_of_their_own=needing,
        definition_bytes_limit=MAX_DEFINITION_BYTES,
    )
