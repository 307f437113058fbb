"""Six fixes to LocalStack 4.14, run inside it at its start, so that it serves the API definition as AWS does.

1. Its headers object has no ``keySet``, so a mapping template that walks the headers finds none.
2. It compares a request's Content-Type with the media types of the mapping templates letter by letter; API Gateway
   leaves parameters (``charset``, ``boundary``) out of the comparison.
3. It takes a body without a Content-Type for text and replaces bytes that are not UTF-8; API Gateway takes it for
   ``application/json``, which is binary here.
4. It forgets ``contentHandling`` of integration responses when it imports an OpenAPI document, takes Kinesis' answer
   for binary and then fails; here that answer is the text that it is.
5. It parses form bodies and writes them anew, so their bytes change and no signature of a form can be right.
6. Its header ``x-amz-apigw-id`` is random; API Gateway's is the extended request id, by which a delivery is found.
"""

import airspeed
from localstack.services.apigateway.next_gen.execute_api.handlers import (
    integration_request,
    integration_response,
    parse,
)
from localstack.services.apigateway.next_gen.execute_api.handlers.response_enricher import InvocationResponseEnricher
from werkzeug.datastructures import Headers

airspeed.operators.__additional_methods__[Headers] = {"keySet": lambda headers: list(dict(headers))}

_select = integration_request.IntegrationRequestHandler.get_request_template


def _without_parameters(integration, request):
    headers = Headers(request["headers"])
    if given := headers.get("Content-Type"):
        headers["Content-Type"] = given.partition(";")[0].strip()
    return _select(integration=integration, request={**request, "headers": headers})


integration_request.IntegrationRequestHandler.get_request_template = staticmethod(_without_parameters)

_matches = integration_request.mime_type_matches_binary_media_types
integration_request.mime_type_matches_binary_media_types = lambda mime_type, binary_media_types: _matches(
    mime_type or "application/json", binary_media_types
)

integration_response.mime_type_matches_binary_media_types = lambda mime_type, binary_media_types: False  # noqa: ARG005

_rewritten = parse.restore_payload
parse.restore_payload = lambda request: request.get_data(cache=True, parse_form_data=False) or _rewritten(request)

_enrich = InvocationResponseEnricher.__call__


def _with_its_id(self, chain, context, response):
    _enrich(self, chain, context, response)
    response.headers.set("x-amz-apigw-id", context.context_variables["extendedRequestId"])


InvocationResponseEnricher.__call__ = _with_its_id
