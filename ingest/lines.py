"""Reading a file of lines that somebody else still appends to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import AnyStr


def whole(pieces: Iterable[AnyStr]) -> Iterator[AnyStr]:
    """Yield the complete lines of an open file; one that is still being written at its end is left out.

    A write becomes visible page by page. A reader that meets the end of the file in the middle of a line gets that half
    for a line, and the other half, written a moment later, for the next one. Here they are one again.
    """
    halves: list[AnyStr] = []
    for piece in pieces:
        halves.append(piece)
        if piece.endswith("\n" if isinstance(piece, str) else b"\n"):
            yield piece if len(halves) == 1 else piece[:0].join(halves)
            halves = []
