"""What every command has in common: errors are one sentence with what to do, ids may begin with a minus sign.

Commands are listed in a table and imported when they are called, so that `weir --help` imports none of them.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from weir.cli.exit_codes import NO_ANSWER, STOPPED
from weir.cli.output import escaped, note, note_lines
from weir.ingest.errors import ServiceError

# A request id of API Gateway: base64 of eleven bytes. It may begin with one minus sign or two.
_REQUEST_ID = re.compile(r"[A-Za-z0-9_+/-]{15}=")

_CONNECTION_ERRORS = {"ConnectionError", "HTTPClientError"}  # botocore's
_UNREACHABLE = "Nothing answers there. `make run` starts the embedded stack; --at, --endpoint and --stack name another."
_REFUSED = (
    "Check the AWS credentials, their rights (`weir policies`) and the Region; --at, --endpoint and --stack name "
    "another stack."
)


class NoAnswer(click.ClickException):
    """Ends a command that could not do its work; its message says why and what to do."""

    exit_code = NO_ANSWER

    def format_message(self) -> str:
        """Return the message line by line; what it quotes may be a sender's choice."""
        return "\n".join(map(escaped, self.message.split("\n")))


class Command(click.Command):
    """A command whose errors are one sentence with what to do; only a bug shows its traceback, with exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `weir events | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        except KeyboardInterrupt:
            note("stopped")
            ctx.exit(STOPPED)
        except click.Abort as error:
            raise NoAnswer("Not confirmed: nothing was done.") from error
        except (click.exceptions.Exit, click.ClickException):
            raise
        except Exception as error:
            if (sentence := _sentence(error)) is None:  # a bug: exit code 1 would read as a bad answer
                note_lines(_traceback(error))
                ctx.exit(NO_ANSWER)
            raise NoAnswer(sentence) from error


def _traceback(error: Exception) -> Iterator[str]:
    """Yield the lines of a traceback; each message is one line, since it may quote what a sender wrote."""
    for part in traceback.format_exception(error):
        is_frame = part.startswith("  File ")
        yield from part.rstrip("\n").split("\n") if is_frame else (part.strip("\n"),)


def _sentence(error: Exception) -> str | None:
    """Return what is wrong and what to do about it; None for a bug, which keeps its traceback."""
    if isinstance(error, ServiceError):
        return error.advice
    if type(error).__module__.startswith("botocore"):  # which takes 100 ms to import
        kinds = {kind.__name__ for kind in type(error).__mro__}
        return f"{escaped(str(error))}\n  {_UNREACHABLE if kinds & _CONNECTION_ERRORS else _REFUSED}"
    if not isinstance(error, OSError):
        return None
    # A file that cannot be written, a full disk.
    return f"{error.filename}: {error.strerror}." if error.filename and error.strerror else str(error)


class IdCommand(Command):
    """A command that takes ids as arguments. An id that begins with a minus sign is not taken for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._with_ids_last(ctx, args))

    def _with_ids_last(self, ctx: click.Context, args: Sequence[str]) -> list[str]:
        """Return the arguments with such ids behind ``--``, where nothing is an option."""
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        names = {name for one in options for name in (*one.opts, *one.secondary_opts)}
        takes_value = {name for one in options if not (one.is_flag or one.count) for name in one.opts}
        rest, ids = list[str](), list[str]()
        given = iter(args)
        for argument in given:
            if argument == "--":
                ids += given
            elif _is_id(argument) and argument.partition("=")[0] not in names:
                ids.append(argument)
            else:
                rest.append(argument)
                if argument in takes_value:
                    rest += [value for value in (next(given, None),) if value is not None]
        return [*rest, "--", *ids] if ids else rest


def _is_id(argument: str) -> bool:
    """Tell whether an argument that begins with a minus sign is an id; one letter after it is a short option."""
    if not argument.startswith("-"):
        return False
    return _REQUEST_ID.fullmatch(argument) is not None or (len(argument) > 2 and argument[1] != "-")


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type


class DefaultGroup(Group):
    """A group that runs its command ``default`` where none is named, with the options given."""

    def __init__(self, *args: Any, default: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in {"-h", "--help"}):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is defined, as ``module:name`` in this package, and its line in the list of commands."""

    at: str
    summary: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, name = self.at.partition(":")
        command: click.Command = getattr(importlib.import_module(f"weir.cli.{module}"), name)
        return command


class LazyGroup(Group):
    """A group whose commands are imported when they are called. ``sections``: title -> name -> where it is."""

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, Entry]], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.sections = sections
        self.entries = {name: entry for entries in sections.values() for name, entry in entries.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help text."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command by name, imported now; None if there is none."""
        entry = self.entries.get(cmd_name)
        return entry.load() if entry else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands, section by section, without importing them."""
        width = max(map(len, self.entries))
        for title, entries in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.summary) for name, entry in entries.items()])
