"""Secrets of sources in SSM Parameter Store, as the operator sets them: several live at once, never printed.

One SecureString a source, `{prefix}/{source}`, newest first:
`{"secrets": [{"value": ..., "created_at_ms": ...}]}`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.place import Place
from ingest.errors import SettingInvalid, StackFailed

# Source: https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
_STANDARD_TIER_BYTES = 4096
_ADVANCED_TIER_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Secret:
    """One live secret; its value stays out of its repr."""

    value: str
    created_at_ms: int

    def __repr__(self) -> str:
        return f"Secret(created_at_ms={self.created_at_ms})"


def live(place: Place, source: str) -> list[Secret]:
    """Return a source's secrets, newest first; none when the parameter does not exist.

    Raises: StackFailed when the store does not answer.
    """
    try:
        answer = place.client("ssm").get_parameter(Name=_name(place, source), WithDecryption=True)
    except place.client("ssm").exceptions.ParameterNotFound:
        return []
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: secrets of {source}: {error}") from error
    stored: list[dict[str, Any]] = json.loads(answer["Parameter"]["Value"])["secrets"]
    return [Secret(item["value"], item["created_at_ms"]) for item in stored]


def add(place: Place, source: str, value: str) -> int:
    """Make a secret live beside those that are; return how many are live now. The same value twice counts once.

    Raises: SettingInvalid for a value that cannot be one; StackFailed when the store does not answer.
    """
    if not value or any(character in value for character in "\r\n\0"):
        raise SettingInvalid("A secret is one line of text, and not empty.", source=source)
    others = [secret for secret in live(place, source) if secret.value != value]
    _write(place, source, [Secret(value, int(time.time() * 1000)), *others])
    return len(others) + 1


def rotate(place: Place, source: str, value: str, *, keep_s: int) -> tuple[int, int]:
    """Make a secret live and retire what was superseded longer than ``keep_s`` ago; return (live, retired).

    The one just superseded stays: a provider's retries are still signed with it.
    """
    add(place, source, value)
    secrets, now_ms = live(place, source), int(time.time() * 1000)
    superseded_at = [now_ms, *(secret.created_at_ms for secret in secrets[:-1])]
    kept = [
        secret
        for position, (secret, since_ms) in enumerate(zip(secrets, superseded_at, strict=True))
        if position < 2 or now_ms - since_ms <= keep_s * 1000
    ]
    if len(kept) < len(secrets):
        _write(place, source, kept)
    return len(kept), len(secrets) - len(kept)


def remove(place: Place, source: str, position: int) -> int:
    """Retire the secret at a position of the list, 0 the newest; return how many are live now.

    Raises: SettingInvalid when there is none at that position.
    """
    secrets = live(place, source)
    if not 0 <= position < len(secrets):
        raise SettingInvalid(f"{source} has {len(secrets)} live secrets; there is none at {position}.")
    rest = secrets[:position] + secrets[position + 1 :]
    if rest:
        _write(place, source, rest)
    else:
        place.client("ssm").delete_parameter(Name=_name(place, source))
    return len(rest)


def _name(place: Place, source: str) -> str:
    return f"{place.outputs()['SecretsPrefix']}/{source}"


def _write(place: Place, source: str, secrets: Iterable[Secret]) -> None:
    stored = [{"value": secret.value, "created_at_ms": secret.created_at_ms} for secret in secrets]
    text = json.dumps({"secrets": stored}, separators=(",", ":"))
    if len(text.encode("utf-8")) > _ADVANCED_TIER_BYTES:
        raise SettingInvalid("These secrets are too long for one parameter: retire old ones first.", source=source)
    tier = "Standard" if len(text.encode("utf-8")) <= _STANDARD_TIER_BYTES else "Advanced"
    try:
        place.client("ssm").put_parameter(
            Name=_name(place, source), Value=text, Type="SecureString", Overwrite=True, Tier=tier
        )
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: secrets of {source}: {error}") from error
