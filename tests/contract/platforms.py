"""The evaluation servers that the client's contract is held against."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from fieval_tasks.api.client import CLOUD, Credentials, EvalClient
from fieval_tasks.local import create_app
from fieval_tasks.runs.connections import InProcess
from tests.conftest import PATIENCE

ROOT = Path(__file__).parents[2]
KEYS = ("api-key-of-the-tests", "secret-key-of-the-tests")
LIVE_KEYS = (os.environ.get("FIEVAL_LIVE_API_KEY", ""), os.environ.get("FIEVAL_LIVE_SECRET_KEY", ""))
"""Of names of their own: the tests clear away the FI_ keys that a user has at hand."""
WHY_NOT_LIVE = (
    "the live platform costs money: set FIEVAL_LIVE=1, FIEVAL_LIVE_API_KEY and FIEVAL_LIVE_SECRET_KEY to ask it"
)


@dataclass(frozen=True)
class Platform:
    """A server, and how to reach it."""

    name: str
    credentials: Credentials
    transport: Callable[[], httpx.AsyncBaseTransport | None] = lambda: None
    """A fresh one for each client; None for the client's own, over sockets."""
    between_questions: float = 0.002
    """Seconds from one question for a verdict to the next."""

    def client(self) -> EvalClient:
        return EvalClient(self.credentials, transport=self.transport())

    def stranger(self) -> EvalClient:
        """A client whose secret key is not the server's."""
        wrong = replace(self.credentials, secret_key="somebody-elses-secret-key")
        return EvalClient(wrong, transport=self.transport())


def recorded() -> Platform:
    """The open-source backend, as it was seen to answer."""
    return Platform("recorded", Credentials(*KEYS, base_url="http://recorded"), transport=Recording)


def in_process() -> Platform:
    """The embedded evaluator, called without a socket."""

    def transport() -> httpx.AsyncBaseTransport:
        return InProcess(create_app(api_key=KEYS[0], secret_key=KEYS[1]))

    return Platform("in-process", Credentials(*KEYS, base_url="http://evaluator.local"), transport=transport)


def over_socket(base_url: str) -> Platform:
    """The embedded evaluator in a process of its own."""
    return Platform("socket", Credentials(*KEYS, base_url=base_url))


def live() -> Platform:
    """Whatever FIEVAL_LIVE_BASE_URL names, else the cloud. Every call may be charged."""
    base_url = os.environ.get("FIEVAL_LIVE_BASE_URL", CLOUD)
    return Platform("live", Credentials(*LIVE_KEYS, base_url=base_url), between_questions=0.5)


def may_go_live() -> bool:
    return os.environ.get("FIEVAL_LIVE") == "1" and all(LIVE_KEYS)


@contextmanager
def local_server() -> Iterator[str]:
    """The base URL of `python -m fieval_tasks.local` on a free port; ended by its own pid."""
    environment = {**os.environ, "FI_API_KEY": KEYS[0], "FI_SECRET_KEY": KEYS[1]}
    command = [sys.executable, "-m", "fieval_tasks.local", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        try:
            found = re.search(r"http://\S+", said)
            assert found, f"no base URL in {said!r}"
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)


class Recording(httpx.AsyncBaseTransport):
    """Answers a request as the recorded server answered the same one; asked again, with the next such answer."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        asked = _asked(request.method, request.url.raw_path.decode(), json.loads(request.content or b"null"))
        answers = BY_REQUEST.get(asked, []) if _has_keys(request) else [WRONG_KEYS]
        if not answers:
            raise LookupError(f"no recording of {asked}")
        turn = self._told[asked] = self._told.get(asked, -1) + 1
        answer = answers[min(turn, len(answers) - 1)]
        return httpx.Response(answer["status"], headers=answer["headers"], json=answer["response"])


def _has_keys(request: httpx.Request) -> bool:
    return (request.headers.get("x-api-key"), request.headers.get("x-secret-key")) == KEYS


def _asked(method: str, path: str, body: Any) -> str:
    """What makes two requests the same."""
    return f"{method} {path} {json.dumps(_submission(body), sort_keys=True)}"


def _submission(body: Any) -> Any:
    """A POST's body with what goes without saying, and texts of megabytes by their length."""
    if not isinstance(body, dict) or not isinstance(body.get("inputs"), dict):
        return body
    inputs = {k: _short(v) for k, v in body["inputs"].items()}
    return {**body, "inputs": inputs, "is_async": body.get("is_async", False)}


def _short(value: Any) -> Any:
    return f"<{len(value)} characters>" if isinstance(value, str) and len(value) > 2**20 else value


TOLD_TO_OTHERS = ("GET other org key", "default-ws key GET of WS2 row", "disabled key", "viewer key POST")
GOLDEN = json.loads((ROOT / "tests/golden/exchanges.json").read_text("utf-8"))
REPLIES = json.loads((ROOT / "tests/golden/replies.json").read_text("utf-8"))
WRONG_KEYS = next(e for e in GOLDEN if e["case"] == "wrong keys")
BY_REQUEST: dict[str, list[dict[str, Any]]] = {}
"""The recorded answers to one request, in the order they were given."""
for exchange in [*GOLDEN, *REPLIES["observed"], *REPLIES["composed"]]:
    # What was sent otherwise than as JSON with good keys is marked `sent`.
    if "sent" not in exchange and exchange["case"] not in TOLD_TO_OTHERS:
        key = _asked(exchange["method"], exchange["path"], exchange["request"])
        BY_REQUEST.setdefault(key, []).append(exchange)
