"""The embedded evaluator, as the tests reach it: recorded, in-process, and behind a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from fieval_tasks.local import create_app
from tests.conftest import PATIENCE

ROOT = Path(__file__).parents[2]
KEYS = {"X-Api-Key": "key-of-the-tests", "X-Secret-Key": "secret-of-the-tests"}
NEW_EVAL = "/sdk/api/v1/new-eval/"
GET_EVALS = "/sdk/api/v1/get-evals/"
_EVAL_ID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class Answer:
    """One reply: the body is JSON, or None where it is empty."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Server:
    """A server process of ours."""

    process: subprocess.Popen[str]
    base_url: str

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


@contextmanager
def serving(*options: str, is_quiet: bool = True) -> Iterator[Server]:
    """`python -m fieval_tasks.local` on a free port, ended by its pid. `is_quiet`: it must have had nothing to say meanwhile."""
    environment = os.environ | dict(zip(("FI_API_KEY", "FI_SECRET_KEY"), KEYS.values(), strict=True))
    command = [sys.executable, "-m", "fieval_tasks.local", "--port", "0", *options]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        try:
            assert found, f"no base URL in {line!r}"
            yield Server(process, found[0])
        finally:
            process.send_signal(signal.SIGTERM)
            said, complained = process.communicate(timeout=PATIENCE)
    assert not is_quiet or (said, complained) == ("", "")


@asynccontextmanager
async def in_process(**options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a fresh app, called without a socket and without lifespan events."""
    app = an_app(**options)
    async with client_of(app) as client:
        yield client
    await app.state.evaluator.aclose()


def an_app(**options: Any) -> Starlette:
    return create_app(api_key=KEYS["X-Api-Key"], secret_key=KEYS["X-Secret-Key"], **options)


def client_of(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://evaluator", headers=KEYS)


async def settled(client: httpx.AsyncClient, eval_id: str) -> dict[str, Any]:
    """The `result` of a poll, once it is no longer pending or processing."""
    for _ in range(10_000):
        reply = await client.get(NEW_EVAL, params={"eval_id": eval_id})
        result: dict[str, Any] = reply.json()["result"]
        if result["eval_status"] in ("completed", "failed"):
            return result
        await asyncio.sleep(0.005)
    raise AssertionError(f"{eval_id} is still {result['eval_status']}")


def load_golden() -> list[dict[str, Any]]:
    """The recorded exchanges, each with what was `sent` where it was not plain JSON with good keys."""
    exchanges: list[dict[str, Any]] = json.loads((ROOT / "tests/golden/exchanges.json").read_text("utf-8"))
    return exchanges


class Replay:
    """Recorded exchanges put to a live evaluator; eval_ids are translated as its own come back."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._ours: dict[str, str] = {}

    async def run(self, exchanges: list[dict[str, Any]]) -> dict[str, Answer]:
        """An answer by case. Requests that make rows go first, for some polls were recorded ahead of them."""
        ordered = sorted(exchanges, key=lambda exchange: exchange["method"] != "POST")
        return {exchange["case"]: await self._answer(exchange) for exchange in ordered}

    async def _answer(self, exchange: dict[str, Any]) -> Answer:
        reply = await self._send(exchange)
        for _ in range(1000):
            if b'"Evaluation is being processed."' not in reply.content:
                break
            await asyncio.sleep(0.005)
            reply = await self._send(exchange)
        answer = Answer(reply.status_code, dict(reply.headers), reply.json() if reply.content else None)
        if exchange["method"] == "POST":
            self._ours.update(zip(_made(exchange["response"]), _made(answer.body), strict=False))
        return answer

    async def _send(self, exchange: dict[str, Any]) -> httpx.Response:
        sent = exchange.get("sent", {})
        headers = {**KEYS, "Content-Type": "application/json", **sent.get("headers", {})}
        for name in sent.get("without", []):
            del headers[name]
        request = httpx.Request(
            exchange["method"],
            self._client.base_url.join(_EVAL_ID.sub(self._translated, exchange["path"])),
            headers=headers,
            content=_content(exchange),
        )
        return await self._client.send(request)

    def _translated(self, match: re.Match[str]) -> str:
        found = match[0]
        dashed = f"{found[:8]}-{found[8:12]}-{found[12:16]}-{found[16:20]}-{found[20:]}" if "-" not in found else found
        ours = self._ours.get(dashed.lower(), found)
        return ours if "-" in found else ours.replace("-", "")


def _made(body: Any) -> list[str]:
    """The eval_ids in the reply to a POST."""
    if not isinstance(body, dict) or body.get("status") is not True:
        return []
    return [entry["eval_id"] for entry in body["result"][0]["evaluations"]]


def _content(exchange: dict[str, Any]) -> bytes:
    body = exchange.get("sent", {}).get("body")
    if body is not None:
        return bytes(body, "latin-1")
    return b"" if exchange["request"] is None else json.dumps(exchange["request"]).encode()
