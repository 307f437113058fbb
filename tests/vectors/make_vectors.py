"""Records what the providers' own packages say of deliveries, so that the tests ask them without having them.

    pip install -r requirements/oracles.txt
    npm install --prefix /tmp/npm PACKAGE...          # the names in NPM below
    NODE_PATH=/tmp/npm/node_modules python -m tests.vectors.make_vectors

Each file of ``sdk/`` holds one preset: the package and its version, and per case the delivery, the secret and whether
the package accepted it; cases named "signed by the SDK" were signed by the package itself. They are valid at ``at_ms``,
the time when they were made, for most packages read the clock.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.deliveries import URL, Case, draft_of, envelope_of, judged_cases, pair_of, source_of, with_headers
from tests.support.sdks import SDKS, Delivery, Sdk
from weir.ingest.envelope import Envelope
from weir.ingest.sources.catalogue import Source

HERE = Path(__file__).parent
NPM = {
    "aws-sns": "sns-validator",
    "box": "box-node-sdk",
    "braintree": "braintree",
    "cashfree": "cashfree-pg",
    "clerk": "@clerk/backend",
    "coinbase-commerce": "coinbase-commerce-node",
    "contentful": "@contentful/node-apps-toolkit",
    "dropbox-sign": "@dropbox/sign",
    "elevenlabs": "@elevenlabs/elevenlabs-js",
    "github": "@octokit/webhooks-methods",
    "hygraph": "@hygraph/utils",
    "linear": "@linear/sdk",
    "livekit": "livekit-server-sdk",
    "mux": "@mux/mux-node",
    "notion": "@notionhq/client",
    "onfido": "@onfido/api",
    "polar": "@polar-sh/sdk",
    "replicate": "replicate",
    "sanity": "@sanity/webhook",
    "shopify": "@shopify/shopify-api",
    "twitch": "@twurple/eventsub-http",
    "webflow": "webflow-api",
}
NPM_SIGNS = {"github", "notion", "contentful"}
MESSAGE_ID = "msg_2b4a1c9d"


def main() -> int:
    """Write all files anew."""
    logging.disable(logging.CRITICAL)
    at_ms = int(time.time() * 1000)
    for sdk in SDKS:
        source = source_of(sdk.preset)
        pair = pair_of(source)
        cases = [(case, sdk.verdict(_delivery(case, source))) for case in judged_cases(source, pair, at_ms)]
        cases += [(case, True) for case in _signed_by(sdk, source, at_ms)]
        _write(source, f"PyPI {sdk.package} {sdk.version}", at_ms, cases)
    for preset, package in NPM.items() if "NODE_PATH" in os.environ else ():
        source = source_of(preset)
        pair = pair_of(source)
        version, judged = _ask_node(package, source, judged_cases(source, pair, at_ms), at_ms)
        _write(source, f"npm {package} {version}", at_ms, judged)
    if "NODE_PATH" in os.environ:
        _write_answers(at_ms)
    return 0


def _write_answers(at_ms: int) -> None:
    """Record what a package answers to a question of the provider's."""
    secret, query = "public-1|private-1", {"bt_challenge": "20f9f8ed05f77439fe955c977e4c8a53"}
    asked = {"preset": "braintree", "package": NPM["braintree"], "secret": secret, "query": query, "body": ""}
    answer = json.loads(_node([asked])[0])
    judge = f"npm {asked['package']} {answer['version']}"
    date = datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
    content = [{"judge": judge, "date": date, **asked, "answer": answer["answer"]}]
    (HERE / "answers.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _delivery(case: Case, source: Source) -> Delivery:
    return Delivery(case.envelope, URL + source.name, case.secrets[0])


def _signed_by(sdk: Sdk, source: Source, at_ms: int) -> Iterator[Case]:
    if sdk.signs is None:
        return
    pair = pair_of(source)
    envelope = envelope_of(source, draft_of(source, pair, at_ms=at_ms))
    delivery = Delivery(envelope, URL + source.name, pair.sign_with)
    headers = sdk.signs(delivery, at_ms // 1000, MESSAGE_ID)
    yield Case("signed by the SDK", with_headers(envelope, headers), (pair.verify_with,))


def _ask_node(package: str, source: Source, cases: list[Case], at_ms: int) -> tuple[str, list[tuple[Case, bool]]]:
    asked = [_question(package, source, case) for case in cases]
    if source.name in NPM_SIGNS:
        plain = draft_of(source, pair_of(source), at_ms=at_ms)
        unsigned = replace(cases[0], envelope=_unsigned(source, plain.headers, cases[0].envelope))
        asked.append(_question(package, source, unsigned) | {"sign": True})
    answers = [json.loads(line) for line in _node(asked)]
    judged = [(case, answer["accepted"]) for case, answer in zip(cases, answers, strict=False)]
    if source.name in NPM_SIGNS:
        made = {name.title(): value for name, value in answers[-1]["headers"].items()}
        signed = replace(cases[0], name="signed by the SDK", envelope=with_headers(unsigned.envelope, made))
        judged.append((signed, True))
    return answers[0]["version"], judged


def _node(asked: list[dict[str, Any]]) -> list[str]:
    lines = "".join(json.dumps(question) + "\n" for question in asked)
    run = subprocess.run(
        ["node", str(HERE / "verdicts.mjs")],
        input=lines, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return run.stdout.splitlines()


def _unsigned(source: Source, headers: dict[str, str], envelope: Envelope) -> Envelope:
    names = source.scheme.header_names | {
        "x-contentful-signature",
        "x-contentful-signed-headers",
        "x-contentful-timestamp",
    }
    kept = tuple((name, value) for name, value in headers.items() if name.lower() not in names)
    return replace(envelope, headers=kept)


def _question(package: str, source: Source, case: Case) -> dict[str, Any]:
    return {
        "preset": source.name,
        "package": package,
        "headers": {name.lower(): value for name, value in case.envelope.headers},
        "body": b64encode(case.envelope.body).decode("ascii"),
        "url": URL + source.name,
        "secret": case.secrets[0],
    }


def _write(source: Source, package: str, at_ms: int, judged: list[tuple[Case, bool]]) -> None:
    content = {
        "preset": source.name,
        "judge": package,
        "date": datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat(),
        "at_ms": at_ms,
        "url": URL + source.name,
        "cases": [_recorded(case, accepted) for case, accepted in judged],
    }
    path = HERE / "sdk" / f"{source.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(source.name, package, {case.name: accepted for case, accepted in judged})


def _recorded(case: Case, accepted: bool) -> dict[str, Any]:
    return {
        "name": case.name,
        "accepted": accepted,
        "secret": case.secrets[0],
        "headers": [list(pair) for pair in case.envelope.headers],
        "query": case.envelope.query,
        "body": b64encode(case.envelope.body).decode("ascii"),
    }


if __name__ == "__main__":
    sys.exit(main())
