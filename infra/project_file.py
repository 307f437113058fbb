"""A project: the folder with sources, business code and their settings, as its pyproject.toml says in ``[tool.weir]``.

[tool.weir]
package = "shop"                    # the business code; without one, events are stored and change nothing
sources = "sources.yaml"
stack = "shop"                      # of CloudFormation, wherever none is named
lock = "requirements.lock"          # the wheels that the function gets beside Weir's own
parameters = {RetentionHours = 168}

[tool.weir.environments.prod]       # chosen with --env prod; its parameters go over those above
at = "aws"
region = "eu-central-1"
parameters = {StreamMode = "ON_DEMAND"}
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weir.ingest.errors import ProjectInvalid

FILE = "pyproject.toml"
SOURCES_FILE = "sources.yaml"
STATE_FOLDER = ".weir"
DEFAULT_STACK = "weir"

# A number is written in a parameter as one; CloudFormation takes all values as text.
_Value = str | int | float | bool
# Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
STACK_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9-]{0,127}$")
_Stack = Annotated[str, Field(pattern=STACK_NAME.pattern)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EnvironmentSettings(_Model):
    """Where a project is deployed to, and with what: the defaults of the options of the same names."""

    at: Literal["embedded", "localstack", "aws"] | None = None
    stack: _Stack | None = None
    region: str | None = None
    profile: str | None = None
    role_arn: str | None = None
    permissions_boundary: str | None = None
    parameters: Mapping[str, _Value] = {}
    tags: Mapping[str, str] = {}


class Section(EnvironmentSettings):
    """The section ``[tool.weir]``: an environment's defaults, and what there is one of."""

    project: str | None = None
    package: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    sources: str = SOURCES_FILE
    lock: str | None = None
    environments: Mapping[str, EnvironmentSettings] = {}


@dataclass(frozen=True, slots=True)
class Project:
    """One project. ``state`` is the folder of the embedded stack's state; paths are absolute and need not exist."""

    root: Path
    state: Path
    sources: Path
    package: str = ""
    lock: Path | None = None
    defaults: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    environments: Mapping[str, EnvironmentSettings] = field(default_factory=dict)

    def environment(self, name: str | None) -> EnvironmentSettings:
        """Return the settings of an environment, over those of the project; None for the project's own.

        Raises: ProjectInvalid when there is no such environment.
        """
        if name is None:
            return self.defaults
        if name not in self.environments:
            listed = ", ".join(self.environments) or "none"
            raise ProjectInvalid(f"{self.root / FILE} has no environment {name!r}; it has: {listed}.")
        own = self.environments[name]
        given = {
            one: getattr(own, one) for one in EnvironmentSettings.model_fields if getattr(own, one) not in (None, {})
        }
        given["parameters"] = {**self.defaults.parameters, **own.parameters}
        given["tags"] = {**self.defaults.tags, **own.tags}
        stack = own.stack or f"{self.defaults.stack or DEFAULT_STACK}-{name}"  # stacks side by side
        return self.defaults.model_copy(update={**given, "stack": stack})


def text(parameters: Mapping[str, _Value]) -> dict[str, str]:
    """Return parameters as CloudFormation takes them: ``true`` and ``false`` for truth values."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in parameters.items()}


def find(start: Path) -> Project:
    """Return the project that a folder lies in: the nearest one above it with ``[tool.weir]`` or a sources file.

    A folder without either is a project of its own that has nothing yet. Raises: ProjectInvalid.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        if (section := _section(folder)) is not None:
            return _project(folder, section)
        if (folder / SOURCES_FILE).is_file():
            return Project(folder, folder / STATE_FOLDER, folder / SOURCES_FILE)
    return Project(start, start / STATE_FOLDER, start / SOURCES_FILE)


def at(path: Path) -> Project:
    """Return the project in a folder, or whose pyproject.toml or sources file this is. Raises: ProjectInvalid."""
    folder = (path if path.is_dir() else path.parent).absolute()
    if not folder.is_dir() or not (path.is_dir() or path.name in {FILE, SOURCES_FILE}):
        raise ProjectInvalid(f"{path} is not a folder with a project.")
    section = _section(folder)
    if section is not None:
        return _project(folder, section)
    if not (folder / SOURCES_FILE).is_file():
        raise ProjectInvalid(f"{folder} has neither {FILE} with [tool.weir] nor {SOURCES_FILE}.")
    return Project(folder, folder / STATE_FOLDER, folder / SOURCES_FILE)


def _section(folder: Path) -> Section | None:
    """Return the section of a folder's pyproject.toml; None if it has none."""
    path = folder / FILE
    try:
        tools = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ProjectInvalid(f"{path} cannot be read: {error}.") from error
    if "weir" not in tools:
        return None
    try:
        return Section.model_validate(tools["weir"])
    except ValidationError as error:
        problems = "\n  ".join(
            f"tool.weir.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)
        )
        raise ProjectInvalid(f"{path}:\n  {problems}") from error


def _project(folder: Path, section: Section) -> Project:
    if section.project is not None:
        aimed = _section(folder / section.project)
        if aimed is None or aimed.project is not None:
            raise ProjectInvalid(
                f"{folder / FILE}: tool.weir.project: {section.project} has no [tool.weir] of its own."
            )
        found = _project(folder / section.project, aimed)
        return Project(
            found.root,
            folder / STATE_FOLDER,
            found.sources,
            found.package,
            found.lock,
            found.defaults,
            found.environments,
        )
    defaults = EnvironmentSettings.model_validate(
        {name: getattr(section, name) for name in EnvironmentSettings.model_fields if name in section.model_fields_set}
    )
    lock = None if section.lock is None else (folder / section.lock).resolve()
    return Project(
        folder.resolve(),
        folder / STATE_FOLDER,
        (folder / section.sources).resolve(),
        section.package or "",
        lock,
        defaults,
        section.environments,
    )
