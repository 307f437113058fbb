"""Weir: webhooks on AWS, never lost, never applied twice.

What business code is written with is here, and stays. Each name is read from its place when it is first asked for, so
that the command line and the functions start fast. The rooms are links to the folders beside this one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weir.consumers.business.changes import (
        Change,
        Check,
        Condition,
        Delete,
        Newer,
        Put,
        Update,
        Value,
        Wait,
        above,
        absent,
        at_least,
        at_most,
        below,
        equals,
        exists,
    )
    from weir.consumers.business.effects import effect
    from weir.consumers.business.tables import Index, Table
    from weir.ingest.errors import EventRejected
    from weir.ingest.sources.events import Event

_PLACES = {
    "weir.consumers.business.changes": (
        *("Change", "Check", "Condition", "Delete", "Newer", "Put", "Update", "Value", "Wait"),
        *("above", "absent", "at_least", "at_most", "below", "equals", "exists"),
    ),
    "weir.consumers.business.effects": ("effect",),
    "weir.consumers.business.tables": ("Index", "Table"),
    "weir.ingest.errors": ("EventRejected",),
    "weir.ingest.sources.events": ("Event",),
}
_PLACE = {name: place for place, names in _PLACES.items() for name in names}

__all__ = [
    "Change",
    "Check",
    "Condition",
    "Delete",
    "Event",
    "EventRejected",
    "Index",
    "Newer",
    "Put",
    "Table",
    "Update",
    "Value",
    "Wait",
    "above",
    "absent",
    "at_least",
    "at_most",
    "below",
    "effect",
    "equals",
    "exists",
]


def __getattr__(name: str) -> Any:
    """Import one of the names above. Raises: AttributeError for any other."""
    if name not in _PLACE:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_PLACE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
