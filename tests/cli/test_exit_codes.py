"""Exit codes: four, from one table, and what each command makes of errors, refusals and Ctrl-C."""

from __future__ import annotations

import ast
import errno
import os
import signal
import time
from pathlib import Path

import click
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from click.testing import CliRunner, Result

from tests.support.stack_env import StackEnv
from weir.cli import exit_codes
from weir.cli.framework import Command
from weir.ingest.errors import OptionInvalid

CLI = Path(exit_codes.__file__).parent


def run(error: BaseException) -> Result:
    """Run a command that ends with an error."""

    @click.command(cls=Command)
    def command() -> None:
        raise error

    return CliRunner().invoke(command)


def test_the_table_has_every_code() -> None:
    """Each exit code has a meaning, and no two names have the same code."""
    codes = [value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)]
    assert sorted(codes) == sorted(exit_codes.MEANINGS) == [0, 1, 2, 130]


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.stem)
def test_commands_exit_by_name(path: Path) -> None:
    """No command writes an exit code as a number, and none raises an error of click's that has exit code 1."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        assert name not in {"ClickException", "Abort", "SystemExit"}, f"{path.name}:{node.lineno}"
        if name == "exit":
            assert not any(isinstance(argument, ast.Constant) for argument in node.args), f"{path.name}:{node.lineno}"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OptionInvalid("This cannot be."), "This cannot be."),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "/x: No space left on device."),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:9/"), "Nothing answers there. `make run` starts"),
        (NoCredentialsError(), "AWS credentials"),
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "not yours"}}, "Scan"), "AWS credentials"),
        (click.Abort(), "nothing was done"),
    ],
)
def test_errors_are_sentences_with_exit_code_2(error: Exception, sentence: str) -> None:
    """An error that a person can act on is a sentence on standard error and no result."""
    done = run(error)
    assert (done.exit_code, done.stdout) == (exit_codes.NO_ANSWER, "")
    assert sentence in done.stderr


def test_a_bug_is_not_hidden() -> None:
    """An error that nothing foresaw shows its traceback, and its exit code is that of no answer, not of a bad one."""
    done = run(RuntimeError("a bug"))
    assert (done.exit_code, done.stdout) == (exit_codes.NO_ANSWER, "")
    assert "Traceback" in done.stderr
    assert "RuntimeError: a bug" in done.stderr


def test_a_bug_prints_what_it_quotes_as_one_harmless_line() -> None:
    """The message of an exception, and of its cause, may hold what a sender wrote."""
    evil = "\x1b]52;c;eA==\x07\n2026-11-25T10:00:00.000Z  forged applied\u2028  forged"
    error = RuntimeError(evil)
    error.__cause__ = ValueError(evil)
    shown = run(error).stderr
    assert "Traceback" in shown
    assert all(line.isprintable() for line in shown.split("\n"))
    assert not any(line.startswith(("2026", "  forged")) for line in shown.splitlines())


def await_connection(pid: int) -> None:
    """Wait until a process has imported what it needs and talks to the engine; elsewhere than on Linux a while."""
    folder = Path(f"/proc/{pid}/fd")
    if not folder.exists():
        time.sleep(8)
        return
    deadline = time.monotonic() + 90
    while not any(os.path.realpath(one).rpartition("/")[2].startswith("socket:") for one in folder.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.engine
def test_ctrl_c_has_exit_code_130(stack_env: StackEnv) -> None:
    """A command that is stopped by Ctrl-C says so and ends with the exit code that shells use for it."""
    stack_env.put(stack_env.payment("a", 5))
    started = stack_env.start("lag", "--over", "60")
    await_connection(started.pid)
    time.sleep(1)  # it has begun to watch
    assert started.poll() is None
    started.send_signal(signal.SIGINT)
    output, _ = started.communicate(timeout=30)
    assert (started.returncode, output) == (exit_codes.STOPPED, b"stopped\n")
