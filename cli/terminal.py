"""A person at a terminal: progress on the last line, Ctrl-C that stops cleanly, a second one that does not wait."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Mapping
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from weir.cli.output import clear_progress, comments, emit_json, emit_lines, show_progress

if TYPE_CHECKING:
    from weir.operate.replay.progress import Progress

_EVERY_S = 0.5
_EVERY_PIPED_S = 10.0


class Terminal:
    """The `Console` of a command. Between ``with`` and its end Ctrl-C and SIGTERM only set a flag."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._print = comments(as_json=as_json)
        self._is_stopped = False
        self._shown = ""
        self._due_s = time.monotonic() + _EVERY_S
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def stopped(self) -> bool:
        """Tell whether the person has asked to stop."""
        return self._is_stopped

    def say(self, line: str) -> None:
        """Print a line above the progress, to standard error where the result is JSON."""
        self._clear()
        self._print(line)

    def result(self, value: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Print a part of the result above the progress: as one line of JSON, or as lines."""
        self._clear()
        if self._as_json:
            emit_json(value)
            return
        emit_lines(lines)

    def watch(self, progress: Progress) -> None:
        """Show progress now and then."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        is_terminal = sys.stderr.isatty()
        self._due_s = now_s + (_EVERY_S if is_terminal else _EVERY_PIPED_S)
        self._clear()
        self._shown = show_progress(progress.line(round(time.time() * 1000)))

    def _clear(self) -> None:
        if self._shown:
            clear_progress()
            self._shown = ""

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signal module's signature
        if self._is_stopped:
            raise KeyboardInterrupt
        self._is_stopped = True
