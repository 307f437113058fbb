from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir.ingest import errors
from weir.ingest.errors import ConfigError, RecordError, ServiceError, TransientError


def leaves(branch: type[ServiceError]) -> list[type[ServiceError]]:
    found: list[type[ServiceError]] = []
    for child in branch.__subclasses__():
        found += leaves(child) or [child]
    return found


LEAVES = leaves(ServiceError)
BRANCHES = (ServiceError, RecordError, TransientError, ConfigError)
ROOT = Path(__file__).parent.parent
ROOMS = ("ingest", "consumers", "operate", "infra", "loadtest", "cli")


def made() -> Iterator[tuple[str, str]]:
    """Yield file and line of each place in the product that makes an error of the taxonomy, and the error's name."""
    names = {kind.__name__ for kind in (*LEAVES, *BRANCHES)}
    for path in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else node.exc if isinstance(node, ast.Raise) else None
            if isinstance(called, ast.Name) and called.id in names:
                yield f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", called.id  # type: ignore[attr-defined]


MADE = sorted(set(made()))


def test_only_leaves_are_raised() -> None:
    """A branch has no hint, so that the product raises leaves alone."""
    assert len(MADE) > 100
    assert not [(place, name) for place, name in MADE if name in {kind.__name__ for kind in BRANCHES}]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_a_leaf_is_raised_where_its_hint_fits(leaf: type[ServiceError]) -> None:
    """Each leaf says in which folders and files it is made, and is made there and nowhere else."""
    places = [place for place, name in MADE if name == leaf.__name__]
    assert leaf.raised_in
    assert all((ROOT / folder).exists() for folder in leaf.raised_in)
    assert not [place for place in places if not place.startswith(leaf.raised_in)]


def test_the_walk_finds_every_error_of_the_module() -> None:
    """The taxonomy is closed: every error is a leaf of one of three branches, all in one module."""
    assert len(LEAVES) > 15
    assert set(ServiceError.__subclasses__()) == {RecordError, TransientError, ConfigError}
    assert {leaf.__module__ for leaf in LEAVES} == {errors.__name__}
    branches = {ServiceError, RecordError, TransientError, ConfigError}
    named = {value for value in vars(errors).values() if isinstance(value, type)}
    assert named == branches | set(LEAVES)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_a_leaf_says_what_happened_and_what_to_do(leaf: type[ServiceError]) -> None:
    """Every leaf has a sentence of its own, a stable code and a hint."""
    assert (vars(leaf).get("__doc__") or "").strip().endswith(".")
    assert vars(leaf)["code"].replace("_", "").isalpha()
    assert vars(leaf)["code"].islower()
    assert vars(leaf)["hint"].strip().endswith((".", ")"))


def test_codes_are_unique() -> None:
    """No two errors share a code: it is the reason of a quarantine and the key of the README's table."""
    codes = [leaf.code for leaf in LEAVES]
    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_the_message_is_the_docstring_with_the_facts(leaf: type[ServiceError]) -> None:
    """The documented text and the printed text cannot differ; facts stand behind it with their names."""
    message = str(leaf("More.", bytes=7))
    assert message == f"{(leaf.__doc__ or '').strip().splitlines()[0]} More. (bytes=7)"


def test_the_command_line_says_what_is_wrong_and_what_to_do() -> None:
    """The particular sentence comes first, facts and remedy below it; without one, the error's own sentence stands."""
    assert (
        errors.StackAbsent("No stack here.", home="/x").advice
        == f"No stack here.\n  home: /x\n  {errors.StackAbsent.hint}"
    )
    assert errors.StackAbsent().advice == f"The stack does not exist.\n  {errors.StackAbsent.hint}"
