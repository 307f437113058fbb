"""A run on an account of AWS: what it would make is said and asked, then made, looked at, written down and removed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from tests.conformance import costs, leftovers, table
from tests.conformance.account import Account, AwsAccount, NotReadyError
from tests.conformance.aws import Clients, code_of
from tests.conformance.localstack import LocalStack
from tests.conformance.run import Outcome, run_each, shown_in
from tests.conformance.scenarios import CANNOT, Scenario, load
from weir.infra.place import EMBEDDED_ACCOUNT, REGION

# 1: something differs without a reason, broke or was not removed. 2: nothing was made.
COMPLAINTS, NOT_BEGUN, INTERRUPTED = 1, 2, 130
_HELD = "they are left alone; what a killed one left is removed once it shows no life"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for; with an ``endpoint`` it is a rehearsal."""

    endpoint: str | None = None
    yes: bool = False
    hasty: bool = False
    only: tuple[str, ...] = ()
    results: Path | None = None
    page: Path | None = None


class NoAccountError(Exception):
    """There is no account to work on; the text is the one line that says why."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose account it is."""

    clients: Clients
    account: str
    arn: str


def run(asked: Asked) -> int:
    """Run the scenarios on an account and write down what was seen. Returns an exit code."""
    try:
        caller = _caller(asked)
        account = _account(asked, caller)
        scenarios = shown_in(account, [each for each in load().values() if not asked.only or each.name in asked.only])
        found = leftovers.find(caller.clients)
        if found:
            _say(f"There is something of other runs: watching for signs of life, {account.waits.silence_s:.0f} s ...")
        dead = leftovers.dead(caller.clients, leftovers.prefixes_in(found, caller.clients.region), account.waits)
        _say(*_plan(caller, account, scenarios, found, dead))
    except (NoAccountError, BotoCoreError, ClientError) as error:
        return _not_begun(error)
    if not asked.yes and not _agreed():
        _say("Nothing was made.")
        return NOT_BEGUN
    try:
        if left := leftovers.remove(caller.clients, dead, account.waits):
            raise NotReadyError(f"not removed: {'; '.join(left)}")
    except (NotReadyError, BotoCoreError, ClientError) as error:
        return _not_begun(error)
    return _Run(asked, account, scenarios).run()


def clean(asked: Asked) -> int:
    """Remove what runs have left that show no life. Returns an exit code."""
    try:
        caller = _caller(asked)
        waits = _account(asked, caller).waits
        found = leftovers.find(caller.clients)
        prefixes = leftovers.prefixes_in(found, caller.clients.region)
        if not found:
            _say(f"No run has left anything in {_where(caller)}.")
            return 0
        _say(f"In {_where(caller)}:", *(f"  {one}" for one in found))
        _say(f"watching for signs of life, {waits.silence_s:.0f} s ...")
        dead = leftovers.dead(caller.clients, prefixes, waits)
        if alive := sorted(set(prefixes) - set(dead)):
            _say(f"Runs that live: {', '.join(alive)}; {_HELD}.")
        left = leftovers.remove(caller.clients, dead, waits)
    except (NoAccountError, BotoCoreError, ClientError) as error:
        return _not_begun(error)
    _say(*(f"not removed: {one}" for one in left), *(f"removed all that begins with {one}" for one in dead if not left))
    return COMPLAINTS if left else 0


class _Run:
    """The scenarios on one account: what they brought is kept as it comes, since every minute of it is paid for."""

    def __init__(self, asked: Asked, account: Account, scenarios: list[Scenario]) -> None:
        self._asked = asked
        self._account = account
        self._scenarios = scenarios
        self._outcomes: dict[str, Outcome] = {}

    def run(self) -> int:
        code = 0
        try:
            asyncio.run(self._run_each())
        except (KeyboardInterrupt, asyncio.CancelledError):
            _say("Interrupted.")
            code = INTERRUPTED
        except (NotReadyError, BotoCoreError, ClientError) as error:
            _say(f"{type(error).__name__}: {error}", "What is left of the run goes by `make conformance-clean AT=aws`.")
            code = COMPLAINTS
        ran = [each for each in self._scenarios if each.name in self._outcomes]
        found = [self._outcomes[each.name].complaint(self._account, each) for each in ran]
        complaints = [complaint for complaint in found if complaint]
        _say(*complaints, self._summary(ran), *self._write())
        return code or (COMPLAINTS if complaints or len(ran) < len(self._scenarios) else 0)

    async def _run_each(self) -> None:
        # Ctrl-C cancels the task already; who stops a job sends SIGTERM, who closes a terminal SIGHUP.
        task = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, lambda: task and task.cancel())
        await run_each(self._account, self._scenarios, self._report)

    def _report(self, scenario: Scenario, outcome: Outcome) -> None:
        self._outcomes[scenario.name] = outcome
        count = f"{len(self._outcomes)}/{len(self._scenarios)}"
        _say(f"{count:>7}  {_verdict(scenario, outcome):15}  {scenario.name} ({outcome.took_s:.0f} s)")

    def _summary(self, ran: list[Scenario]) -> str:
        counts = Counter(_verdict(each, self._outcomes[each.name]) for each in ran)
        counts["not run"] = len(self._scenarios) - len(ran)
        return ", ".join(f"{verdict}: {count}" for verdict, count in counts.most_common() if count)

    def _write(self) -> Iterator[str]:
        """Write down what was seen, of a rehearsal only where a folder is given; say where."""
        observed = {name: outcome.observed for name, outcome in self._outcomes.items() if outcome.observed is not None}
        results, page = self._asked.results, self._asked.page
        if not self._asked.endpoint:
            results, page = results or table.RESULTS, page or table.PUBLISHED
        if not observed or results is None:
            return
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        seen = table.record_on_aws(table.AwsRun(today, self._account.clients.region, observed), results)
        yield f"wrote {results / table.AWS}.json"
        if page is not None:
            table.publish(table.recorded(), seen, page)
            yield from table.complaints(table.recorded()) or [f"wrote {page}"]


def _caller(asked: Asked) -> Caller:
    """Find out whose account it is. Raises: NoAccountError, and what boto3 raises for credentials that do not work."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    set_ = [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")]
    if set_ and not asked.endpoint:
        raise NoAccountError(f"{', '.join(set_)} is set, so this might not be AWS. Unset it, or name it as ENDPOINT=.")
    session = boto3.Session(region_name=region or (REGION if asked.endpoint else None))
    if session.get_credentials() is None:
        raise NoCredentialsError
    if not session.region_name:
        raise NoAccountError("No AWS Region is set. Set AWS_REGION, or `region` in your AWS profile.")
    clients = Clients(session, asked.endpoint)
    who = clients("sts").get_caller_identity()
    if who["Account"] == EMBEDDED_ACCOUNT and not asked.endpoint:
        raise NoAccountError("This is an emulator, not AWS. Name its address as ENDPOINT= for a rehearsal.")
    return Caller(clients, who["Account"], who["Arn"])


def _account(asked: Asked, caller: Caller) -> Account:
    account = AwsAccount(caller.clients, account=caller.account, say=_say)
    if asked.endpoint:
        # What is known of LocalStack is expected of it in a rehearsal, too.
        account.name = LocalStack.name
    if asked.hasty:
        account.waits, account.limit_s = LocalStack.waits, LocalStack.limit_s
    return account


def _plan(
    caller: Caller, account: Account, scenarios: list[Scenario], found: list[leftovers.Left], dead: list[str]
) -> Iterator[str]:
    """Yield what would be made, where, and what it costs at most."""
    bill, minutes = costs.at_most(scenarios), AwsAccount.limit_s / 60
    usd = sum(part.usd for part in bill)
    role = caller.clients("apigateway").get_account().get("cloudwatchRoleArn")
    alive = sorted(set(leftovers.prefixes_in(found, caller.clients.region)) - set(dead))
    yield f"account  {_where(caller)}, as {caller.arn}"
    yield f"makes    what begins with {account.prefix} and has the tag {leftovers.TAG}={account.run}:"
    yield "         a DynamoDB table, two roles that only API Gateway and Lambda can take, and what each scenario needs"
    yield "         of a REST API that anyone can call, a stream of 1 to 3 shards, a function, a mapping, a bucket, a"
    yield "         queue, a topic and a log group"
    yield f"runs     {len(scenarios)} of {len(load())} scenarios, up to {account.at_once} at a time"
    yield f"logs     {_about_logs(role)}"
    yield "removes  all of it in the end, after Ctrl-C, too; what a killed run leaves, the next run does,"
    yield "         or `make conformance-clean AT=aws`"
    if gone := [one for one in found if any(one.name.startswith(prefix) for prefix in dead)]:
        yield f"         and first what killed runs have left: {', '.join(map(str, gone))}"
    if alive:
        yield f"         not what runs have made that live: {', '.join(alive)}"
    yield f"takes    {'about an hour' if len(scenarios) > account.at_once else 'some minutes'}"
    yield f"costs    {usd:.2f} USD at most, by list prices of us-east-1 in infra/prices.yaml and"
    yield f"         without data transfer: every scenario {account.tries} times for {minutes:.0f} minutes, every"
    yield "         shard for a whole hour"
    for part in bill:
        yield f"         {part.usd:7.2f}  {part.what}"


def _about_logs(role: str | None) -> str:
    if role:
        return f"as {role}, which stays what API Gateway has for logs"
    return "API Gateway has no role for logs in this account: it gets one, if a scenario logs, until the run ends"


def _agreed() -> bool:
    sys.stdout.write("Make it? [y/N] ")
    sys.stdout.flush()
    answer = sys.stdin.readline()  # nothing at all where no person can answer
    if not answer:
        _say("", "YES=1 says yes where no person can.")
    return answer.strip().lower() in {"y", "yes"}


def _verdict(scenario: Scenario, outcome: Outcome) -> str:
    if outcome.observed is None:
        return "broke"
    if CANNOT in outcome.observed:
        return "cannot be shown"
    return "differs" if scenario.differs(outcome.observed) else "as documented"


def _where(caller: Caller) -> str:
    where = f"{caller.account}, {caller.clients.region}"
    return f"{where} at {caller.clients.endpoint} (a rehearsal)" if caller.clients.endpoint else where


def _not_begun(error: Exception) -> int:
    if isinstance(error, NoCredentialsError):
        text = "No AWS credentials. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    elif isinstance(error, ClientError) and code_of(error) in {"ExpiredToken", "InvalidClientTokenId"}:
        text = f"AWS does not take these credentials: {error}"
    else:
        text = str(error)
    sys.stderr.write(f"{' '.join(text.split())} Nothing was made.\n")
    return NOT_BEGUN


def _say(*lines: str) -> None:
    # A terminal that is gone must not keep anything from being removed.
    with contextlib.suppress(OSError):
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
