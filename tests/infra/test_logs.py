"""What a session's start leaves of the logs of earlier ones."""

from __future__ import annotations

from pathlib import Path

from weir.infra.local.logs import end_last_line, expire

OLD, YOUNG = 1_700_000_000_000, 1_800_000_000_000
LINES = [
    b'{"id":"a","at":"1700000000000"}\n',
    b"START RequestId: 1\n",
    b'{"level":"INFO","at":1700000000001}\n',
    b'{"id":"b","at":"1800000000000"}\n',
    b"START RequestId: 2\n",
    b'{"id":"c","at":"18',
]


def left(tmp_path: Path, lines: list[bytes], oldest_ms: int) -> bytes:
    log = tmp_path / "x.log"
    log.write_bytes(b"".join(lines))
    expire(log, oldest_ms)
    return log.read_bytes()


def test_lines_before_the_first_young_one_go(tmp_path: Path) -> None:
    """Old lines go, with those that have no date; the rest stays byte for byte, a cut last line too."""
    assert left(tmp_path, LINES, YOUNG) == b"".join(LINES[3:])
    assert left(tmp_path, LINES, OLD) == b"".join(LINES)
    assert left(tmp_path, LINES, YOUNG + 1) == b""


def test_a_log_without_dates_and_an_absent_one_are_left_alone(tmp_path: Path) -> None:
    """Nothing is deleted whose age is unknown."""
    assert left(tmp_path, LINES[1:2], YOUNG) == LINES[1]
    assert left(tmp_path, [*LINES[1:2], *LINES[3:]], YOUNG) == LINES[1] + b"".join(LINES[3:])
    expire(tmp_path / "absent.log", YOUNG)
    assert not (tmp_path / "absent.log").exists()


def test_a_torn_last_line_is_ended_once(tmp_path: Path) -> None:
    """What the next session appends begins a line of its own; a log that is whole or absent stays as it is."""
    log = tmp_path / "x.log"
    end_last_line(log)
    assert not log.exists()
    for content, wanted in [(b"", b""), (b"a\n", b"a\n"), (b'a\n{"id', b'a\n{"id\n')]:
        log.write_bytes(content)
        end_last_line(log)
        end_last_line(log)
        assert log.read_bytes() == wanted
