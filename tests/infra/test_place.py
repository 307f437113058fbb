"""Which stack a command goes to: the one on this machine, unless another is asked for by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra import LOCALSTACK
from weir.infra import place
from weir.ingest.errors import OptionInvalid, StackAbsent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an embedded stack, in an environment that says nothing."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    (tmp_path / place.STATE_FILE).write_text(
        json.dumps({"stack": "weir", "engine": "http://127.0.0.1:1", "outputs": {"StreamName": "s"}})
    )
    return tmp_path


def chosen(home: Path, kind: str | None = None, endpoint: str | None = None) -> place.Place:
    return place.choose(kind, home=home, stack="weir", endpoint=endpoint)


def test_credentials_in_the_environment_send_no_command_to_aws(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tries Weir on a laptop has a profile of production in the shell; a sample must not be sent there."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    assert chosen(home).kind == "embedded"
    assert chosen(home, "aws").kind == "aws"


def test_an_address_alone_says_where(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint, given or in AWS' own variable, is gone to; a kind that is named goes before the variable."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4577")
    assert (chosen(home).kind, chosen(home).endpoint) == ("localstack", "http://127.0.0.1:4577")
    assert chosen(home, endpoint="http://127.0.0.1:4588").endpoint == "http://127.0.0.1:4588"
    assert chosen(home, "localstack").endpoint == "http://127.0.0.1:4577"
    assert chosen(home, "embedded").kind == "embedded"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert chosen(home, "localstack").endpoint == LOCALSTACK


def test_what_is_not_there_says_how_to_get_it(tmp_path: Path, home: Path) -> None:
    """No stack and no address are told apart, each with what to do."""
    with pytest.raises(StackAbsent) as absent:
        chosen(tmp_path / "elsewhere")
    assert str(tmp_path / "elsewhere") in absent.value.advice
    assert "make run" in absent.value.advice
    with pytest.raises(OptionInvalid, match="looks like http"):
        chosen(home, endpoint="localhost:4566")
