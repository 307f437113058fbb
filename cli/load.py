"""The commands of `weir load` and `weir bench consumer`: flags to functions and nothing more."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from weir.ingest.sources.catalogue import Catalogue
    from weir.loadtest.judging.stores import Place
    from weir.loadtest.sending.mix import Mix
    from weir.loadtest.session import Target


@dataclass(frozen=True, slots=True)
class Tools:
    """What the command line lends: where Weir runs, its sources, keys to sign with, where runs are kept, how to print.

    ``place`` takes ``--to``, ``--endpoint`` and ``--stack``; ``run_stack`` starts `weir run` with a folder, arguments
    and a file for what it says, and ``embedded`` takes that folder. Errors in a command of ``group`` become sentences.
    """

    group: type[click.Group]
    place: Callable[[str | None, str | None, str], Place]
    embedded: Callable[[Path], Place]
    catalogue: Callable[[], Catalogue]
    signing_keys: Callable[[Place], Mapping[str, str]]
    dictionary: Callable[[], bytes]
    folder: Callable[[], Path]
    run_stack: Callable[[Path, Sequence[str], Path], subprocess.Popen[bytes]]
    say: Callable[[str], None]


class _Number(click.FloatRange):
    """A number within bounds; not a number is in no bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


_WAIT = "Seconds without progress to wait for what is stored."
_SECONDS, _SHARE = _Number(0), _Number(0, 1)
# What says by itself when to send, and what would say it again.
_ALONE = {
    "trace": {"rate", "duration_s", "shape", "arrivals", "profile"},
    "profile": {"rate", "duration_s", "shape", "arrivals"},
}


def load_group(tools: Tools) -> click.Group:
    """Return the group of commands."""
    group = tools.group("load", help="Load and faults: attack, reconcile, report, figures, faults.")
    for add in (_attack, _reconcile, _report, _figures, _faults):
        add(group, tools)
    return group


def add_bench(main: click.Group, tools: Tools) -> None:
    """Add this room's command to the group of benchmarks, which other rooms have commands in, too."""
    group = main.commands.get("bench") or tools.group("bench", help="Figures, measured in one run.")
    if not isinstance(group, click.Group):
        raise TypeError(group)
    main.add_command(group)

    @group.command("consumer")
    @click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Of each, in turns; medians.")
    @click.option(
        "--batches", default=10, show_default=True, type=click.IntRange(1), help="Of 500 records, measured in a round."
    )
    @click.option("--powertools/--no-powertools", default=True, show_default=True, help="Compare with it, too.")
    @click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Keeps batches and Powertools.")
    @click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as JSON.")
    @click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
    def consumer(folder: Path | None, out: Path | None, powertools: bool, as_json: bool, **options: int) -> None:
        """Measure the handler against Powertools and a floor, side by side. Exit code 1 when a target is missed.

        The targets are for a quiet machine with two cores or more; nothing else has to run.
        """
        from weir.loadtest.bench import bench_consumer

        where = folder or tools.folder().parent / "bench"
        report = bench_consumer.run(
            where.absolute(), say=partial(click.echo, err=True), with_powertools=powertools, **options
        )
        text = json.dumps(report, indent=2)
        if out:
            out.write_text(text + "\n", encoding="utf-8")
        for line in [text] if as_json else bench_consumer.lines(report):
            tools.say(line)
        sys.exit(0 if bench_consumer.is_reached(report) else 1)


def _placed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where Weir runs."""
    for option in (
        click.option("--stack", default="weir", show_default=True, metavar="NAME", help="CloudFormation stack there."),
        click.option("--endpoint", metavar="URL", help="LocalStack's or another AWS endpoint's address."),
        click.option("--to", "to", type=click.Choice(["embedded", "localstack", "aws"]), help="Where Weir runs."),
    ):
        command = option(command)
    return command


def _target(tools: Tools, options: dict[str, Any]) -> Target:
    return _target_at(tools, tools.place(options.pop("to"), options.pop("endpoint"), options.pop("stack")))


def _target_at(tools: Tools, place: Place) -> Target:
    from weir.loadtest.session import Target

    keys = tools.signing_keys(place)
    return Target(place, tools.catalogue(), keys, tools.dictionary(), tools.folder(), tools.say)


def _attack(group: click.Group, tools: Tools) -> None:
    @group.command("attack")
    @_placed
    @_timed
    @_mixed
    @click.option("--connections", default=256, show_default=True, type=click.IntRange(1), help="At most at once.")
    @click.option("--workers", default=0, type=click.IntRange(0), help="Processes; 0: as many as the rate needs.")
    @click.option(
        "--patience",
        default=120.0,
        show_default=True,
        type=_SECONDS,
        help="Seconds a sender tries again after 429, 503.",
    )
    @click.option("--seed", default=1, show_default=True, help="Same seed, same requests.")
    @click.option("--wait", default=30.0, show_default=True, type=_SECONDS, help=_WAIT)
    @click.option("--attack-only", is_flag=True, help="Do not reconcile and report.")
    def attack(**options: Any) -> None:
        """Send at times fixed beforehand, then reconcile and report. Exit code 1 when a promise is broken.

        Ctrl-C ends the sending; what was sent is reconciled and reported.

        \b
        weir load attack --rate 500 --duration 60
        weir load attack --shape ramp --rate 50..1500 --mix stripe=4,payments=4,github=1 --duplicates 0.1
        weir load attack --profile five-minutes --to localstack
        weir load attack --trace .weir/load/NAME/results.jsonl --speed 2
        """
        from weir.loadtest import load_packages, session
        from weir.loadtest.sending.attack import Limits

        _refuse_what_has_no_effect()
        if not options["attack_only"]:
            load_packages.require()
        mix = _mix(options)
        target = _target(tools, options)
        limits = Limits(connections=options["connections"], patience_s=options["patience"])
        asked = session.Asked(*(options[name] for name in session.Asked.__slots__))
        timing = session.timing(asked, lambda: session.measure_capacity(target, mix))
        plan = target.plan(timing, mix, seed=options["seed"])
        path = session.attack(target, plan, limits, workers=options["workers"])
        if options["attack_only"]:
            tools.say(str(path))
            return
        passed = session.reconcile(target, path, wait_s=options["wait"])
        session.write_report([path], None, tools.say)
        sys.exit(0 if passed else 1)


def _reconcile(group: click.Group, tools: Tools) -> None:
    @group.command("reconcile")
    @click.argument("run", required=False, type=click.Path(exists=True, path_type=Path))
    @click.option("--wait", default=30.0, show_default=True, type=_SECONDS, help=_WAIT)
    @_placed
    def reconcile(run: Path | None, wait: float, **options: Any) -> None:
        """Compare RUN (a folder or file; the newest by default) with what is stored. Exit code 1 on any fault."""
        from weir.loadtest import load_packages, session

        load_packages.require()
        target = _target(tools, options)
        path = run or session.latest(tools.folder())
        sys.exit(0 if session.reconcile(target, path, wait_s=wait) else 1)


def _report(group: click.Group, tools: Tools) -> None:
    @group.command("report")
    @click.argument("runs", nargs=-1, type=click.Path(exists=True, path_type=Path))
    @click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the report.")
    @click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
    def report(runs: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
        """Write a page, plots and JSON of one run (the newest by default), or of two side by side."""
        from weir.loadtest import load_packages, session

        load_packages.require()
        if len(runs) > 2:
            raise click.UsageError("One run, or two to compare.")
        paths = list(runs) or [session.latest(tools.folder())]
        figures = session.write_report(paths, out, (lambda _: None) if as_json else tools.say)
        if as_json:
            tools.say(json.dumps(figures))


def _figures(group: click.Group, tools: Tools) -> None:
    @group.command("figures")
    @click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
    @click.option("--seconds", default=8.0, show_default=True, type=_Number(1), help="Of each measurement.")
    @click.option("--connections", default=16, show_default=True, type=click.IntRange(1))
    @click.option(
        "--sustain",
        default=60.0,
        show_default=True,
        type=_SECONDS,
        help="Seconds of the run that consumption must follow.",
    )
    @_placed
    def figures(rounds: int, seconds: float, connections: int, sustain: float, **options: Any) -> None:
        """Measure what is promised: gateway against bare engine, consumption, driver. Exit code 1 if one is missed."""
        from weir.loadtest import load_packages
        from weir.loadtest.bench import figures as measuring

        load_packages.require()
        target = _target(tools, options)
        found = measuring.measure(target, rounds=rounds, seconds=seconds, connections=connections)
        accepted = next(one.value for one in found if one.name == "accepted webhooks/s")
        if sustain:
            found += measuring.consumption(target, accepted / 2, sustain)
        for line in measuring.lines(found):
            tools.say(line)
        sys.exit(0 if all(one.met for one in found) else 1)


def _faults(group: click.Group, tools: Tools) -> None:
    @group.command("faults")
    @click.argument("names", nargs=-1, metavar="[NAME]...")
    @click.option("--list", "listed", is_flag=True, help="List the scenarios.")
    @click.option("--scale", default=1.0, show_default=True, type=_Number(0.5), help="Stretch all times.")
    @click.option("--rate", default=10.0, show_default=True, type=_Number(0.1), help="Requests a second, with --to.")
    @click.option("--keep", type=click.Path(path_type=Path), help="Folder of the stack to break; kept afterwards.")
    @click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the matrix as JSON.")
    @_placed
    def faults(names: tuple[str, ...], listed: bool, **options: Any) -> None:
        """Break a stack of its own in the ways named (all by default), and judge it. Exit code 1 if it breaks."""
        from weir.loadtest import load_packages
        from weir.loadtest.faults import fault_runner
        from weir.loadtest.faults.scenario import SCENARIOS

        if listed:
            for scenario in SCENARIOS.values():
                tools.say(f"{scenario.name:24} {scenario.claim}")
            return
        load_packages.require()
        to, scale = options["to"], options["scale"]
        if to not in {None, "embedded"} or options["endpoint"]:
            scenarios = fault_runner.chosen(names, anywhere=True)
            target = _target(tools, options)
            endings = fault_runner.play_elsewhere(scenarios, target, tools.say, scale=scale, rate=options["rate"])
        else:
            scenarios = fault_runner.chosen(names, anywhere=False)
            keep = options["keep"]
            endings = fault_runner.play_embedded(
                scenarios, tools.run_stack, _rig_target(tools), tools.say, scale=scale, keep=keep
            )
        if options["out"]:
            fault_runner.write(options["out"], endings)
        failed = [ending.name for ending in endings if not ending.passed]
        tools.say(
            f"{len(endings) - len(failed)} of {len(endings)} passed"
            + (f"; FAILED: {', '.join(failed)}" if failed else "")
        )
        sys.exit(1 if failed else 0)


def _rig_target(tools: Tools) -> Callable[[Path], Target]:
    """Return how to reach a stack by its folder, with its runs kept in that folder."""
    from dataclasses import replace

    return lambda home: replace(_target_at(tools, tools.embedded(home)), folder=home / "load")


def _timed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of when to send."""
    for option in (
        click.option("--profile", type=click.Choice(["smoke", "five-minutes", "nightly"]), help="A named load."),
        click.option("--speed", default=1.0, show_default=True, type=_Number(0.001), help="With --trace."),
        click.option("--trace", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Recorded times."),
        click.option("--arrivals", type=click.Choice(["poisson", "even"]), default="poisson", show_default=True),
        click.option("--shape", type=click.Choice(["constant", "ramp", "spike", "soak"]), default="constant"),
        click.option("--duration", "duration_s", default=30.0, show_default=True, type=_SECONDS, metavar="SECONDS"),
        click.option("--rate", default="auto", show_default=True, help="500, 100..2000, or half of what is taken."),
    ):
        command = option(command)
    return command


def _refuse_what_has_no_effect() -> None:
    """Raises: UsageError for an option beside one that already says when to send, and for a speed of no trace."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    for one, others in _ALONE.items():
        if one in given and (idle := sorted(given & others)):
            raise click.UsageError(
                f"--{idle[0].removesuffix('_s')} has no effect beside --{one}, which says when to send."
            )
    if "speed" in given and "trace" not in given:
        raise click.UsageError("--speed has no effect without --trace.")


def _mixed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of what to send."""
    for option in (
        click.option("--accounts", type=click.IntRange(1), help="Accounts that money moves on."),
        click.option("--hot", type=_SHARE, help="Share of requests to four hot keys."),
        click.option("--keyed", type=_SHARE, help="Share of requests with an ordering key."),
        click.option("--oversized", type=_SHARE, help="Share of bodies larger than a record."),
        click.option("--bad-signatures", type=_SHARE, help="Share of forged deliveries."),
        click.option("--duplicates", type=_SHARE, help="Share of deliveries sent again."),
        click.option("--sizes", help="Body sizes and weights: 1k:70,8k:25,64k:5."),
        click.option("--mix", help="Sources and weights: stripe=4,github=1. All that have a secret by default."),
    ):
        command = option(command)
    return command


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
