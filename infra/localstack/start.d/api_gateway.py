"""Seven fixes to LocalStack 4.14, run inside it at its start, so that it serves the API definition as AWS does.

WEIR_LOCALSTACK_WITHOUT, names separated by commas, leaves some out. What AWS says of each, and what goes wrong without
it, is in docs/conformance.md; tests/conformance/test_patches.py turns each off.
"""

import os

import airspeed
from localstack.services.apigateway.legacy import provider
from localstack.services.apigateway.next_gen.execute_api.handlers import (
    integration_request,
    integration_response,
    parse,
)
from localstack.services.apigateway.next_gen.execute_api.handlers.response_enricher import InvocationResponseEnricher
from localstack.services.apigateway.next_gen.execute_api.template_mapping import VelocityUtilApiGateway
from werkzeug.datastructures import Headers

_INTEGRATION = "x-amazon-apigateway-integration"
_ANY = "x-amazon-apigateway-any-method"


def header_names():
    """Its headers object has no ``keySet``, so a mapping template that walks the headers finds none."""
    airspeed.operators.__additional_methods__[Headers] = {"keySet": lambda headers: list(dict(headers))}


def content_type_parameters():
    """It compares a Content-Type with its parameters (``charset``, ``boundary``) with the types of the templates."""
    select = integration_request.IntegrationRequestHandler.get_request_template

    def without_parameters(integration, request):
        headers = Headers(request["headers"])
        if given := headers.get("Content-Type"):
            headers["Content-Type"] = given.partition(";")[0].strip()
        return select(integration=integration, request={**request, "headers": headers})

    integration_request.IntegrationRequestHandler.get_request_template = staticmethod(without_parameters)


def no_content_type():
    """It takes a body without a Content-Type for text and replaces bytes that are not UTF-8."""
    matches = integration_request.mime_type_matches_binary_media_types
    integration_request.mime_type_matches_binary_media_types = lambda mime_type, binary_media_types: matches(
        mime_type or "application/json", binary_media_types
    )


def content_handling():
    """It forgets ``contentHandling`` of integration responses when it imports an OpenAPI document.

    With CONVERT_TO_TEXT it also keeps the base64 of a binary answer as bytes, for which it then has no template.
    """
    convert = integration_response.IntegrationResponseHandler.convert_body

    def converted(context, body, content_handling):
        found = convert(context, body, content_handling)
        return found.decode() if content_handling == "CONVERT_TO_TEXT" and isinstance(found, bytes) else found

    integration_response.IntegrationResponseHandler.convert_body = staticmethod(converted)
    import_document = provider.import_api_from_openapi_spec

    def import_with_it(rest_api, context, open_api_spec, mode):
        imported, warnings = import_document(rest_api, context=context, open_api_spec=open_api_spec, mode=mode)
        for resource in imported.resources.values():
            item = open_api_spec["paths"].get(resource.get_path(), {})
            for name, method in resource.resource_methods.items():
                operation = item.get(_ANY if name == "ANY" else name.lower(), {})
                for settings in operation.get(_INTEGRATION, {}).get("responses", {}).values():
                    response = method.method_integration.get_integration_response(str(settings["statusCode"]))
                    response.content_handling = settings.get("contentHandling")
        return imported, warnings

    provider.import_api_from_openapi_spec = import_with_it


def decoded_base64():
    """Its ``$util.base64Decode`` gives bytes, in which no template finds text."""
    decode = VelocityUtilApiGateway.base64Decode
    VelocityUtilApiGateway.base64Decode = lambda self, text: decode(self, text).decode("utf-8", "replace")


def form_bodies():
    """It parses form bodies and writes them anew, so their bytes change and no signature of a form can be right."""
    rewritten = parse.restore_payload
    parse.restore_payload = lambda request: request.get_data(cache=True, parse_form_data=False) or rewritten(request)


def delivery_id():
    """Its header ``x-amz-apigw-id`` is random, and not the extended request id, by which a delivery is found."""
    enrich = InvocationResponseEnricher.__call__

    def with_its_id(self, chain, context, response):
        enrich(self, chain, context, response)
        response.headers.set("x-amz-apigw-id", context.context_variables["extendedRequestId"])

    InvocationResponseEnricher.__call__ = with_its_id


_FIXES = (
    header_names,
    content_type_parameters,
    no_content_type,
    content_handling,
    decoded_base64,
    form_bodies,
    delivery_id,
)
_WITHOUT = os.environ.get("WEIR_LOCALSTACK_WITHOUT", "").split(",")
for _fix in _FIXES:
    if _fix.__name__ not in _WITHOUT:
        _fix()
