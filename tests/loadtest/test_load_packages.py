"""The extra `load`: said in one sentence before anything is sent."""

from __future__ import annotations

import sys
from functools import partial

import pytest
from click.testing import CliRunner

from weir.cli.main import main
from weir.ingest.errors import PackageAbsent
from weir.loadtest import load_packages
from weir.loadtest.judging import series
from weir.loadtest.report import plots


def test_all_is_well_with_both() -> None:
    """Where the packages are installed, nothing is raised."""
    load_packages.require()


@pytest.mark.parametrize(("module", "package"), [("hdrh", "hdrhistogram"), ("matplotlib", "matplotlib")])
def test_an_absent_package_is_named_with_what_installs_it(
    module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the package, its hint the extra and the Makefile's target; quantiles and plots say so, too."""
    monkeypatch.setitem(sys.modules, module, None)
    run = {"run": "x", "series": {"accepted": [1, 2]}}
    for needing in (load_packages.require, partial(series.quantiles, [1.0]), partial(plots.draw, [run])):
        with pytest.raises(PackageAbsent, match=package) as caught:
            needing()
        assert "weir-webhooks[load]" in caught.value.advice
        assert "make .venv/load" in caught.value.advice


@pytest.mark.parametrize("command", ["report", "reconcile --at localstack", "faults"])
def test_a_command_says_so_before_it_does_anything(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that judges or draws names the package at once, without a stack to ask."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = CliRunner().invoke(main, ["load", *command.split()])
    assert ended.exit_code != 0
    assert "need matplotlib" in ended.output
    assert "weir-webhooks[load]" in ended.output
