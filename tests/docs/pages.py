"""The generated pages by their place in docs. A new one is a function that returns Markdown, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.docs import (
    access_log_page,
    aws_page,
    commands_page,
    costs_page,
    environment_page,
    errors_page,
    event_item_page,
    log_fields_page,
    metrics_page,
    parameters_page,
    policies_page,
    presets_page,
    project_page,
    sources_page,
)

FOLDER = Path(__file__).parents[2] / "docs"

PAGES: dict[str, Callable[[], str]] = {
    "aws.md": aws_page.page,
    "reference/access-log.md": access_log_page.page,
    "reference/commands.md": commands_page.page,
    "reference/costs.md": costs_page.page,
    "reference/environment.md": environment_page.page,
    "reference/errors.md": errors_page.page,
    "reference/event-item.md": event_item_page.page,
    "reference/log-fields.md": log_fields_page.page,
    "reference/metrics.md": metrics_page.page,
    "reference/parameters.md": parameters_page.page,
    "reference/policies.md": policies_page.page,
    "reference/presets.md": presets_page.page,
    "reference/project.md": project_page.page,
    "reference/sources.md": sources_page.page,
}
