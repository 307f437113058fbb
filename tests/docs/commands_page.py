"""docs/reference/commands.md: every command with its arguments, options and exit codes."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

import inspect
from collections.abc import Iterable

import click

from tests.docs import markdown
from tests.support import commands
from weir.cli.exit_codes import MEANINGS
from weir.cli.framework import DefaultGroup
from weir.cli.main import SECTIONS, main


def page() -> str:
    """Return the page."""
    return markdown.page(
        "Commands",
        "`weir --help` lists the commands, `weir COMMAND --help` explains one, `weir --version` prints the version.",
        "## Exit codes",
        markdown.table(["code", "meaning"], [(markdown.code(code), text) for code, text in MEANINGS.items()]),
        "Every command that is stopped ends with 130. A command that never judges says that its exit codes are 0 or 2.",
        "## Where Weir runs",
        "Every command that talks to a stack takes these options.",
        _options(commands.commands()["events",], place=True),
        "## Output",
        "The result of a command is on standard output, everything else on standard error. With `--json` standard output is JSON or JSON Lines\n"
        "and nothing else; of an empty list it is empty.",
        "## Ids",
        "Every id that a command prints is an argument of `weir events`, `weir quarantine` and `weir failures`, also one that begins with a minus sign.",
        *_sections(),
    )


def _sections() -> Iterable[str]:
    for title, entries in SECTIONS.items():
        yield f"## {title}"
        for words, command in commands.commands().items():
            if words[0] in entries:
                yield from _command(words, command)


def _command(words: tuple[str, ...], command: click.Command) -> Iterable[str]:
    yield f"### weir {' '.join(words)}"
    if isinstance(parent := main.get_command(click.Context(main), words[0]), DefaultGroup) and words[1:] == (
        parent.default,
    ):
        yield f"What `weir {words[0]}` alone does."
    yield f"```text\n{commands.usage(words, command)}\n```"
    yield from _paragraphs(inspect.cleandoc(command.help or ""))
    if not judges(command):
        yield "Exit codes: 0 or 2."
    if set(commands.options(command)) - set(commands.PLACE_OPTIONS):
        yield _options(command, place=False)
    if commands.PLACE_OPTIONS[0] in commands.options(command):
        yield "Takes the options of [where Weir runs](#where-weir-runs)."


def judges(command: click.Command) -> bool:
    """Tell whether a command may end with an exit code of its own choice: it calls `sys.exit`."""
    assert command.callback is not None
    return "sys.exit(" in inspect.getsource(inspect.unwrap(command.callback))


def _paragraphs(text: str) -> Iterable[str]:
    """Yield the paragraphs of a help text; what click must not wrap (``\\b``) are examples."""
    for paragraph in text.split("\n\n"):
        marked, _, examples = paragraph.partition("\b\n")
        yield f"```sh\n{examples}\n```" if examples else " ".join(marked.split())


def _options(command: click.Command, *, place: bool) -> str:
    shown = [option for name, option in commands.options(command).items() if (name in commands.PLACE_OPTIONS) == place]
    return markdown.table(["option", "meaning"], [_row(option, click.Context(command)) for option in shown])


def _row(option: click.Option, context: click.Context) -> tuple[str, str]:
    name, text = option.get_help_record(context) or ("", "")
    return markdown.code(name), " ".join(text.split())
