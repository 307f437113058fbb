"""The targets that a replay can deliver to, by name: a target is one file in this folder and one line in `TARGETS`.

The file has a function ``make(context, request)``, which returns a `Target`. It is imported when a replay first asks
for it, so that no command waits for targets that it does not use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from weir.ingest.errors import OptionInvalid

if TYPE_CHECKING:
    from weir.operate.replay.context import ReplayContext
    from weir.operate.replay.ports import Target
    from weir.operate.replay.request import ReplayRequest


@dataclass(frozen=True, slots=True)
class TargetKind:
    """One target: the module of its factory.

    Without ``takes`` it is chosen by its name alone; with it, by any text that ``takes`` says yes to, such as an
    address, and ``shown`` is what help and messages call that text.
    """

    module: str
    takes: Callable[[str], bool] | None = None
    shown: str = ""


def is_http(text: str) -> bool:
    """Tell whether a target is an HTTP address."""
    return text.lower().startswith(("http://", "https://"))


def _is_path(text: str) -> bool:
    """Tell a path from a misspelled name: it has a slash or a dot."""
    return "://" not in text and bool({"/", "."} & set(text))


TARGETS: dict[str, TargetKind] = {
    "consumer": TargetKind(f"{__name__}.to_consumer"),
    "stream": TargetKind(f"{__name__}.to_stream"),
    "http": TargetKind(f"{__name__}.to_http", takes=is_http, shown="an HTTP address"),
    "file": TargetKind(f"{__name__}.to_file", takes=_is_path, shown="a file"),
}
# What a request with ``dry_run`` delivers to, whatever its target.
_DRY_RUN = TargetKind(f"{__name__}.dry_run")


def choices() -> str:
    """Return the targets as a command's help and messages list them."""
    *names, last = (kind.shown or name for name, kind in TARGETS.items())
    return f"{', '.join(names)}, or {last}"


def kind_of(name: str) -> TargetKind:
    """Return the target of a name, an address or a path. Raises: OptionInvalid when there is none."""
    named = TARGETS.get(name)
    if named is not None and named.takes is None:
        return named
    for kind in TARGETS.values():
        if kind.takes is not None and kind.takes(name):
            return kind
    raise OptionInvalid(f"There is no target {name!r}: use {choices()}, as in ./{name}.")


def make_target(context: ReplayContext, request: ReplayRequest) -> Target:
    """Return the target of a replay. Raises: OptionInvalid."""
    kind = _DRY_RUN if request.dry_run else kind_of(request.target)
    target: Target = import_module(kind.module).make(context, request)
    return target
