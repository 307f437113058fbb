"""Lines of the bill for keys and secrets: KMS, Secrets Manager. Standard parameters of SSM cost nothing."""

from __future__ import annotations

from collections.abc import Iterator

from weir.infra.cost import HOURS
from weir.infra.costs.account_reads import AccountReads
from weir.infra.costs.item import Item, Reckoning

# A stream asks KMS for each shard and each of those who write and read, about every five minutes; AWS' own key costs
# nothing by itself, its requests do. A table does so for each connection, as others saw:
# https://github.com/aws/aws-sdk-go-v2/discussions/2128
# Source: https://docs.aws.amazon.com/streams/latest/dev/costs-performance.html
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
_ASKED_AN_HOUR, ACCOUNT_CALLS_AT_ONCE = 12, 8
# How often an environment of a function reads its sources' secrets again (SECRETS_TTL_S of consumers/settings.py).
SECRETS_TTL_S = 300
_STREAM_KEY = "alias/aws/kinesis"


def items(reckoning: Reckoning) -> Iterator[Item]:
    """Yield the lines."""
    stack, readings = reckoning.stack, _readings(reckoning)
    yield reckoning.item("stream_key", "KMS", "requests of the stream", kms_requests=_stream_requests(reckoning))
    asked = _table_requests(reckoning) + readings * stack.parameter_secrets
    yield reckoning.item("kms_requests", "KMS", "requests of tables and secrets", kms_requests=asked)
    own = {stack.parameters["StreamKmsKey"], stack.parameters["SecretsKmsKeyArn"]} - {_STREAM_KEY, ""}
    if own:
        what = f"{len(own)} key{'s' * (len(own) > 1)} of your own"
        yield reckoning.item("kms_keys", "KMS", what, kms_keys=len(own))
    if stack.managed_secrets:
        kept = stack.managed_secrets
        what = f"{kept} secret{'s' * (kept > 1)}"
        yield reckoning.item("secrets", "Secrets Manager", what, secrets=kept, secret_requests=readings * kept)


def _readings(reckoning: Reckoning) -> float:
    """Return how often a month each source's secret is read: by each environment of the functions, at most."""
    environments = reckoning.estimate.batches_at_once + bool(reckoning.stack.properties("Handshake"))
    return environments * HOURS * 3600 / SECRETS_TTL_S


def _stream_requests(reckoning: Reckoning) -> float:
    users = 3 if reckoning.stack.has_archive else 2  # the gateway, the consumer, Firehose
    shards = reckoning.estimate.shards
    return shards * (users * _ASKED_AN_HOUR * HOURS + AccountReads(reckoning).runs)


def _table_requests(reckoning: Reckoning) -> float:
    """Return those of the tables whose key is AWS' managed one: each connection of the consumer, at most."""
    tables = reckoning.stack.of_type("AWS::DynamoDB::Table").values()
    managed = sum(bool(table.properties.get("SSESpecification", {}).get("SSEEnabled")) for table in tables)
    connections = reckoning.estimate.batches_at_once * reckoning.given("CommitConcurrency")
    return managed * connections * _ASKED_AN_HOUR * HOURS + AccountReads(reckoning).runs * ACCOUNT_CALLS_AT_ONCE
