"""What a running stack says of itself, for tests that need no stack."""

from __future__ import annotations

import json
from pathlib import Path

from weir.infra.outputs import NAMES
from weir.infra.place import STATE_FILE


def write_state(home: Path, *, engine: str = "http://127.0.0.1:9", **outputs: str) -> None:
    """Write the file by which commands find an embedded stack; each output not given is its own name."""
    document = {"stack": "weir", "engine": engine, "outputs": {**dict(zip(NAMES, NAMES, strict=True)), **outputs}}
    (home / STATE_FILE).write_text(json.dumps(document), encoding="utf-8")
