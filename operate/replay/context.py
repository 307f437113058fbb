"""What a replay works with: the stack, the consumer's settings, clients, and the person at the console."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weir.consumers.settings import Settings
from weir.operate.lookup.horizons import Horizons
from weir.operate.lookup.preview import Previewer
from weir.operate.lookup.stack import Stack
from weir.operate.replay.progress import Console
from weir.operate.replay.request import ReplayRequest


@dataclass(frozen=True, slots=True)
class ReplayContext:
    """What every part of a replay is made with.

    ``client`` returns a boto3 client by the name of its service, ``client_with`` one with a botocore configuration.
    ``label`` names this stack and no other: a checkpoint is resumed only where it was written. ``log`` adds lines to
    the consumer's log.
    """

    stack: Stack
    settings: Settings
    client: Callable[[str], Any]
    client_with: Callable[[str, Any], Any]
    console: Console
    label: str = ""
    log: Callable[[str], object] = lambda _: None

    def horizons(self, request: ReplayRequest) -> Horizons:
        """Return which deliveries are too old to tell; none where the request is to apply those, too."""
        return Horizons() if request.past_marks else self.stack.horizons

    @property
    def previewer(self) -> Previewer:
        """Return what reads deliveries without their secrets."""
        return Previewer(self.stack.catalogue)
