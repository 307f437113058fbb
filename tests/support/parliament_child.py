"""parliament's verdict on policies: JSON on standard input, by deployment; runs with the packages of build/checkers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import parliament


def findings(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rule and title of what is wrong with a policy, by parliament's own rules and those of its community."""
    policy = parliament.analyze_policy_string(json.dumps(document), include_community_auditors=True)
    found = [parliament.enhance_finding(one) for one in policy.findings]
    return [(one.issue, one.title) for one in found if one.severity != "MUTED"]


parliament.override_config(Path(parliament.__file__).parent / "community_auditors" / "config_override.yaml")
given = json.load(sys.stdin)
said = {
    name: [(rule, place, title) for place, document in policies for rule, title in findings(document)]
    for name, policies in given.items()
}
json.dump(said, sys.stdout)
