"""The README is true where a machine can tell."""

from __future__ import annotations

import re
from pathlib import Path

from weir.ingest import errors

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def leaves(branch: type[errors.ServiceError]) -> list[type[errors.ServiceError]]:
    """Return the leaves of one branch, in the order of the module."""
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__base__ is branch]


def reasons() -> str:
    """Write the table of quarantine reasons as the README must have it."""
    rows = [f"| `{kind.code}` | {(kind.__doc__ or '').strip()} | {kind.hint} |" for kind in leaves(errors.RecordError)]
    return "\n".join(["| reason | meaning | what to do |", "| --- | --- | --- |", *rows])


def test_reasons_stand_in_the_readme() -> None:
    """The table between the marks is the one that the error taxonomy gives; paste the expected one to fix it."""
    found = re.search(r"<!-- reasons:.*?-->\n(.*?)\n<!-- /reasons -->", README, re.DOTALL)
    assert found is not None
    assert len(leaves(errors.RecordError)) > 10
    assert found[1] == reasons()


def test_errors_of_the_api_stand_in_the_readme() -> None:
    """Each error code of the API contract is in the README's table with its status."""
    contract = (Path(errors.__file__).parent / "contract" / "openapi.yaml").read_text(encoding="utf-8")
    codes = set(re.findall(r'"error":"([a-z_]+)"', contract))
    assert len(codes) > 5
    assert codes <= set(re.findall(r"\| `([a-z_]+)` \|", README))
