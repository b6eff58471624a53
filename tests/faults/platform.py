"""An evaluation platform that speaks api/contract.md and misbehaves as its Mix says. It keeps a full account."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.faults.account import NO_CREDIT, Account, Evaluation
from tests.faults.mix import NONSENSE, REFUSALS, TAKEN, Mix

API_KEY, SECRET_KEY = "key-of-the-fault-suite", "secret-of-the-fault-suite"
ALONE, IN_CONTEXT = "answers_alone", "answers_in_context"
TEMPLATES: dict[str, tuple[str, ...]] = {ALONE: ("output",), IN_CONTEXT: ("output", "context")}
"""Template -> its keys. `output` is what marks an item."""
HTML = b"<html><body><h1>Welcome to nginx!</h1></body></html>"
CAMEL = {
    "eval_status": "evalStatus", "eval_id": "evalId", "output_type": "outputType", "input_data": "inputData",
    "error_message": "errorMessage", "required_keys": "requiredKeys", "eval_type_id": "evalTypeId",
}  # fmt: skip


def verdict(inputs: Mapping[str, str]) -> str:
    """A pure function of the input, so that a verdict on another item's input shows."""
    return "Failed" if "bad" in inputs["output"] else "Passed"


def reason(inputs: Mapping[str, str]) -> str:
    return "judged " + " | ".join(inputs[key] for key in sorted(inputs))


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    target: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def eval_id(self) -> str:
        return parse_qs(urlsplit(self.target).query)["eval_id"][0]

    @property
    def has_keys(self) -> bool:
        sent = self.headers.get("x-api-key"), self.headers.get("x-secret-key")
        return sent == (API_KEY, SECRET_KEY) and "authorization" not in self.headers


@dataclass(frozen=True)
class Reply:
    """What goes back, and how."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    manner: str = "whole"
    """`whole`; `drop`: nothing at all, `cut`: half of it, and the line is closed; `hang`: nothing, and it stays open."""


class FaultyPlatform:
    """Answers requests; how they travel is its caller's business."""

    def __init__(self, mix: Mix, account: Account) -> None:
        self.mix = mix
        """May be replaced at any time."""
        self.account = account
        self._replies = 0
        self._shared: list[Evaluation] = []

    async def answered(self, asked: Asked) -> Reply:
        """What is accepted, is accepted in the middle of the time that a reply takes."""
        await asyncio.sleep(self.mix.reply / 2)
        reply = self._answer(asked)
        await asyncio.sleep(self.mix.reply / 2)
        return reply

    def _answer(self, asked: Asked) -> Reply:
        if not asked.has_keys:
            return _unauthorised()
        if asked.path.endswith("/get-evals/"):
            return self._ok([_template(name, keys) for name, keys in TEMPLATES.items()])
        if asked.body == b"{}":
            return _invalid("Validation failed")
        return self._posted(asked.body) if asked.method == "POST" else self._polled(asked.eval_id)

    @property
    def _keys_are_refused(self) -> bool:
        return self.mix.keys_refused_after is not None and self.account.requests() >= self.mix.keys_refused_after

    # -- submissions ---------------------------------------------------------------------------------------------

    def _posted(self, body: bytes) -> Reply:
        said = json.loads(body)
        items = _unpacked(said["inputs"])
        texts = [item["output"] for item in items]
        fault = self.mix.post_fault(body, self.account.times_posted(body))
        if self._keys_are_refused:
            self.account.posted(body, texts, "401")
            return _unauthorised()
        if refusal := self._refusal(said["eval_name"], items, fault):
            self.account.posted(body, texts, str(refusal.status))
            return refusal
        if fault and not fault.startswith(TAKEN):
            self.account.posted(body, texts, fault)
            return _silence(fault, self._ok([]))
        post = self.account.posted(body, texts, fault or "ok")
        accepted = [self._accept(post, item) for item in items]
        if not fault and not said["is_async"]:
            return self._judged_at_once(said["eval_name"], post, accepted)
        tickets = self._ok([{"evaluations": self._tickets(said["eval_name"], accepted)}])
        return _silence(fault.removeprefix(TAKEN), tickets) if fault else tickets

    def _refusal(self, template: str, items: list[dict[str, str]], fault: str | None) -> Reply | None:
        """The answer to a POST that is not accepted, and says so."""
        if fault in REFUSALS:
            return self._refused(fault)
        if self.mix.refuses is not None:
            return _invalid(self.mix.refuses)
        if len(items) > 3 and len(TEMPLATES[template]) > 1:
            return _invalid(f"Input lists cannot have more than 3 items, but found length {len(items)}.")
        curses = {self.mix.curse(item["output"]) for item in items}
        if "refused" in curses:
            return _invalid("This input is not acceptable.")
        return self._refused("500") if "broken" in curses else None

    def _refused(self, fault: str) -> Reply:
        headers = {} if fault == "500" else {"retry-after": self.mix.retry_after}
        detail = "Unable to run standalone evaluation. Please try again."
        return _error(int(fault), "server_error", detail, headers=headers)

    def _accept(self, post: int, inputs: dict[str, str]) -> Evaluation:
        text = inputs["output"]
        nth = self.account.times_accepted(text)
        fate = self.mix.fate(text, nth) or "judged"
        if self.mix.credit is not None and self.account.charged() >= self.mix.credit:
            fate = NO_CREDIT
        eval_id = self.account.accepted(post, text, inputs, fate, self.mix.duration(text, nth))
        found = self.account.evaluation(eval_id)
        assert found is not None
        return found

    def _tickets(self, template: str, accepted: list[Evaluation]) -> list[dict[str, Any]]:
        """What a submission's reply says of each item, as the platform's habits have it."""
        habits = self.mix.habits
        if "one id" in habits:
            accepted = [self._shared_by_three(evaluation) for evaluation in accepted]
        told = [self._ticket(template, evaluation) for evaluation in accepted]
        if "second unnamed" in habits and len(told) > 1:
            del told[1]["eval_id"]
        if "last left out" in habits and len(told) > 1:
            del told[-1]
        return told[::-1] if "swapped" in habits else told

    def _shared_by_three(self, evaluation: Evaluation) -> Evaluation:
        if len(self._shared) % 3 == 0:
            self._shared.clear()
        self._shared.append(evaluation)
        return self._shared[0]

    def _ticket(self, template: str, accepted: Evaluation) -> dict[str, Any]:
        return {"name": template, "output_type": "Pass/Fail", "eval_id": accepted.eval_id}

    def _judged_at_once(self, template: str, post: int, accepted: list[Evaluation]) -> Reply:
        """A synchronous reply: one bad item fails it as a whole, and does not say why."""
        if failed := [e for e in accepted if e.fate in ("fails", "rate_limited", NO_CREDIT)]:
            for evaluation in failed:
                self.account.asked(evaluation.eval_id, "told")
            self.account.answered(post, "500")
            return self._refused("500")
        if any(e.fate == "stuck" for e in accepted):
            self.account.answered(post, f"{TAKEN}hang")
            return _silence("hang", self._ok([]))
        if "one answer" in self.mix.habits:
            self._shared.append(accepted[0])
            accepted = self._shared[:1]
        return self._ok([{"evaluations": [self._ticket(template, e) | _verdict_at_once(e) for e in accepted]}])

    # -- questions -----------------------------------------------------------------------------------------------

    def _polled(self, eval_id: str) -> Reply:
        fault = self.mix.get_fault(eval_id, self.account.times_asked(eval_id))
        if self._keys_are_refused:
            self.account.asked(eval_id, "401")
            return _unauthorised()
        if fault is not None:
            self.account.asked(eval_id, fault)
            if fault == NONSENSE:
                return _error(400, "validation_error", "Something is wrong with this question.")
            return self._refused(fault) if fault in REFUSALS else _silence(fault, self._ok({"eval_status": "pending"}))
        asked_about = self.account.evaluation(eval_id)
        now = time()
        if asked_about is None or now < asked_about.at + self.mix.unknown_for:
            self.account.asked(eval_id, "unknown")
            return _error(400, "validation_error", "Evaluation not found.")
        if asked_about.fate == "stuck" or (now < asked_about.done_at and asked_about.fate != NO_CREDIT):
            self.account.asked(eval_id, "pending")
            return self._ok({"eval_status": "pending", "result": "Evaluation is being processed."})
        self.account.asked(eval_id, "told")
        if "rows of others" in self.mix.habits and int(eval_id[0], 16) % 3 == 0:
            other = self.account.evaluations()[0]
            asked_about = replace(other, eval_id=eval_id)
        return self._told(asked_about)

    def _told(self, evaluation: Evaluation) -> Reply:
        """A row that has come to its end."""
        nothing: dict[str, Any] = {"reason": None, "runtime": None, "output_type": None, "value": None}
        judged = {
            "reason": reason(evaluation.inputs), "runtime": 5.0, "output_type": "Pass/Fail",
            "value": verdict(evaluation.inputs),
        }  # fmt: skip
        status, row = {
            "fails": ("failed", nothing | {"error_message": _told_of_a_fall(evaluation.eval_id)}),
            "rate_limited": ("failed", nothing | {"error_message": "API call not allowed: rate_limited"}),
            NO_CREDIT: ("failed", nothing | {"error_message": f"API call not allowed: {NO_CREDIT}"}),
            "hollow": ("completed", judged | {"reason": None, "runtime": None}),
            "odd": ("failed", judged | {"error_message": None}),
        }.get(evaluation.fate, ("completed", judged))
        about: dict[str, Any] = {"eval_id": evaluation.eval_id}
        if "no inputs" not in self.mix.habits:
            about["input_data"] = dict(evaluation.inputs)
        return self._ok({"eval_status": status, "result": about | row})

    def _ok(self, result: Any) -> Reply:
        self._replies += 1
        is_odd = bool(self._replies % 2)
        camel_case = is_odd if "alternates" in self.mix.habits else self.mix.camel_case
        body = {"status": True, "result": _camel(result) if camel_case else result}
        return Reply(200, json.dumps(body).encode())


def _told_of_a_fall(eval_id: str) -> str:
    """Never twice the same: one of two texts, and an id."""
    return f"the judge {'fell over' if eval_id[0] in '01234567' else 'timed out'} (request {eval_id})"


def _verdict_at_once(evaluation: Evaluation) -> dict[str, Any]:
    told: dict[str, Any] = {"output": verdict(evaluation.inputs), "reason": reason(evaluation.inputs), "runtime": 5}
    return told | {"reason": None, "runtime": None} if evaluation.fate == "hollow" else told


def _unpacked(inputs: dict[str, str | list[str]]) -> list[dict[str, str]]:
    first = next(iter(inputs.values()))
    if isinstance(first, str):
        return [{key: str(value) for key, value in inputs.items()}]
    return [{key: value[n] for key, value in inputs.items()} for n in range(len(first))]


def _camel(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_camel(part) for part in reply]
    if isinstance(reply, dict):
        return {CAMEL.get(name, name): _camel(value) for name, value in reply.items()}
    return reply


def _template(name: str, keys: tuple[str, ...]) -> dict[str, Any]:
    config = {"required_keys": list(keys), "output": "Pass/Fail", "eval_type_id": "CustomPromptEvaluator"}
    return {"id": name, "name": name, "description": "", "eval_id": 1, "config": config}


def _error(status: int, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Reply:
    said = {"status": False, "type": kind, "code": "invalid", "detail": detail, "result": detail} | more
    return Reply(status, json.dumps(said).encode(), {"content-type": "application/json", **(headers or {})})


def _invalid(complaint: str) -> Reply:
    return _error(400, "validation_error", "Validation failed", errors={"inputs": [complaint]})


def _unauthorised() -> Reply:
    return _error(401, "authentication_error", "Invalid API key or secret key")


def _silence(manner: str, reply: Reply) -> Reply:
    """The reply as it arrives, or does not: its sender can't tell what was done."""
    html = {"content-type": "text/html"}
    if manner in ("html", "502"):
        return Reply(502 if manner == "502" else 200, HTML, html)
    if manner == "truncated":
        return Reply(reply.status, reply.body[: len(reply.body) // 2])
    return Reply(reply.status, reply.body, reply.headers, manner)
