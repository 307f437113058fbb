"""`weir effects` lists what is there, and says of an effect that no event may ever find why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from weir.cli.main import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEIR_SOURCES", raising=False)
    (tmp_path / "pyproject.toml").write_text('[tool.weir]\npackage = "listed"\n')
    (tmp_path / "sources.yaml").write_text("shop: {preset: shopify}\npartner: {preset: hmac}\n")
    (tmp_path / "listed.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("owner", "pattern", "said"),
    [
        ("shop", "orders/*", None),
        ("shopify", "orders/create", None),
        ("partner", "any.thing", None),
        ("shop", "*", None),
        ("shop", "orders.create", "types of shopify are written like orders/paid"),
        ("stripe", "charge.succeeded", "no source has this preset: `weir sources add stripe`"),
        ("shopfy", "orders/*", "no source and no preset has this name"),
    ],
)
def test_an_effect_that_no_event_finds_has_a_warning(project: Path, owner: str, pattern: str, said: str | None) -> None:
    """An unknown name, a preset without a source, a type as another provider writes it."""
    code = f'from weir import effect\n\n@effect("{owner}", "{pattern}")\ndef run(event):\n    return []\n'
    (project / "listed.py").write_text(code)
    [row] = map(json.loads, CliRunner().invoke(main, ["effects", "--json"]).stdout.splitlines())
    assert (row["source"], row["type"], row["function"]) == (owner, pattern, "listed.run")
    assert (row["warning"] is None) == (said is None)
    assert said is None or said in row["warning"]
    shown = CliRunner().invoke(main, ["effects"]).stdout
    assert ("warning: " in shown) == (said is not None)


def test_a_project_without_code_says_so(project: Path) -> None:
    """And what to do."""
    (project / "pyproject.toml").write_text("[tool.weir]\n")
    assert "has no business code: events are stored, and change nothing" in CliRunner().invoke(main, ["effects"]).stdout
