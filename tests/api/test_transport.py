"""The connection pool by itself; what it does on the wire is tested in tests/contract."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import httpx

from fieval_tasks.api.transport import PooledTransport


def test_a_request_that_is_cancelled_at_any_moment_leaves_no_socket_open() -> None:
    async def cancelled_after(ticks: int, request: httpx.Request) -> None:
        transport = PooledTransport(connections=1, connect=5, wait=5)
        asking = asyncio.ensure_future(transport.handle_async_request(request))
        for _ in range(ticks):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        await transport.aclose()

    async def cancelled_at_each_moment(request: httpx.Request) -> None:
        for ticks in range(20):
            await cancelled_after(ticks, request)

    with socket.create_server(("127.0.0.1", 0)) as server, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(cancelled_at_each_moment(httpx.Request("GET", f"http://127.0.0.1:{server.getsockname()[1]}/")))
        gc.collect()
    assert [str(one.message) for one in caught] == []
