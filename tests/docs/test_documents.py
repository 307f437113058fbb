"""Links lead somewhere, named code exists, commands take the options that they are shown with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.docs.documents import DOCUMENTS, NAMES, ROOT, anchors, defined, inline_code, links, prose, shell_lines
from weir.cli.main import main

_CODE_NAME = re.compile(r"((?:[\w.-]+/)*[\w-]+\.py)(?::([\w.]+))?(?:\(\))?")
_PATH = re.compile(r"(?:ingest|consumers|operate|infra|loadtest|cli|tests|docs|requirements|weir)/[\w./*-]*")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+|\.\.\.|\[.*\]?")
# What names code that is gone, and code of others or of a project that the reader makes.
_NOT_OURS = {"CHANGELOG.md", "conformance.md", "tutorial.md"}


def test_the_walk_finds_the_documents() -> None:
    """The pages that a reader starts with are there, and hold links and code, or the rest proves nothing."""
    assert {"README.md", "docs/decisions.md", "docs/reference/presets.md"} <= set(NAMES)
    assert sum(len(links(path)) for path in DOCUMENTS) > 100
    assert sum(len(list(commands(path))) for path in DOCUMENTS) > 30


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(path: Path) -> None:
    """Each link within the repository names a file that exists, and a heading of it."""
    for link in links(path):
        if re.match(r"(https?|mailto):", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_leads_to_every_page() -> None:
    """Each page of docs is linked from the index."""
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {path for path in DOCUMENTS if ROOT / "docs" in path.parents} - linked == {index}


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.name not in _NOT_OURS])
def test_named_code_exists(path: Path) -> None:
    """Each `file.py`, `file.py:function` and path in a room that a document names exists."""
    for text in inline_code(path):
        if found := _CODE_NAME.fullmatch(text):
            module = _module(found[1])
            assert found[2] is None or found[2] in defined(module), text
        elif _PATH.fullmatch(text):
            assert list(ROOT.glob(text)) or (ROOT / text).exists(), text


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_inline_code_ends_on_its_line(path: Path) -> None:
    """Inline code does not go over the end of a line, where the checks above and below would not see it."""
    assert not [line for line in prose(path).splitlines() if line.count("`") % 2]


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_commands_take_what_they_are_shown_with(path: Path) -> None:
    """Each `weir ...` in a shell block or in inline code is a command with those options, each `make` a target."""
    for words in commands(path):
        if words[0] == "make":
            assert _targets(words[1:]) <= makefile_targets(), words
        else:
            check(words[1:])


@pytest.mark.parametrize(
    "wrong", ["weir nothing", "weir events --nothing", "weir run --port 1 more", "weir send --at moon x"]
)
def test_a_wrong_command_is_found(wrong: str) -> None:
    """The check of commands fails for a command, an option, an argument and a choice that do not exist."""
    with pytest.raises((click.UsageError, AssertionError)):
        check(wrong.split()[1:])


def commands(path: Path) -> Iterator[list[str]]:
    """Yield the commands of a document that begin with weir or make, as words."""
    for line in [*shell_lines(path), *(text for text in inline_code(path) if text.startswith(("weir ", "make ")))]:
        words = shlex.split(line, comments=True)
        for part in _split(words):
            name = Path(part[0]).name
            if name in {"weir", "make"} and len(part) > 1:
                yield [name, *part[1:]]


def _split(words: list[str]) -> Iterator[list[str]]:
    """Cut a line at what ends a command of the shell, and take variables off its front."""
    part: list[str] = []
    for word in [*words, ";"]:
        if word in {"|", "||", "&&", ";", "&", ">", ">>", "<"}:
            if part:
                yield part
            part = []
        elif part or not re.match(r"[A-Z_]+=", word):
            part.append(word)


def check(words: list[str]) -> None:
    """Raises: click.UsageError for what the command line does not take."""
    command: click.Command = main
    context = click.Context(main, info_name="weir")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        if _PLACEHOLDER.fullmatch(words[0]):
            return
        if (inner := command.get_command(context, words[0])) is None:
            assert command is not main, f"no command {words[0]!r}"
            break
        command, words = inner, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    command = _default(command, context) or command
    options, left, _ = command.make_parser(context).parse_args([word for word in words if word != "..."])
    assert not left or command.allow_extra_args, left
    for parameter in command.get_params(context):
        _check_choice(parameter, options.get(parameter.name or ""))


def _default(command: click.Command, context: click.Context) -> click.Command | None:
    """Return the command that a group runs where none is named."""
    name = getattr(command, "default", None)
    return command.get_command(context, name) if name and isinstance(command, click.Group) else None


def _check_choice(parameter: click.Parameter, value: object) -> None:
    if isinstance(parameter.type, click.Choice):
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, str) and not _PLACEHOLDER.fullmatch(one):
                assert one in parameter.type.choices, f"{parameter.opts[0]} {one}"


def makefile_targets() -> set[str]:
    """Return the targets that the Makefile explains."""
    return set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def _targets(words: list[str]) -> set[str]:
    return {word for word in words if "=" not in word and not word.startswith((".", "-"))}


def _module(name: str) -> Path:
    """Return the one module that a document means: by its path from the root, or by a name that it alone has."""
    if (ROOT / name).is_file():
        return ROOT / name
    rooms = ("ingest", "consumers", "operate", "infra", "loadtest", "cli", "tests")
    found = [
        path for room in rooms for path in (ROOT / room).rglob(Path(name).name) if path.as_posix().endswith(f"/{name}")
    ]
    assert len(found) == 1, f"{name}: {len(found)} files have this name"
    return found[0]
