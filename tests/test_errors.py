from __future__ import annotations

import pytest

from weir.ingest import errors
from weir.ingest.errors import ConfigError, RecordError, ServiceError, TransientError


def leaves(branch: type[ServiceError]) -> list[type[ServiceError]]:
    found: list[type[ServiceError]] = []
    for child in branch.__subclasses__():
        found += leaves(child) or [child]
    return found


LEAVES = leaves(ServiceError)


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
    assert errors.StackAbsent().advice == f"There is no such stack.\n  {errors.StackAbsent.hint}"
