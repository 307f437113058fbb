"""What holds for every command, checked over the whole tree."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import ClassVar

import click
import pytest
from click.testing import CliRunner, Result

from tests.support.commands import PLACE_OPTIONS, commands, groups, options
from weir.cli.exit_codes import FINE, NO_ANSWER
from weir.cli.main import main

COMMANDS = commands()
IDS = [" ".join(words) for words in COMMANDS]

# Commands that neither list nor report: they run, write, or print one file as it is.
WITHOUT_JSON = {
    ("run",),
    ("init",),
    ("env",),
    ("secrets", "set"),
    ("secrets", "generate"),
    ("secrets", "rotate"),
    ("secrets", "remove"),
    ("sources", "add"),
    ("sources", "schema"),
    ("record",),
}
# Commands that talk to no running stack.
# Makes what is for a place, and does not go there.
FOR_A_PLACE: dict[tuple[str, ...], set[str]] = {("synth",): {"--stack", "--env"}, ("policies",): {"--stack", "--env"}}
WITHOUT_PLACE = {
    ("run",),
    ("init",),
    ("effects",),
    ("synth",),
    ("policies",),
    ("cost",),
    ("sources", "presets"),
    ("sources", "add"),
    ("sources", "schema"),
    ("load", "report"),
    ("bench", "consumer"),
    ("bench", "memory"),
}
# Look for a stack only if one is named, or make one of their own.
PLACE_IS_OPTIONAL = {("doctor",), ("sources", "check"), ("load", "faults"), ("deploy",), ("destroy",)}
# What a command needs before it looks for its stack.
ARGUMENTS = {
    ("send",): ("github",),
    ("replay",): ("--from", "stream", "--dry-run"),
    ("listen",): ("--to", "http://127.0.0.1:9/"),
    ("failures", "retry"): ("0123abcd",),
    ("quarantine", "show"): ("x",),
    ("quarantine", "discard"): ("x", "--reason", "y"),
    ("secrets", "set"): ("github",),
    ("secrets", "generate"): ("github",),
    ("secrets", "rotate"): ("github",),
    ("secrets", "remove"): ("github", "0"),
    ("sources", "confirm"): ("github",),
}
UNCLEAR = {"TEXT", "INTEGER", "FLOAT", "PATH", "FILE RANGE", "INTEGER RANGE", "FLOAT RANGE", "DIRECTORY"}


def run(*arguments: str, **variables: str | None) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="weir", env=variables)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a source and no stack."""
    for name in ("AWS_ENDPOINT_URL", "WEIR_AT", "WEIR_ENDPOINT", "WEIR_STACK", "WEIR_HOME", "WEIR_SOURCES"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "sources.yaml").write_text("github: {preset: github}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class NoStack(BaseHTTPRequestHandler):
    """Answers what CloudFormation does when there is no such stack, and keeps what it was asked.

    Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html
    """

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        fault = "<Code>ValidationError</Code><Message>Stack with id weir does not exist</Message>"
        answer = f"<ErrorResponse><Error>{fault}</Error></ErrorResponse>".encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint(nowhere: Path) -> Iterator[str]:
    """The address of a service that has no stack."""
    server = HTTPServer(("127.0.0.1", 0), NoStack)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    NoStack.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_version_is_the_distributions() -> None:
    """`weir --version` prints the installed distribution's version."""
    assert run("--version").output == f"weir {version('weir-webhooks')}\n"


def test_help_imports_no_command() -> None:
    """`weir --help` and `weir --version` import no file of a command, and nothing of AWS, YAML or a server."""
    code = (
        "import sys\nfrom weir.cli.main import main\nmain(sys.argv[1:], standalone_mode=False)\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    ours = {"exit_codes", "framework", "main", "output"}
    for option in ("--help", "--version"):
        done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, check=True, text=True)
        loaded = done.stderr.split()
        assert {name.split(".")[2] for name in loaded if name.startswith("weir.cli.")} == ours
        assert not {"boto3", "botocore", "yaml", "uvicorn", "aiohttp", "pydantic", "matplotlib"} & set(loaded)


@pytest.mark.parametrize("name", [" ".join(words) for words, _ in groups()])
def test_summaries_are_whole(name: str) -> None:
    """No summary in a list of commands is cut off at 80 columns, and each is one line."""
    said = CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=80).output
    listed = said[re.search(r"^(Commands|Run):$", said, re.MULTILINE).end() :]  # type: ignore[union-attr]
    assert "..." not in listed
    assert all(line.endswith((".", ":")) for line in listed.splitlines() if line), said


@pytest.mark.parametrize("words", COMMANDS, ids=IDS)
def test_help_names_what_options_take(words: tuple[str, ...]) -> None:
    """Every option has a help text, and what it takes is named by its meaning, not by a type."""
    command = COMMANDS[words]
    context = click.Context(command)
    assert command.help
    for option in options(command).values():
        assert option.help, option.opts
        if not option.is_flag:
            assert option.make_metavar(context) not in UNCLEAR, option.opts


@pytest.mark.parametrize("words", COMMANDS, ids=IDS)
def test_a_place_is_named_the_same_way_everywhere(words: tuple[str, ...]) -> None:
    """Every command that talks to a stack takes --at, --endpoint and --stack, by the same words and variables."""
    found = options(COMMANDS[words])
    usual = options(COMMANDS["events",])
    if words in WITHOUT_PLACE:
        assert set(found) & set(PLACE_OPTIONS) == FOR_A_PLACE.get(words, set())
        return
    for name in PLACE_OPTIONS:
        assert found[name].to_info_dict() == usual[name].to_info_dict()
    assert "--to" not in found or words in {("replay",), ("listen",)}, "a place is --at; --to is a replay's target"


@pytest.mark.parametrize("words", COMMANDS, ids=IDS)
def test_what_lists_or_reports_has_json(words: tuple[str, ...]) -> None:
    """Every command that lists or reports takes --json."""
    assert ("--json" in options(COMMANDS[words])) == (words not in WITHOUT_JSON)


@pytest.mark.parametrize("words", COMMANDS, ids=IDS)
def test_wrong_usage_has_exit_code_2(words: tuple[str, ...]) -> None:
    """An option that no command has ends each with exit code 2 and a sentence."""
    done = run(*words, "--no-such-option")
    assert done.exit_code == NO_ANSWER
    assert "No such option" in done.stderr
    assert run(*words, "--help").exit_code == FINE


@pytest.mark.parametrize("words", COMMANDS, ids=IDS)
def test_a_missing_stack_has_exit_code_2(words: tuple[str, ...], nowhere: Path) -> None:
    """Without a stack, each command that needs one says so, says what to do, and prints no result."""
    if words in WITHOUT_PLACE | PLACE_IS_OPTIONAL:
        return
    done = CliRunner().invoke(main, [*words, *ARGUMENTS.get(words, ())], prog_name="weir", input="secret")
    assert (done.exit_code, done.stdout) == (NO_ANSWER, ""), done.output
    assert f"No embedded stack runs with its state in {nowhere / '.weir'}" in done.stderr
    assert "`make run` starts one" in done.stderr


@pytest.mark.parametrize("words", [("deploy",), ("destroy",)])
def test_deploy_and_destroy_want_a_place(words: tuple[str, ...], endpoint: str) -> None:
    """Nothing is deployed or destroyed at a place that nothing names; the old --to still names one."""
    assert "--at localstack or --at aws" in run(*words).stderr
    assert "--at localstack or --at aws" in run(*words, "--at", "embedded").stderr
    assert "two places" in run(*words, "--at", "aws", "--to", "localstack").stderr
    for old in (("--to", "localstack"), ("--at", "localstack")):
        NoStack.asked.clear()
        sure = ("--yes",) if words == ("destroy",) else ()
        assert run(*words, *old, "--endpoint", endpoint, *sure).exit_code == NO_ANSWER
        assert NoStack.asked, "it went there"


@pytest.mark.parametrize("words", [("quarantine",), ("failures",)])
def test_a_group_takes_the_options_of_its_default(words: tuple[str, ...], endpoint: str) -> None:
    """`weir quarantine --at localstack` is `weir quarantine groups --at localstack`; a wrong word is still one."""
    done = run(*words, "--at", "localstack", "--endpoint", endpoint, "--json")
    assert (done.exit_code, done.stdout) == (NO_ANSWER, "")
    assert f"LocalStack at {endpoint}" in done.stderr
    assert "No such command" in run(*words, "shwo").stderr


def test_variables_name_the_place(endpoint: str) -> None:
    """WEIR_AT, WEIR_ENDPOINT and WEIR_STACK are the defaults of --at, --endpoint and --stack."""
    there = {"WEIR_AT": "localstack", "WEIR_ENDPOINT": endpoint, "WEIR_STACK": "other"}
    for words in (("events",), ("quarantine",), ("load", "reconcile")):
        assert f"LocalStack at {endpoint}: stack other" in run(*words, **there).stderr
