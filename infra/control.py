"""Pause and resume the consumer, and tell how far it has read where that is known.

On AWS and LocalStack the event source mapping is switched off and on; AWS goes on at its own checkpoint, LocalStack
4.14 from the beginning of the stream, which the marks turn into duplicates. The schedule of what waits rests with it.
On the embedded stack a file under its state says so, and the supervisor obeys it, now and after a restart.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_UpdateEventSourceMapping.html
Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_DisableRule.html
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from weir.infra.place import Place
from weir.ingest.errors import StackAbsent, StackFailed

if TYPE_CHECKING:
    from types_boto3_lambda.type_defs import EventSourceMappingConfigurationResponseTypeDef

PAUSE_FILE = "paused"  # somebody wants the consumer to rest
RUNNING_FILE = "consuming"  # the supervisor's word that it does not

_PATIENCE_S = 30.0
_AWS_PATIENCE_S = 180.0
_POLL_S = 0.1


def pause(place: Place) -> None:
    """Let the consumer finish what it has begun, and neither read more nor try what waits.

    A try of what waits that is under way is not waited for. Raises: StackFailed when the consumer goes on.
    """
    if place.kind == "embedded":
        (_home(place) / PAUSE_FILE).touch()
        _await_file(place, present=False)
    else:
        _switch_schedule(place, enabled=False)
        _switch(place, enabled=False)


def resume(place: Place) -> None:
    """Let the consumer go on where it stopped. Raises: StackFailed when it does not."""
    if place.kind == "embedded":
        (_home(place) / PAUSE_FILE).unlink(missing_ok=True)
        _await_file(place, present=True)
    else:
        _switch(place, enabled=True)
        _switch_schedule(place, enabled=True)


def is_paused(place: Place) -> bool:
    """Return whether the consumer is paused. Raises: StackFailed when that cannot be found out."""
    if place.kind == "embedded":
        return (_home(place) / PAUSE_FILE).exists()
    return _mapping(place)["State"] in {"Disabled", "Disabling"}


def checkpoints(place: Place) -> dict[str, dict[str, Any]] | None:
    """Return, by shard, the parameters of an iterator at the first record that is not done, ``{}`` at a shard's end.

    None where the service keeps that to itself.
    """
    if place.kind != "embedded":
        return None
    outputs = place.outputs()
    path = _home(place) / "checkpoints" / f"{outputs.stream_name}.json"
    try:
        shards: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["shards"]
    except (OSError, ValueError, KeyError):
        return {}
    return {shard_id: _iterator(state["position"]) for shard_id, state in shards.items()}


def _iterator(position: dict[str, Any]) -> dict[str, Any]:
    if position["kind"] == "SHARD_END":
        return {}
    parameters: dict[str, Any] = {"ShardIteratorType": position["kind"]}
    if position.get("sequence_number") is not None:
        parameters["StartingSequenceNumber"] = position["sequence_number"]
    if position.get("at_s") is not None:
        parameters["Timestamp"] = position["at_s"]
    return parameters


def _home(place: Place) -> Path:
    home = place.outputs().home
    if home is None:
        raise StackFailed(f"{place.label} has no folder on this machine.")
    return home


def _await_file(place: Place, *, present: bool) -> None:
    path = _home(place) / RUNNING_FILE
    deadline = time.monotonic() + _PATIENCE_S
    while path.exists() != present:
        if time.monotonic() > deadline:
            raise StackAbsent(f"The embedded stack with its state in {_home(place)} does not answer.")
        time.sleep(_POLL_S)


def _switch(place: Place, *, enabled: bool) -> None:
    wanted = "Enabled" if enabled else "Disabled"
    try:
        place.client("lambda").update_event_source_mapping(UUID=place.outputs().mapping_id, Enabled=enabled)
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: the event source mapping: {error}") from error
    deadline = time.monotonic() + _AWS_PATIENCE_S
    while (state := _mapping(place)["State"]) != wanted:
        if time.monotonic() > deadline:
            raise StackFailed(f"{place.label}: the event source mapping stays {state}.")
        time.sleep(_POLL_S if place.emulated else 2)


def _switch_schedule(place: Place, *, enabled: bool) -> None:
    rule = place.outputs().waiting_rule
    if not rule:  # a stack of an earlier version, in which nothing waits
        return
    events = place.client("events")
    try:
        (events.enable_rule if enabled else events.disable_rule)(Name=rule)
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: the schedule of what waits: {error}") from error


def _mapping(place: Place) -> EventSourceMappingConfigurationResponseTypeDef:
    try:
        return place.client("lambda").get_event_source_mapping(UUID=place.outputs().mapping_id)
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: the event source mapping: {error}") from error
