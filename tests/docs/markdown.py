"""The few forms of Markdown that the generated pages are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable

NOTICE = "<!-- Written by `make docs` (tests/docs). Change the code it is made from, not this page. -->"


def page(title: str, introduction: str, *parts: str) -> str:
    """Return a whole page: title, notice, introduction, then the parts with an empty line between them."""
    return "\n\n".join([f"# {title}", NOTICE, introduction, *parts]) + "\n"


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table; a cell may hold any text, a character that would end a cell or a line is escaped."""
    names = list(header)
    lines = [names, ["---"] * len(names), *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: object) -> str:
    """Return a value as the text of a cell."""
    return str(value).strip().replace("|", "\\|").replace("\n", "<br>")


def code(text: object) -> str:
    """Return text as inline code, nothing for nothing."""
    text = str(text)
    if not text:
        return ""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def sentence(text: str) -> str:
    """Return a phrase as a sentence: a capital letter, unless it begins with a value of its field, and a full stop."""
    text = " ".join(text.split())
    begins = text[:1].upper() if re.match(r"[a-z]+(?![\w:-])", text) else text[:1]
    return begins + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
