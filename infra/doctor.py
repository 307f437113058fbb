"""What could go wrong with a deployment, looked at before it is made: nothing is changed.

Each check says OK, or what is wrong and what changes it. What a place does not answer is UNKNOWN, never OK.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from weir.infra import change_sets, deploy, parameters, secrets
from weir.infra.cost import first_shards
from weir.infra.parameters import Values
from weir.infra.place import Place
from weir.ingest.contract import routes
from weir.ingest.errors import RightsMissing, ServiceError
from weir.ingest.sources.catalogue import Catalogue

OK, WARN, FAIL, UNKNOWN = "OK", "WARN", "FAIL", "UNKNOWN"
_DISK_BYTES = 2_000_000_000
# What Lambda keeps for functions that reserve nothing.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
_UNRESERVED = 100


class Check(NamedTuple):
    """What was looked at, the verdict, what was seen, and what to do about it ("" where nothing is to be done)."""

    name: str
    verdict: str
    seen: str
    fix: str = ""


def checked(name: str, look: Callable[[], Check]) -> Check:
    """Return a check; what Weir refuses is its FAIL, and what a service does not answer leaves it UNKNOWN.

    So does a right that the credentials do not have: who may look need not be allowed to read every secret.
    """
    try:
        return look()
    except RightsMissing as error:
        return Check(name, UNKNOWN, error.detail, error.hint)
    except ServiceError as error:
        return Check(name, FAIL, error.detail or str(error), error.hint)
    except (ClientError, BotoCoreError) as error:
        return Check(name, UNKNOWN, str(error))


def this_machine(home: Path, port: int, *, is_running: bool) -> Iterator[Check]:
    """Check what `weir run` needs of this machine: disk, a folder that can be written, a port that is free."""
    yield checked("disk", lambda: _disk(home))
    if not is_running:
        yield checked("port", lambda: _port(port))


def _disk(home: Path) -> Check:
    folder = next(path for path in (home, *home.parents) if path.exists())
    try:
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is a file")
        probe = folder / ".weir-doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Check("disk", FAIL, f"{folder} cannot be written: {error.strerror or error}", "WEIR_HOME names another.")
    free = shutil.disk_usage(folder).free
    seen = f"{free / 1e9:.1f} GB free for {home}"
    if free < _DISK_BYTES:
        return Check("disk", WARN, seen, "A full disk stops the stack; WEIR_HOME names a folder with more room.")
    return Check("disk", OK, seen)


def _port(port: int) -> Check:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return Check("port", FAIL, f"127.0.0.1:{port}: {error.strerror}", "PORT=8081 make run takes another.")
    return Check("port", OK, f"127.0.0.1:{port} is free")


def account(place: Place, catalogue: Catalogue, given: Mapping[str, str]) -> Iterator[Check]:
    """Check what a deployment with these parameters needs of an account; the first that fails may end the list."""
    credentials = checked("credentials", lambda: _credentials(place))
    yield credentials
    if credentials.verdict != OK:
        return
    try:
        status = change_sets.status_of(place)
        have = change_sets.parameters_of(place) if status in change_sets.WORKING else {}
    except (ClientError, BotoCoreError) as error:
        yield Check("stack", UNKNOWN, str(error))
        return
    yield _state(place, status)
    try:
        values = _values(place, catalogue, given, have)
    except ServiceError as error:
        yield Check("parameters", FAIL, error.detail or str(error), error.hint)
        return
    yield Check("parameters", OK, ", ".join(f"{name}={value}" for name, value in sorted(given.items())) or "defaults")
    yield checked("paths", lambda: _definition(catalogue))
    for name, look in (
        ("concurrency", _concurrency),
        ("log role", _log_role),
        ("throttle", _throttle),
        ("shards", _shards),
    ):
        yield checked(name, lambda look=look: look(place, values, have))  # type: ignore[misc]
    if not have:
        yield Check(
            "secrets",
            UNKNOWN,
            "to be set after the deployment: " + ", ".join(f"`weir secrets set {one}`" for one in catalogue),
        )
        return
    yield from secrets_of(place, catalogue)


def secrets_of(place: Place, catalogue: Catalogue) -> Iterator[Check]:
    """Check that each source has a secret."""
    for source in catalogue:
        yield checked(f"secret of {source}", lambda source=source: _secret(place, catalogue, source))  # type: ignore[misc]


def _credentials(place: Place) -> Check:
    try:
        number = place.account()
    except (ClientError, BotoCoreError) as error:
        return Check("credentials", FAIL, str(error), "Log in (`aws sso login`, AWS_PROFILE), and name the Region.")
    return Check("credentials", OK, f"{place.label}, account {number}, {place.region}")


def _state(place: Place, status: str | None) -> Check:
    if status is None:
        return Check("stack", OK, f"there is no {place.stack} yet; `weir deploy` makes it")
    if (way_out := change_sets.way_out(place, status)) is not None:
        return Check("stack", FAIL, f"{place.stack} is {status}", way_out)
    if status in change_sets.NEVER_WORKED:
        return Check(
            "stack", WARN, f"{place.stack} is {status}: its first creation failed", "`weir deploy` replaces it."
        )
    if status not in change_sets.WORKING:
        return Check("stack", WARN, f"{place.stack} is {status}", "`weir deploy` waits until that has ended.")
    return Check("stack", OK, f"{place.stack} is {status}")


def _values(place: Place, catalogue: Catalogue, given: Mapping[str, str], have: Mapping[str, str]) -> Values:
    made_of = dict.fromkeys(("ArtifactBucket", "ApiDefinitionKey", "FunctionKey"), "x")
    values = parameters.choose({**made_of, **given}, have)
    parameters.check_together(values.all, emulated=place.emulated)
    deploy.check(catalogue, values.all, lambda _: None)
    parameters.check_there(place, values, have)
    return values


def _definition(catalogue: Catalogue) -> Check:
    shared = routes.shared_sources(catalogue)
    if not shared:
        return Check("paths", OK, f"each of {len(catalogue)} sources has paths of its own")
    seen = f"{len(shared)} of {len(catalogue)} sources share the path /v1/{{source}} and what that takes a second"
    return Check(
        "paths", WARN, seen, "Give a source that must not wait for others a throttle: it has paths of its own then."
    )


def _concurrency(place: Place, values: Values, have: Mapping[str, str]) -> Check:
    wanted = first_shards(values.all) * int(values.all["ParallelizationFactor"])
    limits = place.client("lambda").get_account_settings()["AccountLimit"]
    left = limits["UnreservedConcurrentExecutions"] + int(have.get("ConsumerConcurrency", "0"))
    seen = f"{left} of {limits['ConcurrentExecutions']} unreserved; the consumer takes {wanted} batches at once"
    reserved = int(values.all["ConsumerConcurrency"])
    if left < max(wanted, reserved + _UNRESERVED if reserved else 0):
        return Check("concurrency", FAIL, seen, "Ask for more in Service Quotas (Lambda, Concurrent executions).")
    if left < wanted * 2 and not reserved:
        return Check("concurrency", WARN, seen, f"--set ConsumerConcurrency={wanted} keeps that from other functions.")
    return Check("concurrency", OK, seen)


def _log_role(place: Place, values: Values, have: Mapping[str, str]) -> Check:
    role = place.client("apigateway").get_account().get("cloudwatchRoleArn")
    creates = values.all["ApiGatewayAccountRole"] == "create"
    if not role and not creates:
        return Check("log role", FAIL, "API Gateway has no role for logs here", "--set ApiGatewayAccountRole=create")
    if role and creates and not have:
        fix = "--set ApiGatewayAccountRole=exists keeps it; otherwise the stack puts its own in its place."
        return Check("log role", WARN, f"API Gateway logs through {role} already", fix)
    return Check("log role", OK, f"API Gateway logs through {role or 'a role that the stack makes'}")


def _throttle(place: Place, values: Values, _have: Mapping[str, str]) -> Check:
    limits = place.client("apigateway").get_account().get("throttleSettings")
    if not limits:
        return Check("throttle", UNKNOWN, "API Gateway does not say what the account may take")
    rate, burst = limits.get("rateLimit", 0.0), limits.get("burstLimit", 0)
    seen = f"the account takes {rate:,.0f} requests/s and {burst:,} at once, in all its APIs together"
    if rate < float(values.all["ThrottleRate"]) or burst < int(values.all["ThrottleBurst"]):
        return Check(
            "throttle", WARN, seen, "A single source may take all of it: lower ThrottleRate and ThrottleBurst."
        )
    return Check("throttle", OK, seen)


def _shards(place: Place, values: Values, have: Mapping[str, str]) -> Check:
    limits = place.client("kinesis").describe_limits()
    has = have.get("StreamMode")
    if values.all["StreamMode"] == "ON_DEMAND":
        count, limit = limits.get("OnDemandStreamCount"), limits.get("OnDemandStreamCountLimit")
        if count is None or limit is None:
            return Check("shards", UNKNOWN, "Kinesis does not say how many on-demand streams there may be")
        seen, over = f"{count} of {limit} on-demand streams", has != "ON_DEMAND" and count >= limit
    else:
        wanted, open_count, limit = int(values.all["ShardCount"]), limits["OpenShardCount"], limits["ShardLimit"]
        more = wanted - (int(have["ShardCount"]) if has == "PROVISIONED" else 0)
        seen, over = f"{open_count} of {limit} shards are open; this stream has {wanted}", more > limit - open_count
    return (
        Check("shards", FAIL, seen, "Ask for more in Service Quotas (Kinesis).") if over else Check("shards", OK, seen)
    )


def _secret(place: Place, catalogue: Catalogue, name: str) -> Check:
    found = secrets.live(place, catalogue[name])
    if not found:
        fix = f"`weir secrets set {name}`: until then its deliveries are quarantined."
        return Check(f"secret of {name}", WARN, "there is none", fix)
    return Check(f"secret of {name}", OK, f"{len(found)} live in {secrets.where(place, catalogue[name])}")
