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

from ingest.errors import CatalogueInvalid

_HERE = Path(__file__).parent

# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
MAX_DEFINITION_BYTES = 6 * 1024 * 1024
MAX_RESOURCES = 300

# LocalStack 4.14 ignores `*/*`, and `application/*` would match Kinesis' own answer there.
_CONCRETE_BINARY_TYPES = ("text/*", "multipart/*", "image/*", "binary/*", "message/*")


def mapping_template() -> str:
    """Return the request mapping template, the same text for every source and stage."""
    return (_HERE / "put_record.vtl").read_text(encoding="utf-8")


def api_definition(sources: Iterable[str], substitutions: Mapping[str, str]) -> dict[str, Any]:
    """Build the OpenAPI document to import.

    ``substitutions`` fill ``${partition}``, ``${region}`` and ``${credentials}`` (the ARN of the role that may call
    PutRecord) in the integrations; the mapping template is never touched.

    Raises: CatalogueInvalid when there are more sources than one REST API can hold.
    """
    import yaml  # noqa: PLC0415 - the function imports this room and must start without YAML

    text = (_HERE / "openapi.yaml").read_text(encoding="utf-8")
    contract: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(text)))  # no object shared by YAML's anchors
    media_types: list[str] = contract.pop("x-weir-media-types")
    contract["x-amazon-apigateway-binary-media-types"] += _binary_types(media_types)
    patterns: dict[str, Any] = contract.pop("paths")
    for path in patterns.values():
        for method in ("post", "x-amazon-apigateway-any-method"):
            _complete(path[method]["x-amazon-apigateway-integration"], media_types, substitutions)
    contract["paths"] = {
        pattern.replace("{source}", source): copy.deepcopy(path)
        for source in sources
        for pattern, path in patterns.items()
    }
    _check_limits(contract)
    return contract


def render(definition: Mapping[str, Any]) -> bytes:
    """Serialise a definition, the same bytes for the same content."""
    return json.dumps(definition, separators=(",", ":"), sort_keys=False).encode("utf-8")


def _complete(integration: dict[str, Any], media_types: list[str], substitutions: Mapping[str, str]) -> None:
    template = integration["requestTemplates"]
    text = mapping_template() if template == "put_record" else template
    integration["requestTemplates"] = dict.fromkeys(media_types, text)
    for field in ("uri", "credentials"):
        if field in integration:
            for name, value in substitutions.items():
                integration[field] = integration[field].replace(f"${{{name}}}", value)


def _binary_types(media_types: list[str]) -> list[str]:
    covered = tuple(pattern.removesuffix("*") for pattern in _CONCRETE_BINARY_TYPES)
    concrete = [name for name in media_types if not name.startswith(covered)]
    return [*_CONCRETE_BINARY_TYPES, *concrete]


def _check_limits(contract: Mapping[str, Any]) -> None:
    size, paths = len(render(contract)), len(contract["paths"])
    if size > MAX_DEFINITION_BYTES or paths + 2 > MAX_RESOURCES:
        raise CatalogueInvalid(
            "One REST API cannot hold this many sources; split the sources file over two stacks.",
            definition_bytes=size,
            definition_bytes_limit=MAX_DEFINITION_BYTES,
            sources=paths // 2,
        )
