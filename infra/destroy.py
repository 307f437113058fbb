"""Take a stack down, and what holds its data only when that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from weir.infra import Say, stored
from weir.infra.change_sets import delete_stack, description_of, status_of
from weir.infra.place import Place
from weir.infra.stored import Stored
from weir.ingest.errors import DataLeft, StackFailed


def destroy(place: Place, *, delete_data: bool, say: Say) -> list[str]:
    """Delete the stack; return the names of what was kept because it holds data.

    With ``delete_data`` stream, tables and bucket go too, for good: after the stack, whose functions and delivery
    stream write until then. When there is no stack, what the last one of its name has left is deleted: a run that
    ended early can be repeated.

    Raises: StackFailed with CloudFormation's own reason, DataLeft naming what could not be deleted.
    """
    try:
        return _destroy(place, delete_data=delete_data, say=say)
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: {error}") from error


def at_stake(place: Place) -> list[Stored]:
    """Return what holds data of the stack; when there is none, what the last one of its name has left.

    Raises: StackFailed when the place cannot be asked.
    """
    try:
        return _at_stake(place)
    except (ClientError, BotoCoreError) as error:
        raise StackFailed(f"{place.label}: {error}") from error


def _at_stake(place: Place) -> list[Stored]:
    if status_of(place) is not None:
        stored.check_is_weir(place, description_of(place))
        return stored.of_stack(place)
    return next(iter(stored.of_deleted(place)), [])


def _destroy(place: Place, *, delete_data: bool, say: Say) -> list[str]:
    is_there, found = status_of(place) is not None, _at_stake(place)
    if not is_there and not (found and delete_data):
        kept = f" Its data is kept: {_named(found)}; --delete-data deletes it." if found else ""
        raise StackFailed(f"There is no stack {place.stack} in {place.label}.{kept}")
    if is_there:
        delete_stack(place, say)
    if not delete_data:
        return [str(one) for one in found if stored.exists(place, one)]
    delete_all(place, found, say)
    for older in stored.of_deleted(place):
        say(f"  an older stack of this name has left {_named(older)}; the same command deletes that, too")
        break
    return []


def delete_all(place: Place, found: Sequence[Stored], say: Say) -> None:
    """Delete what holds data, all that can be. Raises: DataLeft naming what is left and why."""
    refused = {}
    for one in found:
        try:
            stored.delete(place, one, say)
        except (ClientError, BotoCoreError, StackFailed) as error:
            refused[one] = error
    if refused:
        raise DataLeft(
            f"The stack {place.stack} is gone, and of its data this is left: {_named(refused)}.",
            reasons="; ".join(f"{one.name}: {error}" for one, error in refused.items()),
        )


def data_bucket(place: Place) -> str:
    """Return the bucket of a stack of any version, whose outputs need not be those of this one."""
    return next(name for kind, name in stored.held(place).values() if kind == stored.BUCKET)


def _named(found: Iterable[Stored]) -> str:
    return ", ".join(map(str, found))
