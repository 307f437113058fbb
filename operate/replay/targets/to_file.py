"""A file as the target: a line a delivery, as `from_file` reads them; the same whether or not it was interrupted."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weir.ingest.errors import OptionInvalid, TargetUnavailable
from weir.operate.lookup.delivery import Delivery
from weir.operate.replay.context import ReplayContext
from weir.operate.replay.origins.from_file import line_of
from weir.operate.replay.ports import Result
from weir.operate.replay.request import ReplayRequest

_LEVEL = 6


class ToFile:
    """Writes one file, which `check` makes. A compressed one has a gzip member a batch, so it can be cut."""

    batch_count = 5000

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = str(path)
        self._length = 0

    def check(self) -> None:
        """Refuse before anything is read what cannot be written. Raises: OptionInvalid."""
        if self.path.exists():
            raise OptionInvalid(f"{self.path} exists already; choose another name.")
        try:
            self.path.open("xb").close()
        except OSError as error:
            raise OptionInvalid(f"{self.path} cannot be written: {error.strerror}.") from error

    def deliver(self, deliveries: Sequence[Delivery], repeats: Sequence[bool], since_ms: int | None) -> list[Result]:  # noqa: ARG002 - the port
        """Append a line for each."""
        text = b"".join(map(line_of, deliveries))
        content = gzip.compress(text, _LEVEL) if self.path.suffix == ".gz" else text
        try:
            with self.path.open("r+b" if self._length else "wb") as file:
                file.truncate(self._length)
                file.seek(self._length)
                file.write(content)
        except OSError as error:
            raise TargetUnavailable(f"{self.path} cannot be written: {error.strerror}") from error
        self._length += len(content)
        return [Result("written")] * len(deliveries)

    def state(self) -> dict[str, Any]:
        """Return how long the file is."""
        return {"length": self._length}

    def restore(self, state: dict[str, Any]) -> None:
        """Cut off what was written behind the last checkpoint."""
        self._length = int(state.get("length", 0))


def make(context: ReplayContext, request: ReplayRequest) -> ToFile:  # noqa: ARG001 - the port
    """Return a file as the target of a replay."""
    return ToFile(Path(request.target))
