"""Nothing that a sender wrote reaches a terminal as a command, or as a line of its own."""

from __future__ import annotations

import ast
import json
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.http_server import Server
from tests.support.stack_env import StackEnv
from weir.cli.formats import preview
from weir.cli.framework import NoAnswer
from weir.cli.output import emit, emit_json, escaped, note
from weir.cli.terminal import Terminal
from weir.ingest.envelope import Envelope
from weir.ingest.errors import StackFailed
from weir.ingest.ids import RequestId, SourceName
from weir.operate.lookup.delivery import Estimate
from weir.operate.replay.progress import Progress, Report

CLI = Path(__file__).parents[2] / "cli"
# Colours, a title, the clipboard, C1 controls, an overwritten line, a change of direction, and a line of its own.
EVIL = "\x1b[31m\x1b]0;t\x07\x1b]52;c;eA==\x07\x9b2J\x7f\r\u202e\u2028\n2026-11-25T10:00:00.000Z  forged applied"


def harmless(printed: str) -> bool:
    lines = printed.splitlines()
    no_controls = all(letter.isprintable() or letter == "\n" for letter in printed)
    return no_controls and not any(line.startswith("2026-11-25") for line in lines)


@given(st.text() | st.just(EVIL))
def test_a_text_is_one_line_of_printable_characters(text: str) -> None:
    """Whatever it holds; and what was printable is as it was."""
    shown = escaped(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


def test_every_way_to_print_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    """Results, notes, a person's lines, progress and errors, their facts and what AWS said among them."""
    emit(EVIL)
    note(EVIL)
    with Terminal(as_json=False) as terminal:
        terminal.say(EVIL)
        terminal.result({}, [EVIL])
    NoAnswer(EVIL.replace("\n", " ")).show()
    NoAnswer(StackFailed("No.", said=EVIL).advice).show()
    emit_json({"value": EVIL})
    out, err = capsys.readouterr()
    assert harmless(out)
    assert harmless(err)
    assert json.loads(out.splitlines()[-1]) == {"value": EVIL}


def test_progress_is_escaped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its line is one line, in a pipe, too."""
    monkeypatch.setattr(Progress, "line", lambda *_: EVIL)
    monkeypatch.setattr("weir.cli.terminal._EVERY_S", -1.0)
    with Terminal(as_json=False) as terminal:
        terminal.watch(Progress(Estimate(), Report()))
    assert harmless(capsys.readouterr().err)


def test_each_line_of_a_body_is_marked() -> None:
    """A body's line cannot be taken for one of ours."""
    assert preview(b"a\nhistory") == ["| a", "| history"]
    assert preview(b"x" * 2001)[0].endswith("x ... 1 bytes more; --body writes them all")


def test_only_one_module_of_the_command_line_prints() -> None:
    """No other calls click.echo, print, or write of standard output and error."""
    found = {
        f"{path.name}:{node.lineno}"
        for path in CLI.glob("*.py")
        if path.name != "output.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name | ast.Attribute) and _prints(node)
    }
    assert found == set()


def _prints(node: ast.Name | ast.Attribute) -> bool:
    if isinstance(node, ast.Name):
        return node.id in {"print", "echo", "secho"}
    if not isinstance(node, ast.Attribute):
        return False
    if node.attr in {"echo", "secho", "echo_via_pager"}:
        return True
    stream = node.value
    return (
        node.attr in {"write", "writelines", "buffer"}
        and isinstance(stream, ast.Attribute)
        and stream.attr in {"stdout", "stderr"}
    )


def hostile(env: StackEnv) -> list[Envelope | bytes]:
    """Return deliveries with such characters wherever a sender can write some, proven and not."""
    headers = (("Content-Type", "application/json"), ("X-Evil", EVIL), ("webhook-id", EVIL))

    def unproven(source: str, number: int) -> Envelope:
        body = json.dumps({"id": EVIL, "type": EVIL}).encode() + EVIL.encode()
        path = f"/v1/{source}/{EVIL}"
        request_id = RequestId(f"evil-request-{number:02}=")
        return Envelope(
            request_id, 1_790_000_000_000, SourceName(source), EVIL, EVIL, path, {EVIL: EVIL}, headers, body
        )

    events = {"events": [{"id": EVIL, "type": EVIL}, {"id": f"{EVIL}2", "type": "payment.succeeded"}]}
    return [
        env.payment(EVIL, 5, message_id="proven", key=EVIL),
        env.payment(EVIL, -1, message_id="refused"),
        env.delivery(events, source="batches", key=EVIL),
        unproven("payments", 1),
        unproven("batches", 2),
        unproven(EVIL, 3),
        EVIL.encode(),
    ]


LISTING: list[tuple[str, ...]] = [
    ("events",),
    ("account", "--grace", "0s", "--since", "2026-01-01"),
    ("lag",),
    ("failures",),
    ("quarantine",),
    ("quarantine", "list"),
    ("items",),
    ("replay", "--from", "stream", "--dry-run", "--diff"),
    ("replay", "--from", "quarantine", "--dry-run"),
    ("rebuild", "--keep"),
    ("quarantine", "verify"),
]


@pytest.mark.engine
def test_no_command_prints_what_a_sender_wrote_as_it_is(stack_env: StackEnv) -> None:
    """Each listing command and each event: printable, no line of the sender's; with --json JSON; --body is raw."""
    sent = hostile(stack_env)
    stack_env.put(*sent)
    stack_env.consume()
    rows = [json.loads(line) for line in stack_env.weir("events", "--json").splitlines()]
    rows += [json.loads(line) for line in stack_env.weir("quarantine", "list", "--json").splitlines()]
    ids = {row[name] for row in rows for name in ("request_id", "event_id") if row[name]}
    assert EVIL in ids
    shown: list[tuple[str, ...]] = [("events", "--", one) for one in ids]
    shown += [("quarantine", "show", "--", row["request_id"]) for row in rows if row["request_id"]]
    retried = [
        ("failures", "retry", json.loads(line)["group"]) for line in stack_env.weir("failures", "--json").splitlines()
    ]
    for arguments in [*LISTING, *shown, *retried, ("events", "no" + EVIL), ("quarantine", "show", "no" + EVIL)]:
        done = stack_env.invoke(*arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), (arguments, done.exception)
        assert harmless(done.stdout), (arguments, done.stdout)
        assert harmless(done.stderr), (arguments, done.stderr)
    assert stack_env.invoke("events", "evil-request-01=", "--body").stdout_bytes.endswith(EVIL.encode())


@pytest.mark.engine
def test_listen_prints_no_more_than_lines_of_its_own(stack_env: StackEnv) -> None:
    """What arrives from anyone is one printable line each."""
    stack_env.put(*(one for one in hostile(stack_env) if isinstance(one, Envelope)))
    server = Server()
    running = stack_env.start("listen", "--to", f"{server.url}/{{source}}/{{key}}", "--since", "2026-01-01")
    assert running.stdout
    printed = b""
    while printed.count(b" -> ") < 5:
        line = running.stdout.readline()
        assert line, printed
        printed += line
    running.send_signal(signal.SIGINT)
    printed += running.communicate(timeout=20)[0]
    server.close()
    assert harmless(printed.decode())
    assert "\\x1b]52;" in printed.decode()
