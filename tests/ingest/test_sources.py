"""The sources file: what it may say, what is said of its mistakes, and what the function gets of it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.deliveries import source_of
from tests.support.ledger import SOURCES
from weir.infra import template
from weir.ingest.errors import CatalogueInvalid
from weir.ingest.schemes.any_of import AnyOf
from weir.ingest.schemes.content import ContentScheme
from weir.ingest.sources import presets, samples
from weir.ingest.sources.catalogue import Catalogue, parse_compiled
from weir.ingest.sources.sources_file import SourceEntry, json_schema, load, parse_yaml, resolve

ROOT = Path(__file__).parent.parent.parent
SCHEMA = ROOT / "ingest/sources/sources.schema.json"


def loaded(tmp_path: Path, text: str) -> Catalogue:
    """Load a sources file with this text."""
    path = tmp_path / "sources.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_default_file() -> None:
    """The file that comes with Weir loads, and has the example ledger's senders."""
    assert {"github", "stripe", "shopify", "slack", "payments", "partner"} <= set(load(SOURCES))


def test_at_least_35_presets_with_samples() -> None:
    """There are more than 35 presets, each with a sample, a link and the origin of its facts."""
    found = presets.all_presets()
    assert len(found) >= 35
    assert set(found) == set(samples.names())
    for name, preset in found.items():
        assert preset.docs.startswith("https://"), name
        assert preset.checked.partition(": ")[2], name
        assert preset.secret, name


@pytest.mark.parametrize("name", presets.names())
def test_round_trip_of_every_preset(name: str) -> None:
    """What the function ships with is the whole source, read back without YAML and presets."""
    catalogue = Catalogue({name: source_of(name)})
    again = parse_compiled(catalogue.dump())
    assert dict(again) == dict(catalogue)
    assert again.dump() == catalogue.dump()


@pytest.mark.parametrize("path", sorted((ROOT / "ingest/sources").rglob("*.yaml")), ids=lambda path: path.stem)
def test_no_field_of_a_preset_is_given_twice(path: Path) -> None:
    """Of two fields of one name YAML keeps the last in silence, so that a fact could be lost."""
    assert parse_yaml(path.read_text(encoding="utf-8"), path.name)


def test_operators_words(tmp_path: Path) -> None:
    """Everything that a source says for itself is in the resolved source, its scheme and the alternatives of it."""
    catalogue = loaded(
        tmp_path,
        """
stripe:
  {preset: stripe, tolerance_s: 600, dedupe_days: 2, throttle: {rate_per_s: 5, burst: 10}, effects: off, key: $.account}
box: {preset: box, tolerance_s: 900}
hubspot: {preset: hubspot, url: "https://x.example/v1/hubspot", redact: [X-Trace]}
own:
  scheme:
    signature: {at: "header:X-Own", prefix: "v1=", split: ","}
    timestamp: {prefix: "t="}
    content: "{timestamp}|{body}"
  event: {id: $.n}
""",
    )
    stripe, box, hubspot, own = catalogue.values()
    assert isinstance(stripe.scheme, ContentScheme)
    assert (stripe.scheme.tolerance_s, stripe.dedupe_s, stripe.effects, stripe.event.key) == (
        600,
        172_800,
        False,
        "$.account",
    )
    assert stripe.throttle is not None
    assert stripe.throttle.burst == 10
    assert stripe.event.id == "$.id"
    assert isinstance(box.scheme, AnyOf)
    assert isinstance(hubspot.scheme, AnyOf)
    assert [getattr(option, "tolerance_s", None) for option in box.scheme.any_of] == [900, 900]
    assert {getattr(option, "url", "") for option in hubspot.scheme.any_of} == {"https://x.example/v1/hubspot"}
    assert hubspot.redacted_headers == {"x-trace"}
    assert own.preset is None
    assert not own.needs_cryptography


def test_warnings(tmp_path: Path) -> None:
    """Marks that live shorter than the provider repeats, or accepts, a delivery are warned of, and allowed."""
    catalogue = loaded(tmp_path, "stripe: {preset: stripe, dedupe_days: 1}\ngithub: {preset: github, dedupe_days: 1}")
    assert "3 days" in catalogue["stripe"].warnings[0]
    assert catalogue["github"].warnings == ()
    late = loaded(tmp_path, "stripe: {preset: stripe, dedupe_days: 5, tolerance_s: 864000}")["stripe"]
    assert "accepted for 10 days" in late.warnings[0]


@pytest.mark.parametrize("name", presets.names())
def test_marks_live_as_long_as_a_captured_delivery_is_good(name: str) -> None:
    """Longer than a provider repeats and Weir accepts a delivery; as long as the archive if it is good for ever."""
    source = source_of(name)
    accepted_s, archive_days = source.scheme.accepts_for_s, template.defaults(template.load())["ArchiveDays"]
    assert source.dedupe_s >= 2 * (source.retry_window_s or 0)
    assert source.dedupe_days >= 30
    if accepted_s is None:
        assert source.dedupe_days >= int(archive_days)
    else:
        assert source.dedupe_s > accepted_s + source.repeats_s
    assert source.repeats_s < source.dedupe_s


def test_a_time_that_is_not_signed_protects_nothing(tmp_path: Path) -> None:
    """A tolerance counts only for a time that the signature covers, and of several schemes only if all have one."""
    at = '{at: "header:X-Time"}'
    text = """
    beside: {scheme: {signature: {at: "header:X-S"}, timestamp: AT, content: "{body}", tolerance_s: 60}}
    signed: {scheme: {signature: {at: "header:X-S"}, timestamp: AT, content: "{timestamp}.{body}", tolerance_s: 60}}
    named: {scheme: {signature: {at: "header:X-S"}, timestamp: AT, content: "{header:X-Time}{body}", tolerance_s: 60}}
    within: {scheme: {signature: {at: "header:X-S"}, timestamp: {at: $.t}, content: "{body}", tolerance_s: 60}}
    either: {scheme: {any_of: [{signature: {at: "header:X-S"}, timestamp: AT, content: "{timestamp}{body}",
      tolerance_s: 60}, {alg: token, at: "header:X-T"}]}}
    """
    lines = [line[4:] for line in text.replace("AT", at).splitlines()]
    found = loaded(tmp_path, "\n".join(lines))
    spans = {name: (source.scheme.accepts_for_s, source.dedupe_days) for name, source in found.items()}
    assert spans == {
        "beside": (None, 400),
        "signed": (60, 30),
        "named": (60, 30),
        "within": (60, 30),
        "either": (None, 400),
    }


def test_headers_that_proving_needs_are_kept() -> None:
    """Authorization is kept from storage, but not where verifying again would need it."""
    assert "authorization" in source_of("github").redacted_headers
    for name in ("chargebee", "okta", "teams", "livekit"):
        assert source_of(name).redacted_headers == {"cookie"}


def test_cryptography_only_where_needed() -> None:
    """The function's package needs `cryptography` for public keys and certificates only."""
    needing = {name for name in presets.names() if source_of(name).needs_cryptography}
    assert needing == {
        "app-store",
        "aws-sns",
        "circle",
        "discord",
        "fireblocks",
        "fusionauth",
        "google-pubsub-oidc",
        "http-message-signatures",
        "paypal",
        "plaid",
        "sendgrid",
        "standard-webhooks-ed25519",
        "telnyx",
        "token-io",
        "wechat-pay",
        "wise",
        "wix",
    }


MISTAKES: list[tuple[str, int, str]] = [
    ("stripe:\n  preset: strip", 1, "Did you mean stripe"),
    ("x:\n  preset: zzzzzz", 1, "weir sources presets"),
    ("stripe:\n  preset: stripe\n  tolerance: 5", 3, "stripe.tolerance"),
    ("stripe:\n  preset: stripe\n  tolerance_s: soon", 3, "stripe.tolerance_s"),
    ("github:\n  preset: github\n  tolerance_s: 5", 1, "remove it"),
    ("github:\n  preset: github\n  url: https://x.example/", 1, "remove it"),
    ("square:\n  preset: square", 1, "add `url"),
    ("Stripe_1:\n  preset: stripe", 1, "a-z, 0-9 and -"),
    ("a:\n  preset: stripe\na:\n  preset: github", 3, "also in line 1"),
    ("a: {}", 1, "preset: NAME"),
    ("a: 3", 1, "`name: value`"),
    ("a:\n  preset: stripe\n? [b]\n: {preset: stripe}", 3, "plain text"),
    ("a:\n\tpreset: stripe", 2, "Fix the YAML"),
    ('a:\n  scheme:\n    signature: {at: "header:X", split: ["", ","]}', 3, "cannot separate"),
    ("a:\n  preset: [x", 2, "YAML"),
    ("a:\n  preset: stripe\n  throttle: {rate_per_s: 0, burst: 1}", 3, "throttle.rate_per_s"),
    ('a:\n  preset: stripe\n  redact: ["bad name"]', 3, "redact.0"),
    ("a:\n  scheme:\n    signature: {at: X-Sig}", 3, "header:Name"),
    ('a:\n  scheme:\n    signature: {at: "header:X"}\n    content: "{stamp}"', 4, "scheme.content"),
    ('a:\n  scheme:\n    signature: {at: "header:X"}\n    content: "{timestamp}"', 2, "timestamp"),
    ('a:\n  scheme:\n    signature: {at: "header:X"}\n    content: "{id}"', 2, "`id`"),
    ('a:\n  scheme:\n    signature: {at: "header:X"}\n    tolerance_s: 3', 2, "tolerance_s"),
    ('a:\n  scheme:\n    alg: md5\n    signature: {at: "header:X"}', 3, "scheme.alg"),
    ("a:\n  scheme: {alg: token}", 2, "add it"),
    ('a:\n  preset: stripe\n  event: {id: "$.a["}', 3, "event.id"),
    ("a:\n  preset: stripe\n  event:\n    split: $.a..b", 4, "event.split"),
    ("a:\n  preset: hmac\n  content_types: [application/json; charset=utf-8]", 3, "content_types"),
    ("a:\n  preset: hmac\n  content_types: [json]", 3, "content_types"),
    ("a:\n  preset: hmac\n  content_types: ['*/*']", 3, "content_types"),
    (f"a:\n  preset: hmac\n  content_types: {[f'a/b{n}' for n in range(21)]}", 3, "content_types"),
    ("- a", 1, "`name: value`"),
    ("", 1, "no source yet"),
]


@pytest.mark.parametrize(("text", "line", "words"), MISTAKES)
def test_mistakes(tmp_path: Path, text: str, line: int, words: str) -> None:
    """A mistake is reported with the file, its line, the field and what to do."""
    with pytest.raises(CatalogueInvalid) as caught:
        loaded(tmp_path, text)
    message = str(caught.value)
    assert words in message
    assert "sources.yaml" in message
    assert f"line {line}" in message or text == ""


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """All fields that are wrong are reported, not only the first."""
    with pytest.raises(CatalogueInvalid) as caught:
        loaded(tmp_path, "a:\n  preset: stripe\n  tolerance_s: -1\n  dedupe_days: 0\n")
    assert str(caught.value).count("sources.yaml, line") == 2


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_unreadable_file(tmp_path: Path, content: bytes | None) -> None:
    """A file that is absent or not text is reported in a sentence."""
    path = tmp_path / "none.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CatalogueInvalid, match=r"none\.yaml"):
        load(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"a": {}}',
        "\x00",
        '{"a": {"name": "a", "scheme": {"alg": "basic"}, "nonsense": 1}}',
        '{"a": {"name": "a", "scheme": {"alg": "nonsense"}}}',
        '{"a": {"name": "a", "scheme": 7}}',
        '{"a": {"name": "a", "scheme": {"any_of": [{"alg": "basic"}, 7]}}}',
    ],
)
def test_damaged_compilation(text: str) -> None:
    """A compiled catalogue that is damaged is reported with the remedy."""
    with pytest.raises(CatalogueInvalid, match="Deploy again"):
        parse_compiled(text)


def test_schema_is_current() -> None:
    """The published JSON Schema is the one of the models."""
    program = "from weir.ingest.sources.sources_file import json_schema; print(json_schema(), end='')"
    command = f'python -c "{program}" > ingest/sources/sources.schema.json'
    assert SCHEMA.read_text(encoding="utf-8") == json_schema(), f"run: {command}"


def check(document: Any) -> None:
    """Validate as an editor would."""
    validator().validate(document)


@cache
def validator() -> jsonschema.protocols.Validator:
    """Return what validates by the schema, which is valid itself."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    made = jsonschema.validators.validator_for(schema)
    made.check_schema(schema)
    return made(schema)


def test_schema_takes_what_weir_takes() -> None:
    """The schema accepts the file that comes with Weir and every preset's scheme and event written out in full."""
    check(yaml.safe_load(SOURCES.read_text(encoding="utf-8")))
    for name, preset in presets.all_presets().items():
        written = preset.model_dump(mode="json", include={"scheme", "event"}, exclude_unset=True)
        check({name: written})


@pytest.mark.parametrize(
    "wrong", [{"a": {"presets": "x"}}, {"A b": {"preset": "x"}}, {"a": {"preset": 1}}, {"a": {"scheme": {}}}]
)
def test_schema_refuses_what_weir_refuses(wrong: Any) -> None:
    """The schema refuses unknown fields, impossible names and unfinished schemes."""
    with pytest.raises(jsonschema.ValidationError):
        check(wrong)


@pytest.mark.parametrize("name", [name for name in presets.names() if presets.preset(name).scheme.needs_url])
def test_signed_urls_are_explained(name: str) -> None:
    """A preset whose provider signs the URL says what `url` must be, and what API Gateway does not pass on."""
    note = presets.preset(name).note
    assert "`url`" in note
    assert "twice" in note


@pytest.mark.parametrize("rule", [{"repeats": "id"}, {"repeats": "type"}, {"varies": ("$.sent_at",)}])
def test_a_rule_alone_leaves_the_preset_its_id_and_type(rule: dict[str, Any]) -> None:
    """`event: {repeats: id}` beside a preset, as `type_unproven` advises, takes nothing from the preset's event."""
    for name in presets.names():
        url = {"url": "https://a.example/"} if presets.preset(name).scheme.needs_url else {}
        event = resolve("ruled", SourceEntry.model_validate({"preset": name, "event": rule, **url})).event
        assert event.model_dump() == {**source_of(name).event.model_dump(), **rule}, name


def test_an_event_with_an_id_replaces_the_preset_s() -> None:
    """An `event` that says where the id is has nothing of the preset's."""
    event = resolve(
        "own", SourceEntry.model_validate({"preset": "github", "event": {"id": "$.id", "repeats": "id"}})
    ).event
    assert (event.id, event.type) == ("$.id", ())


SECRETS_THAT_ARRIVE = [name for name in presets.names() if "weir quarantine" in presets.preset(name).secret]


@pytest.mark.parametrize("name", SECRETS_THAT_ARRIVE)
def test_a_secret_that_arrives_unsigned_is_to_be_compared(name: str) -> None:
    """Where the secret comes in a delivery, which anyone can send, the preset says so and how to compare it."""
    note = presets.preset(name).note
    assert "anyone can send" in note
    assert "address" in note


def test_notion_sends_its_secret() -> None:
    """The test above is about somebody."""
    assert "notion" in SECRETS_THAT_ARRIVE
