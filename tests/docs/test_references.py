"""The pages of docs/reference are what the code says today."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.docs import (
    access_log_page,
    costs_page,
    environment_page,
    event_item_page,
    log_fields_page,
    metrics_page,
    sources_page,
)
from tests.docs.errors_page import branches, leaves
from tests.docs.pages import FOLDER, PAGES
from tests.support.batches import NOW_MS, forged, judged
from weir.consumers.batch.metrics import UNITS
from weir.consumers.business.changes import Wait
from weir.consumers.events_table import item
from weir.consumers.outcome import Outcome
from weir.infra.costs.bill import CAUSES
from weir.ingest.errors import NotYet
from weir.ingest.ids import RequestId
from weir.ingest.schemes.base import Verdict
from weir.operate.audit.account import Account, Missing
from weir.operate.audit.check import report


@pytest.mark.parametrize("name", PAGES)
def test_page_is_what_the_code_says(name: str) -> None:
    """A generated page is the one that its generator writes; `make docs` writes it again."""
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name]()


def test_every_variable_of_the_command_line_is_explained() -> None:
    """Each WEIR_ variable that cli/ names has its meaning on the page, and no other."""
    assert environment_page.named_in_cli() == set(environment_page.COMMAND_LINE)


def test_every_metric_is_explained() -> None:
    """Each metric of the code has its meaning, once."""
    assert [*metrics_page.BATCH, *metrics_page.COLD_START, *metrics_page.WAITING, *metrics_page.ACCOUNT] == list(UNITS)


def test_every_field_of_the_access_log_is_explained() -> None:
    """Each field of the template's access log format has its meaning."""
    assert list(access_log_page.fields()) == list(access_log_page.MEANINGS)


def test_every_line_of_the_bill_is_explained() -> None:
    """Each key of a line that a resource causes has its meaning, and no other."""
    assert set(costs_page.MEANINGS) == {key for keys in CAUSES.values() for key in keys}


def test_every_leaf_is_on_the_page() -> None:
    """The walk finds three branches, and only leaves that have a code and a hint or stand for their branch."""
    assert [branch.__name__ for branch in branches()] == ["RecordError", "TransientError", "ConfigError"]
    assert sum(len(leaves(branch)) for branch in branches()) > 25


def test_every_attribute_of_an_item_is_explained_with_its_type() -> None:
    """What the code writes into an item, at once or by an update, is on the page, and nothing else is."""
    event = replace(judged("e1", key="k1"), scheme=Verdict("stripe", 1).scheme, secret_index=1, digest="=d")
    refused = forged("r1")
    assert refused.error is not None
    fields = [*item.event_fields(event, Outcome.APPLIED, NOW_MS, item.inline(b"blob")), item.pointer("payloads/x")]
    fields += item.quarantined_fields(refused, refused.error, NOW_MS, item.inline(b""))
    fields += item.waiting_fields(event, Wait(), NotYet(), NOW_MS, item.inline(b""))
    types = event_item_page.types_of(fields)
    assert set(types) | event_item_page.updated() == set(event_item_page.ATTRIBUTES)
    assert types == {name: event_item_page.ATTRIBUTES[name][0] for name in types}


def test_every_field_of_a_log_line_is_explained() -> None:
    """Each field that the consumer's room names where it logs is on the page, under its action."""
    logged = log_fields_page.logged()
    assert {"event", "batch", "bug", "handshake"} <= set(logged)
    for action, names in logged.items():
        assert names <= set(log_fields_page.ACTIONS[action][1]), action


def test_every_field_of_the_account_is_explained() -> None:
    """Each value that the scheduled account check logs is on the page, and nothing else is."""
    line = json.loads(report(Account(0, 1), "weir", 0.0)[0])
    assert set(line) - {"level", "action"} == set(log_fields_page.ACTIONS["account"][1])
    missing = report(Account(0, 1, missing=[Missing(RequestId("r1"), 1, "shop", "the stream")]), "weir", 0.0)[1]
    assert set(json.loads(missing)) - {"level", "action"} == set(log_fields_page.ACTIONS["unaccounted"][1])


def test_every_field_of_the_sources_file_is_explained() -> None:
    """Each field that the schema says nothing of has its meaning, and no meaning is without such a field."""
    unsaid = {name for name, text in sources_page.fields().items() if not text}
    used = {name if name in sources_page.MEANINGS else name.partition(".")[2] for name in unsaid}
    assert used == set(sources_page.MEANINGS)
