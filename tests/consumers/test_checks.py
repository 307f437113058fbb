"""Business code that names what is not declared is found before any event comes, with file and line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import ledger
from weir.consumers import checks
from weir.consumers.business import effects
from weir.consumers.business.changes import Put
from weir.ingest.errors import EffectsInvalid, EventMalformed
from weir.ingest.sources import samples
from weir.ingest.sources.catalogue import Catalogue
from weir.ingest.sources.events import extract
from weir.ingest.sources.sources_file import SourceEntry, resolve

HEAD = """
import weir
from weir import Check, Delete, Event, Index, Newer, Put, Table, Update, effect, exists

orders = Table("orders", key={"order": str}, indexes=[Index("by_n", {"n": int})])
lines = Table("lines", key={"order": str, "line": int})
LATER = "orders"
"""
SOURCES = Catalogue({"stripe": resolve("stripe", SourceEntry(preset="stripe"))})


@pytest.fixture(autouse=True)
def the_ledger_again() -> Iterator[None]:
    yield
    effects.load("ledger", ledger.FOLDER)


def load(folder: Path, text: str) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text(HEAD + text)
    effects.load("shop", folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('Put("order", {"order": "1"})', "no table 'order' is declared"),
        ('weir.Put("order", {"order": "1"})', "no table 'order' is declared"),
        ('Update(table="ordres", key={"order": "1"}, add={"n": 1})', "no table 'ordres'"),
        ('Delete(orders, {"id": "1"})', "the key of 'orders' is order, not id"),
        ('Check(LATER, {}, exists("order"))', "the key of 'orders' is order, not empty"),
        ('Put(lines, {"order": "1", "line": "2"})', "'line' of 'lines' is int, not str"),
        ('Put(lines, {"order": f"{1}", "line": float(2)})', "'line' of 'lines' is int, not float"),
        ('Put(orders, {"order": 1})', "'order' of 'orders' is str, not int"),
        ('Put(orders, {"order": "1"}, {"n": "x"})', "'n' of 'orders' is int, not str"),
        ('Update(orders, {"order": "1"}, set={"n": "x"})', "'n' of 'orders' is int, not str"),
    ],
)
def test_a_change_that_no_table_takes_is_named(change: str, said: str, tmp_path: Path) -> None:
    """The sentence has the file, the line, and what is declared."""
    load(tmp_path, f'\n@effect("stripe", "never")\ndef change(event: Event):\n    return [{change}]\n')
    with pytest.raises(EffectsInvalid, match=said) as raised:
        checks.check(SOURCES)
    assert f"{tmp_path / 'shop' / '__init__.py'}:11: " in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        'Put(orders, {"order": event.event_id}, {"n": 1})',
        'Put(lines, {"order": "1", "line": 2})',
        'Put(LATER, {"order": str(1)})',
        'Put(lines, dict(order="1", line=2))',
        'Update(orders, {**{"order": "1"}}, add={"n": 1})',
    ],
)
def test_what_is_declared_passes(change: str, tmp_path: Path) -> None:
    """What is right is right, and what can only be known later is left to then."""
    load(tmp_path, f'\n@effect("stripe", "charge.succeeded")\ndef change(event: Event):\n    return [{change}]\n')
    checks.check(SOURCES)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('key = {"id": "1"}\n    return [Put(orders, key)]', "the key of 'orders' is order, not id"),
        ('key = {"order": 7}\n    return [Put(orders, key)]', "order of 'orders' is str"),
        ('name = "else" + "where"\n    return [Put(name, {"order": "1"})]', "no table 'elsewhere'"),
        ('return [Put(orders, {"order": "1"}, {"f": 0.5})]', "float is not a DynamoDB value"),
        ("return ['nothing']", "str, which is not a change"),
    ],
)
def test_what_only_running_shows_is_shown_by_the_sample(body: str, said: str, tmp_path: Path) -> None:
    """Each source's shipped sample is given to its effect."""
    load(tmp_path, f'\n@effect("stripe", "charge.succeeded")\ndef change(event: Event):\n    {body}\n')
    with pytest.raises(EffectsInvalid, match=said):
        checks.check(SOURCES)


@pytest.mark.parametrize("body", ["raise KeyError(event.type)", "raise weir.EventRejected", "raise SystemExit"])
def test_code_that_does_not_take_the_sample_is_not_wrong(body: str, tmp_path: Path) -> None:
    """A sample is one payload of many: what the code says of it is its own business."""
    load(tmp_path, f'\n@effect("stripe", "charge.succeeded")\ndef change(event: Event):\n    {body}\n')
    checks.check(SOURCES)


def test_two_tables_of_one_name_are_named(tmp_path: Path) -> None:
    """The same declaration may be imported anywhere; another one of the same name is an error."""
    load(tmp_path, '\nagain = orders\nother = Table("lines", key={"x": str})\n')
    with pytest.raises(EffectsInvalid, match="shop declares the table 'lines' again, and otherwise"):
        effects.tables()


def test_a_declaration_that_cannot_be_made_has_its_line(tmp_path: Path) -> None:
    """The table and the place of its declaration are named."""
    with pytest.raises(EffectsInvalid, match=r"__init__\.py:9: table 'Lines': a name has"):
        load(tmp_path, '\nbad = Table("Lines", key={"x": str})\n')


def test_a_model_that_does_not_fit_is_malformed_with_its_path(tmp_path: Path) -> None:
    """An effect whose event has a pydantic model gets one; a TypedDict costs nothing."""
    load(
        tmp_path,
        """
from typing import TypedDict
from pydantic import BaseModel

class Charge(BaseModel):
    amount: int

class Loose(TypedDict):
    amount: int

@effect("s", "typed")
def typed(event: Event[Charge]):
    return [Put(orders, {"order": str(event.payload.amount)})]

@effect("s", "loose")
def loose(event: Event[Loose]):
    return [Put(orders, {"order": str(event.payload["amount"])})]
""",
    )
    shop = sys.modules["shop"]
    assert effects.find("s", "", "loose") is shop.loose
    assert effects.find("s", "", "typed") is not shop.typed
    names = {one.pattern: one.name for one in effects.registered() if one.owner == "s"}
    assert names == {"typed": "shop.typed", "loose": "shop.loose"}
    (event,) = extract(SOURCES["stripe"], samples.delivery(SOURCES["stripe"], "whsec_x", at_ms=1).envelope())
    run = effects.find("s", "", "typed")
    assert run is not None
    assert list(run(replace(event, payload={"amount": 5}))) == [Put("orders", {"order": "5"})]
    with pytest.raises(EventMalformed, match=r"\$\.amount: Input should be a valid integer") as raised:
        run(replace(event, payload={"amount": "a secret"}))
    assert "a secret" not in str(raised.value)
