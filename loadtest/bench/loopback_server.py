"""Serving a protocol on loopback from a process of its own, whose parent reads the address from its first line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import uvloop


def run(protocol: Callable[[], asyncio.Protocol]) -> None:
    """Serve on the port of the first argument, a free one without, until Ctrl-C; prints ``listening ADDRESS`` first."""
    try:
        uvloop.run(_serve(protocol, int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except KeyboardInterrupt:
        sys.exit(0)


async def _serve(protocol: Callable[[], asyncio.Protocol], port: int) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port)
    sys.stdout.write(f"listening http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()
