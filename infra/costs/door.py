"""Lines of the bill for what takes a delivery: API Gateway, AWS WAF, and the answers."""

from __future__ import annotations

from collections.abc import Iterator

from weir.infra.cost import GB
from weir.infra.costs.item import Item, Reckoning

# Count, Latency, IntegrationLatency, 4XXError, 5XXError; a cache, which would have two more, there is not.
# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
METRICS_A_METHOD = 5
# Status line and headers of an answer: date, length, type, connection, API Gateway's ids, the trace's.
ANSWER_HEAD_BYTES = 370


def items(reckoning: Reckoning) -> Iterator[Item]:
    """Yield the lines."""
    stack, month = reckoning.stack, reckoning.load.month
    yield reckoning.item("requests", "API Gateway", "requests", api_requests=month)
    if _has_detailed_metrics(reckoning):
        what = f"detailed metrics of {stack.methods} methods"
        yield reckoning.item("detailed_metrics", "API Gateway", what, metrics=stack.methods * METRICS_A_METHOD)
    acls = stack.of_type("AWS::WAFv2::WebACL").values()
    if acls:
        rules = sum(len(acl.properties["Rules"]) for acl in acls)
        what = f"web ACL and {rules} rule{'s' * (rules != 1)}"
        yield reckoning.item("waf", "AWS WAF", what, waf_acls=len(acls), waf_rules=rules)
    if has_firewall(reckoning):
        yield reckoning.item("waf_requests", "AWS WAF", "requests", waf_requests=month)
    answer = ANSWER_HEAD_BYTES + stack.answer_bytes
    what = f"out: answers of {answer:,.0f} bytes"
    yield reckoning.item("answers", "Data transfer", what, data_out_gb=month * answer / GB)


def has_firewall(reckoning: Reckoning) -> bool:
    """Tell whether a web ACL, the stack's or another, judges each request."""
    return bool(reckoning.stack.of_type("AWS::WAFv2::WebACLAssociation"))


def _has_detailed_metrics(reckoning: Reckoning) -> bool:
    return any(setting["MetricsEnabled"] for setting in reckoning.stack.properties("Stage")["MethodSettings"])
