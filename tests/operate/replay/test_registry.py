"""An origin or a target is one file and one registration: this module is such a file, for both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.stack_env import StackEnv
from weir.ingest.envelope import encode
from weir.ingest.errors import OptionInvalid
from weir.operate.lookup.delivery import Advance, Cursor, Delivery, Estimate
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.filters import Filter
from weir.operate.replay.options import request_of
from weir.operate.replay.origins import ORIGINS, OriginKind, choices
from weir.operate.replay.ports import Result
from weir.operate.replay.request import ReplayRequest
from weir.operate.replay.targets import TARGETS, TargetKind
from weir.operate.replay.targets import choices as target_choices

SAMPLES: list[bytes] = []
DELIVERED: list[bytes] = []


class FromSamples:
    """An origin: what a test has put into `SAMPLES`."""

    label = "samples"

    def estimate(self) -> Estimate:
        return Estimate(len(SAMPLES))

    def read(self, cursor: Cursor) -> Iterator[Delivery | Advance | None]:
        for number, data in enumerate(SAMPLES, 1):
            if number > int(cursor.get("samples", "0")):
                yield Delivery(data, "samples", str(number))


class ToSamples:
    """A target that has `deliver` and nothing else."""

    label = "samples"
    batch_count = 2

    def deliver(self, deliveries: Sequence[Delivery], repeats: Sequence[bool], since_ms: int | None) -> list[Result]:
        DELIVERED.extend(one.data for one in deliveries)
        return [Result("written")] * len(deliveries)


def make(context: ReplayContext, request: ReplayRequest, selection: Filter | None = None) -> FromSamples | ToSamples:
    """Return the origin or, asked without a selection, the target."""
    return FromSamples() if selection else ToSamples()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register this module as an origin and as a target."""
    monkeypatch.setitem(ORIGINS, "samples", OriginKind(__name__))
    monkeypatch.setitem(TARGETS, "samples", TargetKind(__name__))
    SAMPLES.clear()
    DELIVERED.clear()


@pytest.mark.engine
def test_an_origin_that_is_registered_is_replayed_from(registered: None, stack_env: StackEnv) -> None:
    """One registration, and `weir replay --from` its name filters, applies and reports what it yields."""
    SAMPLES.extend(encode(stack_env.payment("ann", cents)) for cents in (1, 2, 4))
    SAMPLES.append(encode(stack_env.delivery({"type": "other"}, source="others")))
    said = stack_env.weir("replay", "--from", "samples", "--source", "payments", "--to", "consumer", "--json")
    report = json.loads(said.splitlines()[-1])
    assert (report["read"], report["matched"], report["applied"]) == (4, 3, 3)
    assert stack_env.balances() == {"ann": {"EUR": 7, "events": 3}}


@pytest.mark.engine
def test_a_target_that_is_registered_is_delivered_to(registered: None, stack_env: StackEnv) -> None:
    """One registration, and `--to` its name delivers; `deliver` is all that a target needs."""
    SAMPLES.extend(encode(stack_env.payment("ann", cents)) for cents in (1, 2, 4))
    said = stack_env.weir("replay", "--from", "samples", "--to", "samples", "--json")
    assert json.loads(said.splitlines()[-1])["written"] == 3
    assert SAMPLES == DELIVERED


def test_messages_and_help_name_what_is_registered(registered: None) -> None:
    """The sentences that ask for an origin or a target list the registries, the new names too."""
    with pytest.raises(OptionInvalid, match=r"--from is required: stream, archive, .*, samples, or a file"):
        request_of({})
    with pytest.raises(OptionInvalid, match="--to is required: consumer, stream, an HTTP address, a file, or samples"):
        request_of({"origin": "samples"})
    assert "samples" in choices()
    assert "samples" in target_choices()


@pytest.mark.parametrize("kind", [*ORIGINS.values(), *TARGETS.values()], ids=lambda kind: kind.module)
def test_every_registered_module_has_a_factory(kind: OriginKind | TargetKind) -> None:
    """A registration names a module that is there and has ``make``."""
    assert callable(import_module(kind.module).make)


def test_every_origin_and_target_is_registered() -> None:
    """A file with ``make`` in one of both folders is named by its registry, or it could not be asked for."""
    for package, kinds in (("origins", ORIGINS.values()), ("targets", TARGETS.values())):
        folder = Path(str(import_module(f"weir.operate.replay.{package}").__file__)).parent
        named = {kind.module.rpartition(".")[2] for kind in kinds}
        made = {path.stem for path in folder.glob("*.py") if "\ndef make(" in path.read_text()}
        assert made - named <= {"from_file", "dry_run"}  # chosen by a path, and by --dry-run
        assert named <= made
