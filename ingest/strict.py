"""The base of every model of the sources file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """What all models of the sources file share: unknown fields are errors, nothing changes after loading.

    Validators are built when something is first validated: the function never does (see `catalogue.parse_compiled`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
