"""docs/reference/project.md: every field of ``[tool.weir]``."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

from tests.docs import markdown
from weir.infra.project_file import EnvironmentSettings, Section

MEANINGS = {
    "at": "Where the stack is: `embedded`, `localstack` or `aws`. `--at` and WEIR_AT go over it.",
    "stack": "Name of the CloudFormation stack. Of an environment, by default, the project's with `-NAME` behind it.",
    "region": "AWS Region; else `AWS_REGION` and the AWS configuration say.",
    "profile": "Profile of the AWS configuration.",
    "role_arn": "Service role that CloudFormation acts with, as `--role-arn`.",
    "permissions_boundary": "ARN of the permissions boundary of every role of the stack, as `--permissions-boundary`.",
    "parameters": "[Parameters of the template](parameters.md), under what `--set` gives. Those of an environment go over the project's.",
    "tags": "Tags of the stack, under what `--tag` gives.",
    "project": "In a folder that has no project itself: the folder that has it. The state stays beside this file.",
    "package": "Package of the business code, a folder or a module beside this file. Without one, events are stored and change nothing.",
    "sources": "The sources file. Default: `sources.yaml`.",
    "lock": "Lock file, with hashes, of what the business code needs beside Weir: its wheels go into the function's package.",
    "environments": "Environments by name, each with the fields of the first table; `--env NAME` chooses one.",
}


def page() -> str:
    """Return the page."""
    own = [name for name in Section.model_fields if name not in EnvironmentSettings.model_fields]
    return markdown.page(
        "Project",
        "A project is a folder whose `pyproject.toml` has a section `[tool.weir]`, or that holds a `sources.yaml`. `weir init` makes one. Commands find\n"
        "it from any folder inside; `weir --project FOLDER` names another.",
        "```toml\n"
        '[tool.weir]\npackage = "shop"\nlock = "requirements.lock"\nparameters = {RetentionHours = 168}\n\n'
        '[tool.weir.environments.prod]\nat = "aws"\nregion = "eu-central-1"\nparameters = {StreamMode = "ON_DEMAND"}\ntags = {team = "shop"}\n```',
        "## Of the project",
        _table(own),
        "## Of the project and of each environment",
        "What an environment does not say, the project says for it.",
        _table(list(EnvironmentSettings.model_fields)),
    )


def _table(names: list[str]) -> str:
    return markdown.table(["field", "meaning"], [(markdown.code(name), MEANINGS[name]) for name in names])
