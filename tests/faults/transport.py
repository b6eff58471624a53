"""The platform without a socket, for runs in this process."""

from __future__ import annotations

import httpx

from fieval_tasks.api.client import Credentials, EvalClient
from tests.faults.platform import API_KEY, SECRET_KEY, Asked, FaultyPlatform


class FaultyTransport(httpx.AsyncBaseTransport):
    """What the line does is raised as httpx would raise it."""

    def __init__(self, platform: FaultyPlatform) -> None:
        self._platform = platform

    def client(self) -> EvalClient:
        return EvalClient(Credentials(API_KEY, SECRET_KEY, base_url="http://platform.test"), transport=self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = Asked(request.method, str(request.url), request.headers, await request.aread())
        reply = await self._platform.answered(asked)
        if reply.manner == "drop":
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        if reply.manner == "cut":
            raise httpx.ReadError("the line was closed in the middle of the reply")
        if reply.manner == "hang":
            raise httpx.ReadTimeout("no reply came in time")
        return httpx.Response(reply.status, content=reply.body, headers=dict(reply.headers))
