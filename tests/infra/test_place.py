"""Which stack a command goes to: the one on this machine, unless another is asked for by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.places import write_state
from weir.infra import LOCALSTACK, place, template
from weir.infra.outputs import NAMES, Outputs
from weir.ingest.errors import OptionInvalid, StackAbsent, StackFailed


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an embedded stack, in an environment that says nothing."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    write_state(tmp_path)
    return tmp_path


def chosen(home: Path, kind: str | None = None, endpoint: str | None = None) -> place.Place:
    return place.choose(kind, home=home, stack="weir", endpoint=endpoint)


def test_credentials_in_the_environment_send_no_command_to_aws(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell of a laptop may have a profile of production: a sample must not be sent there."""
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
    """No stack and no address are two errors, each with what to do."""
    with pytest.raises(StackAbsent) as absent:
        chosen(tmp_path / "elsewhere")
    assert str(tmp_path / "elsewhere") in absent.value.advice
    assert "make run" in absent.value.advice
    with pytest.raises(OptionInvalid, match="is not an address"):
        chosen(home, endpoint="localhost:4566")


def test_a_stack_of_another_version_is_refused(home: Path) -> None:
    """A stack without an output that this version reads says so before anything is read from a wrong place."""
    state = home / place.STATE_FILE
    document = json.loads(state.read_text())
    del document["outputs"]["EventsTable"]
    state.write_text(json.dumps(document))
    with pytest.raises(StackFailed, match=r"stack\.json has no output EventsTable"):
        chosen(home)


def test_outputs_are_the_templates() -> None:
    """Every output of the template is an attribute, optional where the template has a condition, and back again."""
    declared = template.load()["Outputs"]
    optional = {name for name, spec in declared.items() if "Condition" in spec}
    assert set(NAMES) == {*declared, "Home", "AccessLog", "ConsumerLog", "SigningFile"}
    given = {name: name for name in declared if name not in optional}
    assert Outputs.read(given, origin="a test").as_dict() == given
    assert Outputs.read({**given, "Home": "/x"}, origin="a test").home == Path("/x")
