"""Secrets of sources, as the operator sets them: several live at once, checked for their form, never printed.

They are kept where the source says: in an SSM SecureString named `{prefix}/{source}`, or in Secrets Manager. Both hold
the same text: `weir.ingest.live_secrets`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from weir.infra.place import Place
from weir.ingest.errors import OptionInvalid, RightsMissing, SecretInvalid, SecretsFull, StackFailed
from weir.ingest.live_secrets import LiveSecret, parse_secrets, secrets_text
from weir.ingest.schemes import signatures
from weir.ingest.schemes.parts.checks import MAX_SECRETS
from weir.ingest.sources.catalogue import SECRETS_MANAGER, SSM, Source

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_ssm import SSMClient
    from types_boto3_ssm.literals import ParameterTierType

# Source: https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
_STANDARD_TIER_BYTES = 4096
_ADVANCED_TIER_BYTES = 8192
# Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
_MANAGED_BYTES = 65_536
# Around a pasted secret: white space of any kind, a byte order mark, blanks of no width.
_AROUND = re.compile(r"\A[\s\ufeff\u200b\u2060]+|[\s\ufeff\u200b\u2060]+\Z")
_QUOTES = {'""', "''", "``", "\u201c\u201d", "\u2018\u2019"}
_ABSENT = {"ParameterNotFound", "ResourceNotFoundException"}
_DENIED = "AccessDeniedException"


def live(place: Place, source: Source) -> list[LiveSecret]:
    """Return a source's secrets, newest first; none when nothing is kept for it.

    Raises: StackFailed when the store does not answer, or keeps something else there; RightsMissing when it refuses.
    """
    text = _read(place, source)
    if text is None:
        return []
    try:
        return parse_secrets(text)
    except ValueError as error:
        raise StackFailed(f"The parameter {where(place, source)} was not written by `weir secrets set`.") from error


def add(place: Place, source: Source, value: str) -> int:
    """Make a secret live beside those that are; return how many are live now. The same value twice counts once.

    Raises: SecretInvalid for a value that the source cannot have; SecretsFull when there is no room for one more;
    StackFailed when the store does not answer.
    """
    secrets = _with(place, source, value)
    _keep(place, source, secrets)
    return len(secrets)


def rotate(place: Place, source: Source, value: str, *, keep_s: int) -> tuple[int, int]:
    """Make a secret live and retire what was superseded longer than ``keep_s`` ago; return (live, retired).

    The one just superseded stays: a provider's retries are still signed with it.
    """
    secrets = _with(place, source, value)
    now_ms = secrets[0].created_at_ms
    superseded_at = [now_ms, *(secret.created_at_ms for secret in secrets[:-1])]
    kept = [
        secret
        for position, (secret, since_ms) in enumerate(zip(secrets, superseded_at, strict=True))
        if position < 2 or now_ms - since_ms <= keep_s * 1000
    ]
    _keep(place, source, kept)
    return len(kept), len(secrets) - len(kept)


def remove(place: Place, source: Source, position: int) -> int:
    """Retire the secret at a position of the list, 0 the newest; return how many are live now.

    Raises: OptionInvalid when there is none at that position.
    """
    secrets = live(place, source)
    if not 0 <= position < len(secrets):
        raise OptionInvalid(
            f"{source.name} has {len(secrets)} live secrets; none has the number {position}: see `weir secrets list`."
        )
    rest = secrets[:position] + secrets[position + 1 :]
    if rest or source.secret != SSM:
        _write(place, source, rest)
    else:
        place.client("ssm").delete_parameter(Name=where(place, source))
    return len(rest)


def where(place: Place, source: Source) -> str:
    """Return the name of the parameter, or the name or ARN of the secret, that keeps a source's secrets."""
    if source.secret == SSM:
        return f"{place.outputs().secrets_prefix}/{source.name}"
    return source.secret.removeprefix(SECRETS_MANAGER)


def clean(value: str) -> str:
    """Return a pasted secret without white space, byte order mark and invisible blanks around it.

    No provider's secret begins or ends with them. Sources: https://github.com/honojs/examples/issues/159 ,
    https://github.com/stripe/stripe-node/issues/1812
    """
    return _AROUND.sub("", value)


def _with(place: Place, source: Source, value: str) -> list[LiveSecret]:
    value = clean(value)
    _check(source, value)
    others = [secret for secret in live(place, source) if secret.value != value]
    return [LiveSecret(value, int(time.time() * 1000)), *others]


def _keep(place: Place, source: Source, secrets: list[LiveSecret]) -> None:
    if len(secrets) > MAX_SECRETS:  # the oldest would be called live, and what they signed refused
        raise SecretsFull(
            f"A source can have at most {MAX_SECRETS} secrets: remove old ones with `weir secrets remove`.",
            source=source.name,
        )
    _write(place, source, secrets)


def _check(source: Source, value: str) -> None:
    """Raises: SecretInvalid that says what is wrong and never quotes the value."""
    # Only PEM and keys that are not to be fetched have lines; two secrets pasted at once must not become one.
    has_lines = "-----BEGIN" in value or source.scheme.fetches_certificates
    several_lines = any(character in value.strip() for character in "\r\n")
    if not value.strip() or (several_lines and not has_lines) or "\0" in value:
        raise SecretInvalid("A secret must be one line of text and not empty.", source=source.name)
    if len(value) > 1 and value[0] + value[-1] in _QUOTES:
        raise SecretInvalid("The secret is in quotes: give it without them.", source=source.name)
    try:
        signatures.check_secret(source.scheme, value)
    except ValueError as error:
        raise SecretInvalid(f"This secret does not fit {source.name}: {error}.", scheme=source.scheme.label) from error


def _read(place: Place, source: Source) -> str | None:
    name = where(place, source)
    try:
        if source.secret == SSM:
            parameter = place.client("ssm").get_parameter(Name=name, WithDecryption=True)
            return str(parameter["Parameter"]["Value"])
        return str(place.client("secretsmanager").get_secret_value(SecretId=name).get("SecretString", ""))
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in _ABSENT:
            return None
        if isinstance(error, ClientError) and error.response["Error"]["Code"] == _DENIED:
            raise RightsMissing(f"{place.label}: secrets of {source.name}: {error}") from error
        raise StackFailed(f"{place.label}: secrets of {source.name}: {error}") from error


def _write(place: Place, source: Source, secrets: Iterable[LiveSecret]) -> None:
    text = secrets_text(secrets)
    size_bytes = len(text.encode("utf-8"))
    if size_bytes > (_ADVANCED_TIER_BYTES if source.secret == SSM else _MANAGED_BYTES):
        raise SecretsFull(
            "Together these secrets are too long for their store: remove old ones with `weir secrets remove`.",
            source=source.name,
        )
    try:
        if source.secret == SSM:
            _put_parameter(place.client("ssm"), where(place, source), text, size_bytes)
        else:
            _put_secret(place.client("secretsmanager"), where(place, source), text)
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: secrets of {source.name}: {error}") from error


def _put_parameter(ssm: SSMClient, name: str, text: str, size_bytes: int) -> None:
    """Write a parameter. One that was advanced once cannot become a standard one, however small it is by now.

    Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
    """
    tiers: list[ParameterTierType] = ["Standard", "Advanced"] if size_bytes <= _STANDARD_TIER_BYTES else ["Advanced"]
    for tier in tiers:
        try:
            ssm.put_parameter(Name=name, Value=text, Type="SecureString", Overwrite=True, Tier=tier)
        except ClientError as error:
            if tier == tiers[-1] or error.response["Error"]["Code"] != "ValidationException":
                raise
        else:
            return


def _put_secret(secrets_manager: SecretsManagerClient, name: str, text: str) -> None:
    try:
        secrets_manager.put_secret_value(SecretId=name, SecretString=text)
    except secrets_manager.exceptions.ResourceNotFoundException:
        if name.startswith("arn:"):  # an ARN ends in letters that Secrets Manager chooses
            raise
        secrets_manager.create_secret(Name=name, SecretString=text)
