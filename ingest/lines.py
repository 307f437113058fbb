"""Reading a file of lines while another process appends to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import AnyStr


def whole(pieces: Iterable[AnyStr]) -> Iterator[AnyStr]:
    """Yield the complete lines of an open file; one that is still being written at its end is left out.

    A write becomes visible page by page. A reader that reaches the end of the file in the middle of a line gets the
    first half as one line, and the other half, written a moment later, as the next. This joins them.
    """
    halves: list[AnyStr] = []
    for piece in pieces:
        halves.append(piece)
        if piece.endswith("\n" if isinstance(piece, str) else b"\n"):
            yield piece if len(halves) == 1 else piece[:0].join(halves)
            halves = []
