"""docs/reference/environment.md: every environment variable of the functions and of the command line."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

from tests.docs import markdown
from weir.consumers.settings import HANDSHAKE_VARIABLES, RELAY_VARIABLES, VARIABLES, Variable
from weir.infra import template

_ROOT = Path(__file__).parents[2]
CONSUMER, HANDSHAKE = "weir.consumers.handler.handler", "weir.consumers.handshake_handler.handler"
RELAY = "weir.operate.alarm_relay.handler"
_NAME = re.compile(r"WEIR_[A-Z_]+\Z")

# What the command line reads: the names are found in cli/ and compared with these.
COMMAND_LINE = {
    "WEIR_AT": ("`embedded`", "where Weir runs, for every command with `--at`"),
    "WEIR_ENDPOINT": (
        "`AWS_ENDPOINT_URL`",
        "address of LocalStack or of another AWS endpoint, as `--endpoint` gives it",
    ),
    "WEIR_ENV": ("none", "environment of the project, as `--env` gives it"),
    "WEIR_HOME": ("`.weir` in the project", "folder of the embedded stack's state, of replays and of load tests"),
    "WEIR_PROJECT": (
        "the nearest from the current folder upwards",
        "folder of the project, as `weir --project FOLDER` gives it",
    ),
    "WEIR_SOURCES": ("`sources.yaml` in the project", "the sources file"),
    "WEIR_STACK": ("the project's, then `weir`", "name of the CloudFormation stack, as `--stack` gives it"),
}


def page() -> str:
    """Return the page."""
    return markdown.page(
        "Environment variables",
        "An empty value counts as absent.",
        "## The command line",
        "The project is the nearest folder, from the current one upwards, whose `pyproject.toml` has `[tool.weir]` ([its fields](project.md)) or that\n"
        "holds a `sources.yaml`; else the current one.\n"
        "`make run` passes `PORT` and `WEIR_HOME` on.",
        markdown.table(
            ["variable", "default", "meaning"],
            [(markdown.code(name), default, markdown.sentence(text)) for name, (default, text) in COMMAND_LINE.items()],
        ),
        "## The consumer",
        "Read once, by `consumers/settings.py`. The scheduled account check reads the same; the template sets `EVENTS_TABLE`, `PAYLOAD_BUCKET` and\n"
        "`STACK` there. What `infra/template.yaml` does not set has its default on a deployed function.",
        _variables(VARIABLES, CONSUMER),
        "## The handshake function",
        _variables(HANDSHAKE_VARIABLES, HANDSHAKE),
        "## The function that posts alarms",
        _variables(RELAY_VARIABLES, RELAY),
        "## Read by libraries",
        "`AWS_ENDPOINT_URL`, `AWS_REGION` and the other variables that begin with `AWS_` belong to botocore and to the Lambda\n"
        "runtime; `AWS_EMF_NAMESPACE` and `AWS_EMF_DISABLE_METRIC_EXTRACTION` to aws-embedded-metrics.",
    )


def named_in_cli() -> set[str]:
    """Return every variable `WEIR_...` that a string of cli/ names."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (_ROOT / "cli").rglob("*.py")]
    texts = (node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and _NAME.match(text)}


def set_by_template(handler: str) -> set[str]:
    """Return the variables that the template sets for the function with this handler."""
    found = (resource["Properties"] for resource in template.load()["Resources"].values())
    function = next(one for one in found if one.get("Handler") == handler)
    return set(function["Environment"]["Variables"])


def _variables(variables: Iterable[Variable], handler: str) -> str:
    ours = set_by_template(handler)
    return markdown.table(
        ["variable", "set by the template", "default", "meaning"],
        [
            (
                markdown.code(one.name),
                "yes" if one.name in ours else "no",
                _default(one.default),
                markdown.sentence(one.meaning),
            )
            for one in sorted(variables, key=lambda one: one.name)
        ],
    )


def _default(default: str | None) -> str:
    if default is None:
        return "(required)"
    return (
        "`sources.json` beside the package"
        if default.endswith("/sources.json")
        else markdown.code(default) or "(empty)"
    )
