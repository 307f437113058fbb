"""The file from which an interrupted replay goes on, with figures that come out as if it had never stopped.

Before a batch goes to the target the file says so (``pending``): a replay that was killed then knows which records it
may have delivered already. One write a batch: what the last batch came to, and what the next one is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weir.ingest.errors import OptionInvalid
from weir.operate.lookup.delivery import Advance, Cursor, Delivery
from weir.operate.replay.progress import Report
from weir.operate.replay.request import ReplayRequest

_VERSION = 1


@dataclass(slots=True)
class Checkpoint:
    """How far a replay has come. ``request`` is what it was started with; ``path`` None keeps nothing.

    ``again`` counts, by lane, the records behind the cursor that an interrupted attempt may have delivered, and
    ``again_since_ms`` is when that began.
    """

    path: Path | None
    request: ReplayRequest = field(default_factory=ReplayRequest)
    cursor: Cursor = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    target: dict[str, Any] = field(default_factory=dict)
    is_done: bool = False
    again: Counter[str] = field(default_factory=Counter)
    again_since_ms: int | None = None
    _seen: Counter[str] = field(default_factory=Counter)

    def repeats(self, deliveries: Iterable[Delivery]) -> list[bool]:
        """Tell for each of the next deliveries whether an interrupted attempt may have delivered it."""
        flags = []
        for delivery in deliveries:
            flags.append(self._seen[delivery.lane] < self.again[delivery.lane])
            self._seen[delivery.lane] += 1
        return flags

    def begin(self, deliveries: Iterable[Delivery], now_ms: int) -> None:
        """Say in the file that these are about to be delivered."""
        if not any(self.again.values()):
            self.again_since_ms = now_ms
        for lane, count in Counter(delivery.lane for delivery in deliveries).items():
            self.again[lane] = max(self.again[lane], count)
        self.save()

    def done(self, steps: Iterable[Delivery | Advance]) -> None:
        """Move behind what has been delivered; the file follows with the next `begin` or `save`."""
        for step in steps:
            if step.position:
                self.cursor[step.lane] = step.position
            else:
                self.cursor.pop(step.lane, None)
            if isinstance(step, Delivery):
                self.again[step.lane] -= 1
        self.again = +self.again
        self._seen.clear()

    def save(self) -> None:
        """Write the file; after a kill it is the old one or the new one, never a part."""
        if self.path is None:
            return
        state = {
            "version": _VERSION,
            "asked": self.request.to_json(),
            "done": self.is_done,
            "cursor": self.cursor,
            "report": self.report.saved(),
            "target": self.target,
            "pending": {"since_ms": self.again_since_ms, "lanes": dict(self.again)},
        }
        # A power cut may cost the last batches, which are then repeated; a kill costs nothing. So no fsync.
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(state, indent=1), encoding="utf-8")
        draft.replace(self.path)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint file. Raises: OptionInvalid when it is not one."""
    try:
        state: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if state["version"] != _VERSION:
            raise OptionInvalid(f"{path} was written by another version of Weir.", version=state["version"])
        return Checkpoint(
            path,
            request=ReplayRequest.from_json(state["asked"]),
            cursor=state["cursor"],
            report=Report.restored(state["report"]),
            target=state["target"],
            is_done=state["done"],
            again=Counter(state["pending"]["lanes"]),
            again_since_ms=state["pending"]["since_ms"],
        )
    except FileNotFoundError:
        raise OptionInvalid(f"There is no checkpoint file {path}.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OptionInvalid(f"{path} is not a checkpoint file: {type(error).__name__}.") from error
