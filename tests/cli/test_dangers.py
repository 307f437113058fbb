"""Nothing dangerous happens without a word: code that does not load, a stack that goes, the last secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support import ledger
from tests.support.stack_env import StackEnv
from weir.cli.exit_codes import FINE, NO_ANSWER
from weir.cli.main import main
from weir.consumers.business import effects
from weir.infra import destroy, secrets
from weir.infra.stored import BUCKET, Stored

ANOTHER = "whsec_" + "QUJD" * 8


def run(*arguments: str, answer: str = "", **variables: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="weir", input=answer, env=variables)


def run_at(stack: StackEnv, *arguments: str, answer: str = "") -> Result:
    sources = stack.home / "sources.yaml"
    return run(*arguments, answer=answer, WEIR_HOME=str(stack.home), WEIR_SOURCES=str(sources), WEIR_AT="embedded")


@pytest.fixture(params=["def effect(:\n", "import nowhere_to_be_found\n", "raise SystemExit(3)\n"])
def broken(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose business code cannot be imported, with no stack anywhere."""
    (tmp_path / "sources.yaml").write_text("github: {preset: github}\n")
    (tmp_path / "pyproject.toml").write_text('[tool.weir]\npackage = "shop"\n')
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "broken_by_hand.py").write_text(request.param)
    monkeypatch.delenv("WEIR_SOURCES", raising=False)
    monkeypatch.setenv("WEIR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    effects.load("ledger", ledger.FOLDER)


@pytest.mark.parametrize("words", [("run",), ("deploy", "--at", "localstack", "--endpoint", "http://127.0.0.1:9")])
def test_code_that_does_not_load_is_not_started(broken: Path, words: tuple[str, ...]) -> None:
    """Neither a stack of this machine nor a deployment begins with business code that would hold up every event."""
    done = run(*words)
    assert (done.exit_code, done.stdout) == (NO_ANSWER, ""), done.output
    assert "broken_by_hand.py:1: " in done.stderr
    assert "Fix the file" in done.stderr
    assert not (broken / "home").exists()


@pytest.mark.parametrize("more", [(), ("--delete-data",)])
def test_destroy_asks(more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack goes only after its name was shown and yes was said, with or without its data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(destroy, "at_stake", lambda _place: [Stored(BUCKET, "shop-bucket-1")])
    done = run("destroy", "--at", "localstack", "--endpoint", "http://127.0.0.1:9", "--stack", "shop", *more)
    assert (done.exit_code, done.stdout) == (NO_ANSWER, "")
    assert "Delete stack shop in LocalStack at http://127.0.0.1:9" in done.stderr
    assert "all its data" in done.stderr if more else "keep stream, tables and bucket" in done.stderr
    assert ("AWS::S3::Bucket shop-bucket-1" in done.stderr) == bool(more)
    assert "nothing was done" in done.stderr


def test_the_last_secret_goes_after_a_question(stack_env: StackEnv) -> None:
    """The last secret of a source is removed only on a yes; the answer says from when on it is refused."""
    source = next(iter(stack_env.catalogue.values()))
    assert len(secrets.live(stack_env.place, source)) == 1
    kept = run_at(stack_env, "secrets", "remove", source.name, "0")
    assert (kept.exit_code, kept.stdout) == (NO_ANSWER, "")
    assert f"Remove the last secret of {source.name}?" in kept.stderr
    assert len(secrets.live(stack_env.place, source)) == 1
    gone = run_at(stack_env, "secrets", "remove", source.name, "0", answer="y\n")
    assert gone.exit_code == FINE, gone.output
    assert f"{source.name}: 0 live; the one removed is refused from 20" in gone.stdout
    assert not secrets.live(stack_env.place, source)


def test_one_of_several_secrets_goes_without_a_question(stack_env: StackEnv) -> None:
    """Another secret still proves the source's deliveries, so nothing is asked."""
    source = next(iter(stack_env.catalogue.values()))
    secrets.add(stack_env.place, source, ANOTHER)
    assert run_at(stack_env, "secrets", "remove", source.name, "1").stdout.startswith(
        f"{source.name}: 1 live; the one removed is"
    )
