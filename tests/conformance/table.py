"""The published table: ``python -m tests.conformance.table`` writes docs/conformance.md from the recorded results."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.conformance.account import AwsAccount
from tests.conformance.embedded import Embedded
from tests.conformance.localstack import LocalStack
from tests.conformance.patches import PATCHES
from tests.conformance.scenarios import CANNOT, SECTIONS, UNDOCUMENTED, Observation, Scenario, load

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "conformance.md"
RESULTS = Path(__file__).with_name("results")
ADOPT = "python -m tests.conformance.table"
EMULATORS = (Embedded, LocalStack)
PLACES = (*EMULATORS, AwsAccount)
AWS = AwsAccount.name
TITLES = {"embedded": "Embedded", "localstack": "LocalStack", AWS: "AWS"}

_SAYING = (
    "What AWS documents of API Gateway's integration and of the Kinesis event source mapping, as {count} scenarios "
    "that run against each stand-in for AWS, and against an account of AWS when somebody gives one. A difference is a "
    "row here with its reason; a difference without one fails the tests, and so does a reason whose difference is "
    "gone. Where AWS does not say what happens, what each one does is shown."
)
_NOT_SEEN = "- **AWS** itself has not been looked at yet: `make conformance AT=aws` does that, and adds its column."
_NO_REASON = "AWS does otherwise than its page says, or than that is read here."

_SAYING_OF_PATCHES = (
    "`infra/localstack/start.d` changes LocalStack where it differs from AWS in what the product's definition needs. "
    "`tests/conformance/test_patches.py` starts it without each; then these scenarios fail, and "
    "no others of this table."
)

Results = Mapping[str, Mapping[str, Observation]]


@dataclass(frozen=True)
class AwsRun:
    """What was observed on AWS, by scenario; ``date`` and ``region`` are those of the last run, which may be a part."""

    date: str
    region: str
    observed: Mapping[str, Observation]


def recorded() -> dict[str, dict[str, Observation]]:
    """Return what each emulator's last whole run observed, by emulator and scenario."""
    return {emulator.name: json.loads(_file(emulator.name).read_text(encoding="utf-8")) for emulator in EMULATORS}


def record(emulator: str, observations: Mapping[str, Observation]) -> None:
    """Keep what a whole run observed."""
    _write(_file(emulator), observations)


def recorded_on_aws(folder: Path = RESULTS) -> AwsRun | None:
    """Return what was observed on AWS; None before the first run."""
    path = folder / f"{AWS}.json"
    return AwsRun(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def record_on_aws(run: AwsRun, folder: Path = RESULTS) -> AwsRun:
    """Keep what a run on AWS observed, beside what earlier ones did of other scenarios; return all of it."""
    before = recorded_on_aws(folder)
    observed = {**(before.observed if before else {}), **run.observed}
    known = load()
    whole = AwsRun(run.date, run.region, {name: each for name, each in observed.items() if name in known})
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{AWS}.json", asdict(whole))
    return whole


def complaints(results: Results) -> list[str]:
    """Say what keeps recorded results from being published."""
    found = []
    for each in load().values():
        for place, observations in results.items():
            if place in each.cannot:
                continue
            if each.name not in observations:
                if place != AWS:  # where a run may be a part
                    found.append(f"{each.name}: no result of {place}; run the conformance tests there")
            elif complaint := each.complaint(place, observations[each.name]):
                found.append(f"{each.name}: {complaint}")
    return found


def publish(emulators: Results, aws: AwsRun | None, page: Path = PUBLISHED) -> list[str]:
    """Write the page, unless the emulators' results cannot be published; return what complaints there are.

    What AWS does is published in any case: where it is not as documented here, here is what must change.
    """
    if found := complaints(emulators):
        return found
    page.write_text(render(emulators, aws), encoding="utf-8")
    return complaints({AWS: aws.observed}) if aws else []


def render(emulators: Results, aws: AwsRun | None) -> str:
    """Return the published page."""
    scenarios = list(load().values())
    results = {**emulators, AWS: aws.observed} if aws else emulators
    parts = [_introduction(scenarios, results, aws)]
    for section in SECTIONS:
        of_section = [each for each in scenarios if each.section == section]
        rows = [each for each in of_section if _is_difference(each, results)]
        parts += [f"## {section}: differences", "", _differences(rows, results), ""]
        rest = [each for each in of_section if each not in rows]
        parts += [f"## {section}: as documented in all", "", _agreements(rest), ""]
    parts += ["## The fixes of LocalStack, each turned off", "", _patches(), ""]
    return "\n".join(parts).rstrip() + "\n"


def _file(emulator: str) -> Path:
    return RESULTS / f"{emulator}.json"


def _write(path: Path, document: Any) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _verdict(each: Scenario, place: str, results: Results) -> str:
    observed = results[place].get(each.name)
    if place in each.cannot or (observed and CANNOT in observed):
        return "cannot be shown"
    if observed is None:
        return "not run"
    return "differs" if each.differs(observed) else "as documented"


def _is_difference(each: Scenario, results: Results) -> bool:
    verdicts = {place: _verdict(each, place, results) for place in results}
    if {"differs", "cannot be shown"} & set(verdicts.values()):
        return True
    open_questions = [name for name, value in each.expected.items() if value == UNDOCUMENTED]
    ran = [results[place][each.name] for place, verdict in verdicts.items() if verdict != "not run"]
    seen = [[observed.get(name) for name in open_questions] for observed in ran]
    return any(values != seen[0] for values in seen)


def _introduction(scenarios: list[Scenario], results: Results, aws: AwsRun | None) -> str:
    on_aws = (
        f"- **AWS** is {AwsAccount.about} in {aws.region}, last looked at on {aws.date} (`make conformance AT=aws`)."
        if aws
        else _NOT_SEEN
    )
    lines = [
        "# Conformance",
        "",
        f"<!-- Written by `{ADOPT}` from what tests/conformance observed. Edit the scenarios, not this. -->",
        "",
        _SAYING.format(count=len(scenarios)),
        "",
        *(f"- **{TITLES[emulator.name]}** is {emulator.about}." for emulator in EMULATORS),
        on_aws,
        "",
        "| | as documented | differs | cannot be shown |",
        "| --- | ---: | ---: | ---: |",
    ]
    for section in SECTIONS:
        for place in results:
            verdicts = [_verdict(each, place, results) for each in scenarios if each.section == section]
            counts = [verdicts.count(word) for word in ("as documented", "differs", "cannot be shown")]
            lines.append(f"| {section}, {TITLES[place]} | {' | '.join(map(str, counts))} |")
    return "\n".join([*lines, ""])


def _differences(rows: list[Scenario], results: Results) -> str:
    heads = " | ".join(TITLES[place] for place in results)
    lines = [
        f"| Scenario | AWS documents | {heads} | Reason | Page |",
        "| --- | --- |" + " --- |" * len(results) + " --- | --- |",
    ]
    for each in rows:
        cells = [_cell(each, place, results) for place in results]
        why = "<br>".join(map(_text, _reasons(each, results))) or "AWS does not say."
        lines.append(f"| {each.name} | {_text(each.documents)} | {' | '.join(cells)} | {why} | [page]({each.page}) |")
    return "\n".join(lines)


def _reasons(each: Scenario, results: Results) -> Iterable[str]:
    for place in results:
        verdict = _verdict(each, place, results)
        if place in each.known or place in each.cannot:
            yield {**each.known, **each.cannot}[place]
        elif verdict == "cannot be shown":
            yield str(results[place][each.name][CANNOT])
        elif verdict == "differs":
            yield _NO_REASON


def _agreements(rows: list[Scenario]) -> str:
    lines = ["| Scenario | AWS documents | Page |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| {each.name} | {_text(each.documents)} | [page]({each.page}) |" for each in rows])


def _patches() -> str:
    lines = [
        _SAYING_OF_PATCHES,
        "",
        "| Fix | LocalStack without it | AWS | Scenarios that need it | AWS |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, each in PATCHES.items():
        needed = "<br>".join(each.scenarios)
        lines.append(f"| `{name}` | {each.localstack} | {each.aws} | {needed} | [page]({each.page}) |")
    return "\n".join(lines)


def _cell(each: Scenario, place: str, results: Results) -> str:
    if (verdict := _verdict(each, place, results)) in {"cannot be shown", "not run"}:
        return verdict
    observed = results[place][each.name]
    if "refused" in observed:
        return _text(observed["refused"])
    shown: dict[str, Any] = dict(each.differs(observed))
    shown |= {name: observed.get(name) for name, value in each.expected.items() if value == UNDOCUMENTED}
    pairs = [f"{name}: {_code(value)}" for name, value in shown.items()]
    if not each.differs(observed):
        pairs.insert(0, "as documented")
    return "<br>".join(pairs)


def _code(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _text(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page, unless the results cannot be published."""
    if found := publish(recorded(), recorded_on_aws()):
        sys.stderr.write("\n".join([*found, ""]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
