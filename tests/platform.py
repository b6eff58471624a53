"""A small evaluation platform with a character: it answers as the contract says, except where it is told not to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx

from fieval_tasks.api.client import Credentials, EvalClient

CREDENTIALS = Credentials("an-api-key", "a-secret-key", base_url="http://platform.test")
TEMPLATE = "is_helpful"

Trouble = Callable[[httpx.Request, "Platform"], "httpx.Response | Exception | None"]


class Platform(httpx.AsyncBaseTransport):
    """Judges an answer Passed unless it says `bad`. `trouble` may answer, or raise, in its place."""

    def __init__(self, *, trouble: Trouble | None = None, takes: float = 0.0) -> None:
        self.trouble = trouble
        self.takes = takes
        """Seconds of an evaluation."""
        self.taken: Counter[str] = Counter()
        """Answer -> how often it was accepted."""
        self.posts = 0
        self.polls = 0
        self.rows: dict[str, dict[str, Any]] = {}

    def client(self) -> EvalClient:
        return EvalClient(CREDENTIALS, transport=self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.posts += request.method == "POST"
        self.polls += request.method == "GET" and "eval_id" in request.url.params
        if self.trouble is not None:
            answer = self.trouble(request, self)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                return answer
        if request.url.path.endswith("/get-evals/"):
            return ok([template()])
        if request.content == b"{}":
            return refusal("Validation failed")
        return self._posted(json.loads(request.content)) if request.method == "POST" else self._asked(request)

    def accept(self, body: dict[str, Any]) -> list[str]:
        """Take a submission's items; their eval_ids."""
        outputs = body["inputs"]["output"]
        return [self._take(o) for o in ([outputs] if isinstance(outputs, str) else outputs)]

    def _take(self, output: str) -> str:
        eval_id = str(uuid4())
        self.taken[output] += 1
        self.rows[eval_id] = {"output": output, "since": monotonic()}
        return eval_id

    def _posted(self, body: dict[str, Any]) -> httpx.Response:
        ids = self.accept(body)
        told = [{"name": TEMPLATE, "output_type": "Pass/Fail", "eval_id": i} for i in ids]
        if not body["is_async"]:
            told = [t | {"reason": "because", "runtime": 5, "output": self.verdict(i)} for t, i in zip(told, ids)]  # noqa: B905
        return ok([{"evaluations": told}])

    def _asked(self, request: httpx.Request) -> httpx.Response:
        row = self.rows.get(request.url.params["eval_id"])
        if row is None:
            return refusal("Evaluation not found.")
        if monotonic() - row["since"] < self.takes:
            return ok({"eval_status": "pending", "result": "Evaluation is being processed."})
        return self.done(request.url.params["eval_id"])

    def done(self, eval_id: str, **fields: Any) -> httpx.Response:
        """A settled row; `fields` replace what it says, and `status` how it ended."""
        status = fields.pop("status", "completed")
        inputs = {"output": self.rows[eval_id]["output"]}
        row = {
            "eval_id": eval_id,
            "input_data": inputs,
            "reason": "because",
            "runtime": 5.0,
            "output_type": "Pass/Fail",
        }
        return ok({"eval_status": status, "result": row | {"value": self.verdict(eval_id)} | fields})

    def verdict(self, eval_id: str) -> str:
        return "Failed" if "bad" in self.rows[eval_id]["output"] else "Passed"


def template() -> dict[str, Any]:
    """The one entry of the catalogue."""
    config = {"required_keys": ["output"], "output": "Pass/Fail", "eval_type_id": "CustomPromptEvaluator"}
    return {"id": str(uuid4()), "name": TEMPLATE, "description": "", "eval_id": 1, "config": config}


def ok(result: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": True, "result": result})


def refusal(detail: str, *, status: int = 400, **headers: str) -> httpx.Response:
    kind = {401: "authentication_error", 403: "permission_error"}.get(status, "validation_error")
    body = {"status": False, "type": kind, "code": "invalid", "detail": detail, "result": detail}
    return httpx.Response(status, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
