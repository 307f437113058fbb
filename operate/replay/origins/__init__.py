"""The origins that a replay can read from, by name: an origin is one file in this folder and one line in `ORIGINS`.

The file has a function ``make(context, request, selection)``, which returns an `Origin`. It is imported when a replay
first asks for it, so that no command waits for origins that it does not use.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from weir.consumers.outcome import Outcome
from weir.ingest.errors import OptionInvalid

if TYPE_CHECKING:
    from weir.operate.lookup.delivery import Origin
    from weir.operate.replay.context import ReplayContext
    from weir.operate.replay.filters import Filter
    from weir.operate.replay.request import ReplayRequest


@dataclass(frozen=True, slots=True)
class OriginKind:
    """One origin: the module of its factory, and what a request may ask of it.

    ``has_shards``: its deliveries have shards and sequence numbers. ``holds_refused``: they were refused or given up,
    so that the consumer gives them another chance. ``holds_ignored``: no business code wanted them, and the consumer
    looks whether some does now. ``holds_all``: they are all that arrived, so that tables can be rebuilt from them.
    """

    module: str
    has_shards: bool = False
    holds_refused: bool = False
    holds_ignored: bool = False
    holds_all: bool = False


# Read up to the moment when the replay begins, unless the request says otherwise.
ORIGINS: dict[str, OriginKind] = {
    "stream": OriginKind(f"{__name__}.from_stream", has_shards=True, holds_all=True),
    "archive": OriginKind(f"{__name__}.from_archive", holds_all=True),
    "failures": OriginKind(f"{__name__}.from_failures", holds_refused=True),
    "quarantine": OriginKind(f"{__name__}.from_table", holds_refused=True),
    str(Outcome.IGNORED): OriginKind(f"{__name__}.from_table", holds_ignored=True),
    "events": OriginKind(f"{__name__}.from_table", holds_all=True),
}
# Whatever else is named is the path of a file.
_FILE = OriginKind(f"{__name__}.from_file")


def choices() -> str:
    """Return the origins as a command's help and messages list them."""
    return f"{', '.join(ORIGINS)}, or a file"


def kind_of(name: str) -> OriginKind:
    """Return the origin of a name; of any other text, the one that reads files."""
    return ORIGINS.get(name, _FILE)


def make_origin(context: ReplayContext, request: ReplayRequest, selection: Filter) -> Origin:
    """Return the origin of a replay. Raises: OptionInvalid when there is none of that name."""
    name = request.origin
    if name not in ORIGINS and not Path(name).is_file():
        raise OptionInvalid(f"There is no file {name}, and no origin of that name: use {choices()}.")
    origin: Origin = import_module(kind_of(name).module).make(context, request, selection)
    return origin
