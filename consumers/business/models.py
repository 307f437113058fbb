"""Payloads as pydantic models: what an effect's annotation ``Event[Model]`` asks for."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from weir.consumers.business.changes import Change
from weir.ingest.errors import EffectsInvalid, EventMalformed
from weir.ingest.sources.events import Event

Run = Callable[[Event[Any]], Iterable[Change]]


def with_model(function: Callable[..., Iterable[Change]]) -> Run:
    """Return what makes an effect's payload its model first; the function itself where it names no model.

    Raises: EffectsInvalid when the annotation names something that cannot be found.
    """
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError) as error:
        raise EffectsInvalid(f"{function.__module__}.{function.__name__}: its annotations: {error}.") from error
    wanted = next((hint for name, hint in hints.items() if name != "return"), None)
    (model, *_) = typing.get_args(wanted) or (None,)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return function

    def run(event: Event[Any]) -> Iterable[Change]:
        return function(replace(event, payload=_model(model, event.payload)))

    return run


def _model(model: type[BaseModel], payload: Any) -> BaseModel:
    """Return the payload as the model. Raises: EventMalformed, with the path and without what the payload says."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        first = problems[0]
        path = ".".join(str(part) for part in first["loc"])
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise EventMalformed(f"$.{path}: {first['msg']}{more}".replace("$.:", "$:"), model=model.__name__) from error
