"""The exit code of a replay, of its resumption, and of what runs as one: 1 is a bad answer, 2 is none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.http_server import Server
from tests.support.stack_env import StackEnv
from weir.cli import quarantine as commands
from weir.consumers.outcome import Outcome
from weir.ingest.errors import TargetUnavailable
from weir.operate.lookup.delivery import Delivery
from weir.operate.replay import runner
from weir.operate.replay.checkpoint import Checkpoint
from weir.operate.replay.filters import Filter
from weir.operate.replay.origins import make_origin
from weir.operate.replay.ports import Result
from weir.operate.replay.request import ReplayRequest

pytestmark = pytest.mark.engine


class Answering:
    """A target that answers each delivery with the same result, or does not answer at all."""

    label, batch_count = "a test", 10

    def __init__(self, answer: Result | None) -> None:
        self.answer = answer

    def deliver(self, deliveries: Sequence[Delivery], repeats: Sequence[bool], since_ms: int | None) -> list[Result]:
        """Return the answer once for each delivery. Raises: TargetUnavailable."""
        if self.answer is None:
            raise TargetUnavailable("It does not answer.")
        return [self.answer for _ in deliveries]


def test_a_complete_replay_that_failed_is_a_bad_answer_when_it_is_resumed(stack_env: StackEnv) -> None:
    """A server that refuses a delivery gives exit code 1, and so does --resume of it when it is complete."""
    stack_env.put(stack_env.payment("a", 1))
    server = Server()
    for status, code in ((302, 1), (200, 0)):
        server.status, path = status, str(stack_env.home / f"{status}.json")
        stack_env.weir("replay", "--from", "stream", "--to", server.url, "--checkpoint", path, code=code)
        assert "this replay is complete" in stack_env.weir("replay", "--resume", path, code=code)
    server.close()


@pytest.mark.parametrize(("answer", "code"), [(None, 2), (Result("failed", "x"), 1), (Result("delivered"), 0)])
def test_a_target_that_does_not_answer_is_no_answer(stack_env: StackEnv, answer: Result | None, code: int) -> None:
    """A target that cannot go on ends a replay with 2; one that refuses an event with 1."""
    stack_env.put(stack_env.payment("a", 1))
    context, request = stack_env.context(), ReplayRequest(origin="stream", target="consumer")
    selection = Filter.of(context, request)
    origin = make_origin(context, request, selection)
    assert runner.run(context, origin, selection, Answering(answer), Checkpoint(None, request)) == code


@pytest.mark.parametrize(("answer", "code"), [(None, 2), (Result("failed", "x"), 1), (Result(Outcome.APPLIED), 0)])
def test_verifying_the_quarantine_has_the_same_codes(
    stack_env: StackEnv, monkeypatch: pytest.MonkeyPatch, answer: Result | None, code: int
) -> None:
    """`weir quarantine verify` ends with 1 if its report counts failed, and with 2 if it could not go on."""
    stack_env.put(stack_env.payment("a", 1, secret="whsec_" + "QUJD" * 8))
    stack_env.consume()
    monkeypatch.setattr(commands, "consumer_target", lambda *_, **__: Answering(answer))
    stack_env.weir("quarantine", "verify", code=code)
