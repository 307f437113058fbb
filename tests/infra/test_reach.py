"""What an entry reaches, on a small tree whose answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from weir.infra import CODE, reach
from weir.infra.package import entries

TREE = {
    "__init__.py": "",
    "entry.py": """
from __future__ import annotations
from typing import TYPE_CHECKING
from weir.room.plain import thing
from weir.room import module
if TYPE_CHECKING:
    from weir.room.typed import Only
def later():
    import weir.room.late
def named():
    return {"kind": "weir.room.registry.deep.Prover", "other": "weir.absent", "text": "see weir.room.typed"}
""",
    "other.py": "import weir.entry",
    "room/__init__.py": "",
    "room/plain.py": "thing = 1",
    "room/module.py": "import json, weir.walked",
    "room/typed.py": "",
    "room/late.py": "from weir import entry",
    "room/unused.py": "",
    "room/registry/__init__.py": "",
    "room/registry/deep.py": "",
    "walked/__init__.py": "import pkgutil\nfor one in pkgutil.iter_modules(__path__): __import__(one.name)",
    "walked/first.py": "from weir.fresh import brought",
    "walked/rates.json": "{}",
    "walked/__pycache__/first.pyc": "",
    "fresh.py": "",
}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        path = tmp_path / "weir" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def reached(code: Path, *entries: str) -> set[str]:
    return {path.as_posix().removeprefix("weir/") for path in reach.files(code, entries)}


def test_everything_that_an_entry_may_import_is_found(code: Path) -> None:
    """Late imports, names in registries, packages around a module and walked folders count; a type checker's do not."""
    assert reached(code, "weir.entry") == {
        *("__init__.py", "entry.py", "room/__init__.py", "room/plain.py", "room/module.py", "room/late.py"),
        *("room/registry/__init__.py", "room/registry/deep.py"),
        *("walked/__init__.py", "walked/first.py", "walked/rates.json", "fresh.py"),
    }


def test_several_entries_are_the_union(code: Path) -> None:
    """A second entry adds what only it reaches."""
    assert reached(code, "weir.room.plain", "weir.fresh") == {
        *("__init__.py", "room/__init__.py", "room/plain.py", "fresh.py"),
    }


def test_an_entry_that_is_not_a_module_is_an_error(code: Path) -> None:
    """A handler that the template misspells ends the build, with its name."""
    with pytest.raises(FileNotFoundError, match=r"weir\.entree"):
        reach.files(code, ["weir.entree"])


def test_no_reached_module_reads_a_file_beside_it() -> None:
    """The package would lack a module's data: of those reached, only the settings use `__file__`."""
    reading = [path for path in reach.files(CODE, entries()) if b"__file__" in (CODE / path).read_bytes()]
    assert list(map(Path.as_posix, reading)) == ["weir/consumers/settings.py"]
