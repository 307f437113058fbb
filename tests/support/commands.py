"""The commands of `weir`, as click has them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from weir.cli.main import main

PLACE_OPTIONS = ("--at", "--endpoint", "--stack", "--env")


def groups(name: tuple[str, ...] = (), group: click.Group = main) -> Iterator[tuple[tuple[str, ...], click.Group]]:
    """Yield each group with the words that call it, `weir` itself first."""
    yield name, group
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        if isinstance(command, click.Group):
            yield from groups((*name, word), command)


def commands() -> dict[tuple[str, ...], click.Command]:
    """Return every command that is not a group, by the words that call it, in the order of the help texts."""
    return dict(_commands((), main))


def _commands(name: tuple[str, ...], group: click.Group) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands((*name, word), command)
        else:
            yield (*name, word), command


def options(command: click.Command) -> dict[str, click.Option]:
    """Return the options that a help text shows, by their first name."""
    found = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    return {one.opts[0]: one for one in found}


def usage(words: tuple[str, ...], command: click.Command) -> str:
    """Return the usage line of a command."""
    context = click.Context(command, info_name=" ".join(("weir", *words)))
    return " ".join([context.info_name or "", *command.collect_usage_pieces(context)])
