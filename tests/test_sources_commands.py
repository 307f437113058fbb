"""The commands of the sources file, as a person types them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.places import write_state
from weir.cli.main import main
from weir.infra.local.engine.engine import Engine
from weir.ingest.sources import presets, sources_file


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIR_HOME", str(tmp_path / "home"))
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "sources.yaml"
    path.write_text("# mine\ngithub:\n  preset: github # the first\n")
    monkeypatch.setenv("WEIR_SOURCES", str(path))
    return path


def weir(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_presets_are_listed_with_every_fact() -> None:
    """The list names each provider once, and as JSON holds scheme, events, window, answers and who checked it."""
    facts = [json.loads(line) for line in weir("sources", "presets", "--json").output.splitlines()]
    assert [one["name"] for one in facts] == presets.names()
    assert all({"title", "docs", "checked", "secret", "scheme"} <= one.keys() for one in facts)
    table = weir("sources", "presets").stdout.splitlines()
    assert len(table) == 1 + len(facts)
    assert next(line for line in table if line.startswith("slack ")).split()[1:6] == [
        "slack-v0", "6", "min", "function", "sdk"
    ]  # fmt: skip


def test_one_preset_is_shown_with_its_sources() -> None:
    """One provider is shown with what its id is made of and what its retries do; an unknown one has a near name."""
    shown = dict(line.split(maxsplit=1) for line in weir("sources", "presets", "github").output.splitlines())
    assert shown["provider"] == "GitHub"
    assert shown["retries"].startswith("A retry has the same id. X-GitHub-Delivery")
    assert "read 2026-11-26" in shown["retries"]
    (fact,) = weir("sources", "presets", "github", "--json").output.splitlines()
    assert json.loads(fact)["retries"]["id"] == "same"
    assert weir("sources", "presets", "github-").exit_code == 2


def test_adding_keeps_what_is_there(file: Path) -> None:
    """A provider is added below what is in the file, comments and all, with what its questions need."""
    added = weir("sources", "add", "zoom")
    assert added.exit_code == 0
    assert "ENDPOINT/zoom" in added.stdout  # what to enter at the provider
    assert "the app's secret token" in added.stdout
    assert weir("sources", "add", "sms", "--preset", "twilio", "--url", "https://x.example/v1/sms").exit_code == 0
    assert file.read_text() == (
        "# mine\ngithub:\n  preset: github # the first\n\n"
        "zoom:\n  preset: zoom\n  handshake_function: true\n\n"
        "sms:\n  preset: twilio\n  url: https://x.example/v1/sms\n"
    )
    assert list(sources_file.load(file)) == ["github", "zoom", "sms"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["github"], "Keep one"),
        (["githup"], "Did you mean github"),
        (["twilio"], "add `url: https://"),
        (["Shop", "--preset", "shopify"], "a source's name is"),
    ],
)
def test_what_cannot_be_added_leaves_the_file_alone(file: Path, arguments: list[str], said: str) -> None:
    """A source that is there, a provider that is not, and one that needs its URL are refused with the reason."""
    before = file.read_text()
    done = weir("sources", "add", *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert file.read_text() == before


def test_adding_makes_the_file_where_there_is_none(file: Path) -> None:
    """The first source makes the file; a source that cannot be added makes none."""
    file.unlink()
    assert weir("sources", "add", "githup").exit_code == 2
    assert weir("sources", "add", "twilio").exit_code == 2
    assert not file.exists()
    assert weir("sources", "add", "github").exit_code == 0
    assert file.read_text() == "github:\n  preset: github\n"


def test_checking_warns_of_what_may_surprise(file: Path) -> None:
    """A short dedupe window, a question without an answer and a function without a question are each told."""
    file.write_text(
        "adyen: {preset: adyen, dedupe_days: 3}\n"
        "slack: {preset: slack}\n"
        "github: {preset: github, handshake_function: true}\n"
        "shop: {preset: shopify}\n"
        "short: {preset: stripe, dedupe_days: 2}\n"
    )
    told = {one["source"]: one for one in map(json.loads, weir("sources", "check", "--json").output.splitlines())}
    assert "repeats deliveries for 30 days" in told["adyen"]["warnings"][0]
    assert "handshake_function: true" in told["slack"]["warnings"][0]
    assert "does nothing here" in told["github"]["warnings"][0]
    assert told["shop"] == {
        "source": "shop", "preset": "shopify", "scheme": "shopify-sha256", "secrets": None,
        "dedupe_days": 400, "shares_path": False, "outlived_by": [], "warnings": [],
    }  # fmt: skip
    assert any("a record may wait 2 days" in one for one in told["short"]["warnings"])
    assert told["short"]["outlived_by"] == ["RetentionHours", "FailureDays", "QuarantineDays", "ArchiveDays"]
    said = weir("sources", "check").output
    assert "no stack runs" in said
    assert (
        "marks live 30 days (slack); longer keep deliveries: the failures (365 days), the quarantine (90 days), "
        in said
    )


@pytest.mark.engine
def test_a_shared_secret_is_pointed_out(file: Path, engine: Engine) -> None:
    """A secret of two sources is named for both, never printed; one that is pasted with blanks is the same secret."""
    file.write_text("".join(f"{name}: {{preset: github}}\n" for name in ("one", "two", "three")))
    home = file.parent / "home"
    home.mkdir()
    write_state(home, engine=engine.endpoint, SecretsPrefix=f"/{uuid.uuid4().hex}")
    for name, secret in (("one", "private\n"), ("two", "\ufeffprivate \r\n"), ("three", "another")):
        done = CliRunner().invoke(main, ["secrets", "set", name], input=secret)
        assert done.exit_code == 0, done.output
        assert ("left out" in done.stderr) == (name == "two")
    checked = weir("sources", "check", "--json").output
    warnings = {one["source"]: " ".join(one["warnings"]) for one in map(json.loads, checked.splitlines())}
    assert "shares a secret with two" in warnings["one"]
    assert "shares a secret with one" in warnings["two"]
    assert warnings["three"] == ""
    assert "private" not in checked


def test_checking_finds_what_the_gateway_could_not_serve(file: Path) -> None:
    """More sources than one API holds, and an answer that no template can give, are found before a deployment."""
    needing = "{preset: github, throttle: {rate_per_s: 5, burst: 5}}"
    file.write_text("".join(f"s{n}: {needing}\n" for n in range(60)))
    assert "split the sources file over two stacks" in weir("sources", "check").output
    file.write_text("odd:\n  preset: github\n  handshakes:\n  - {match: {method: GET, query: {a: '$b'}}, reply: {}}\n")
    assert "mapping template cannot hold" in weir("sources", "check").output


def test_the_schema_is_printed() -> None:
    """What is printed is the schema that is published beside the sources file."""
    published = (Path(__file__).parents[1] / "ingest/sources/sources.schema.json").read_text()
    assert weir("sources", "schema").output == published


def test_an_unknown_source_is_told_with_those_there_are(file: Path) -> None:
    """A secret cannot be set for a source that does not exist."""
    file.parent.joinpath("home").mkdir()
    write_state(file.parent / "home")
    done = CliRunner().invoke(main, ["secrets", "set", "stripe"], input="x")
    assert done.exit_code == 2
    assert "Its sources are: github" in done.output
    assert "weir sources add stripe" in done.output


def test_content_types_are_checked(file: Path) -> None:
    """A type that every source stores is named as needless, whatever its case; one of the source's own is not."""
    file.write_text("own:\n  preset: hmac\n  content_types: [application/vnd.acme+json, Application/JSON]\n")
    lines = weir("sources", "check").output.splitlines()
    assert [line.strip() for line in lines if "content_types" in line] == [
        "warning: Application/JSON is stored for every source: remove it from content_types."
    ]
