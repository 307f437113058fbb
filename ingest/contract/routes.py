"""The API definition: ``openapi.yaml`` with a pair of paths for each source and the mapping template under each type.

API Gateway imports the result (https://docs.aws.amazon.com/apigateway/latest/developerguide/import-edge-optimized-api.html);
LocalStack does too, and the embedded gateway serves it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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


def mapping_template() -> str:
    """Return the request mapping template, the same text for every source and stage."""
    return (_HERE / "put_record.vtl").read_text(encoding="utf-8")


def api_definition(sources: Iterable[str] | Mapping[str, Source], substitutions: Mapping[str, str]) -> dict[str, Any]:
    """Build the OpenAPI document to import.

    ``sources`` are the catalogue, or names alone where none has handshakes or an acknowledgement of its own.
    ``substitutions`` fill ``${partition}``, ``${region}``, ``${credentials}`` (the ARN of the role that may call
    PutRecord) and ``${handshake_function}`` (an ARN) in the integrations; the mapping template is never touched.

    Raises: CatalogueInvalid when there are more sources than one REST API can hold, or an answer cannot be a template.
    """
    import yaml  # noqa: PLC0415 - the function imports this room and must start without YAML

    text = (_HERE / "openapi.yaml").read_text(encoding="utf-8")
    for name, value in substitutions.items():
        text = text.replace(f"${{{name}}}", value)
    contract: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(text)))  # no object shared by YAML's anchors
    common: list[str] = contract.pop("x-weir-media-types")
    known = sources if isinstance(sources, Mapping) else {}
    own = [media_type for source in known.values() for media_type in source.content_types]
    contract["x-amazon-apigateway-binary-media-types"] += _binary_types(_spellings([*common, *own]))
    patterns: dict[str, Any] = contract.pop("paths")
    question, function = contract.pop("x-weir-question"), contract.pop("x-weir-function")
    contract["paths"] = {}
    for name in sources:
        media_types = _spellings([*common, *(known[name].content_types if name in known else ())])
        for pattern, path in patterns.items():
            item = copy.deepcopy(path)
            if name in known:
                _adapt(item, known[name], question, function)
            for operation in item.values():
                _complete(operation, media_types)
            contract["paths"][pattern.replace("{source}", name)] = item
    _check_limits(contract)
    return contract


def stored_types() -> frozenset[str]:
    """Return the media types that are stored for every source, in lower case."""
    import yaml  # noqa: PLC0415 - as above

    contract = yaml.safe_load((_HERE / "openapi.yaml").read_text(encoding="utf-8"))
    return frozenset(media_type.lower() for media_type in contract["x-weir-media-types"])


def render(definition: Mapping[str, Any]) -> bytes:
    """Serialise a definition, the same bytes for the same content."""
    return json.dumps(definition, separators=(",", ":"), sort_keys=False).encode("utf-8")


def _adapt(item: dict[str, Any], source: Source, question: Mapping[str, Any], function: Mapping[str, Any]) -> None:
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
            _ask_in_delivery(item["post"][_INTEGRATION], Questions(asked))
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


def _ask_in_delivery(integration: dict[str, Any], questions: Questions) -> None:
    integration["requestTemplates"] = questions.request("{}", mapping_template())
    for status in ("4\\d{2}", "default"):  # Kinesis refuses with 400; LocalStack's breaks on it with 500
        refusal = integration["responses"][status]["responseTemplates"]
        refusal["application/json"] = questions.answer(refusal["application/json"])


def _ask_in_mock(integration: dict[str, Any], questions: Questions) -> None:
    integration["requestTemplates"] = questions.request('{"statusCode":200}', '{"statusCode":405}')
    integration["responses"]["200"]["responseTemplates"]["application/json"] = questions.answer("")


def _complete(operation: Any, media_types: list[str]) -> None:
    """Put the request template of an operation under each media type."""
    integration = operation.get(_INTEGRATION, {}) if isinstance(operation, dict) else {}
    if "requestTemplates" in integration:
        template = integration["requestTemplates"]
        text = mapping_template() if template == "put_record" else template
        integration["requestTemplates"] = dict.fromkeys(media_types, text)


def _spellings(media_types: Iterable[str]) -> list[str]:
    """Return each type once, and again in lower case: the gateway compares letter by letter."""
    return list(dict.fromkeys(spelled for given in media_types for spelled in (given, given.lower())))


def _binary_types(media_types: list[str]) -> list[str]:
    covered = tuple(pattern.removesuffix("*") for pattern in _CONCRETE_BINARY_TYPES)
    concrete = [name for name in media_types if not name.startswith(covered)]
    return [*_CONCRETE_BINARY_TYPES, *concrete]


def _check_limits(contract: Mapping[str, Any]) -> None:
    size, paths = len(render(contract)), len(contract["paths"])
    if size > MAX_DEFINITION_BYTES or paths + 2 > MAX_RESOURCES:
        raise CatalogueInvalid(
            "One REST API cannot hold this many sources and content types; split the sources file over two stacks.",
            definition_bytes=size,
            definition_bytes_limit=MAX_DEFINITION_BYTES,
            sources=paths // 2,
        )
