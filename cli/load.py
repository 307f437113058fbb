"""`weir load`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from weir.cli import project
from weir.cli.exit_codes import BAD_ANSWER, FINE
from weir.cli.framework import Group
from weir.cli.load_target import embedded_target, load_target, start_stack
from weir.cli.options import Number, at_place, choose_place, json_option, place_options
from weir.cli.output import comments, emit, emit_json, emit_lines

if TYPE_CHECKING:
    from weir.infra.place import Place
    from weir.loadtest.faults.scenario_run import Ending
    from weir.loadtest.sending.mix import Mix

_WAIT = "How long to wait, without progress, for what is stored."
_SECONDS, _SHARE = Number(0), Number(0, 1)
# What decides alone when to send, and which options it makes idle.
_ALONE = {
    "trace": {"rate", "duration_s", "shape", "arrivals", "profile"},
    "profile": {"rate", "duration_s", "shape", "arrivals"},
}


@click.group(cls=Group)
def load() -> None:
    """Send load, inject faults, and judge the result."""


def _timing_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of when to send."""
    for option in (
        click.option("--profile", type=click.Choice(["smoke", "five-minutes", "nightly"]), help="A named load."),
        click.option(
            "--speed", default=1.0, show_default=True, type=Number(0.001), metavar="FACTOR", help="Speed up --trace."
        ),
        click.option(
            "--trace",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Send at the times of a recorded run: its results.jsonl.",
        ),
    ):
        command = option(command)
    return _shape_options(command)


def _shape_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a load that is neither named nor recorded."""
    for option in (
        click.option(
            "--arrivals",
            type=click.Choice(["poisson", "even"]),
            default="poisson",
            show_default=True,
            help="How times are spread.",
        ),
        click.option(
            "--shape",
            type=click.Choice(["constant", "ramp", "spike", "soak"]),
            default="constant",
            show_default=True,
            help="How the rate changes.",
        ),
        click.option(
            "--duration",
            "duration_s",
            default=30.0,
            show_default=True,
            type=_SECONDS,
            metavar="SECONDS",
            help="How long to send.",
        ),
        click.option(
            "--rate",
            default="auto",
            show_default=True,
            metavar="RATE",
            help="Requests a second: 500, 100..2000, or auto for half of what the stack can take.",
        ),
    ):
        command = option(command)
    return command


def _mix_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of what to send."""
    for option in (
        click.option("--accounts", type=click.IntRange(1), metavar="N", help="Accounts that money moves on."),
        click.option("--hot", type=_SHARE, metavar="SHARE", help="Share of requests to four hot keys, 0 to 1."),
        click.option("--keyed", type=_SHARE, metavar="SHARE", help="Share of requests with an ordering key."),
        click.option("--oversized", type=_SHARE, metavar="SHARE", help="Share of bodies larger than a record."),
        click.option("--bad-signatures", type=_SHARE, metavar="SHARE", help="Share of forged deliveries."),
        click.option("--duplicates", type=_SHARE, metavar="SHARE", help="Share of deliveries sent again."),
        click.option("--sizes", metavar="SIZES", help="Body sizes and weights: 1k:70,8k:25,64k:5."),
        click.option(
            "--mix",
            metavar="SOURCES",
            help="Sources and weights: stripe=4,github=1. Default: all that have a secret.",
        ),
    ):
        command = option(command)
    return command


@load.command(short_help="Send at times fixed beforehand, then reconcile and report.")
@_timing_options
@_mix_options
@click.option(
    "--connections",
    default=256,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="At most N at once.",
)
@click.option(
    "--workers", default=0, type=click.IntRange(0), metavar="N", help="Processes. Default: as many as the rate needs."
)
@click.option(
    "--patience",
    default=120.0,
    show_default=True,
    type=_SECONDS,
    metavar="SECONDS",
    help="How long a sender tries again after 429 and 503.",
)
@click.option("--seed", default=1, show_default=True, metavar="N", help="The same seed sends the same requests.")
@click.option("--wait", default=30.0, show_default=True, type=_SECONDS, metavar="SECONDS", help=_WAIT)
@click.option("--attack-only", is_flag=True, help="Do not reconcile and report.")
@json_option("the figures as one JSON object; with --attack-only, where the results are")
@at_place
def attack(place: Place, as_json: bool, **options: Any) -> None:
    """Send at times fixed beforehand, then reconcile and report. Exit code 1 when a promise is broken.

    Ctrl-C ends the sending; what was sent is reconciled and reported.

    \b
    weir load attack --rate 500 --duration 60
    weir load attack --shape ramp --rate 50..1500 --mix stripe=4,payments=4,github=1 --duplicates 0.1
    weir load attack --profile five-minutes --at localstack
    weir load attack --trace .weir/load/NAME/results.jsonl --speed 2
    """
    from weir.loadtest import load_packages, session
    from weir.loadtest.sending.attack import Limits

    _refuse_idle_options()
    if not options["attack_only"]:
        load_packages.require()
    mix = _mix(options)
    target = load_target(place, comments(as_json=as_json))
    limits = Limits(connections=options["connections"], patience_s=options["patience"])
    asked = session.Asked(*(options[name] for name in session.Asked.__slots__))
    timing = session.timing(asked, lambda: session.measure_capacity(target, mix))
    plan = target.plan(timing, mix, seed=options["seed"])
    path = session.attack(target, plan, limits, workers=options["workers"])
    if options["attack_only"]:
        emit(json.dumps({"results": str(path)}) if as_json else str(path))
        return
    passed = session.reconcile(target, path, wait_s=options["wait"])
    figures = session.write_report([path], None, target.say)
    if as_json:
        emit_json(figures)
    sys.exit(FINE if passed else BAD_ANSWER)


@load.command(short_help="Compare a run with what is stored.")
@click.argument("run", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--wait", default=30.0, show_default=True, type=_SECONDS, metavar="SECONDS", help=_WAIT)
@json_option("the verdict as one JSON object")
@at_place
def reconcile(place: Place, run: Path | None, wait: float, as_json: bool) -> None:
    """Compare RUN (a folder or file; the newest by default) with what is stored. Exit code 1 on any fault."""
    from weir.loadtest import load_packages, session
    from weir.loadtest.report import summary

    load_packages.require()
    target = load_target(place, comments(as_json=as_json))
    path = run or session.latest(target.folder)
    passed = session.reconcile(target, path, wait_s=wait)
    if as_json:
        _, observed = summary.load(path)
        emit_json((observed or {})["verdict"])
    sys.exit(FINE if passed else BAD_ANSWER)


@load.command(short_help="Write page, plots and JSON of one run or two.")
@click.argument("runs", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[RUN]...")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Where to write them.")
@json_option("the figures as one JSON object")
def report(runs: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Write a page, plots and JSON of one run (the newest by default), or of two side by side."""
    from weir.loadtest import load_packages, session

    load_packages.require()
    if len(runs) > 2:
        raise click.UsageError("Name one run, or two to compare.")
    paths = list(runs) or [session.latest(project.home() / "load")]
    figures = session.write_report(paths, out, comments(as_json=as_json))
    if as_json:
        emit_json(figures)


@load.command(short_help="Measure gateway, consumption and driver.")
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Measure N times and take medians.",
)
@click.option(
    "--seconds", default=8.0, show_default=True, type=Number(1), metavar="SECONDS", help="Length of each measurement."
)
@click.option(
    "--connections", default=16, show_default=True, type=click.IntRange(1), metavar="N", help="Senders at once."
)
@click.option(
    "--sustain",
    default=60.0,
    show_default=True,
    type=_SECONDS,
    metavar="SECONDS",
    help="Length of the run that consumption must follow; 0: none.",
)
@json_option("the figures as one JSON array")
@at_place
def figures(place: Place, rounds: int, seconds: float, connections: int, sustain: float, as_json: bool) -> None:
    """Measure what is promised: gateway against bare engine, consumption, driver. Exit code 1 if one is missed."""
    from dataclasses import asdict

    from weir.loadtest import load_packages
    from weir.loadtest.bench import figures as measuring

    load_packages.require()
    target = load_target(place, comments(as_json=as_json))
    found = measuring.measure(target, rounds=rounds, seconds=seconds, connections=connections)
    accepted = next(one.value for one in found if one.name == "accepted webhooks/s")
    if sustain:
        found += measuring.consumption(target, accepted / 2, sustain)
    if as_json:
        emit_json([asdict(one) for one in found])
    else:
        emit_lines(measuring.lines(found))
    sys.exit(FINE if all(one.met for one in found) else BAD_ANSWER)


@load.command(short_help="Break a stack of its own in every way, and judge it.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "listed", is_flag=True, help="List the scenarios.")
@click.option("--scale", default=1.0, show_default=True, type=Number(0.5), metavar="FACTOR", help="Stretch all times.")
@click.option(
    "--rate",
    default=10.0,
    show_default=True,
    type=Number(0.1),
    metavar="N",
    help="Requests a second, with --at localstack or --at aws.",
)
@click.option("--keep", type=click.Path(path_type=Path), metavar="FOLDER", help="Keep the state of the stack here.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the matrix as JSON."
)
@json_option("the matrix as one JSON object; with --list, JSON Lines")
@place_options
def faults(names: tuple[str, ...], listed: bool, out: Path | None, as_json: bool, **options: Any) -> None:
    """Break a stack of its own in the ways named (all by default), and judge it.

    Exit code 1 if a promise is broken or kept late.
    With --at localstack or --at aws: the scenarios that need no process of the stack, there.
    """
    from weir.loadtest import load_packages
    from weir.loadtest.faults import fault_runner

    if listed:
        _list_scenarios(as_json=as_json)
        return
    load_packages.require()
    say = comments(as_json=as_json)
    endings = _play(names, say, **options)
    if out:
        fault_runner.write(out, endings)
    failed = [ending.name for ending in endings if not ending.passed]
    if as_json:
        emit_json(fault_runner.document(endings))
    else:
        ending = f"; FAILED: {', '.join(failed)}" if failed else ""
        emit(f"{len(endings) - len(failed)} of {len(endings)} passed{ending}")
    sys.exit(BAD_ANSWER if failed else FINE)


def _list_scenarios(*, as_json: bool) -> None:
    from weir.loadtest.faults import fault_runner  # noqa: F401 - with it, all scenarios are registered
    from weir.loadtest.faults.scenario import SCENARIOS

    for scenario in SCENARIOS.values():
        if as_json:
            emit_json({"name": scenario.name, "claim": scenario.claim})
        else:
            emit(f"{scenario.name:24} {scenario.claim}")


def _play(
    names: tuple[str, ...],
    say: Callable[[str], None],
    *,
    scale: float,
    rate: float,
    keep: Path | None,
    at: str | None,
    endpoint: str | None,
    stack: str | None,
    env: str | None,
) -> list[Ending]:
    """Run scenarios on a stack of their own, or where one runs already."""
    from weir.loadtest.faults import fault_runner

    if at not in {None, "embedded"} or endpoint:
        scenarios = fault_runner.chosen(names, anywhere=True)
        target = load_target(choose_place(at, endpoint, stack, env), say)
        return fault_runner.run_elsewhere(scenarios, target, say, scale=scale, rate=rate)
    scenarios = fault_runner.chosen(names, anywhere=False)
    target_of = partial(embedded_target, say=say)
    return fault_runner.run_embedded(scenarios, start_stack, target_of, say, scale=scale, keep=keep)


def _refuse_idle_options() -> None:
    """Raises: UsageError for an option beside one that already decides when to send, and for a speed of no trace."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    for one, others in _ALONE.items():
        if one in given and (idle := sorted(given & others)):
            raise click.UsageError(
                f"--{idle[0].removesuffix('_s')} has no effect beside --{one}, which decides when to send."
            )
    if "speed" in given and "trace" not in given:
        raise click.UsageError("--speed has no effect without --trace.")


def _mix(options: Mapping[str, Any]) -> Mix:
    from weir.loadtest.sending import mix, profiles

    base = profiles.named(options["profile"]).mix if options["profile"] else mix.USUAL
    return base.of(
        sources=mix.parse_sources(options["mix"]) if options["mix"] is not None else None,
        sizes=mix.parse_sizes(options["sizes"]) if options["sizes"] is not None else None,
        duplicates=options["duplicates"],
        bad_signatures=options["bad_signatures"],
        oversized=options["oversized"],
        keyed=options["keyed"],
        hot=options["hot"],
        account_count=options["accounts"],
    )
