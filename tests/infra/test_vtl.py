from __future__ import annotations

import timeit
from collections.abc import Iterator

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.support.templates import (
    CONTEXT,
    FAILED,
    TEXTS,
    Given,
    Rendered,
    render,
    render_on_velocity,
    started_velocity,
)
from tests.support.velocity import Velocity
from weir.infra.local import vtl
from weir.infra.local.vtl.regex import RegexError, java_pattern
from weir.ingest.contract.routes import mapping_template
from weir.ingest.errors import TemplateUnsupported

REQUEST = Given(
    body='{"amount": 10.00, "name": "it\'s"}',
    path={"key": "a key"},
    querystring={"a": "b", "ü": "😀x"},
    header={"Host": "example.org", "X-Q": 'it\'s "q" $foo #if \\ /é'},
)


@pytest.fixture(scope="module")
def velocity() -> Iterator[Velocity]:
    yield from started_velocity()


def same(velocity: Velocity, template: str, request: Given = REQUEST) -> Rendered:
    """Render on both engines, which must agree, and return the result."""
    ours = render(template, request)
    assert ours == render_on_velocity(velocity, template, request), template
    return ours


# --- the language, against the real one

FRAGMENTS = [
    *("$a", "$b", "${a}", "$!a", "$!{b}", "$none", "$a.b", "${a.b}", "$a.length()", "${a.length()}", "$x", "$c", "$d"),
    *("$$a", "\\$a", "\\$none", "\\\\$a", "\\#if", "$5", "$.x", "$[", "$", "\\", "\\\\", "#", "##", "#5", "#abc", "!"),
    *("#* c *#", "#[[ x $a ]]#", "##x\n", "\n", "  ", " ", "\r\n", "\t", ".b", ".", "..", "(", ")", "{", "}", "[", "]"),
    *("word", "true", "x.y", "5", "-", "_", '"', "'", ":", ",", "é", "$!", "${", "-$b"),
    *("#set($a = 1)", "  #set($b = 'x')\n", '#set($a = "q$b")', "#set( $c = ($a == $b) )", "#set($h = $none)"),
    *("#if($a)", '#if( $a == "1" )\n', "#if(!$a && $b != 'x')", "#if($a > 3 || $none)", "#elseif($b == 1)", "#else"),
    *("#end", "#else\n", "#end\n", "#{else}", "#{end}", "#foreach($x in $h.keySet())", "#foreach( $x in $h )\n"),
    *("$foreach.count", "#if($foreach.hasNext),#end", "$foreach.index", '$h.get("Host")', "$h", "$h['Host']"),
    *('#set($d = "#if($a)y#end")', '#set($d = "#foreach($x in $h.keySet())$x #end")', '"a""b"', "'it''s'"),
    *("$input.body", '$util.base64Encode("$a")', "$input.params('key')", "$context.path", "$stageVariables.stream"),
]
BEGINNINGS = [
    "",
    "#set($a = 'A')",
    "#set($a = 'A')#set($b = \"it's\")",
    "#set($h = $input.params().header)#set($a = 4)",
]


@pytest.mark.velocity
@settings(max_examples=1500, deadline=None)
@given(
    beginning=st.sampled_from(BEGINNINGS),
    fragments=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=7),
    ends=st.integers(0, 3),
    quoted=st.booleans(),
)
@example("", ["$a.b", "$c", "("], 0, False)
@example("", ["##", "#"], 0, False)
def test_whatever_is_read_prints_the_same_on_velocity(
    velocity: Velocity, beginning: str, fragments: list[str], ends: int, quoted: bool
) -> None:
    """Any mix of the language's pieces is refused when it is loaded or prints the same bytes as on Velocity."""
    content = "".join(fragments) + "#end" * ends
    template = f'{beginning}#set($z = "{content}")<$z>' if quoted and '"' not in content else beginning + content
    try:
        vtl.load(template, "template")
    except TemplateUnsupported:
        return
    same(velocity, template)


OPERANDS = [
    "$text",
    "$one",
    "$yes",
    "$none",
    "$map",
    "$list",
    "'a'",
    '"a$none"',
    "1",
    "-1",
    "'1'",
    "true",
    "false",
    "''",
]
OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "&&", "||", "eq", "ne", "lt", "le", "gt", "ge", "and", "or"]
VALUES = (
    "#set($text = 'a')#set($one = 1)#set($yes = true)#set($map = $input.params().header)#set($list = $text.split(','))"
)


@st.composite
def conditions(draw: st.DrawFn, depth: int = 0) -> str:
    if depth > 2 or draw(st.booleans()):
        return draw(st.sampled_from(OPERANDS))
    if draw(st.integers(0, 3)) == 0:
        return f"!({draw(conditions(depth + 1))})"
    left, right = draw(conditions(depth + 1)), draw(conditions(depth + 1))
    operator = draw(st.sampled_from(OPERATORS))
    whole = f"{left} {operator} {right}"
    return f"({whole})" if draw(st.booleans()) else whole


@pytest.mark.velocity
@settings(max_examples=600, deadline=None)
@given(condition=conditions())
def test_conditions_have_velocitys_truth(velocity: Velocity, condition: str) -> None:
    """Every operator over every type of operand, in any nesting, decides as Velocity does."""
    same(velocity, f"{VALUES}#if({condition})yes#{{else}}no#end #set($c = ({condition}))$c")


METHODS = {
    "length": 0,
    "isEmpty": 0,
    "toLowerCase": 0,
    "toUpperCase": 0,
    "trim": 0,
    "size": 0,
    "keySet": 0,
    "toString": 0,
    "contains": 1,
    "equals": 1,
    "startsWith": 1,
    "endsWith": 1,
    "indexOf": 1,
    "lastIndexOf": 1,
    "concat": 1,
    "substring": 1,
    "get": 1,
    "containsKey": 1,
    "matches": 1,
    "split": 1,
    "replace": 2,
    "replaceAll": 2,
}
RECEIVERS = ["$t", "$map", "$map.keySet()", "$one", "$yes", "$none", "$t.split('b')", "$map.get('Host')"]
ARGUMENTS = ["$u", "'b'", "''", "'Host'", "0", "1", "-1", "$t.length()", '"$t$u"', "true", "$map"]


@pytest.mark.velocity
@settings(max_examples=1200, deadline=None)
@example(receiver="$map", calls=[("replace", ["'Host'", "$u"])], text="", other="b")
@given(
    receiver=st.sampled_from(RECEIVERS),
    calls=st.lists(
        st.sampled_from(sorted(METHODS)).flatmap(
            lambda name: st.tuples(
                st.just(name), st.lists(st.sampled_from(ARGUMENTS), min_size=METHODS[name], max_size=METHODS[name])
            )
        ),
        min_size=1,
        max_size=3,
    ),
    text=st.text("abAB .ß😀\x00\t/$\\'\"", max_size=8),
    other=st.text("ab.😀", max_size=2),
)
@example("$t", [("split", ["$u"])], "a😀", "")
@example("$t", [("replace", ["$u", "'b'"])], "a😀", "")
@example("$t", [("replaceAll", ["$u", "$u"])], "a😀", "")
def test_methods_are_javas(
    velocity: Velocity, receiver: str, calls: list[tuple[str, list[str]]], text: str, other: str
) -> None:
    """Chains of methods over every type return what Java returns, null where Java has no such method, or fail too."""
    chain = "".join(f".{name}({', '.join(arguments)})" for name, arguments in calls)
    assume("split" not in receiver + chain or "toString" not in chain)  # the address of an array, refused here
    template = "#set($one = 1)#set($yes = true)#set($map = $input.params().header)#set($t = $map.T)#set($u = $map.U)"
    template += f"#set($r = {receiver}{chain})"
    # An array prints its address in Java; it is measured instead.
    template += "#if($r.size() >= 0)$r.size()#{else}$r#end"
    same(velocity, template, Given(header={"T": text, "U": other, "Host": "h"}))


PATTERNS = st.lists(
    st.sampled_from(
        [
            *"ab. ",
            "[ab]",
            "[^a]",
            "[a-z]+",
            "\\d",
            "\\s*",
            "\\w",
            "(a)",
            "(?:b|a)",
            "(a|b)?",
            "a*",
            "b+?",
            "a{1,2}",
            "^",
            "$",
            "|",
            "\\.",
            "\\\\",
            *["[\\]\\[]", "[.*+$]", "\\u0061", "(?=a)", "(?<!b)", "\\1", "\\S", "[\\w.-]", "\\$", "'"],
        ]
    ),
    max_size=5,
).map("".join)
REPLACEMENTS = st.lists(st.sampled_from([*"xy ", "$0", "$1", "$2", "$12", "\\$", "\\\\", "$", "\\"]), max_size=3).map(
    "".join
)


@pytest.mark.velocity
@settings(max_examples=1500, deadline=None)
@given(
    pattern=PATTERNS,
    replacement=REPLACEMENTS,
    text=st.text("ab.x1 -\\'[]\n\r\u0085\u2028é", max_size=10),
)
@example("$", "x", "a\r\n")
@example("a*", "-", "baac")
@example("\\'", "'", "it\\'s")
@example(".", "x$0", "a😀b")
def test_regular_expressions_are_javas(velocity: Velocity, pattern: str, replacement: str, text: str) -> None:
    """replaceAll, matches and split agree with Java wherever the pattern is not refused, exceptions included."""
    try:
        java_pattern(pattern)
    except RegexError:
        return
    request = Given(header={"T": text, "P": pattern, "R": replacement})
    names = "#set($map = $input.params().header)"
    same(velocity, f"{names}$map.T.replaceAll($map.P, $map.R)", request)
    same(velocity, f"{names}$map.T.matches($map.P)", request)
    same(velocity, f"{names}#foreach($part in $map.T.split($map.P))<$part>#end", request)


@pytest.mark.velocity
@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
@example('it\'s "a" \\ / \x00\x1f\x7f\x80é\u2028😀~*-._ +%')
def test_util_is_javas(velocity: Velocity, text: str) -> None:
    """The members of $util give the bytes that commons-lang and the JDK give."""
    template = "#set($t = $input.params('t'))$util.escapeJavaScript($t)|$util.urlEncode($t)|$util.base64Encode($t)"
    template += "|$util.base64Decode($util.base64Encode($t))|$util.urlDecode($util.urlEncode($t))"
    same(velocity, template, Given(querystring={"t": text}))


# --- what stock Velocity cannot show


def printed(template: str, request: Given = REQUEST) -> str | None:
    return render(template, request).text


def test_null_prints_nothing() -> None:
    """An unset reference, a missing member and a missing parameter print nothing."""
    assert (
        printed("[$none|$!none|${none.member}|$input.body.member|$input.params('none')|$stageVariables.none]")
        == "[|||||]"
    )


def test_an_empty_body_is_an_empty_object() -> None:
    """$input.body of an empty body is {}, as API Gateway renders it."""
    assert printed("$input.body $util.base64Encode($input.body)", Given()) == "{} e30="


def test_json_paths() -> None:
    """$input.path prints maps as Java and lists as JSON, $input.json JSON; what is missing equals null and ''."""
    request = Given(body='{"a": {"b": [1, {"c": null}], "d": "x"}, "e": [{"f": 1.5}, {"f": true}], "g-h": null}')
    assert printed("$input.path('$.a')", request) == '{b=[1,{"c":null}], d=x}'
    assert printed("$input.path('$.a.b')", request) == '[1,{"c":null}]'
    assert (
        printed("$input.path('$.e[*].f') $input.path('$.e[1].f') $input.path(\"$['a']['d']\")", request)
        == "[1.5,true] true x"
    )
    assert (
        printed("$input.json('$.a') $input.json('$.a.d') $input.json('$.none')", request)
        == '{"b":[1,{"c":null}],"d":"x"} "x" ""'
    )
    missing = "$input.path('$.g-h')"
    assert printed(f"#set($m = {missing})[$m]#if($m == $null)1#end#if($m == '')2#end#if(!$m)3#end", request) == "[]123"
    assert printed("#foreach($e in $input.path('$.e'))$e.f#if($foreach.hasNext),#end#end", request) == "1.5,true"
    assert render("$input.path('$.a')", Given(body="no JSON")) == FAILED


def test_a_loop_ends_after_1000_elements() -> None:
    """#foreach stops at API Gateway's limit of iterations."""
    request = Given(querystring={str(number): "" for number in range(1003)})
    text = printed("#foreach($q in $input.params().querystring.keySet())$q #end", request)
    assert text is not None
    assert text.split()[-1] == "999"


def test_overrides() -> None:
    """Status and headers can be overridden once each; a status that is none is ignored."""
    result = render(
        '#set($context.responseOverride.status = 413)#set($context.responseOverride.header.Retry-After = "5")x', REQUEST
    )
    assert result == Rendered("x", 413, {"Retry-After": "5"})
    assert render("#set($context.responseOverride.status = '413')x", REQUEST) == Rendered("x")
    assert render("#set($context.responseOverride.status = 99)x", REQUEST) == Rendered("x")
    twice = "#set($context.responseOverride.status = 400)"
    assert render(twice + twice, REQUEST) == FAILED


def test_known_loop_variables_do_not_leak() -> None:
    """What a loop's variable was before the loop, it is again after it."""
    assert printed("#set($x = 'before')#foreach($x in $input.params().path.keySet())$x#end $x") == "key before"


UNSUPPORTED = [
    ("#macro(x)a#end", 1, 1),
    ("#evaluate('x')", 1, 1),
    ("#define($x)a#end", 1, 1),
    ("a\n  #parse('x')", 2, 3),
    ("x\n#if($a)", 2, 8),
    ("#end", 1, 1),
    ("#set($a = $b + 1)", 1, 14),
    ("#set($a = [1, 2])", 1, 11),
    ("#set($a = {})", 1, 11),
    ("#foreach($i in [1..3])$i#end", 1, 16),
    ("#set($a = 1.5)", 1, 11),
    ("#set($a.b = 1)", 1, 6),
    ("#set($context.requestOverride.header.X = 'a')", 1, 6),
    ("#set($input = 1)", 1, 6),
    ("${a", 1, 1),
    ("$util.toJson($a)", 1, 1),
    ("$util.base64Encode()", 1, 1),
    ("$input.headers", 1, 1),
    ("$input.params().body", 1, 1),
    ("x$context.requestid", 1, 2),
    ("$context.authorizer.claims", 1, 1),
    ("$context.identity.apiKey", 1, 1),
    ("$foreach.count", 1, 1),
    ("#foreach($x in $a)$foreach.parent#end", 1, 19),
    ("$velocityCount", 1, 1),
    ("$a.getBytes('x')", 1, 1),
    ("$a.class", 1, 1),
    ("$a.replaceAll('[a&&b]', '')", 1, 1),
    ("$a.replaceAll('a', '$1')", 1, 1),
    ("$a.matches('\\p{Alpha}')", 1, 1),
    ("$input.path('$..a')", 1, 1),
    ('#set($x = "a\n #broken()")', 2, 2),
    ("$a.b$c(", 1, 7),
    ("$a{b.c}", 1, 3),
]


@pytest.mark.parametrize(("template", "line", "column"), UNSUPPORTED, ids=[row[0] for row in UNSUPPORTED])
def test_the_rest_of_velocity_is_refused_when_loaded(template: str, line: int, column: int) -> None:
    """What is outside the subset, or unknown to API Gateway, is an error that names line and column."""
    with pytest.raises(TemplateUnsupported) as refused:
        vtl.load(template, "t.vtl")
    assert refused.value.facts == {"template": "t.vtl", "line": line, "column": column}


def test_a_template_has_a_size_limit() -> None:
    """A template larger than API Gateway takes is refused."""
    with pytest.raises(TemplateUnsupported, match="307200"):
        vtl.load("x" * (300 * 1024 + 1), "large")


def test_a_constant_template_says_so() -> None:
    """A template without references is known to be constant, and whether the body is looked at is known too."""
    assert vtl.load('{"statusCode":405}', "t").constant == '{"statusCode":405}'
    assert vtl.load("$input.body", "t").uses_body
    assert not vtl.load("$context.path", "t").uses_body


def test_rendering_the_mapping_template_is_fast() -> None:
    """The mapping template with 20 headers renders in less than a tenth of a millisecond."""
    template = vtl.load(mapping_template("github"), "put_record.vtl")
    headers = {f"X-Header-{number}": "a value of some thirty letters" for number in range(20)}

    def once() -> None:
        request = vtl.Input("QUJD" * 340, path={"key": "k"}, header=headers)
        template.render(request, CONTEXT, {"stream": "s"}, vtl.Overrides())

    assert min(timeit.repeat(once, number=200, repeat=10)) / 200 < 100e-6


def test_the_fragments_are_not_all_refused() -> None:
    """Most beginnings and fragments load by themselves, so that the comparison with Velocity compares something."""
    loaded = 0
    for fragment in FRAGMENTS:
        try:
            vtl.load(fragment, "t")
        except TemplateUnsupported:
            continue
        loaded += 1
    assert loaded > len(FRAGMENTS) / 2
