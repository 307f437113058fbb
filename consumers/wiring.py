"""Puts the consumer together from its settings: who gets which client, catalogue and secrets."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from weir.consumers import settings
from weir.consumers.batch.batch import Consumer, now_ms
from weir.consumers.business import effects
from weir.consumers.events_table import lean_botocore
from weir.consumers.events_table.port import StoreLayout
from weir.consumers.events_table.store import DynamoStore, client_config
from weir.consumers.judging.judge import Judge
from weir.consumers.judging.secret_readers import secret_reader
from weir.consumers.judging.secrets import Secrets, elsewhere
from weir.consumers.settings import Settings
from weir.ingest.errors import CatalogueInvalid
from weir.ingest.schemes.signatures import Fetch
from weir.ingest.sources.catalogue import Catalogue, parse_compiled

if TYPE_CHECKING:
    from weir.consumers.handshake.responder import Responder
    from weir.consumers.waiting.retry import WaitingRun


def consumer(stream: TextIO) -> Consumer:
    """Return a consumer for this process's environment that logs to ``stream``. Raises: ConfigError."""
    configured = settings.from_process()
    return Consumer(configured, judge(configured), store(configured), stream=stream)


def waiting_run(stream: TextIO) -> WaitingRun:
    """Return what tries again what waits, for this process's environment. Raises: ConfigError."""
    from weir.consumers.waiting.retry import WaitingRun  # noqa: PLC0415 - a batch of the stream has no need of it

    configured = settings.from_process()
    return WaitingRun(
        configured,
        judge(configured),
        store(configured),
        dynamodb=lean_botocore.general_client("dynamodb"),
        s3=lean_botocore.general_client("s3") if configured.payload_bucket else None,
        stream=stream,
    )


def judge(configured: Settings) -> Judge:
    """Return a judge with the compiled sources and their secrets. Raises: CatalogueInvalid, EffectsInvalid."""
    effects.load(configured.effects, configured.effects_folder)
    sources = catalogue(configured.sources_file)
    kept = secrets(
        sources, configured.secrets_prefix, ttl_s=configured.secrets_ttl_s, patience_s=configured.secret_patience_s
    )
    return Judge(
        sources,
        kept,
        quarantine_s=configured.quarantine_days * 86_400,
        unproven_s=configured.unproven_days * 86_400,
        fetch=certificates(sources),
    )


def secrets(sources: Catalogue, prefix: str, *, ttl_s: float, patience_s: float, reads_again: bool = True) -> Secrets:
    """Return the secrets of all sources; nothing is read yet. See `Secrets` for the times."""
    return Secrets(
        secret_reader(_ssm, _secrets_manager),
        prefix,
        ttl_s=ttl_s,
        patience_s=patience_s,
        clock_ms=now_ms,
        reads_again=reads_again,
        elsewhere=elsewhere(sources),
    )


def responder(stream: TextIO) -> Responder:
    """Return what answers the handshake function's requests, and logs to ``stream``. Raises: ConfigError."""
    from weir.consumers.handshake.record_putter import record_putter  # noqa: PLC0415 - the consumer has no need of it
    from weir.consumers.handshake.responder import Responder  # noqa: PLC0415 - the consumer has no need of it

    configured = settings.handshake_from_process()
    sources = catalogue(configured.sources_file)
    # Anyone may ask, as often as they like, so that no question has the secrets read before their time.
    kept = secrets(sources, configured.secrets_prefix, ttl_s=configured.secrets_ttl_s, patience_s=0, reads_again=False)
    put = record_putter(lean_botocore.kinesis_client(_fell_back), configured.stream)
    return Responder(configured, sources, kept, put, stream=stream, fetch=certificates(sources))


def certificates(sources: Catalogue) -> Fetch | None:
    """Return what fetches certificates by URL; None if no source is proven by such."""
    if not any(source.scheme.fetches_certificates for source in sources.values()):
        return None
    from weir.ingest.schemes.crypto.certificate_cache import CertificateCache  # noqa: PLC0415 - urllib is 20 ms that few need

    return CertificateCache(monotonic).fetch


def store(configured: Settings) -> DynamoStore:
    """Return the store that the settings name, with a client of its own."""
    bucket = configured.payload_bucket
    return DynamoStore(
        lean_botocore.create_client("dynamodb", client_config(configured.commit_concurrency), _fell_back),
        StoreLayout(configured.events_table, configured.tables, has_bucket=bool(bucket)),
        bucket=bucket,
        s3=_s3,
    )


@cache
def _ssm() -> Any:
    return lean_botocore.ssm_client(_fell_back)


@cache
def _secrets_manager() -> Any:
    return lean_botocore.secrets_manager_client(_fell_back)


@cache
def _s3() -> Any:
    return lean_botocore.s3_client()


def catalogue(path: Path) -> Catalogue:
    """Return the compiled sources that the function was deployed with. Raises: CatalogueInvalid."""
    try:
        return parse_compiled(path.read_bytes())
    except OSError as error:
        raise CatalogueInvalid("SOURCES_FILE cannot be read; deploy again.", file=str(path)) from error


def _fell_back(service: str, error: Exception) -> None:
    """Say that this botocore cannot make a lean client: one log line and one metric for each such client."""
    from weir.consumers.batch import logs, metrics  # noqa: PLC0415 - hardly ever needed
    from weir.consumers.raised import raised_at  # noqa: PLC0415

    log = logs.Log(sys.stdout, settings.LOG_LEVELS["WARNING"])
    versions = {"service": service, "botocore": lean_botocore.BOTOCORE_VERSION, "error": raised_at(error)}
    log.add(settings.LOG_LEVELS["WARNING"], "botocore_fallback", **versions)
    log.add_document(metrics.document(settings.stack_from_process(), {"BotocoreFallbacks": 1}, versions))
    log.flush()
