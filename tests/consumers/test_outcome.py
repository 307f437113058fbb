from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from weir.consumers.batch import metrics
from weir.consumers.outcome import DONE, FINAL, LISTED, METRICS, Outcome

ROOT = Path(__file__).parents[2]
HOME = ROOT / "consumers/outcome.py"
MODULES = sorted(path for room in ("consumers", "operate", "cli") for path in (ROOT / room).rglob("*.py"))
# A command is named like an outcome.
NAMED_ALIKE = {("cli/replay.py", "retry"), ("cli/failures.py", "retry")}


@pytest.mark.parametrize("path", MODULES, ids=[path.relative_to(ROOT).as_posix() for path in MODULES])
def test_outcomes_are_written_in_one_file(path: Path) -> None:
    """No module of the consumer, the operator or the command line spells an outcome: each names the member."""
    name = path.relative_to(ROOT).as_posix()
    texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    spelled = {(name, str(outcome)) for outcome in Outcome if outcome in texts}
    if path != HOME:
        assert not spelled - NAMED_ALIKE


def test_the_walk_finds_the_file_of_the_outcomes() -> None:
    """Every outcome is spelled in its own file, or the rule above would prove nothing."""
    assert HOME in MODULES
    texts = {node.value for node in ast.walk(ast.parse(HOME.read_text())) if isinstance(node, ast.Constant)}
    assert texts >= {str(outcome) for outcome in Outcome}


def test_an_outcome_is_the_text_that_is_stored() -> None:
    """A member equals the text in a table or a log, hashes like it and prints as it, so that either may be the key."""
    member_of: Any = Outcome  # a call with one text, which its types do not know
    for outcome in Outcome:
        text: str = outcome.value
        by_text: dict[str, int] = {outcome: 1}
        assert by_text[text] == {text: 1}[outcome] == 1
        assert f"{outcome}" == str(outcome) == member_of(text) == text


def test_what_the_outcomes_mean() -> None:
    """The facts of each outcome are those that the commit, the reports and the listings go by."""
    assert {str(outcome) for outcome in DONE} == {"applied", "duplicate", "ignored"}
    assert [str(outcome) for outcome in FINAL] == ["applied", "duplicate", "ignored", "quarantined", "waiting"]
    assert [str(outcome) for outcome in LISTED] == ["applied", "ignored", "quarantined", "waiting"]
    assert {outcome.metric for outcome in Outcome} - {""} == set(METRICS.values()) <= set(metrics.UNITS)
