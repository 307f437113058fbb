"""`weir synth` and `weir init` write files, the same for the same input, and touch no AWS."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from weir.cli.exit_codes import FINE, NO_ANSWER
from weir.cli.main import main

WHERE = ("--account", "123456789012", "--region", "eu-central-1")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project as `weir init` writes it, whose package has a name of its own in this process."""
    monkeypatch.chdir(tmp_path)
    for name in ("WEIR_SOURCES", "WEIR_HOME", "WEIR_AT", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert run("init", "shop", "--package", f"fresh{uuid.uuid4().hex[:6]}").exit_code == FINE
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments], prog_name="weir")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_input_gives_the_same_bytes(project: Path) -> None:
    """Written twice, also over another one, every file is the same, and no file of the other one is left."""
    for folder in ("one", "two"):
        assert run("synth", *WHERE, "--out", folder).exit_code == FINE
    sources = (project / "sources.yaml").read_text()
    (project / "sources.yaml").write_text(f"{sources}stripe: {{preset: stripe}}\n")
    assert run("synth", *WHERE, "--out", "two").exit_code == FINE
    assert files(project / "one") != files(project / "two")
    (project / "sources.yaml").write_text(sources)
    done = run("synth", *WHERE, "--out", "two", "--json")
    assert sorted(Path(name).name for name in json.loads(done.stdout)["files"]) == sorted(
        Path(name).name for name in files(project / "two")
    )
    assert files(project / "one") == files(project / "two")


def test_the_project_is_in_it(project: Path) -> None:
    """Its table, its package, its environment's parameters, and a boundary on each role."""
    with (project / "pyproject.toml").open("a") as settings:
        settings.write("\n[tool.weir.environments.prod.parameters]\nRetentionHours = 72\n")
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    options = ("--env", "prod", "--account", "123456789012", "--permissions-boundary", boundary)
    done = run("synth", *options, "--set", "FailureDays=100", "--bucket", "mine")
    assert done.exit_code == FINE, done.output
    template = json.loads((project / "dist" / "template.json").read_text())
    assert template["Resources"]["OrdersTable"]["Type"] == "AWS::DynamoDB::Table"
    roles = [one for one in template["Resources"].values() if one["Type"] == "AWS::IAM::Role"]
    assert {role["Properties"].get("PermissionsBoundary") for role in roles} == {boundary}
    values = json.loads((project / "dist" / "parameters.map.json").read_text())
    wanted = {"RetentionHours": "72", "FailureDays": "100", "ArtifactBucket": "mine"}
    assert wanted.items() <= values.items()
    listed = json.loads((project / "dist" / "parameters.json").read_text())
    assert {one["ParameterKey"]: one["ParameterValue"] for one in listed} == values
    assert (project / "dist" / "assets" / values["FunctionKey"]).stat().st_size > 1_000_000
    assert b"shop-prod-eu-central-1-gateway" in (project / "dist" / "assets" / values["ApiDefinitionKey"]).read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--account", "12", "--region", "eu-central-1"), "'12' is not 12 digits"),
        (("--account", "123456789012"), "Name the Region"),
        ((*WHERE, "--env", "nowhere"), "has no environment 'nowhere'; it has: prod"),
        ((*WHERE, "--set", "FailureDays=0"), "FailureDays=0: must be from 1"),
        ((*WHERE, "--tag", "team"), "'team' is not NAME=VALUE"),
        ((*WHERE, "--stack", "x" * 60), "is too long"),
    ],
)
def test_what_cannot_be_made_says_why(project: Path, words: tuple[str, ...], said: str) -> None:
    """One sentence, exit code 2, and no file."""
    done = run("synth", *words)
    assert (done.exit_code, done.stdout) == (NO_ANSWER, ""), done.output
    assert said in done.stderr
    assert not (project / "dist").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("1st",), "does not begin with a letter"),
        (("shop", "--package", "not-a-name"), "cannot be the name of a package"),
        (("shop", "--package", "weir"), "is the name of another package"),
        (("json",), "is the name of another package"),
        (("click",), "is an installed package"),
    ],
)
def test_a_project_needs_a_name_of_its_own(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that hides another one is refused before anything is written."""
    monkeypatch.chdir(tmp_path)
    done = run("init", *words)
    assert done.exit_code == NO_ANSWER
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_project_is_found_from_inside_and_by_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any folder inside, `--project` and WEIR_PROJECT: the same effects."""
    here = run("effects").stdout
    assert "shopify" in here
    monkeypatch.chdir(project / "tests")
    assert run("effects").stdout == here
    monkeypatch.chdir(project.parent)
    assert run("--project", "shop", "effects").stdout == here
    assert CliRunner().invoke(main, ["effects"], env={"WEIR_PROJECT": "shop"}).stdout == here
    assert run("--project", str(project.parent), "effects").exit_code == NO_ANSWER
