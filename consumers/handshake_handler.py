"""The handshake function's entry: `handler(event, context)` for the proxy integration of the sources that ask for it.

It answers the questions that take a body or a key, and writes what is POSTed to the stream as the gateway itself does:
the same envelope, the same partition key, the same answers. Nothing of a delivery is judged here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weir.consumers.handshake.responder import Responder


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Answer one request.

    Raises: ConfigError when the set-up is wrong; API Gateway then answers 5XX, and the sender tries again.
    """
    return _answering().serve(event)


@cache
def _answering() -> Responder:
    from weir.consumers import settings  # noqa: PLC0415 - imported with the first request, like what it needs

    settings.skip_plugin_search()
    from weir.consumers import wiring  # noqa: PLC0415

    return wiring.responder(sys.stdout)
