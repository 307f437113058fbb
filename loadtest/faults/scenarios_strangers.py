"""Strangers beside the true senders: what they send is stored and refused, and delays no one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from weir.ingest.errors import StackFailed
from weir.loadtest.faults.fault_stack import FaultStack
from weir.loadtest.faults.scenario import LOOSE, scenario
from weir.loadtest.faults.scenario_run import MIX, ScenarioRun
from weir.loadtest.faults.strangers import Strangers

_IN_TIME_S, _SLOWER = 2.0, 3.0
_REST_S = 5.0
# Whose sums and ids the oracle knows; the sources of the project that are not among these are only attacked.
_TRUE = ("stripe", "payments", "github", "shopify", "partner")


@scenario(
    "hostile-senders",
    "50 hostile requests of each kind a minute: true events are applied within 2 s (p99), all is accounted for",
    LOOSE,
)
def hostile_senders(run: ScenarioRun) -> None:
    stack, catalogue = run.own_stack, run.target.catalogue
    _unpin(run)
    mix = replace(MIX, sources={name: 1.0 for name in catalogue if name in _TRUE})
    with run.traffic(3, mix=mix):  # until everything is warm
        pass
    run.pass_time(_REST_S)
    with run.traffic(6, mix=mix):
        pass
    before_ms = _account_ms(stack)
    with run.traffic(12, mix=mix), Strangers(run.target.endpoint, catalogue) as strangers:
        run.pass_time(12)
    run.fault_ends()
    run.limits.append(_are_in_time)
    run.hits |= {f"requests of {name}": strangers.sent[name] for name in strangers.kinds}
    run.hits["hostile deliveries stored"] = len(strangers.stored)
    run.poisons += strangers.stored
    run.await_poisons()
    run.hits["ms of the account before them"] = before_ms
    run.hits["ms of the account with them"] = _account_ms(stack)


def _are_in_time(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Compare the delays of true events with the bound; on a machine that is too busy, with those before strangers."""
    alone_s, beside_s = (one["delay_p99_s"] or 0.0 for one in runs[-2:])
    if beside_s <= max(_IN_TIME_S, _SLOWER * alone_s):
        return []
    return [f"99 of 100 true events are applied within {beside_s:.1f} s; without strangers it was {alone_s:.1f} s"]


def _unpin(run: ScenarioRun) -> None:
    """Take the certificates out of the secrets that have one pinned, so that a delivery names its own."""
    ssm, prefix = run.target.place.client("ssm"), run.target.place.outputs().secrets_prefix
    for name in (name for name, source in run.target.catalogue.items() if source.scheme.names_certificates):
        kept = json.loads(ssm.get_parameter(Name=f"{prefix}/{name}", WithDecryption=True)["Parameter"]["Value"])
        for one in kept["secrets"]:
            one["value"] = one["value"].partition("\n")[0]
        ssm.put_parameter(Name=f"{prefix}/{name}", Value=json.dumps(kept), Type="SecureString", Overwrite=True)


def _account_ms(stack: FaultStack) -> int:
    """Return how long `weir account` takes. Raises: StackFailed when something is unaccounted for."""
    started_s = time.monotonic()
    code, said = stack.command("account", "--since", "1h")
    if code:
        raise StackFailed("The account is not even.", said=said.splitlines()[-5:])
    return round((time.monotonic() - started_s) * 1000)
