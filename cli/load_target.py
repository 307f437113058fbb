"""What a load test sends to: a place, the keys to sign with, and stacks of its own to break."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from weir.cli import project
from weir.cli.output import emit

if TYPE_CHECKING:
    from weir.infra.place import Place
    from weir.loadtest.session import Target


def load_target(place: Place, say: Callable[[str], None] = emit) -> Target:
    """Return what a load test sends to at a place; ``say`` prints how it goes. Runs are kept in the project's state."""
    from weir.consumers.events_table.dictionary import WEBHOOKS_1
    from weir.loadtest.session import Target

    return Target(place, project.catalogue(), signing_keys(place), WEBHOOKS_1, project.home() / "load", say)


def embedded_target(home: Path, say: Callable[[str], None] = emit) -> Target:
    """Return the embedded stack with its state in a folder, which keeps the runs, too."""
    from weir.infra import place

    return replace(load_target(place.embedded(home), say), folder=home / "load")


def signing_keys(place: Place) -> dict[str, str]:
    """Return what each source's deliveries can be signed with; sources without a secret are left out.

    On LocalStack, whose data is for throwing away, such a source is given one.
    """
    from weir.infra import signing_keys as keeper
    from weir.ingest.errors import SecretUnset

    keys = {}
    for name, source in project.catalogue().items():
        if place.kind == "localstack":
            keeper.provide(place, source)
        try:
            keys[name] = keeper.signing_key(place, source)
        except SecretUnset:
            continue
    return keys


def start_stack(home: Path, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command of `weir`, as a rule `run`, with its state in a folder; its output goes to a file."""
    command = [sys.executable, "-P", "-m", "weir", *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "WEIR_HOME": str(home.absolute())},
        )
