from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from weir.consumers.commit.pending import CommitState, PendingEvent

COMMIT = Path(__file__).parents[2] / "consumers/commit"
HOME = COMMIT / "pending.py"
OTHERS = sorted(path for path in COMMIT.glob("*.py") if path != HOME)
STATE = {field.name for kind in (PendingEvent, CommitState) for field in fields(kind)}
CHANGING = {"append", "extend", "insert", "remove", "pop", "clear", "add", "update", "discard", "setdefault"}


def changed(path: Path) -> Iterator[str]:
    """Yield each attribute of another object that a module sets, or changes by a method of its collection."""
    for node in ast.walk(ast.parse(path.read_text())):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
            targets = [node.func.value]
        for target in targets:
            if isinstance(target, ast.Attribute) and not _is_self(target.value):
                yield target.attr


def _is_self(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id == "self"


@pytest.mark.parametrize("path", OTHERS, ids=[path.name for path in OTHERS])
def test_the_state_of_a_commit_is_changed_in_one_module(path: Path) -> None:
    """Every other module of the package asks an event to change, by a method that is named for what happened."""
    assert not set(changed(path)) & STATE


def test_the_walk_sees_changes() -> None:
    """Where the state is at home changes of other objects are found, or the rule above would prove nothing."""
    assert set(changed(HOME)) >= {"followers", "head", "actions"}
