"""Plain words: what a person reads is modern English, with one word for one thing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SUFFIXES = {".py", ".yaml", ".md", ".toml", ".vtl"}
SELF = "tests/test_words.py"

# What not to write, and what to write instead.
PLAIN = {
    r"mend(s|ed|ing)?": "fix",
    r"whoever": "anyone who, a person who",
    r"nobody": "no one, none, not ... anyone",
    r"heed(s|ed)?": "read, follow",
    r"afresh": "again, from the start",
    r"forgo(es)?": "do without",
    r"in vain": "without success",
    r"stands? in\b(?! for)": "is in",
    r"(is|are|was) told": "is reported, is named",
    r"(?<!there )(?<!there's )(is|are) no (?!longer\b|more\b|less\b|later\b|earlier\b|other\b)": "is not a",
}
WORDS = re.compile("|".join(rf"\b(?:{word})\b" for word in PLAIN), re.IGNORECASE)


def read_by_people() -> list[Path]:
    """Return the files of the repository with words in them."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = (ROOT / name for name in listed.splitlines() if name != SELF)
    return [path for path in paths if path.suffix in SUFFIXES and path.is_file() and not path.is_symlink()]


def uses(path: Path) -> list[str]:
    """Return the words to replace in a file, each with its line."""
    text = path.read_text(encoding="utf-8")
    flat = re.sub(r"\s+", " ", text)
    return [flat[max(0, found.start() - 30) : found.end() + 20] for found in WORDS.finditer(flat)]


def test_words_are_plain() -> None:
    """No file that a person reads has a word of the list."""
    found = {path.relative_to(ROOT).as_posix(): texts for path in read_by_people() if (texts := uses(path))}
    assert found == {}, f"write instead: {PLAIN}"


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("the text is no size", False),
        ("Whoever reads it", False),
        ("tries in vain", False),
        ("it is\nno failure", False),
        ("there is no stack", True),
        ("it is no longer there", True),
        ("recommended, amended, a nobody_else", True),
    ],
)
def test_the_list_finds_what_it_names(tmp_path: Path, text: str, is_plain: bool) -> None:
    """A word is found in any case and over the end of a line; what only looks like one is not."""
    file = tmp_path / "text.md"
    file.write_text(text, encoding="utf-8")
    assert (uses(file) == []) is is_plain
