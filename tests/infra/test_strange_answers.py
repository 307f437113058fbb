"""What the stack's own client takes for an answer, from a server that says anything."""

from __future__ import annotations

import pytest
from aiohttp import web

from weir.infra.local.engine_client.aws_json import AwsClient, AwsError
from weir.infra.local.engine_client.positions import Position
from weir.infra.local.engine_client.stream_calls import Stream
from weir.infra.local.poller.batches import Record
from weir.infra.local.poller.destinations import Described, GivenUp, QueueDestination

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/one"
BATCH = GivenUp("s", (Record("1", "key", "", 0.0, 1, 0.0),), "RetryAttemptsExhausted", 1, None)


@pytest.mark.parametrize(
    "body", ["", "{}", "null", "[1]", "<html>", '{"Shards": ["x"], "Records": 1}', '{"StreamDescriptionSummary": {}}']
)
async def test_a_success_without_the_members_of_a_true_answer_is_none(body: str) -> None:
    """A middleman's page under a 200 is waited out like a server that is away: nothing passes for stored."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(text=body)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with AwsClient(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        stream, described = Stream(client, ARN), Described("m", "f", ARN)
        for call in (
            stream.describe,
            stream.shards,
            lambda: stream.iterator("s", Position("TRIM_HORIZON")),
            lambda: stream.page("i", 1),
            lambda: client.put_object("bucket", "key", b"content"),
            lambda: QueueDestination(client, "arn:aws:sqs:us-east-1:000000000000:q", described).write(BATCH, {}, 0.0),
        ):
            with pytest.raises(AwsError) as caught:
                await call()
            assert caught.value.transient
    await runner.cleanup()
