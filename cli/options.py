"""Options that several commands share. Each means the same everywhere."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from weir.cli import project
from weir.infra import KINDS, LOCALSTACK

if TYPE_CHECKING:
    from weir.infra.place import Place

F = TypeVar("F", bound=Callable[..., None])

SINCE = "Only what arrived since: 2026-11-23T10:00Z, or 2h for two hours ago."


class Number(click.FloatRange):
    """A finite number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def place_options(command: F) -> F:
    """Give a command ``--at``, ``--endpoint``, ``--stack`` and ``--env``, which it gets under these names."""
    for option in (
        click.option(
            "--env",
            envvar="WEIR_ENV",
            metavar="NAME",
            help="Environment of the project: what [tool.weir.environments.NAME] says. Default: WEIR_ENV.",
        ),
        click.option(
            "--stack",
            envvar="WEIR_STACK",
            metavar="NAME",
            help="CloudFormation stack there. Default: WEIR_STACK, then the project's, then weir.",
        ),
        click.option(
            "--endpoint",
            envvar="WEIR_ENDPOINT",
            metavar="URL",
            help=f"Address of LocalStack ({LOCALSTACK} by default) or of another AWS endpoint. "
            "Default: WEIR_ENDPOINT, then AWS_ENDPOINT_URL.",
        ),
        click.option(
            "--at",
            type=click.Choice(KINDS),
            envvar="WEIR_AT",
            help="Where Weir runs. Default: WEIR_AT, then the environment's, then the embedded stack.",
        ),
    ):
        command = option(command)
    return command


def at_place(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where Weir runs, and hand it that `Place` as ``place``."""

    @place_options
    @functools.wraps(command)
    def with_place(at: str | None, endpoint: str | None, stack: str | None, env: str | None, **options: Any) -> None:
        command(place=choose_place(at, endpoint, stack, env), **options)

    return with_place


def choose_place(at: str | None, endpoint: str | None, stack: str | None, env: str | None) -> Place:
    """Return the place that the options name. Raises: StackAbsent, OptionInvalid, ProjectInvalid."""
    from weir.infra import place
    from weir.infra.project_file import DEFAULT_STACK

    wanted = project.current().environment(env)
    return place.choose(
        at or wanted.at,
        home=project.home(),
        stack=stack or wanted.stack or DEFAULT_STACK,
        endpoint=endpoint,
        account=place.Account(wanted.region, wanted.profile),
    )


def json_option(content: str) -> Callable[[F], F]:
    """Return ``--json``, handed over as ``as_json``. ``content`` says what it prints."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {content}.")


past_marks_option = click.option(
    "--past-marks",
    is_flag=True,
    help="Apply also what has no mark and is older than marks live: it may have been applied before.",
)

set_option = click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a parameter of infra/template.yaml; repeatable."
)


def parameters(settings: tuple[str, ...], *, hint: str = "--set") -> dict[str, str]:
    """Split NAME=VALUE options; ``hint`` is what they are called. Raises: BadParameter."""
    pairs = [setting.partition("=") for setting in settings]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE.", param_hint=hint)
    return {name: value for name, _, value in pairs}
