"""Locations that read inside of a text, or give a name; what they refuse, and that they take linear time."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.deliveries import AT_MS
from weir.ingest.encodings import encode
from weir.ingest.envelope import Envelope
from weir.ingest.ids import RequestId, SourceName
from weir.ingest.locations import FORM, MAX_JWS_CHARS, Unreadable, View, header_names, places, reader, reads_body
from weir.ingest.xml_text import MAX_XML_BYTES, element_text


def view_of(body: bytes | Any, content_type: str = "application/json", **headers: str) -> View:
    """Return the view of a delivery with this body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    block = (("Content-Type", content_type), *headers.items())
    return View(Envelope(RequestId("r"), AT_MS, SourceName("hmac"), "", "192.0.2.1", "/v1/hmac", {}, block, raw))


def form_of(**fields: str) -> View:
    """Return the view of a form."""
    return view_of(urlencode(fields).encode(), FORM)


def jws(payload: Any) -> str:
    """Return what looks like a signed token."""
    return ".".join(encode(json.dumps(part).encode(), "base64url") for part in ({"alg": "x"}, payload, 0))


@pytest.mark.parametrize(
    ("text", "body", "found"),
    [
        ("$.{a,b}", {"id": 1, "b": {}, "c": {}}, "b"),
        ("$.{a,b}", {"b": 1, "a": 2}, "a"),  # the order is that of the location
        ("$.{a, b}", {"a": None, "b": 0}, "b"),
        ("$.{a,b=c}", {"b": []}, "c"),
        ("$.{a}", {"b": 1}, None),
        ("$.{a}", ["a"], None),
        ("$.x[1].{a,b}", {"x": [{"a": 1}, {"b": 2}]}, "b"),
        ("$.x[2].{a,b}", {"x": []}, None),
        ("$$.{a,b}", {"b": 1}, "b"),
        ("$.kind | $.{a}", {"a": 1}, "a"),
        ("$.{deleted-items}", {"deleted-items": 1}, "deleted-items"),
    ],
)
def test_name_of_the_first_member(text: str, body: Any, found: str | None) -> None:
    """A list of names gives the first that is there, or what it is called."""
    assert reader(text)(view_of(body)) == found


def test_names_in_an_element() -> None:
    """In a batch `$` is the element and `$$` the whole, for names too."""
    whole = view_of({"entry": [{"b": 1}], "a": 1})
    element = whole.split({"b": 1})
    assert reader("$.{a,b}")(element) == "b"
    assert reader("$$.{a,b}")(element) == "a"


@pytest.mark.parametrize("text", ["$.{}", "$.{a,}", "$.{a=}", "$.{a b}", "$.{a,b", "$.a.{b}.c", "$.{a}[0]", "$x.{a}",
                                  "json:$.a", "json:#$.a", "jws:$.a#b", "xml:nothing#$.a", "pdf:$.a#$.b"])  # fmt: skip
def test_what_is_no_location(text: str) -> None:
    """A text that is not a location is refused where it is written."""
    with pytest.raises(ValueError, match="write"):
        reader(text)


def test_reading_inside_of_a_text() -> None:
    """A member is read of a JSON text, of a token, and of one in the other, wherever that stands."""
    token = jws({"data": json.dumps({"kind": "paid", "inner": json.dumps({"id": 7})})})
    assert reader("jws:$.t#$.data")(view_of({"t": token})).startswith("{")
    assert reader("json:jws:$.t#$.data#$.kind")(view_of({"t": token})) == "paid"
    assert reader("json:json:jws:body#$.data#$.inner#$.id")(view_of(token.encode(), "text/plain")) == 7
    assert reader("jws:header:X-Token#$.data")(view_of(b"", **{"X-Token": token})).startswith("{")
    assert reader("json:field:payload#$.a[1]")(form_of(payload='{"a":[1,2]}')) == 2
    assert reader("json:$.a#$.b | $.c")(view_of({"a": "no JSON", "c": 1})) == 1
    assert reader("json:$.a#$.b")(view_of({"a": {"b": 1}})) is None
    long = json.dumps({"b": "x" * MAX_JWS_CHARS})
    assert reader("json:$.a#$.b")(view_of({"a": long})) is None


def test_where_the_text_stands() -> None:
    """What a location reads inside of a text is at the text's own place, of which headers must be kept."""
    text = "json:jws:header:X-Token#$.data#$.kind | field:a | $.b"
    assert places(text) == ["header:X-Token", "field:a", "$.b"]
    assert header_names(text) == ["x-token"]
    assert reads_body(text)
    assert not reads_body("header:A | jws:header:B#$.c | query:d")


NOTE = "<notification><timestamp type='datetime'>2026-01-01T00:00:00Z</timestamp><kind>check</kind></notification>"


@pytest.mark.parametrize(
    ("document", "path", "found"),
    [
        (NOTE, ["notification", "kind"], "check"),
        ("<?xml version='1.0' encoding='UTF-8'?>\n" + NOTE, ["notification", "timestamp"], "2026-01-01T00:00:00Z"),
        ("  " + NOTE, ["notification", "kind"], "check"),
        (base64.b64encode(NOTE.encode()).decode(), ["notification", "kind"], "check"),
        (base64.encodebytes(NOTE.encode()).decode(), ["notification", "kind"], "check"),
        (base64.b64encode(b"   " + NOTE.encode()).decode() + "\nabc", ["notification", "kind"], "check"),
        ("<a:x xmlns:a='urn:a'><b:y xmlns:b='urn:b'>z</b:y></a:x>", ["x", "y"], "z"),
        ("<x><y><kind>no</kind></y><kind>yes</kind></x>", ["x", "kind"], "yes"),
        ("<x><kind>a<b>not this</b>c</kind></x>", ["x", "kind"], "ac"),
        ("<x><y/><y><kind>second</kind></y></x>", ["x", "y", "kind"], "second"),
        ("<x><kind><![CDATA[a<b]]>&amp;c</kind></x>", ["x", "kind"], "a<b&c"),
        ("<x><kind/></x>", ["x", "kind"], ""),
        ("<x></x>", ["x", "kind"], None),
        ("<kind>x</kind>", ["x", "kind"], None),
        ("<x><kind>a</kind></x><<<", ["x", "kind"], "a"),  # what follows is not looked at
    ],
)
def test_element_of_xml(document: str, path: list[str], found: str | None) -> None:
    """The first element at a path gives its own text, of XML and of its base64."""
    assert element_text(document, path) == found


BOMB = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;'>]><x><kind>&b;</kind></x>"


@pytest.mark.parametrize(
    "document",
    [BOMB, "<!DOCTYPE x SYSTEM 'file:///etc/passwd'><x><kind>a</kind></x>", "<x><kind>&a;</kind></x>", "<x><kind></x>",
     "<x><kind>a", "%%%%", "no XML", "<", base64.b64encode(BOMB.encode()).decode(), "\ud800", "YQ=YQ", "A"],
)  # fmt: skip
def test_xml_that_is_refused(document: str) -> None:
    """A document type declaration, an entity that XML itself does not have, and what is not XML give no text."""
    try:
        assert element_text(document, ["x", "kind"]) is None
    except ValueError:
        with pytest.raises(Unreadable, match="the XML at field:p cannot be read"):
            reader("xml:field:p#$.x.kind")(view_of(urlencode({"p": document}, errors="surrogatepass").encode(), FORM))
    if "DOCTYPE" in document:
        with pytest.raises(ValueError, match="document type"):
            element_text(document, ["x", "kind"])


@given(st.text(max_size=200))
def test_any_text_as_xml(text: str) -> None:
    """Whatever is taken for XML gives a text, nothing, or a ValueError."""
    for document in (text, f"<x>{text}</x>", base64.b64encode(f"<x>{text}".encode()).decode()):
        try:
            found = element_text(document, ["x"])
        except ValueError:
            continue
        assert found is None or isinstance(found, str)


UNITS = ["<a>", "<a b='c'>", "<a/>", "a", "&amp;", "<!---->", " ", "<a b='", "<?a?>"]


@pytest.mark.parametrize("unit", UNITS)
def test_reading_xml_is_bounded(unit: str) -> None:
    """No more than the bound is read, in time that a document of any size and shape does not pass."""
    times = []
    for size in (MAX_XML_BYTES, 100 * MAX_XML_BYTES):
        document = "<x>" + unit * (size // len(unit))
        started = time.process_time()
        with contextlib.suppress(ValueError):
            assert element_text(document, ["x", "kind"]) is None
        times.append(time.process_time() - started)
    assert times[1] < 0.5
