"""docs/reference/presets.md: what Weir knows of each provider, from ingest/sources/presets."""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

from typing import Any

from tests.docs import markdown
from weir.ingest.sources import presets, proofs
from weir.ingest.sources.catalogue import Preset, Retries

_RETRIES = {
    "same": "the same id.",
    "new": "another id, so that a retry is applied again.",
    "unstated": "no page says whether the id stays the same.",
}
_SPANS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


# Providers of the lists of ngrok, Svix Ingest and Hookdeck, and those of the issue, that no preset is for.
LEFT_OUT = {
    "3D Eye, Bondsmith, Fiserv, PropertyFinder, REPAY": "no public description of the signature was found.",
    "Checkbook, Orum, VGS": "no public description of the signature was found; Svix Ingest verifies them.",
    "Clearbit, Orbit": "no longer sold as a service of its own.",
    "Cloudprinter (CloudSignal)": "the body carries an API key; describe a source with `alg: token` and `at: $.apikey`.",
    "eBay": "each notification names a key that is fetched with an OAuth token of the receiver.",
    "Exact Online, Treezor": "what is signed is a part of the body as it was written, not the body, or that part written anew.",
    "Go1, HostedHooks, Signal Sciences, Trend Micro Conformity, VMware Workspace ONE": "no second source for the signature was found.",
    "Guesty, Nash, Pleo, PsiFi, SafeBase, Sardine": "they send through Svix: use the preset `svix`.",
    "Klarna": "public receivers contradict each other: HMAC in hex, in base64, or ECDSA.",
    "OpenClaw": "it receives webhooks and sends none.",
    "Paddle Classic, PayPro Global, Quoter": "MD5, or PHP's serialisation, or a hash of single fields.",
    "Praxis": "SHA-384 over a list of fields that differs for each kind, and the answer has to be signed.",
    "ShipStation (V1), Strava, Zift": "nothing proves a delivery.",
    "Vercel Log Drains": "the answer has to carry a token of the account; log lines are not events.",
}


def page() -> str:
    """Return the page."""
    known = presets.all_presets()
    return markdown.page(
        "Presets",
        f"{len(known)} providers. Use one with `preset: NAME` in `sources.yaml`, or run `weir sources add NAME`. Everything in a preset can be\n"
        "overridden by the same field of the source. *Checked* says how the scheme was verified: against the provider's own SDK, against a vector\n"
        "that it published, against its documentation; *unverified* says why that was not possible. *Tolerance* is how much older than its arrival a\n"
        "signed time may be. *Retries* is how long the provider repeats a delivery; `dedupe_days` must be longer.",
        markdown.table(
            ["preset", "provider", "scheme", "event id", "event type", "tolerance", "retries", "checked"],
            [_row(name, preset) for name, preset in known.items()],
        ),
        "## What is signed, which secret, and what to know",
        *(_details(name, preset) for name, preset in known.items()),
        "## Left out",
        "Providers that others list and Weir has no preset for. A source of your own can describe most schemes.",
        markdown.table(["provider", "why"], list(LEFT_OUT.items())),
    )


def _row(name: str, preset: Preset) -> tuple[str, ...]:
    return (
        f"[`{name}`](#{name})",
        f"[{preset.title}]({preset.docs})",
        preset.scheme.label,
        _location(preset.event.id),
        _location(preset.event.type),
        _tolerance(preset),
        _retries(preset.retry_window_s),
        preset.checked,
    )


def _details(name: str, preset: Preset) -> str:
    lines = [f"### {name}", ""]
    lines += [f"- Signed: {'; or '.join(dict.fromkeys(map(_signed, _schemes(preset))))}"]
    if not preset.covers_body:
        lines[-1] += " The proof does not cover the body."
    lines += [
        f"- Covered by the proof: {proofs.signed(preset)}. The mark: {markdown.sentence(proofs.marked_by(preset))}"
    ]
    lines += [f"- A captured delivery is {markdown.sentence(proofs.captured(preset))}"]
    lines += [f"- Secret: {markdown.sentence(preset.secret)}"]
    for handshake in preset.handshakes:
        who = "the handshake function" if handshake.needs_code else "API Gateway alone"
        lines += [f"- Question under {handshake.match.method}: answered by {who}."]
    if preset.event.split:
        lines += [f"- A delivery holds several events: the elements of {markdown.code(preset.event.split)}."]
    lines += [_retry(preset.retries)]
    if preset.no_type:
        lines += [f"- No type: {markdown.sentence(preset.no_type)}"]
    if preset.note:
        lines += [f"- {markdown.sentence(preset.note)}"]
    return "\n".join(lines)


def _retry(retries: Retries) -> str:
    source = f"([source]({retries.docs}), read {retries.read})"
    return f"- Retries: {_RETRIES[retries.id]} {markdown.sentence(retries.note)} {source}"


def _schemes(preset: Preset) -> list[Any]:
    return list(getattr(preset.scheme, "any_of", (preset.scheme,)))


def _signed(scheme: Any) -> str:
    """Return what a scheme proves, in its own terms."""
    algorithm = markdown.code(getattr(scheme, "alg", ""))
    content = getattr(scheme, "content", None)
    if content is not None:
        return f"{algorithm} over {markdown.code(content.replace(chr(10), chr(92) + 'n'))}."
    text = (type(scheme).__doc__ or "").strip().splitlines()[0]
    return f"{algorithm}: {text}"


def _tolerance(preset: Preset) -> str:
    found = {getattr(scheme, "tolerance_s", None) for scheme in _schemes(preset)}
    return ", ".join("none" if one is None else span(one) for one in sorted(found, key=lambda one: one or 0))


def _retries(window_s: int | None) -> str:
    if window_s is None:
        return "unknown"
    return span(window_s) if window_s else "never"


def _location(location: str | tuple[str, ...]) -> str:
    if isinstance(location, str):
        return markdown.code(location)
    return " + ".join(markdown.code(part) for part in location)


def span(seconds: int) -> str:
    """Return a duration in its largest unit, to one decimal place: 2.5 h."""
    size, unit = next((one for one in _SPANS if seconds >= one[0]), _SPANS[-1])
    return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
