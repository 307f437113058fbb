"""The generated pages by file name. A new one is a function that returns Markdown, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.docs import (
    access_log_page,
    commands_page,
    environment_page,
    errors_page,
    event_item_page,
    log_fields_page,
    metrics_page,
    parameters_page,
    presets_page,
    project_page,
    sources_page,
)

FOLDER = Path(__file__).parents[2] / "docs" / "reference"

PAGES: dict[str, Callable[[], str]] = {
    "access-log.md": access_log_page.page,
    "commands.md": commands_page.page,
    "environment.md": environment_page.page,
    "errors.md": errors_page.page,
    "event-item.md": event_item_page.page,
    "log-fields.md": log_fields_page.page,
    "metrics.md": metrics_page.page,
    "parameters.md": parameters_page.page,
    "presets.md": presets_page.page,
    "project.md": project_page.page,
    "sources.md": sources_page.page,
}
