"""The log of the consumer: one JSON line per event and one per batch, and never a body, a header value or a secret.

The lines of a batch are gathered and leave in one write, so that two writers cannot interleave and a line costs a few
microseconds. Only the fields named here are written; an exception is named by its type and place, since its message may
quote the data.
"""

from __future__ import annotations

import json
from typing import TextIO

from weir.consumers.settings import LOG_LEVELS

_LEVEL_NAMES = {number: name for name, number in LOG_LEVELS.items()}
# ASCII escapes: a caller's text can then hold no line end that would look like another log line.
_quote = json.encoder.encode_basestring_ascii
# Identifiers come from senders; a longer one is cut, the table holds it whole.
LONGEST_VALUE_CHARS = 256


class Log:
    """The lines of one batch, written together by ``flush``."""

    __slots__ = ("_common", "_level", "_lines", "_stream")

    def __init__(self, stream: TextIO, level: int, **common: object) -> None:
        """Gather lines of at least ``level``; ``common`` are members of each of them."""
        self._stream = stream
        self._level = level
        self._common = "".join(_member(name, value) for name, value in common.items())
        self._lines: list[str] = []

    def add(self, level: int, action: str, **fields: object) -> None:
        """Add one line unless its level is below the log's; fields that are None or "" are left out."""
        if level < self._level:
            return
        texts = [_member(name, value) for name, value in fields.items() if value is not None and value != ""]
        self._lines.append(f'{{"level":"{_LEVEL_NAMES[level]}","action":"{action}"{self._common}{"".join(texts)}}}')

    def add_document(self, document: str) -> None:
        """Add a finished line, whatever the level."""
        self._lines.append(document)

    def flush(self) -> None:
        """Write the gathered lines at once and forget them."""
        if self._lines:
            self._lines.append("")
            self._stream.write("\n".join(self._lines))
            self._stream.flush()
            self._lines = []


def _member(name: str, value: object) -> str:
    # Encoding a member at a time takes half of what a dictionary through json.dumps does.
    # A key that is cut finds nothing.
    limit = None if name == "item" else LONGEST_VALUE_CHARS
    text = _quote(value[:limit]) if isinstance(value, str) else json.dumps(value, default=str)
    return f',"{name}":{text}'
