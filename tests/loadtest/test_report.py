from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import browser, load_env
from weir.ingest.errors import OptionInvalid
from weir.loadtest import session
from weir.loadtest.judging.evidence import Evidence
from weir.loadtest.judging.judge_run import lines, write
from weir.loadtest.judging.reconcile import judge
from weir.loadtest.judging.verdict import Verdict
from weir.loadtest.report import plots, summary
from weir.loadtest.sending import results


def results_file(folder: Path, name: str) -> Path:
    """Write a results file as a run does."""
    path = folder / name / summary.RESULTS_FILE
    path.parent.mkdir(parents=True)
    rows = "".join(json.dumps(asdict(one)) + "\n" for one in load_env.results())
    end = results.footer(sent=12, attempts=12, waited_for_connection=3, limited=["it was slow"])
    head = results.header(name, 1000, endpoint="http://x/v1", connections=4)
    path.write_text(head + rows + end, encoding="utf-8")
    return path


def observe(path: Path, *, lose: bool) -> None:
    kept = load_env.found(load_env.results())
    if lose:
        del kept.items["stripe#evt_3"]  # type: ignore[attr-defined]
    verdict = report_verdict(path, kept)
    lag = {"lag_max_s": 1.0, "lag_under_2_s_after_s": 0.0, "all_applied_after_s": 1.5, "series_s": [0.0, 1.0]}
    batch: dict[str, Any] = dict.fromkeys(("ignored", "retried"), 0) | dict.fromkeys(("duplicate", "quarantined"), 1)
    batch |= {"ended_at_ms": 1500, "duration_ms": 100.0, "records": 8, "applied": 8, "calls": 2, "write_units": 40.0}
    write(path.with_name(summary.VERDICT_FILE), verdict, {"lag": lag, "batches": [batch]})


def report_verdict(path: Path, kept: Evidence) -> Verdict:
    facts = {"lag_max_s": 1.0, "lag_under_2_s_after_s": 0.0}
    return replace(judge(results.read(path), kept), facts=facts)


def test_a_report_holds_verdict_figures_and_plots(tmp_path: Path) -> None:
    """Page, JSON and PNG files are written; the page needs nothing beside it and puts the verdict first."""
    path = results_file(tmp_path, "one")
    observe(path, lose=True)
    said: list[str] = []
    figures = session.write_report([path], None, said.append)
    html = (path.parent / "report.html").read_text(encoding="utf-8")
    assert html.index("Failed: 1 lost") < html.index("Figures")
    assert "stripe#evt_3: acknowledged" in html
    assert 'src="data:image/png' in html
    assert "http://" not in html.replace("http://x/v1", "")
    assert json.loads((path.parent / "report.json").read_text())["verdict"]["lost"] == 1
    for plot in path.parent.glob("*.png"):
        assert plot.read_bytes().startswith(b"\x89PNG")
    assert len(list(path.parent.glob("*.png"))) == len(plots.PLOTS)
    assert figures["consumer"]["calls_per_event"] == 0.2
    assert any("THE DRIVER WAS THE LIMIT: it was slow" in line for line in said)


def test_a_run_that_was_not_reconciled_says_so(tmp_path: Path) -> None:
    """Without a verdict the page claims nothing."""
    path = results_file(tmp_path, "one")
    session.write_report([path.parent], tmp_path / "out", lambda _: None)
    assert "Not reconciled" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_two_runs_stand_side_by_side(tmp_path: Path) -> None:
    """A comparison has a row a figure with the ratio, in words, in JSON and as a page."""
    paths = [results_file(tmp_path, name) for name in ("one", "two")]
    for path in paths:
        observe(path, lose=False)
    said: list[str] = []
    session.write_report(paths, tmp_path, said.append)
    assert any(line.startswith("accepted/s") and line.endswith("1.0") for line in said)
    assert len(json.loads((tmp_path / "comparison.json").read_text())["runs"]) == 2
    assert "Side by side" in (tmp_path / "comparison.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (500, True)], ids=["wide-light", "narrow-dark"])
def test_the_page_in_a_real_browser(tmp_path: Path, width: int, *, dark: bool) -> None:
    """The verdict stands on top, every plot is drawn, nothing is wider than the window, and nothing is fetched."""
    paths = [results_file(tmp_path, name) for name in ("one", "two")]
    observe(paths[0], lose=True)
    observe(paths[1], lose=False)
    session.write_report(paths, tmp_path, lambda _: None)
    seen = browser.look(tmp_path / "comparison.html", width=width, dark=dark)
    assert [verdict["text"].partition(",")[0] for verdict in seen["verdicts"]] == [
        "one: Failed: 1 lost",
        "two: Passed: 10 acknowledged",
    ]
    assert all(0 <= verdict["left"] < verdict["right"] <= width for verdict in seen["verdicts"])
    assert seen["verdicts"][1]["bottom"] < 450
    assert len(seen["images"]) == len(plots.PLOTS)
    assert all(image["width"] > 800 and image["right"] - image["left"] >= 600 for image in seen["images"])
    assert seen["page"] <= seen["width"] == width
    assert seen["loaded"] == []
    light, ink = (sum(map(int, re.findall(r"\d+", seen[name])[:3])) for name in ("back", "text"))
    assert light < ink if dark else light > ink


def test_a_run_that_was_killed_says_what_it_does_not_know(tmp_path: Path) -> None:
    """Without its last line a run is reported, and nothing is claimed of the driver."""
    path = results_file(tmp_path, "one")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-2]) + lines[-2][:50], encoding="utf-8")
    said: list[str] = []
    session.write_report([path], tmp_path, said.append)
    assert any("whether the driver was the limit is not known" in line for line in said)
    assert "is not known" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_verdict_in_words_names_ids(tmp_path: Path) -> None:
    """What is printed ends in PASSED or FAILED and names what is wrong."""
    path = results_file(tmp_path, "one")
    good = load_env.found(load_env.results())
    assert lines(report_verdict(path, good))[-1] == "PASSED"
    del good.items["stripe#evt_3"]  # type: ignore[attr-defined]
    said = lines(report_verdict(path, good))
    assert said[-1] == "FAILED"
    assert any("lost: stripe#evt_3" in line for line in said)


def test_an_empty_run_is_reported(tmp_path: Path) -> None:
    """A run in which nothing was sent makes a page, not an error."""
    path = tmp_path / summary.RESULTS_FILE
    path.write_text(results.header("none", 1, endpoint="http://x/v1", connections=1), encoding="utf-8")
    figures = summary.compute(results.read(path), None)
    assert summary.summary(figures) == ["nothing was sent"]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """A file that holds no results is refused with its name and the line."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n', encoding="utf-8")
    with pytest.raises(OptionInvalid, match=r"x\.jsonl"):
        results.read(path)
    path.write_text(results.header("r", 1) + '{"seq": 1}\n', encoding="utf-8")
    with pytest.raises(OptionInvalid, match="line 2"):
        results.read(path)
