"""The stack that is billed: what the template makes with these parameters, and what the project's sources ask of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from weir.infra import synth, template
from weir.infra.business import Business
from weir.infra.cost import HOURS
from weir.infra.template import Resource
from weir.ingest.contract import routes
from weir.ingest.errors import ParameterInvalid
from weir.ingest.sources.catalogue import SSM, Catalogue, Source
from weir.ingest.sources.identity import identity_of

# What the parameters of a deployment are before there is one.
_DEPLOYED = {"ArtifactBucket": "-", "ApiDefinitionKey": "-", "FunctionKey": "-"}
_ACCOUNT = "000000000000"
# The method of a path that answers everything else with 405: only who scans the Internet asks it.
_ANY_METHOD = "x-amazon-apigateway-any-method"
# What a sender is answered, without the head.
_ANSWER_BYTES = len('{"id":"HhQbcGzSoAMEZ7Q="}')

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_UNIT_HOURS = {"minute": 1 / 60, "hour": 1.0, "day": 24.0}
_CRON = re.compile(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)")
_MONTH_DAYS = HOURS / 24


@dataclass(frozen=True, slots=True)
class BilledStack:
    """What exists of the template, by logical id, and facts of the sources.

    Shares are of all deliveries, spread evenly over the sources: ``by_digest`` of those whose mark is a digest, so that
    an index has them, ``by_function`` of those that the handshake function stores. ``methods`` counts the methods of
    all paths that deliveries and questions use, ``answer_bytes`` is what a sender is answered on average, without the
    head. ``parameter_secrets`` counts the sources with a secret in Parameter Store, ``managed_secrets`` the secrets in
    Secrets Manager, ``tables`` those of the business code, ``metrics`` those that the functions publish for the stack.
    """

    resources: Mapping[str, Resource]
    parameters: Mapping[str, str]
    methods: int
    answer_bytes: float
    by_digest: float
    by_function: float
    parameter_secrets: int
    managed_secrets: int
    silent_sources: int
    tables: int
    metrics: int
    kept_days: int

    @classmethod
    def of(
        cls, catalogue: Catalogue, business: Business, given: Mapping[str, str], *, region: str, metrics: int
    ) -> BilledStack:
        """Return the stack of a project. Raises: ParameterInvalid, TableInvalid, CatalogueInvalid."""
        definition = routes.api_definition(catalogue, {})
        silent = synth.silent_hours(catalogue)
        ready = template.prepare(
            template.load(),
            routes.render(definition),
            synth.throttles(catalogue),
            synth.readers(catalogue),
            business.tables,
            silent_hours=silent,
        )
        asked = synth.sources_parameters(catalogue, partition="aws", region=region, account=_ACCOUNT)
        values = template.parameters(ready, {**_DEPLOYED, **asked, **given})
        sources = list(catalogue.values())
        return cls(
            template.outline(ready, values, region=region),
            values,
            methods=sum(len(path.keys() - {_ANY_METHOD, "parameters"}) for path in definition["paths"].values()),
            answer_bytes=_mean(len(one.ack.body) if one.ack else _ANSWER_BYTES for one in sources),
            by_digest=_mean(map(_is_by_digest, sources)),
            by_function=_mean("POST" in one.methods_by_function for one in sources),
            parameter_secrets=sum(one.secret == SSM for one in sources),
            managed_secrets=len({one.secret for one in sources if one.secret != SSM}),
            silent_sources=len(silent),
            tables=len(business.tables),
            metrics=metrics,
            kept_days=max((one.dedupe_days for one in sources), default=1),
        )

    def of_type(self, kind: str) -> dict[str, Resource]:
        """Return the resources of one type, by logical id."""
        return {logical_id: one for logical_id, one in self.resources.items() if one.type == kind}

    def properties(self, logical_id: str) -> Mapping[str, Any]:
        """Return the properties of a resource; none if it does not exist."""
        found = self.resources.get(logical_id)
        return found.properties if found else {}

    def runs(self, function: str) -> float:
        """Return how often a month schedules start a function, given by its logical id. Raises: ParameterInvalid."""
        rules = (one.properties for one in self.of_type("AWS::Events::Rule").values())
        starts = (rule for rule in rules if any(target["Arn"] == f"{function}.Arn" for target in rule["Targets"]))
        return sum(runs_a_month(rule["ScheduleExpression"]) for rule in starts)

    @property
    def has_archive(self) -> bool:
        """Tell whether Firehose archives the stream."""
        return self.parameters["ArchiveMode"] == "firehose"

    @property
    def is_on_demand(self) -> bool:
        """Tell whether the stream is paid by what goes through it."""
        return self.parameters["StreamMode"] == "ON_DEMAND"


def runs_a_month(expression: str) -> float:
    """Return how often a month a schedule of EventBridge starts something. Raises: ParameterInvalid if it is none."""
    if found := _RATE.fullmatch(expression):
        return HOURS / (int(found[1]) * _UNIT_HOURS[found[2]])
    if found := _CRON.fullmatch(expression):
        minutes, hours, days, months, weekdays, _ = found.groups()
        try:
            of_a_day = _count(minutes, 0, 59) * _count(hours, 0, 23)
            if weekdays not in {"*", "?"}:
                of_days = _days(weekdays, 7) * _MONTH_DAYS / 7
            else:
                of_days = _MONTH_DAYS if days in {"*", "?"} else _days(days, 31)
            return of_a_day * of_days * _count(months, 1, 12) / 12
        except ValueError:
            pass
    raise ParameterInvalid(
        f"{expression} is not a schedule whose runs can be counted: rate(1 hour), cron(0 * * * ? *)."
    )


def _days(field: str, last: int) -> float:
    """Return how many days a field names; one each for what counts from an end of the month: L, W, 6#3."""
    if any(sign in field for sign in "LW#"):
        return float(len(field.split(",")))
    return float(_count(field, 1, last))


def _count(field: str, first: int, last: int) -> int:
    """Return how many values a field of a cron expression has. Raises: ValueError."""
    return len(set(_values(field, first, last)))


def _values(field: str, first: int, last: int) -> Iterator[int]:
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span in {"*", "?"}:
            low, high = first, last
        else:
            begin, _, end = span.partition("-")
            low = _number(begin)
            high = _number(end) if end else (last if step else low)
        if not first <= low <= high <= last:
            raise ValueError(part)
        yield from range(low, high + 1, int(step or 1))


_NAMES = {
    name: number
    for names in (
        ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    )
    for number, name in enumerate(names, 1)
}


def _number(text: str) -> int:
    return _NAMES[text] if text in _NAMES else int(text)


def _is_by_digest(source: Source) -> bool:
    return any(identity_of(source, option).is_digest for option in source.scheme.options)


def _mean(values: Any) -> float:
    found = [float(value) for value in values]
    return sum(found) / len(found) if found else 0.0
