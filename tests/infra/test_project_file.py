"""A project is found from any folder inside, and what its settings say is checked when they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from weir.infra import project_file
from weir.ingest.errors import ProjectInvalid

PROJECT = """
[tool.weir]
package = "shop"
stack = "shop"
lock = "requirements.lock"
parameters = {RetentionHours = 168, DeletionProtection = true}
tags = {team = "shop"}

[tool.weir.environments.prod]
at = "aws"
region = "eu-central-1"
parameters = {RetentionHours = 48}
tags = {stage = "prod"}

[tool.weir.environments.other]
stack = "another"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "deep" / "inside").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    return folder


def test_it_is_found_from_inside(project: Path) -> None:
    """The nearest folder with the section is the root; its paths are whole."""
    for start in (project, project / "deep", project / "deep" / "inside"):
        found = project_file.find(start)
        assert (found.root, found.state, found.sources) == (project, project / ".weir", project / "sources.yaml")
        assert (found.package, found.lock) == ("shop", project / "requirements.lock")


def test_a_sources_file_alone_is_a_project_without_code(tmp_path: Path) -> None:
    """So it was before there were projects; a pyproject.toml of something else does not matter."""
    (tmp_path / "sources.yaml").touch()
    (tmp_path / "pyproject.toml").write_text("[tool.other]\n")
    (tmp_path / "inside").mkdir()
    found = project_file.find(tmp_path / "inside")
    assert (found.root, found.package, found.defaults.stack) == (tmp_path, "", None)


def test_a_folder_may_name_another(tmp_path: Path, project: Path) -> None:
    """The state stays beside the one that names it."""
    (tmp_path / "pyproject.toml").write_text('[tool.weir]\nproject = "shop"\n')
    found = project_file.find(tmp_path)
    assert (found.root, found.package, found.state) == (project, "shop", tmp_path / ".weir")


def test_an_environment_is_over_the_project(project: Path) -> None:
    """Its own values win, parameters and tags one by one; stacks stand side by side."""
    found = project_file.find(project)
    prod = found.environment("prod")
    assert (prod.at, prod.region, prod.stack) == ("aws", "eu-central-1", "shop-prod")
    assert project_file.text(prod.parameters) == {"RetentionHours": "48", "DeletionProtection": "true"}
    assert prod.tags == {"team": "shop", "stage": "prod"}
    assert found.environment("other").stack == "another"
    assert found.environment(None).stack == "shop"
    with pytest.raises(ProjectInvalid, match="no environment 'staging'; it has: prod, other"):
        found.environment("staging")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.weir\n", "cannot be read"),
        ("[tool.weir]\npackages = 'x'\n", r"tool\.weir\.packages: "),
        ("[tool.weir]\npackage = 'a-b'\n", r"tool\.weir\.package: "),
        ("[tool.weir]\nstack = '1'\n", r"tool\.weir\.stack: "),
        ("[tool.weir.environments.prod]\nat = 'moon'\n", r"tool\.weir\.environments\.prod\.at: "),
        ("[tool.weir]\nproject = 'nowhere'\n", "nowhere has no"),
    ],
)
def test_settings_that_cannot_be_used_name_file_and_field(text: str, said: str, tmp_path: Path) -> None:
    """A typing error is an error, not a setting that does nothing."""
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ProjectInvalid, match=said) as raised:
        project_file.find(tmp_path)
    assert str(tmp_path / "pyproject.toml") in str(raised.value)


def test_a_named_project_must_be_one(tmp_path: Path, project: Path) -> None:
    """--project takes the folder or its file, and says so of a folder that is none."""
    for named in (project, project / "pyproject.toml"):
        assert project_file.at(named).root == project
    with pytest.raises(ProjectInvalid, match="neither"):
        project_file.at(tmp_path)
