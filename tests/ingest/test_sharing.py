"""Many sources behind one REST API: whose paths are whose, and what the shared ones store and refuse."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.gateways import SUBSTITUTIONS
from tests.support.templates import Given, render, render_on_velocity, started_velocity
from tests.support.velocity import Velocity
from weir.infra.local.gateway import definition
from weir.ingest.contract.routes import (
    MAX_DEFINITION_BYTES,
    MAX_RESOURCES,
    api_definition,
    shared_sources,
)
from weir.ingest.contract.routes import render as rendered
from weir.ingest.errors import CatalogueInvalid
from weir.ingest.sources.catalogue import Ack, Source, Throttle
from weir.ingest.sources.sources_file import SourceEntry, resolve

INTEGRATION = "x-amazon-apigateway-integration"
PLAIN = resolve("shop", SourceEntry(preset="hmac"))
THROTTLED = PLAIN.model_copy(update={"throttle": Throttle(rate_per_s=5, burst=5)})
ANSWERED = PLAIN.model_copy(update={"ack": Ack(status=202, body="ok", content_type="text/plain")})


@pytest.fixture(scope="module")
def velocity() -> Iterator[Velocity]:
    """Apache Velocity."""
    yield from started_velocity()


def catalogue(count: int, **needing: Source) -> dict[str, Source]:
    return {f"shop-{number:04}": PLAIN for number in range(count)} | needing


SHARED = api_definition(catalogue(300), SUBSTITUTIONS)["paths"]
POST: dict[str, Any] = SHARED["/v1/{source}"]["post"][INTEGRATION]
TEMPLATE: str = POST["requestTemplates"]["application/json"]
KNOWN = "shop-0299"


@pytest.mark.parametrize("count", [1, 27, 28, 29, 300, 1_000])
def test_a_definition_holds_what_api_gateway_takes(count: int) -> None:
    """However many sources there are, the definition has room in one REST API and in the embedded gateway."""
    sources = catalogue(count)
    document = api_definition(sources, SUBSTITUTIONS)
    assert len(rendered(document)) <= MAX_DEFINITION_BYTES
    assert len(document["paths"]) + 2 <= MAX_RESOURCES
    shared = shared_sources(sources)
    own = [name for name in sources if name not in shared]
    expected = [f"/v1/{name}" for name in own] + (["/v1/{source}"] if shared else [])
    assert [path for path in document["paths"] if path.count("/") == 2] == expected
    assert own == list(sources)[: len(own)]  # the first of the file
    definition.load(document)


def test_names_may_be_as_long_as_they_may_be() -> None:
    """300 sources whose names have 64 characters fit."""
    assert len(rendered(api_definition([f"{number:03}".rjust(64, "x") for number in range(300)], {}))) > 0


def test_who_needs_paths_of_its_own_has_them() -> None:
    """A throttle or an answer of its own gives a source its own paths, wherever in the file it is."""
    needing = {"paced": THROTTLED, "answered": ANSWERED}
    sources = catalogue(300, **needing)
    assert not {*needing} & {*shared_sources(sources)}
    paths = api_definition(sources, SUBSTITUTIONS)["paths"]
    assert paths["/v1/answered"]["post"][INTEGRATION]["responses"]["200"]["statusCode"] == "202"
    assert {"/v1/paced", "/v1/paced/{key}"} <= paths.keys()


def test_the_shared_paths_store_the_content_types_of_all() -> None:
    """A content type of one source that shares is stored there, and does not give it paths of its own."""
    odd = PLAIN.model_copy(update={"content_types": ("application/vnd.odd+json",)})
    sources = catalogue(300, odd=odd)
    assert "odd" in shared_sources(sources)
    document = api_definition(sources, SUBSTITUTIONS)
    assert "application/vnd.odd+json" in document["paths"]["/v1/{source}"]["post"][INTEGRATION]["requestTemplates"]
    assert "application/vnd.odd+json" in document["x-amazon-apigateway-binary-media-types"]


def test_too_many_with_needs_are_refused() -> None:
    """What no REST API can hold is refused with what to do."""
    with pytest.raises(CatalogueInvalid, match="split the sources file over two stacks"):
        api_definition(dict.fromkeys((f"s{number}" for number in range(60)), ANSWERED), SUBSTITUTIONS)


def test_content_types_count_in_what_one_api_can_hold() -> None:
    """Sources with needs of their own that fit are too many once each has content types, too."""
    sources = dict.fromkeys((f"s{number}" for number in range(27)), ANSWERED)
    assert len(api_definition(sources, SUBSTITUTIONS)["paths"]) == 2 * 27
    types = tuple(f"application/vnd.acme-{number}+json" for number in range(20))
    with pytest.raises(CatalogueInvalid, match="content types"):
        api_definition(
            {name: source.model_copy(update={"content_types": types}) for name, source in sources.items()},
            SUBSTITUTIONS,
        )


def names_like_known() -> st.SearchStrategy[str]:
    """Names near to those that are known: parts of the list, with slashes, other cases, and anything."""
    listed = "/" + "/".join(shared_sources(catalogue(300))) + "/"
    part = st.tuples(st.integers(0, len(listed)), st.integers(0, 40)).map(lambda at: listed[at[0] : at[0] + at[1]])
    return st.one_of(part, st.text(), st.sampled_from([KNOWN, KNOWN.upper(), f"{KNOWN}\n", f" {KNOWN}", f"{KNOWN}$"]))


@settings(max_examples=500, deadline=None)
@given(name=names_like_known())
@example(f"{KNOWN}/shop-0298")
@example("shop-0000")  # it has paths of its own
@example("")
def test_only_what_is_listed_is_stored(name: str) -> None:
    """A name that is not one of the sources stores nothing, whatever it is made of."""
    result = render(TEMPLATE, Given(body="e30=", path={"source": name, "key": "k"}))
    assert result.text is not None
    request = json.loads(result.text)
    if name in shared_sources(catalogue(300)):
        envelope = json.loads(b64decode(request["Data"]))
        assert (envelope["source"], request["PartitionKey"]) == (name, "k")
    else:
        assert request == {}


@pytest.mark.velocity
@pytest.mark.parametrize("name", [KNOWN, f"{KNOWN}/shop-0298", "shop-02", "", "unheard-of", KNOWN.upper(), "$source"])
def test_the_shared_templates_are_the_same_on_velocity(velocity: Velocity, name: str) -> None:
    """Request and answers are the same on Apache Velocity."""
    refusal = b'{"__type":"SerializationException","message":""}'.decode()
    request = Given(body="e30=", path={"source": name}, stage_variables={"stream": "s", "maxRecordKiB": "1"})
    assert render(TEMPLATE, request) == render_on_velocity(velocity, TEMPLATE, request)
    for response in POST["responses"].values():
        template = response["responseTemplates"]["application/json"]
        answered = Given(body=refusal, path={"source": name}, stage_variables={"maxRecordKiB": "1"})
        assert render(template, answered) == render_on_velocity(velocity, template, answered)


def test_an_unknown_name_is_answered_404() -> None:
    """Whatever Kinesis said: 404 to a name that is not listed, as ever to one that is."""
    for path, method in (("/v1/{source}", "post"), ("/v1/{source}", "x-amazon-apigateway-any-method")):
        for key, response in SHARED[path][method][INTEGRATION]["responses"].items():
            if key == "200" and method == "post":
                continue
            template = response["responseTemplates"]["application/json"]
            body = '{"__type":"SerializationException"}'
            unknown = render(template, Given(body=body, path={"source": "unheard-of"}))
            assert (unknown.status, json.loads(unknown.text or "")["error"]) == (404, "not_found")
            known = render(template, Given(body=body, path={"source": KNOWN}))
            assert known.status in (None, 503), known
            assert json.loads(known.text or "")["error"] != "not_found"
