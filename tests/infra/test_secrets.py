"""Secrets as an operator sets them, in both stores of the engine."""

from __future__ import annotations

import json
import stat
import uuid
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from tests.support.deliveries import pair_of, source_of
from weir.infra import secrets, signing_keys
from weir.infra.local.engine.engine import Engine
from weir.infra.outputs import Outputs
from weir.infra.place import Place
from weir.ingest.errors import OptionInvalid, SecretInvalid, SecretsFull, SecretUnset, StackFailed
from weir.ingest.live_secrets import LiveSecret
from weir.ingest.schemes import signatures
from weir.ingest.schemes.parts.checks import MAX_SECRETS
from weir.ingest.sources import presets
from weir.ingest.sources.catalogue import Source

STORES = ["ssm", "secretsmanager"]


@pytest.fixture
def place(engine: Engine, tmp_path: Path) -> Place:
    made = Place("embedded", "s", endpoint=engine.endpoint, outputs=Outputs(secrets_prefix=f"/{uuid.uuid4().hex}"))
    made.home = tmp_path
    return made


def source(store: str, preset: str = "github") -> Source:
    kept = store if store == "ssm" else f"secretsmanager:weir/{uuid.uuid4().hex}"
    return source_of(preset).model_copy(update={"secret": kept})


@pytest.mark.parametrize("store", STORES)
def test_several_are_live_newest_first(place: Place, store: str) -> None:
    """Each secret that is set is live beside the others, the newest first; the same one twice counts once."""
    github = source(store)
    assert secrets.live(place, github) == []
    assert [secrets.add(place, github, value) for value in ("one", "two", "one")] == [1, 2, 2]
    assert [secret.value for secret in secrets.live(place, github)] == ["one", "two"]


@pytest.mark.parametrize("store", STORES)
def test_rotation_keeps_what_retries_are_signed_with(place: Place, store: str) -> None:
    """Rotating retires what was superseded before the provider's retry window, never the one just superseded."""
    github = source(store)
    for value in ("first", "second"):
        secrets.add(place, github, value)
    assert secrets.rotate(place, github, "third", keep_s=3600) == (3, 0)
    assert secrets.rotate(place, github, "fourth", keep_s=0) == (2, 2)
    assert [secret.value for secret in secrets.live(place, github)] == ["fourth", "third"]


@pytest.mark.parametrize("store", STORES)
def test_the_last_one_can_be_removed(place: Place, store: str) -> None:
    """Secrets are retired by their place in the list, and one that is not there is named as such."""
    github = source(store)
    secrets.add(place, github, "only")
    with pytest.raises(OptionInvalid, match="none has the number 1"):
        secrets.remove(place, github, 1)
    assert secrets.remove(place, github, 0) == 0
    assert secrets.live(place, github) == []
    assert secrets.add(place, github, "again") == 1


def test_no_more_are_live_than_are_tried(place: Place) -> None:
    """A secret is never kept that no delivery would be tried with; rotation retires old ones to make room."""
    github = source("ssm")
    for number in range(MAX_SECRETS):
        secrets.add(place, github, f"secret {number}")
    with pytest.raises(SecretsFull, match="weir secrets remove"):
        secrets.add(place, github, "one more")
    with pytest.raises(SecretsFull, match="weir secrets remove"):
        secrets.rotate(place, github, "one more", keep_s=3600)
    assert len(secrets.live(place, github)) == MAX_SECRETS
    assert secrets.rotate(place, github, "one more", keep_s=0) == (2, MAX_SECRETS - 1)
    assert [secret.value for secret in secrets.live(place, github)] == ["one more", f"secret {MAX_SECRETS - 1}"]


@pytest.mark.parametrize("value", ["", "  ", "two\nlines", "nul\0"])
def test_what_cannot_be_a_secret_is_refused(place: Place, value: str) -> None:
    """A secret that was pasted badly is refused with what is wrong with it."""
    with pytest.raises(SecretInvalid, match="one line of text"):
        secrets.add(place, source("ssm"), value)


@pytest.mark.parametrize("pasted", ["{} ", " {}", "{}\t", "\t{} \r\n", "\ufeff{}", "{}\u00a0", "\u200b {}\u2060"])
def test_blanks_around_a_secret_are_left_out(place: Place, pasted: str) -> None:
    """Blanks, tabs and a byte order mark do not belong to it. https://github.com/stripe/stripe-node/issues/1812"""
    stripe = source("ssm", "stripe")
    assert secrets.add(place, stripe, pasted.format("whsec_a b")) == 1
    assert [secret.value for secret in secrets.live(place, stripe)] == ["whsec_a b"]


@pytest.mark.parametrize("pasted", ['"{}"', "'{}'", "`{}`", " \u201c{}\u201d\n", "\u2018{}\u2019"])
def test_a_secret_in_quotes_is_refused(place: Place, pasted: str) -> None:
    """A secret with the quotes of a settings file is refused. https://github.com/honojs/examples/issues/159"""
    with pytest.raises(SecretInvalid, match="in quotes"):
        secrets.add(place, source("ssm", "stripe"), pasted.format("whsec_private"))


@pytest.mark.parametrize(
    ("preset", "value"),
    [
        ("discord", "not hex at all, but private"),
        ("standard-webhooks", "whsec_!!!private!!!"),
        ("aws-sns", "-----BEGIN CERTIFICATE-----private"),
        ("adyen", "private, and no hex"),
    ],
)
def test_a_secret_of_another_form_is_refused_and_not_quoted(place: Place, preset: str, value: str) -> None:
    """A secret that the scheme cannot use is refused when it is set, in words that do not quote it."""
    with pytest.raises(SecretInvalid, match="does not fit") as refused:
        secrets.add(place, source("ssm", preset), value)
    assert "private" not in str(refused.value)
    assert secrets.live(place, source("ssm", preset)) == []


@pytest.mark.parametrize("preset", presets.names())
def test_every_provider_can_be_tried_out(place: Place, preset: str) -> None:
    """A source without a secret is given one; its deliveries can then be signed and verified."""
    tried = source_of(preset)
    assert signing_keys.provide(place, tried)
    assert not signing_keys.provide(place, tried)
    live = secrets.live(place, tried)
    assert len(live) == 1
    signatures.check_secret(tried.scheme, live[0].value)
    assert signing_keys.signing_key(place, tried)


def test_the_signing_half_is_for_its_owner_alone(place: Place) -> None:
    """The signing half of a key pair is kept beside the stack, readable by its owner alone; the store has the other."""
    discord = source_of("discord")
    signing_keys.provide(place, discord)
    assert place.home is not None
    kept = place.home / "signing-embedded-s.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["discord"] == signing_keys.signing_key(place, discord)
    assert secrets.live(place, discord)[0].value != signing_keys.signing_key(place, discord)


def test_without_a_secret_the_command_is_named(place: Place) -> None:
    """Sending from a source without a secret says how to get one."""
    with pytest.raises(SecretUnset, match="github") as unset:
        signing_keys.signing_key(place, source_of("github"))
    assert "weir secrets set" in unset.value.advice


def test_what_somebody_else_wrote_is_not_overwritten(place: Place) -> None:
    """A parameter that is not a list of secrets is left alone, and its text is not shown."""
    github = source_of("github")
    name = secrets.where(place, github)
    place.client("ssm").put_parameter(Name=name, Value="private text", Type="SecureString")
    with pytest.raises(StackFailed, match="was not written by") as refused:
        secrets.add(place, github, "new")
    assert "private" not in str(refused.value)
    assert place.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"] == "private text"


def test_a_repr_holds_no_value(place: Place) -> None:
    """A secret that ends in a traceback or a log shows no value."""
    assert "only" not in repr(LiveSecret("only", 1))
    assert pair_of(source_of("github")).sign_with not in repr(LiveSecret(pair_of(source_of("github")).sign_with, 1))


def test_a_parameter_that_was_advanced_once_stays_so() -> None:
    """AWS refuses to make it a standard one; the same value is then written into the tier that it has."""
    ssm = boto3.client("ssm", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    written = {"Name": "/weir/secrets/shop", "Value": "short", "Type": "SecureString", "Overwrite": True}
    with Stubber(ssm) as answers:
        answers.add_client_error(
            "put_parameter", "ValidationException", "This parameter uses the advanced-parameter tier.",
            expected_params={**written, "Tier": "Standard"},
        )  # fmt: skip
        answers.add_response("put_parameter", {"Version": 2}, {**written, "Tier": "Advanced"})
        secrets._put_parameter(ssm, "/weir/secrets/shop", "short", 5)
        answers.assert_no_pending_responses()
        answers.add_client_error(
            "put_parameter", "AccessDeniedException", expected_params={**written, "Tier": "Standard"}
        )
        with pytest.raises(ClientError):
            secrets._put_parameter(ssm, "/weir/secrets/shop", "short", 5)
