"""Lines of a file that grows while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weir.ingest.lines import whole


def test_halves_of_a_line_are_one_again() -> None:
    """Whatever pieces a reader meets, lines come out whole, and one without its end does not."""
    assert list(whole([b"a", b"b\n", b"c\n", b"", b"d", b"", b"e\n", b"f"])) == [b"ab\n", b"c\n", b"de\n"]
    assert list(whole(["é\n", "x", "\n"])) == ["é\n", "x\n"]
    assert list(whole([])) == []


def test_a_line_that_is_ended_while_the_file_is_read_is_one(tmp_path: Path) -> None:
    """The file's own iterator gives its two halves as two lines."""
    path = tmp_path / "log"
    path.write_bytes(b'{"id":1}\n{"id"')

    def pieces() -> Iterator[bytes]:
        with path.open("rb") as lines:
            yield next(lines)
            yield next(lines)
            with path.open("ab") as log:
                log.write(b":2}\n")
            yield from lines

    assert list(pieces()) == [b'{"id":1}\n', b'{"id"', b":2}\n"]
    path.write_bytes(b'{"id":1}\n{"id"')
    assert list(whole(pieces())) == [b'{"id":1}\n', b'{"id":2}\n']
