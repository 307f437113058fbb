"""The report as one HTML page that needs nothing beside it: verdict on top, figures, plots."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from loadtest import report

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#1b1b1b}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
.verdict{padding:.8rem 1rem;border-radius:.4rem;font-weight:600}
.passed{background:#e2f4e5}.failed{background:#fbe3e1}.open{background:#eee}
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .9rem .15rem 0;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#a4241a;font-weight:600}
img{max-width:100%;display:block;margin:1rem 0}pre{white-space:pre-wrap;font-size:12px}.quiet{color:#666}
"""
_COUNTS = ("sent", "acknowledged", "stored", "applied", "ignored", "quarantined", "duplicates", "refused", "unanswered")
_NOT_FAULTS = {"passed", "named", "unshown", *_COUNTS}


def page(runs: Sequence[Mapping[str, Any]], plots: Mapping[str, bytes]) -> str:
    """Return the page of one run, or of two side by side."""
    title = " against ".join(run["run"] for run in runs)
    parts = [f"<h1>Load test {escape(title)}</h1>"]
    for run in runs:
        parts += [f"<h2>{escape(run['run'])}</h2>"] if len(runs) > 1 else []
        parts += [f"<p class=quiet>{escape(_where(run))}</p>", _verdict(run), _driver(run)]
    parts.append(_comparison(runs[0], runs[1]) if len(runs) == 2 else _figures(runs[0]))
    for name, content in plots.items():
        encoded = b64encode(content).decode("ascii")
        parts.append(f'<img alt="{escape(name)}" src="data:image/png;base64,{encoded}">')
    parts += [_asked(run) for run in runs]
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{body}</body></html>"
    )


def _where(run: Mapping[str, Any]) -> str:
    header = run["header"]
    commit = f", commit {header['commit']}" if header.get("commit") else ""
    return f"{report.started(run)}, {header['endpoint']}, {header['machine']}, Python {header['python']}{commit}"


def _verdict(run: Mapping[str, Any]) -> str:
    verdict = run["verdict"]
    if verdict is None:
        return '<p class="verdict open">Not reconciled: nothing is known of what was stored.</p>'
    word = "passed" if verdict["passed"] else "failed"
    counts = _table([(name, verdict[name], False) for name in _COUNTS])
    faults = {name: value for name, value in verdict.items() if name not in _NOT_FAULTS and isinstance(value, int)}
    shown = _table([(name.replace("_", " "), value, value > 0) for name, value in faults.items()])
    named = "".join(
        f"<p class=bad>{escape(name.replace('_', ' '))}</p><pre>{escape(chr(10).join(ids))}</pre>"
        for name, ids in verdict["named"].items()
    )
    unshown = "".join(f"<p class=quiet>not shown: {escape(what)}</p>" for what in verdict["unshown"])
    return f'<p class="verdict {word}">{word.capitalize()}</p>{counts}{shown}{named}{unshown}'


def _driver(run: Mapping[str, Any]) -> str:
    limited = (run["driver"] or {}).get("limited")
    if not limited:
        return "<p class=quiet>The driver was not the limit.</p>"
    return f"<p class=bad>The driver was the limit: {escape('; '.join(limited))}.</p>"


def _figures(run: Mapping[str, Any]) -> str:
    rows = "".join(f"<li>{escape(line)}</li>" for line in report.summary(run))
    return f"<h2>Figures</h2><ul>{rows}</ul>"


def _comparison(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    rows = []
    for name, a, b, ratio, more_is_better in report.compare(first, second):
        worse = ratio is not None and (ratio < 0.9 if more_is_better else ratio > 1.1)
        cells = "".join(f"<td class=n>{_number(value)}</td>" for value in (a, b))
        rows.append(
            f"<tr><td>{escape(name)}</td>{cells}<td class='n{' bad' if worse else ''}'>{_number(ratio)}</td></tr>"
        )
    head = f"<tr><th></th><th>{escape(first['run'])}</th><th>{escape(second['run'])}</th><th>ratio</th></tr>"
    return f"<h2>Side by side</h2><table>{head}{''.join(rows)}</table>"


def _asked(run: Mapping[str, Any]) -> str:
    return f"<h2>What was asked: {escape(run['run'])}</h2><pre>{escape(json.dumps(run['header'], indent=1))}</pre>"


def _table(rows: Sequence[tuple[str, Any, bool]]) -> str:
    cells = "".join(
        f"<tr><td>{escape(name)}</td><td class='n{' bad' if bad else ''}'>{_number(value)}</td></tr>"
        for name, value, bad in rows
    )
    return f"<table>{cells}</table>"


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
