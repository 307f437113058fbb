"""The fixes of infra/localstack/start.d: what AWS does instead, and the scenarios that differ without each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.conformance.scenarios import AG


@dataclass(frozen=True)
class Patch:
    """One fix: what LocalStack does, what AWS does with its page, and which scenarios it alone makes right."""

    localstack: str
    aws: str
    page: str
    scenarios: tuple[str, ...]


PATCHES: Mapping[str, Patch] = {
    "header_names": Patch(
        "its headers object has no `keySet`",
        "`$input.params().header` is a map, and AWS's own template walks its `keySet()`.",
        AG + "api-gateway-mapping-template-reference.html",
        ("header loop",),
    ),
    "content_type_parameters": Patch(
        "`charset` and `boundary` count when a template is chosen",
        "Only the media type of the Content-Type is compared.",
        AG + "request-response-data-mappings.html#selecting-mapping-templates",
        ("content type with parameters",),
    ),
    "no_content_type": Patch(
        "a body without a Content-Type is text",
        "It is application/json, and binary where that is.",
        AG + "api-gateway-payload-encodings-workflow.html",
        ("bytes without content type",),
    ),
    "content_handling": Patch(
        "an import forgets `contentHandling` of integration responses",
        "The OpenAPI extension has it for each response, and it decides whether a template sees text.",
        AG + "api-gateway-swagger-extensions-integration-response.html",
        ("answer converted to text",),
    ),
    "decoded_base64": Patch(
        "`$util.base64Decode` gives bytes",
        "It decodes to a string.",
        AG + "api-gateway-mapping-template-reference.html",
        ("text in base64",),
    ),
    "form_bodies": Patch(
        "a form's body is parsed and written anew",
        "A binary body reaches the template byte for byte.",
        AG + "api-gateway-payload-encodings-workflow.html",
        ("form body unchanged",),
    ),
    "delivery_id": Patch(
        "the header `x-amz-apigw-id` is random",
        "It is `$context.extendedRequestId`.",
        AG + "api-gateway-variables-for-access-logging.html",
        ("id of a delivery",),
    ),
}
