"""Which files of `weir` a Lambda entry reaches: what its module imports, at once or later, and all that those import.

Modules are read, not run. An import counts wherever it is written, except under ``if TYPE_CHECKING``. So does a
string that begins with the dotted name of a module, since registries name modules so; a name that an f-string makes is
not followed. A package that imports whatever is in its folder (``pkgutil.iter_modules``) is taken whole, with its data
files.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_DOTTED = re.compile(r"weir(?:\.\w+)+")


def files(code: Path, entries: Iterable[str]) -> list[Path]:
    """Return the files that these modules reach, relative to ``code``, the folder that holds `weir`.

    ``entries`` are dotted names of modules. Raises: FileNotFoundError if an entry is not a module.
    """
    found: set[Path] = set()
    waiting = []
    for entry in entries:
        module = _file(code, entry)
        if module is None:
            raise FileNotFoundError(f"{entry} is not a module below {code}")
        waiting.append(module)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _packages(code, path)
            waiting += _reached(code, path)
    return sorted(path.relative_to(code) for path in found)


def _packages(code: Path, path: Path) -> list[Path]:
    """Return the `__init__` of each package around a file: Python runs them first."""
    return [above / "__init__.py" for above in path.parents if above != code and above.is_relative_to(code)]


def _reached(code: Path, path: Path) -> list[Path]:
    if path.suffix != ".py":
        return []
    tree = ast.parse(path.read_bytes(), filename=str(path))
    named = {module for node in _nodes(tree) for name in _names(node) if (module := _module(code, name))}
    return [*named, *(_whole(path.parent) if _imports_its_folder(tree) else ())]


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a module without what only a type checker imports."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _nodes(node)


def _names(node: ast.AST) -> Iterator[str]:
    """Return the dotted names that a node may import; of `from a import b`, b may be a module or not."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (dotted := _DOTTED.match(node.value)):
        yield dotted[0]


def _module(code: Path, name: str) -> Path | None:
    """Return the file of the longest part of a dotted name that is a module; None if it is not one of ours."""
    while name.startswith("weir."):
        if path := _file(code, name):
            return path
        name = name.rpartition(".")[0]
    return None


def _file(code: Path, name: str) -> Path | None:
    base = code.joinpath(*name.split("."))
    tried = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in tried if path.is_file()), None)


def _imports_its_folder(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == "iter_modules" for node in ast.walk(tree))


def _whole(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
