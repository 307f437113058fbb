from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.handlers import BUILTIN_HANDLERS
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.consumers.events_table import lean_botocore, lean_session, service_models
from weir.consumers.judging.secret_readers import parameter_reader
from weir.consumers.judging.secrets import REREAD_PAUSE_S, REREADS_MAX, Secrets
from weir.infra.local.engine.engine import Engine
from weir.ingest.envelope import Envelope
from weir.ingest.errors import (
    CertificateAbsent,
    CertificateUnavailable,
    SecretAbsent,
    SecretUnavailable,
    SignatureMismatch,
)
from weir.ingest.ids import RequestId, SourceName

pytestmark = pytest.mark.engine

NOW_MS = 1_700_000_000_000
TTL_S = 300
PATIENCE_S = 900


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms

    def pass_s(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


class Answer:
    """An HTTP answer of the parameter store, in the form that botocore's before-send hook gives in its place."""

    def __init__(self, status: int, code: str) -> None:
        self.status = status
        self.body = json.dumps({"__type": code, "message": "said the store"}).encode()

    def stream(self, **_: Any) -> Any:
        yield self.body


class Store:
    """The engine's parameter store, with every call counted and some of them made to fail."""

    def __init__(self, client: Any, prefix: str) -> None:
        self.client = client
        self.prefix = prefix
        self.calls: list[list[str]] = []
        self.fails: Callable[[list[str]], Answer | None] = lambda names: None
        client.meta.events.register("before-send.ssm.GetParameters", self._sent)

    def _sent(self, request: Any, **_: Any) -> AWSResponse | None:
        names = json.loads(request.body)["Names"]
        self.calls.append([name.rpartition("/")[2] for name in names])
        answer = self.fails(self.calls[-1])
        return AWSResponse(request.url, answer.status, HTTPHeaders(), answer) if answer else None

    def put(self, source: str, *values: str) -> None:
        self.put_text(source, json.dumps({"secrets": [{"value": value, "created_at_ms": 1} for value in values]}))

    def put_text(self, source: str, text: str) -> None:
        self.client.full.put_parameter(Name=f"{self.prefix}/{source}", Value=text, Type="SecureString", Overwrite=True)

    def delete(self, source: str) -> None:
        self.client.full.delete_parameter(Name=f"{self.prefix}/{source}")

    def is_down(self) -> None:
        self.fails = lambda names: Answer(500, "InternalServerError")

    def is_up(self) -> None:
        self.fails = lambda names: None


@pytest.fixture
def clock() -> Clock:
    return Clock()


def never(service: str, error: Exception) -> None:
    """The botocore of the tests makes lean clients of every service."""
    raise AssertionError(service) from error


@pytest.fixture
def store(engine: Engine, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Store:
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine.endpoint)
    client = lean_botocore.ssm_client(never)
    client.full = botocore.session.get_session().create_client("ssm")
    return Store(client, f"/{abs(hash(request.node.nodeid))}")


@pytest.fixture
def secrets(store: Store, clock: Clock) -> Secrets:
    return secrets_of(store, clock)


def secrets_of(store: Store, clock: Clock, **options: Any) -> Secrets:
    read = parameter_reader(lambda: store.client)
    return Secrets(read, store.prefix, **{"ttl_s": TTL_S, "patience_s": PATIENCE_S, "clock_ms": clock, **options})


def arrived(at_ms: int) -> Envelope:
    return Envelope(RequestId("r"), at_ms, SourceName("github"), "", "192.0.2.1", "/", {}, (), b"")


def signed_with(value: str) -> Callable[[Sequence[str]], int]:
    def verdict(live: Sequence[str]) -> int:
        if value not in live:
            raise SignatureMismatch
        return list(live).index(value)

    return verdict


def test_all_live_secrets_are_tried_newest_first(store: Store, secrets: Secrets) -> None:
    """Every secret of the parameter is live, in the order in which it holds them."""
    store.put("github", "new", "old")
    secrets.begin_batch(["github"])
    assert secrets.judge("github", arrived(NOW_MS), signed_with("new")) == 0
    assert secrets.judge("github", arrived(NOW_MS), signed_with("old")) == 1


def test_many_sources_are_read_ten_a_call_and_once(store: Store, secrets: Secrets, clock: Clock) -> None:
    """A batch of 23 sources costs three calls, and the next batches none until the time to live is over."""
    sources = [f"source-{number}" for number in range(23)]
    for source in sources:
        store.put(source, source)
    for _ in range(3):
        secrets.begin_batch(sources)
        assert [secrets.judge(name, arrived(NOW_MS), signed_with(name)) for name in sources] == [0] * 23
    assert [len(names) for names in store.calls] == [10, 10, 3]
    clock.pass_s(TTL_S + 1)
    secrets.begin_batch(sources[:2])
    assert store.calls[3:] == [["source-0", "source-1"]]


def test_a_secret_rotated_after_the_reading_is_found_at_the_first_mismatch(
    store: Store, secrets: Secrets, clock: Clock
) -> None:
    """An event signed with a secret newer than what is known passes, at one more call for the whole batch."""
    store.put("github", "old")
    secrets.begin_batch(["github"])
    store.put("github", "new", "old")
    clock.pass_s(60)
    secrets.begin_batch(["github"])
    assert [secrets.judge("github", arrived(clock.now_ms), signed_with("new")) for _ in range(5)] == [0] * 5
    assert len(store.calls) == 2


def test_forgeries_cost_one_reading_in_half_a_minute(store: Store, secrets: Secrets, clock: Clock) -> None:
    """However many forgeries of a source come, in however many batches, its secret is read again every 30 s at most."""
    store.put("github", "real")
    secrets.begin_batch(["github"])
    clock.pass_s(60)
    for _ in range(90):
        secrets.begin_batch(["github"])
        for _ in range(3):
            with pytest.raises(SignatureMismatch):
                secrets.judge("github", arrived(clock.now_ms), signed_with("forged"))
        clock.pass_s(1)
    assert len(store.calls) == 1 + 3


def test_a_rotation_under_attack_is_seen_after_the_pause(store: Store, secrets: Secrets, clock: Clock) -> None:
    """Within the pause a delivery with a newer secret is refused at once, like a forgery; then the secret is found."""
    store.put("github", "old")
    secrets.begin_batch(["github"])
    clock.pass_s(60)
    secrets.begin_batch(["github"])
    with pytest.raises(SignatureMismatch):
        secrets.judge("github", arrived(clock.now_ms), signed_with("forged"))
    store.put("github", "new", "old")
    clock.pass_s(REREAD_PAUSE_S - 1)
    secrets.begin_batch(["github"])
    with pytest.raises(SignatureMismatch):
        secrets.judge("github", arrived(clock.now_ms), signed_with("new"))
    assert secrets.judge("github", arrived(clock.now_ms), signed_with("old")) == 0
    clock.pass_s(1)
    secrets.begin_batch(["github"])
    assert secrets.judge("github", arrived(clock.now_ms), signed_with("new")) == 0


def test_forgeries_on_many_sources_share_their_readings(store: Store, secrets: Secrets, clock: Clock) -> None:
    """Of a batch with forgeries on ten sources, the first has all of them read again in one call."""
    sources = [f"source-{number}" for number in range(10)]
    for source in sources:
        store.put(source, "real")
    secrets.begin_batch(sources)
    clock.pass_s(60)
    for _ in range(30):
        secrets.begin_batch(sources)
        for source in sources:
            with pytest.raises(SignatureMismatch):
                secrets.judge(source, arrived(clock.now_ms), signed_with("forged"))
        clock.pass_s(1)
    assert [len(names) for names in store.calls] == [10, 10]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_order_of_forgeries_exceeds_the_pace(data: st.DataObject) -> None:
    """Whatever comes when, and while the store throttles: few readings, no forgery waits, true ones pass."""
    clock, down, calls = Clock(), [False], list[tuple[int, list[str]]]()
    names = [f"s{number}" for number in range(25)]

    def read(wanted: Sequence[str]) -> dict[str, Any]:
        calls.append((clock.now_ms, [name.rpartition("/")[2] for name in wanted]))
        text = json.dumps({"secrets": [{"value": "real"}]})
        return {name: SecretUnavailable("", cause="ThrottlingException") if down[0] else text for name in wanted}

    secrets = Secrets(read, "/p", ttl_s=1e9, patience_s=PATIENCE_S, clock_ms=clock)
    secrets.begin_batch(names)
    calls.clear()
    clock.pass_s(10)
    for _ in range(data.draw(st.integers(1, 12))):
        down[0] = data.draw(st.booleans())
        batch = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        secrets.begin_batch(batch)
        for source in data.draw(st.lists(st.sampled_from(batch), max_size=12)):
            with pytest.raises(SignatureMismatch):
                secrets.judge(source, arrived(clock.now_ms), signed_with("forged"))
            assert secrets.judge(source, arrived(clock.now_ms), signed_with("real")) == 0
        clock.pass_s(data.draw(st.sampled_from([0.1, 1, 7, 31])))
    for at_ms, _ in calls:
        window = [wanted for when, wanted in calls if at_ms <= when < at_ms + REREAD_PAUSE_S * 1000]
        assert len(window) <= REREADS_MAX
        assert all(len(wanted) <= 10 for wanted in window)
        leaders = [wanted[0] for wanted in window]
        assert len(leaders) == len(set(leaders))


def test_a_store_that_throttles_is_not_asked_by_every_batch(store: Store, secrets: Secrets, clock: Clock) -> None:
    """A reading by time that failed is tried again a second later, not with each of a hundred batches."""
    store.fails = lambda names: Answer(400, "ThrottlingException")
    for _ in range(100):
        secrets.begin_batch(["github"])
        with pytest.raises(SecretUnavailable, match="ThrottlingException"):
            secrets.judge("github", arrived(clock.now_ms), signed_with("any"))
        clock.pass_s(0.01)
    assert len(store.calls) <= 2  # botocore tries a call once more
    store.put("github", "any")
    store.is_up()
    clock.pass_s(1)
    secrets.begin_batch(["github"])
    assert secrets.judge("github", arrived(clock.now_ms), signed_with("any")) == 0


def test_by_the_time_to_live_alone(store: Store, clock: Clock) -> None:
    """Where anyone may ask, as in the handshake function, no refusal has the secrets read before their time."""
    secrets = secrets_of(store, clock, patience_s=0, reads_again=False)
    store.put("github", "real")
    for _ in range(TTL_S + 1):
        secrets.begin_batch(["github"])
        with pytest.raises(SignatureMismatch):
            secrets.judge("github", arrived(clock.now_ms), signed_with("forged"))
        clock.pass_s(1)
    assert len(store.calls) == 1
    store.put("github", "new")
    secrets.begin_batch(["github"])
    assert secrets.judge("github", arrived(clock.now_ms), signed_with("new")) == 0


@pytest.mark.parametrize("reads_again", [True, False])
def test_a_first_secret_is_found_soon(store: Store, clock: Clock, reads_again: bool) -> None:
    """That a source has no secret is asked again after 30 s, not after the time to live, and not more often."""
    secrets = secrets_of(store, clock, reads_again=reads_again)
    for _ in range(31):
        secrets.begin_batch(["github"])
        with pytest.raises(SecretAbsent):
            secrets.judge("github", arrived(clock.now_ms - 60_000), signed_with("first"))
        clock.pass_s(1)
    assert len(store.calls) == 1
    store.put("github", "first")
    secrets.begin_batch(["github"])
    assert secrets.judge("github", arrived(clock.now_ms - 60_000), signed_with("first")) == 0


def test_an_event_older_than_the_reading_does_not_cause_another(store: Store, secrets: Secrets, clock: Clock) -> None:
    """A mismatch of an event that came before the secrets were read is final at once."""
    store.put("github", "real")
    secrets.begin_batch(["github"])
    clock.pass_s(60)
    secrets.begin_batch(["github"])
    with pytest.raises(SignatureMismatch):
        secrets.judge("github", arrived(NOW_MS - 3_600_000), signed_with("forged"))
    assert len(store.calls) == 1


def test_a_missing_parameter_is_definitive(store: Store, secrets: Secrets, clock: Clock) -> None:
    """A source without a parameter has no secret, which is known after one fresh reading."""
    secrets.begin_batch(["github"])
    with pytest.raises(SecretAbsent, match="no such parameter"):
        secrets.judge("github", arrived(clock.now_ms), signed_with("any"))
    assert len(store.calls) == 1


def test_a_parameter_set_later_is_found_by_the_next_event(store: Store, secrets: Secrets, clock: Clock) -> None:
    """That a secret was missing is believed no longer than until an event comes after it."""
    secrets.begin_batch(["github"])
    store.put("github", "late")
    clock.pass_s(30)
    secrets.begin_batch(["github"])
    assert secrets.judge("github", arrived(clock.now_ms), signed_with("late")) == 0


def test_a_deleted_parameter_stops_being_live(store: Store, secrets: Secrets, clock: Clock) -> None:
    """Once the time to live is over, a secret that was taken away proves nothing any more."""
    store.put("github", "gone")
    secrets.begin_batch(["github"])
    store.delete("github")
    clock.pass_s(TTL_S + 1)
    secrets.begin_batch(["github"])
    with pytest.raises(SecretAbsent):
        secrets.judge("github", arrived(clock.now_ms), signed_with("gone"))


def test_an_unknown_secret_is_not_a_bad_signature(store: Store, secrets: Secrets, clock: Clock) -> None:
    """While nothing is known an event waits, for its patience; then it is quarantined without a verdict."""
    store.is_down()
    secrets.begin_batch(["github"])
    envelope = arrived(clock.now_ms)
    with pytest.raises(SecretUnavailable, match="InternalServerError"):
        secrets.judge("github", envelope, signed_with("any"))
    clock.pass_s(PATIENCE_S + 1)
    secrets.begin_batch(["github"])
    with pytest.raises(SecretAbsent, match="did not answer"):
        secrets.judge("github", envelope, signed_with("any"))


def test_patience_ends_for_a_certificate_too(store: Store, secrets: Secrets, clock: Clock) -> None:
    """A delivery waits for its certificate for a minute, then it is quarantined: it chose the certificate itself."""
    store.put("github", "real")
    envelope = arrived(clock.now_ms)

    def verdict(_: Sequence[str]) -> int:
        raise CertificateUnavailable(status=503)

    secrets.begin_batch(["github"])
    clock.pass_s(60)
    with pytest.raises(CertificateUnavailable):
        secrets.judge("github", envelope, verdict)
    clock.pass_s(1)
    with pytest.raises(CertificateAbsent, match="waited_s=61"):
        secrets.judge("github", envelope, verdict)


def test_a_store_that_fails_does_not_overturn_what_is_known(store: Store, secrets: Secrets, clock: Clock) -> None:
    """Within the time to live the known secrets prove right and wrong, though they cannot be read again."""
    store.put("github", "real")
    secrets.begin_batch(["github"])
    store.is_down()
    clock.pass_s(60)
    secrets.begin_batch(["github"])
    assert secrets.judge("github", arrived(clock.now_ms), signed_with("real")) == 0
    with pytest.raises(SignatureMismatch):
        secrets.judge("github", arrived(clock.now_ms), signed_with("forged"))


def test_in_a_long_outage_no_forgery_waits(store: Store, secrets: Secrets, clock: Clock) -> None:
    """Without the store real events go on for their patience and then wait; what no known secret proves never waits."""
    store.put("github", "real")
    secrets.begin_batch(["github"])
    store.is_down()
    for seconds in (10, TTL_S + 60, PATIENCE_S - 71):
        clock.pass_s(seconds)
        secrets.begin_batch(["github"])
        assert secrets.judge("github", arrived(clock.now_ms), signed_with("real")) == 0
        with pytest.raises(SignatureMismatch):
            secrets.judge("github", arrived(clock.now_ms), signed_with("forged"))
    clock.pass_s(60)
    secrets.begin_batch(["github"])
    with pytest.raises(SecretUnavailable):  # it may have been retired meanwhile
        secrets.judge("github", arrived(clock.now_ms), signed_with("real"))
    with pytest.raises(SignatureMismatch):
        secrets.judge("github", arrived(clock.now_ms), signed_with("forged"))
    store.is_up()
    clock.pass_s(1)
    secrets.begin_batch(["github"])
    assert secrets.judge("github", arrived(clock.now_ms), signed_with("real")) == 0


@pytest.mark.parametrize(("status", "code"), [(400, "AccessDeniedException"), (400, "InvalidKeyId")])
def test_one_parameter_that_cannot_be_read_stops_no_other_source(
    store: Store, secrets: Secrets, clock: Clock, status: int, code: str
) -> None:
    """A refusal of ten parameters is traced to the one that caused it; the other nine sources go on."""
    sources = [f"source-{number}" for number in range(10)]
    for source in sources:
        store.put(source, "real")
    store.fails = lambda names: Answer(status, code) if "source-6" in names else None
    secrets.begin_batch(sources)
    for source in sources:
        if source != "source-6":
            assert secrets.judge(source, arrived(clock.now_ms), signed_with("real")) == 0
    with pytest.raises(SecretUnavailable, match=code):
        secrets.judge("source-6", arrived(clock.now_ms), signed_with("real"))
    assert len(store.calls) <= 8


@pytest.mark.parametrize(("status", "code"), [(400, "ThrottlingException"), (503, "ServiceUnavailable")])
def test_an_overloaded_store_is_not_asked_more(store: Store, secrets: Secrets, status: int, code: str) -> None:
    """A throttle is tried once more and never turned into ten calls."""
    store.fails = lambda names: Answer(status, code)
    secrets.begin_batch([f"source-{number}" for number in range(10)])
    assert len(store.calls) <= 2


@pytest.mark.parametrize(
    "text",
    [
        "whsec_plain",
        "[]",
        "{}",
        '{"secrets": null}',
        '{"secrets": []}',
        '{"secrets": [{}]}',
        '{"secrets": ["s3cret"]}',
        '{"secrets": [{"value": 7}]}',
        '{"secrets": [{"value": ""}]}',
        '{"secrets": [{"value": "a"}, {"value": null}]}',
    ],
)
def test_a_parameter_of_another_form_is_no_secret_and_is_not_quoted(
    store: Store, secrets: Secrets, clock: Clock, text: str
) -> None:
    """A parameter that somebody wrote by hand quarantines its events with a reason that does not show it."""
    store.put_text("github", text)
    secrets.begin_batch(["github"])
    with pytest.raises(SecretAbsent) as caught:
        secrets.judge("github", arrived(clock.now_ms), signed_with("any"))
    assert "s3cret" not in str(caught.value)
    assert "whsec" not in str(caught.value)


def test_the_lean_session_reaches_what_boto3_would() -> None:
    """The clients of the lean session have the addresses, regions and signatures of ordinary ones."""
    ordinary = botocore.session.get_session()
    for region in ("us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"):
        for service in ("dynamodb", "ssm"):
            sessions: tuple[Any, ...] = (lean_session.session(), ordinary)
            lean_client, client = (
                session.create_client(service, region_name=region, config=Config(parameter_validation=False))
                for session in sessions
            )
            assert lean_client.meta.region_name == client.meta.region_name
            assert lean_client.meta.config.signature_version == client.meta.config.signature_version
            assert address(lean_client, service) == address(client, service)


def address(client: Any, service: str) -> tuple[str, str]:
    """Return where a request would go and the scope under which it is signed."""
    seen: list[Any] = []

    def keep(request: Any, **_: Any) -> None:
        seen.append(request)
        refuse()

    client.meta.events.register_first(f"before-send.{service}.*", keep)
    call = client.get_parameters if service == "ssm" else client.transact_write_items
    with pytest.raises(ConnectionRefusedError):
        call(**({"Names": ["/a"]} if service == "ssm" else {"TransactItems": []}))
    scope = seen[0].headers["Authorization"].decode().partition("Credential=")[2].partition(",")[0]
    return seen[0].url, scope.partition("/")[2]


def refuse() -> None:
    raise ConnectionRefusedError


def test_the_lean_session_has_every_handler_that_concerns_it() -> None:
    """What is left out belongs to other services or to documentation; nothing that is kept needs a certain place."""
    kept = lean_session.builtin_handlers()
    assert kept
    assert all(len(spec) == 2 for spec in kept)
    for spec in BUILTIN_HANDLERS:
        if spec not in kept:
            stage, _, rest = spec[0].partition(".")
            ours = {"dynamodb", "ssm", "secretsmanager", "kinesis", ""}
            assert stage == "docs" or rest.partition(".")[0] not in ours, spec[0]


@pytest.mark.parametrize("service", ["dynamodb", "ssm"])
def test_the_cut_down_models_are_botocores_own(service: str) -> None:
    """Every fact of a cut-down model is in the model that botocore ships."""
    whole = botocore.session.get_session().get_component("data_loader").load_service_model(service, "service-2")

    def holds(part: Any, of: Any, where: str) -> None:
        if isinstance(part, dict):
            for name, value in part.items():
                assert name in of, f"{where}.{name}"
                holds(value, of[name], f"{where}.{name}")
        elif where.endswith(".errors"):
            assert all(error in of for error in part), where
        else:
            assert part == of, where

    assert service_models.BY_SERVICE[service]["operations"]
    holds(service_models.BY_SERVICE[service], whole, service)
