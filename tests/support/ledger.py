"""The example that most tests run on: its business code, loaded for the whole session, and its table."""

from __future__ import annotations

from pathlib import Path

from weir.consumers.business import effects
from weir.infra.business import Business
from weir.infra.tables import TableResource

FOLDER = Path(__file__).parents[2] / "examples" / "ledger"
SOURCES = FOLDER / "sources.yaml"
SETTINGS = {"EFFECTS": "ledger", "EFFECTS_FOLDER": str(FOLDER)}

effects.load("ledger", FOLDER)
LEDGER = Business("ledger", FOLDER, [TableResource(name, one.described()) for name, one in effects.tables().items()])
