"""The project that a command works in."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from weir.cli import project
from weir.cli.framework import NoAnswer
from weir.cli.main import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a folder in it, which is the current one."""
    monkeypatch.delenv("WEIR_HOME", raising=False)
    monkeypatch.delenv("WEIR_SOURCES", raising=False)
    (tmp_path / "sources.yaml").write_text("github: {preset: github}\n")
    (tmp_path / "deep/down").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep/down")
    return tmp_path


def test_the_root_is_the_nearest_folder_with_a_sources_file(folder: Path) -> None:
    """From any folder below, the sources file and the state are those of the project."""
    assert project.root() == folder
    assert project.sources_file() == folder / "sources.yaml"
    assert project.home() == folder / ".weir"
    assert list(project.catalogue()) == ["github"]


def test_variables_come_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WEIR_SOURCES and WEIR_HOME name another sources file and another state, relative to the current folder."""
    (folder / "other.yaml").write_text("stripe: {preset: stripe}\n")
    monkeypatch.setenv("WEIR_SOURCES", str(folder / "other.yaml"))
    monkeypatch.setenv("WEIR_HOME", "state")
    assert list(project.catalogue()) == ["stripe"]
    assert project.home() == folder / "deep/down/state"


def test_a_missing_sources_file_is_a_sentence_with_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no folder has a sources file, or WEIR_SOURCES names none, the message says what to do."""
    (folder / "sources.yaml").unlink()
    done = CliRunner().invoke(main, ["sources", "check"])
    assert done.exit_code == 2
    assert f"There is no sources.yaml in {folder / 'deep/down'} or a folder above it." in done.stderr
    assert "weir sources add" in done.stderr
    assert "There is no sources.yaml" in CliRunner().invoke(main, ["run"]).stderr
    monkeypatch.setenv("WEIR_SOURCES", "/nowhere.yaml")
    assert "WEIR_SOURCES names /nowhere.yaml" in CliRunner().invoke(main, ["sources", "check"]).stderr


def test_a_state_that_is_a_file_is_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WEIR_HOME may name a folder that does not exist yet, never a file."""
    monkeypatch.setenv("WEIR_HOME", str(folder / "sources.yaml"))
    done = CliRunner().invoke(main, ["run"])
    assert (done.exit_code, "is not a folder" in done.stderr) == (2, True)


def test_an_unknown_source_is_a_sentence_with_those_there_are() -> None:
    """A source is looked up by name, and a wrong name ends with the names that there are."""
    assert project.source("github").name == "github"
    with pytest.raises(NoAnswer, match="Its sources are: github") as error:
        project.source("githup")
    assert "weir sources add githup" in error.value.message
