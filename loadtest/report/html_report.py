"""The report as one HTML page that needs nothing beside it: verdict on top, figures, plots."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from weir.loadtest.report import summary

_STYLE = """
:root{color-scheme:light dark;--text:#1b1b1b;--back:#fff;--quiet:#5f5f5f;--bad:#a4241a;--line:#d8d8d8;
--passed:#e2f4e5;--failed:#fbe3e1;--open:#eee}
@media(prefers-color-scheme:dark){:root{--text:#e6e6e6;--back:#16181b;--quiet:#a5a5a5;--bad:#ff9389;--line:#3a3d42;
--passed:#173b20;--failed:#4b1d19;--open:#2b2d31}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:var(--text);
background:var(--back)}
h1{font-size:1.4rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}
.verdict{padding:.8rem 1rem;border-radius:.4rem;font-weight:600}
.passed{background:var(--passed)}.failed{background:var(--failed)}.open{background:var(--open)}
.wide{overflow-x:auto}.beside{display:flex;flex-wrap:wrap;gap:0 4rem;align-items:flex-start}
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .9rem .15rem 0;text-align:left;vertical-align:top}
th{font-weight:600}tr+tr td{border-top:1px solid var(--line)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.bad{color:var(--bad);font-weight:600}.quiet{color:var(--quiet);overflow-wrap:anywhere}
img{display:block;margin:1rem 0;width:100%;min-width:40rem;background:#fff;border-radius:.4rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px}
"""
_COUNTS = (
    *("sent", "acknowledged", "stored", "applied", "ignored", "quarantined", "waiting", "duplicates"),
    *("refused", "unanswered"),
)
_NOT_FAULTS = {"passed", "named", "unshown", "refused_by_code", *_COUNTS}

Figures = Mapping[str, Any]


def page(runs: Sequence[Figures], plots: Mapping[str, bytes]) -> str:
    """Return the page of one run, or of two side by side."""
    title = " against ".join(run["run"] for run in runs)
    parts = [f"<h1>Load test {escape(title)}</h1>", *(_banner(run, named=len(runs) > 1) for run in runs)]
    parts += [_counts(runs), *(_named(run) for run in runs)]
    parts.append(_comparison(runs[0], runs[1]) if len(runs) == 2 else _figures(runs[0]))
    for name, content in plots.items():
        encoded = b64encode(content).decode("ascii")
        parts.append(f'<div class=wide><img alt="{escape(name)}" src="data:image/png;base64,{encoded}"></div>')
    parts += [_words(), *(_asked(run) for run in runs)]
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><body>{body}</body></html>"
    )


def _banner(run: Figures, *, named: bool) -> str:
    """Return the verdict in a sentence, and where it was come by."""
    name = f"{run['run']}: " if named else ""
    kind, said = _verdict(run["verdict"])
    limited = (run["driver"] or {}).get("limited")
    driver = f"<p class={'bad' if limited else 'quiet'}>{escape(summary.driver_said(run))}</p>"
    return f'<p class="verdict {kind}">{escape(name + said)}</p><p class=quiet>{escape(_where(run))}</p>{driver}'


def _verdict(verdict: Mapping[str, Any] | None) -> tuple[str, str]:
    if verdict is None:
        return "open", "Not reconciled: nothing is known of what was stored."
    faults = [f"{count:,} {name}" for name, count in _faults(verdict).items() if count]
    if faults:
        return "failed", f"Failed: {', '.join(faults)}, of {verdict['acknowledged']:,} acknowledged"
    return "passed", f"Passed: {verdict['acknowledged']:,} acknowledged, none lost, none applied twice, none altered"


def _faults(verdict: Mapping[str, Any]) -> dict[str, int]:
    """Return how often each promise was broken, by name in words."""
    counts = {name: value for name, value in verdict.items() if name not in _NOT_FAULTS and isinstance(value, int)}
    return {name.replace("_", " "): value for name, value in counts.items()}


def _where(run: Figures) -> str:
    header = run["header"]
    commit = f", commit {header['commit']}" if header.get("commit") else ""
    facts = (header.get("machine"), f"Python {header['python']}" if header.get("python") else None)
    return ", ".join(filter(None, (summary.started(run), header.get("endpoint"), *facts))) + commit


def _counts(runs: Sequence[Figures]) -> str:
    """Return what became of the requests, beside how often each promise was broken; a column a run."""
    verdicts = [run["verdict"] for run in runs if run["verdict"] is not None]
    if len(verdicts) < len(runs):
        return ""
    heads = ["", *(run["run"] for run in runs)] if len(runs) > 1 else []
    became = [(name, [verdict.get(name, 0) for verdict in verdicts], False) for name in _COUNTS]
    broken = [_faults(verdict) for verdict in verdicts]
    rows = [(name, [one.get(name, 0) for one in broken], any(one.get(name) for one in broken)) for name in broken[0]]
    return f"<div class=beside>{_table(became, heads)}{_table(rows, heads)}</div>"


def _named(run: Figures) -> str:
    """Return the ids that broke a promise, and what could not be looked at."""
    verdict = run["verdict"] or {"named": {}, "unshown": ()}
    named = "".join(
        f"<p class=bad>{escape(name.replace('_', ' '))}</p><pre>{escape(chr(10).join(ids))}</pre>"
        for name, ids in verdict["named"].items()
    )
    return named + "".join(f"<p class=quiet>not shown: {escape(what)}</p>" for what in verdict["unshown"])


def _figures(run: Figures) -> str:
    rows = "".join(f"<li>{escape(line)}</li>" for line in summary.summary(run) if line != summary.driver_said(run))
    return f"<h2>Figures</h2><ul>{rows}</ul>"


def _comparison(first: Figures, second: Figures) -> str:
    rows = []
    for name, a, b, ratio, more_is_better in summary.compare(first, second):
        worse = ratio is not None and {True: ratio < 0.9, False: ratio > 1.1, None: False}[more_is_better]
        rows.append((name, [a, b, ratio], worse))
    heads = ["", first["run"], second["run"], "second / first"]
    return f"<h2>Side by side</h2><p class=quiet>Red: worse by more than a tenth.</p>{_table(rows, heads)}"


_WORDS = {
    "acknowledged": "answered with 2xx: the sender need not send it again",
    "stored": "acknowledged, and found in the stream or the table with the bytes that were sent",
    "applied, ignored, quarantined, waiting": "what became of an event; nothing else may become of one",
    "refused by code": "quarantined by the project's own business code, which is an answer and no fault",
    "lost": "acknowledged, and nowhere",
    "intended time": "when a request was to be sent; latency counts from it, so a slow server cannot hide behind a "
    "sender that waits for it",
    "send lag": "how much later than intended a request was sent: large when the sender itself was too slow",
    "the driver was not the limit": "the sender kept up, so that the figures are those of the stack",
    "write units": "what DynamoDB charges for: one for each KB written, two in a transaction",
    "lag": "how old the oldest event is that is stored and not done",
}


def _words() -> str:
    rows = "".join(f"<tr><td>{escape(word)}</td><td>{escape(said)}</td></tr>" for word, said in _WORDS.items())
    return f"<details><summary>What the words mean</summary><div class=wide><table>{rows}</table></div></details>"


def _asked(run: Figures) -> str:
    asked = escape(json.dumps(run["header"], indent=1))
    return f"<details><summary>What was asked: {escape(run['run'])}</summary><pre>{asked}</pre></details>"


def _table(rows: Sequence[tuple[str, Sequence[Any], bool]], heads: Sequence[str] = ()) -> str:
    """Return a table; of a row that is bad, the last cell is marked."""
    head = "".join(f"<th{' class=n' if name else ''}>{escape(name)}</th>" for name in heads)
    body = []
    for name, values, bad in rows:
        marks = [bad and place == len(values) - 1 for place in range(len(values))]
        cells = [f"<td class='n{' bad' if m else ''}'>{_number(v)}</td>" for v, m in zip(values, marks, strict=True)]
        body.append(f"<tr><td>{escape(name)}</td>{''.join(cells)}</tr>")
    return f"<div class=wide><table>{f'<tr>{head}</tr>' if head else ''}{''.join(body)}</table></div>"


def _number(value: Any) -> str:
    """Return a count as it is, a measurement with three digits that count."""
    if value is None:
        return "-"
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}" if value else "0"
