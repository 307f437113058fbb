"""The documents of the repository, and what can be checked of them: links, headings, code blocks, inline code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]

_FENCE = re.compile(r"^\s*```(\w*)\n(.*?)^\s*```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_NOT_IN_A_SLUG = re.compile(r"[^\w\- ]")


def prose(path: Path) -> str:
    """Return a document without its code blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def links(path: Path) -> list[str]:
    """Return where the links of a document lead, in its order."""
    return _LINK.findall(_INLINE.sub("", prose(path)).replace("[]", "[link]"))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(path)):
        slug = _NOT_IN_A_SLUG.sub("", heading.strip().lower()).replace(" ", "-")
        count = sum(one == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", one) is not None for one in found)
        found.add(f"{slug}-{count}" if count else slug)
    return found


def inline_code(path: Path) -> list[str]:
    """Return the inline code of a document, in its order."""
    return _INLINE.findall(prose(path))


def shell_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a document's shell blocks, continuation lines joined."""
    for language, block in _FENCE.findall(path.read_text(encoding="utf-8")):
        if language in {"sh", "bash", "console"}:
            yield from block.replace("\\\n", " ").splitlines()


def defined(path: Path) -> set[str]:
    """Return the names that a module defines: functions, classes, Class.method, and what it assigns at the top."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {name for node in tree.body for name in _defined_by(node)}


def _defined_by(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for inner in node.body for name in _defined_by(inner))
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    yield from (target.id for target in targets if isinstance(target, ast.Name))
