"""One word for one thing: no class, type alias or module of a room has the name of another one in it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("ingest", "consumers", "operate", "infra", "loadtest", "cli")


def types_in(path: Path) -> Iterator[str]:
    """Yield the names of the classes of a module, and of what it assigns at its top level that is named like one."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name) and is_type(target.id))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and is_type(node.target.id):
            yield node.target.id
        elif isinstance(node, ast.ClassDef):
            yield node.name


def is_type(name: str) -> bool:
    return name[0].isupper() and not name.isupper()


def twice(room: str) -> dict[str, list[str]]:
    """Return the names that are in two files of a room, with those files."""
    places: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / room).rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        for name in types_in(path):
            places[name].add(where)
        if path.stem != "__init__":
            places[path.stem].add(where)
    return {name: sorted(found) for name, found in places.items() if len(found) > 1}


@pytest.mark.parametrize("room", ROOMS)
def test_no_name_is_used_twice_in_a_room(room: str) -> None:
    """A search for a class or a file by its name finds one in a room."""
    found = twice(room)
    assert found == {}


def test_the_walk_finds_classes_aliases_and_modules() -> None:
    """The three kinds of names are seen, or the rule above would prove nothing."""
    assert "Place" in set(types_in(ROOT / "infra/place.py"))
    assert "Say" in set(types_in(ROOT / "infra/__init__.py"))
    assert not is_type("LOCALSTACK")
