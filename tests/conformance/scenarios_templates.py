"""API Gateway: what a mapping template finds in ``$input``, ``$context``, ``$stageVariables`` and ``$util``."""

from __future__ import annotations

from tests.conformance.bench import Bench
from tests.conformance.definitions import TEXT, seen
from tests.conformance.scenarios import AG, API_GATEWAY, UNDOCUMENTED, Observation, scenario

REFERENCE = AG + "api-gateway-mapping-template-reference.html"


@scenario(
    API_GATEWAY,
    documents="`$input.body` of an empty request renders as `{}` (seen by LocalStack's tests against AWS, 2025-03-19).",
    page=REFERENCE,
    expected={"body": "{}"},
)
async def empty_body(bench: Bench) -> Observation:
    return {"body": await seen(bench, "$input.body", body=b"")}


@scenario(
    API_GATEWAY,
    documents="`$input.params().header` is a map: a template may loop over its keySet().",
    page=REFERENCE,
    expected={"headers": {"x-one": "1", "x-two": "2"}},
)
async def header_loop(bench: Bench) -> Observation:
    loop = (
        "#set($headers = $input.params().header)"
        '#set($all = "#foreach($name in $headers.keySet())$name=$headers.get($name);#end")'
    )
    found = await seen(bench, "$all", before=loop, headers=[*TEXT, ("X-One", "1"), ("X-Two", "2")])
    pairs = dict(pair.split("=", 1) for pair in found.split(";") if "=" in pair)
    lower = {name.lower(): value for name, value in pairs.items()}
    return {"headers": {name: lower.get(name) for name in ("x-one", "x-two")}}


@scenario(
    API_GATEWAY,
    documents="`$input.params(x)` looks at the path, the query and then the headers, so a query parameter shadows the "
    "header of its name.",
    page=REFERENCE,
    expected={"params(x)": "of the query", "params().header": "of the header"},
)
async def header_shadowed_by_query(bench: Bench) -> Observation:
    expression = "\"$input.params('X-Sign')|$input.params().header.get('X-Sign')\""
    headers = [*TEXT, ("X-Sign", "of the header")]
    shadowed, _, direct = (
        await seen(bench, expression, path="/probe?X-Sign=of%20the%20query", headers=headers)
    ).partition("|")
    return {"params(x)": shadowed, "params().header": direct}


@scenario(
    API_GATEWAY,
    documents="`$util.base64Decode` gives a string.",
    page=REFERENCE,
    expected={"contains": "true", "text": '{"a":1}'},
)
async def text_in_base64(bench: Bench) -> Observation:
    decoded = '#set($text = $util.base64Decode("eyJhIjoxfQ=="))'
    contains, _, text = (await seen(bench, "\"$text.contains('a')|$text\"", before=decoded)).partition("|")
    return {"contains": contains.lower(), "text": text}


@scenario(
    API_GATEWAY,
    documents="`$stageVariables` has the variables of the stage.",
    page=REFERENCE,
    expected={"value": "blue"},
)
async def stage_variables(bench: Bench) -> Observation:
    return {"value": await seen(bench, "$stageVariables.colour", colour="blue")}


@scenario(
    API_GATEWAY,
    documents="`$input.json` gives a part as JSON, `$input.path` its value, and what is not there prints as nothing.",
    page=REFERENCE,
    expected={"json": '{"b":1}', "path": "1", "missing": ""},
)
async def parts_of_a_json_body(bench: Bench) -> Observation:
    expression = "\"$input.json('$.a')|$input.path('$.a.b')|$input.path('$.nothing')\""
    json_, path, missing = (await seen(bench, expression, body=b'{"a":{"b":1}}')).split("|")
    return {"json": json_.replace(" ", ""), "path": path, "missing": missing}


@scenario(
    API_GATEWAY,
    documents="`$util.escapeJavaScript` escapes single quotes too, which a template must undo for JSON.",
    page=REFERENCE,
    expected={"escaped": r"it\'s \"x\""},
    known={"localstack": "LocalStack escapes as JSON does, so a template that forgets to undo `\\'` works there."},
)
async def escape_java_script(bench: Bench) -> Observation:
    expression = "$util.escapeJavaScript($input.params('q'))"
    return {"escaped": await seen(bench, expression, path="/probe?q=it%27s%20%22x%22")}


@scenario(
    API_GATEWAY,
    documents="Strings have Java's methods: the template language is Apache Velocity.",
    page=AG + "models-mappings.html",
    expected={"length": "5", "upper": "HELLO", "contains": "true", "part": "ell"},
    known={"localstack": "LocalStack's templates run in Python, which has few of Java's methods on strings."},
)
async def methods_of_strings(bench: Bench) -> Observation:
    given = "$input.body"
    expression = f"\"{given}.length()|{given}.toUpperCase()|{given}.contains('ell')|{given}.substring(1,4)\""
    found = (await seen(bench, expression, body=b"hello")).split("|")
    return dict(zip(("length", "upper", "contains", "part"), found, strict=False))


@scenario(
    API_GATEWAY,
    documents="Names of headers are case-sensitive.",
    page=AG + "api-gateway-known-issues.html",
    expected={"as_sent": "1", "in_lower_case": ""},
    known={"localstack": "LocalStack finds a header whatever the case of its name."},
)
async def case_of_header_names(bench: Bench) -> Observation:
    expression = "\"$input.params().header.get('X-Sign')|$!input.params().header.get('x-sign')\""
    as_sent, _, lower = (await seen(bench, expression, headers=[*TEXT, ("X-Sign", "1")])).partition("|")
    return {"as_sent": as_sent, "in_lower_case": lower}


@scenario(
    API_GATEWAY,
    documents="`$util` has six functions; toJson, which AppSync has, is none of them.",
    page=REFERENCE,
    expected={"works": False},
    known={
        "embedded": "By decision: a template that would not work on AWS is refused when it is loaded.",
        "localstack": "LocalStack shares `$util` between its services, so a template may work there and break on AWS.",
    },
)
async def functions_of_other_services(bench: Bench) -> Observation:
    found = await seen(bench, "$util.toJson($input.params().querystring)", path="/probe?a=1")
    return {"works": found.replace(" ", "") == '{"a":"1"}'}


@scenario(
    API_GATEWAY,
    documents="`$input.params()` has one value for each query parameter; of a repeated one AWS does not say which.",
    page=REFERENCE,
    expected={"value": UNDOCUMENTED},
)
async def repeated_query_parameter(bench: Bench) -> Observation:
    return {"value": await seen(bench, "$input.params().querystring.get('q')", path="/probe?q=first&q=last")}
