"""The published table: ``python -m tests.conformance.table`` writes docs/conformance.md from the recorded results."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conformance.embedded import Embedded
from tests.conformance.localstack import LocalStack
from tests.conformance.patches import PATCHES
from tests.conformance.scenarios import SECTIONS, UNDOCUMENTED, Observation, Scenario, load

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "conformance.md"
RESULTS = Path(__file__).with_name("results")
ADOPT = "python -m tests.conformance.table"
EMULATORS = (Embedded, LocalStack)
TITLES = {"embedded": "Embedded", "localstack": "LocalStack"}

_SAYING = (
    "What AWS documents of API Gateway's integration and of the Kinesis event source mapping, as {count} scenarios "
    "that run against each stand-in for AWS. A difference is a row here with its reason; a difference without one "
    "fails the tests, and so does a reason whose difference is gone. Where AWS does not say what happens, what each "
    "one does is shown."
)

_SAYING_OF_PATCHES = (
    "`infra/localstack/start.d` changes LocalStack where it differs from AWS in what the product's definition needs. "
    "`tests/conformance/test_patches.py` starts it without each; then these scenarios fail, and no others."
)

Results = Mapping[str, Mapping[str, Observation]]


def recorded() -> dict[str, dict[str, Observation]]:
    """Return what each emulator's last whole run observed, by emulator and scenario."""
    return {emulator.name: json.loads(_file(emulator.name).read_text(encoding="utf-8")) for emulator in EMULATORS}


def record(emulator: str, observations: Mapping[str, Observation]) -> None:
    """Keep what a whole run observed."""
    text = json.dumps(observations, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if not _file(emulator).exists() or _file(emulator).read_text(encoding="utf-8") != text:
        _file(emulator).write_text(text, encoding="utf-8")


def complaints(results: Results) -> list[str]:
    """Say what keeps recorded results from being published."""
    found = []
    for each in load().values():
        for emulator, observations in results.items():
            if emulator in each.cannot:
                continue
            if each.name not in observations:
                found.append(f"{each.name}: no result of {emulator}; run the conformance tests there")
            elif complaint := each.complaint(emulator, observations[each.name]):
                found.append(f"{each.name}: {complaint}")
    return found


def render(results: Results) -> str:
    """Return the published page."""
    scenarios = list(load().values())
    parts = [_introduction(scenarios, results)]
    for section in SECTIONS:
        of_section = [each for each in scenarios if each.section == section]
        rows = [each for each in of_section if _is_difference(each, results)]
        parts += [f"## {section}: differences", "", _differences(rows, results), ""]
        rest = [each for each in of_section if each not in rows]
        parts += [f"## {section}: as documented in both", "", _agreements(rest), ""]
    parts += ["## The fixes of LocalStack, each turned off", "", _patches(), ""]
    return "\n".join(parts).rstrip() + "\n"


def _file(emulator: str) -> Path:
    return RESULTS / f"{emulator}.json"


def _verdict(each: Scenario, emulator: str, results: Results) -> str:
    if emulator in each.cannot:
        return "cannot be shown"
    return "differs" if each.differs(results[emulator][each.name]) else "as documented"


def _is_difference(each: Scenario, results: Results) -> bool:
    if any(_verdict(each, emulator, results) != "as documented" for emulator in results):
        return True
    open_questions = [name for name, value in each.expected.items() if value == UNDOCUMENTED]
    seen = [[observations[each.name].get(name) for name in open_questions] for observations in results.values()]
    return any(values != seen[0] for values in seen)


def _introduction(scenarios: list[Scenario], results: Results) -> str:
    lines = [
        "# Conformance",
        "",
        f"<!-- Written by `{ADOPT}` from what tests/conformance observed. Edit the scenarios, not this. -->",
        "",
        _SAYING.format(count=len(scenarios)),
        "",
        *(f"- **{TITLES[emulator.name]}** is {emulator.about}." for emulator in EMULATORS),
        "",
        "| | as documented | differs | cannot be shown |",
        "| --- | ---: | ---: | ---: |",
    ]
    for section in SECTIONS:
        for emulator in results:
            verdicts = [_verdict(each, emulator, results) for each in scenarios if each.section == section]
            counts = [verdicts.count(word) for word in ("as documented", "differs", "cannot be shown")]
            lines.append(f"| {section}, {TITLES[emulator]} | {' | '.join(map(str, counts))} |")
    return "\n".join([*lines, ""])


def _differences(rows: list[Scenario], results: Results) -> str:
    heads = " | ".join(TITLES[emulator] for emulator in results)
    lines = [
        f"| Scenario | AWS documents | {heads} | Reason | AWS |",
        "| --- | --- |" + " --- |" * len(results) + " --- | --- |",
    ]
    for each in rows:
        cells = [_cell(each, emulator, results) for emulator in results]
        reasons = {**each.known, **each.cannot}
        why = (
            "<br>".join(_text(reasons[emulator]) for emulator in results if emulator in reasons) or "AWS does not say."
        )
        lines.append(f"| {each.name} | {_text(each.documents)} | {' | '.join(cells)} | {why} | [page]({each.page}) |")
    return "\n".join(lines)


def _agreements(rows: list[Scenario]) -> str:
    lines = ["| Scenario | AWS documents | AWS |", "| --- | --- | --- |"]
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


def _cell(each: Scenario, emulator: str, results: Results) -> str:
    if emulator in each.cannot:
        return "cannot be shown"
    observed = results[emulator][each.name]
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
    results = recorded()
    if found := complaints(results):
        sys.stderr.write("\n".join([*found, ""]))
        return 1
    PUBLISHED.write_text(render(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
