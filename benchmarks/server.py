"""An evaluation server to measure against: `python -m benchmarks.server`. It keeps account of all that it sees.

Its HTTP is written by hand on asyncio.Protocol, because whatever it costs is taken from the cores that the client is
measured on. A reply leaves its connection `--reply` seconds after the request came, and the judge looks
half way: as if the time were all on the wire.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic, process_time
from typing import Any
from urllib.parse import parse_qs

from benchmarks.judge import KEYS, RATE_LIMITED, TEMPLATE, Durations, Limit, SlidingWindow, digest, durations, verdict

EVALUATIONS = "/sdk/api/v1/new-eval/"
CATALOGUE = "/sdk/api/v1/get-evals/"
MOST_PACKED = 3
"""Items in a request: what the platform takes of a template with two keys or more."""
ID_PREFIX = "00000000-0000-4000-8000-"
"""The rest of an eval_id is its number in hexadecimal, so that no table of ids is kept."""


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def invalid(attribute: str, problem: str) -> Refusal:
    told = dict.fromkeys(("detail", "message", "error", "result"), "Validation failed")
    envelope = {"status": False, "type": "validation_error", "code": "invalid", **told, "attr": attribute}
    return Refusal(400, {**envelope, "details": {attribute: [problem]}, "errors": {attribute: [problem]}})


# -- what it saw ---------------------------------------------------------------------------------------------------


@dataclass
class Account:
    """Counts, and moments by the monotonic clock, which all processes of a machine share."""

    posts: int = 0
    polls: int = 0
    refused_requests: int = 0
    """429."""
    items: int = 0
    """That the judge took on."""
    refused_runs: int = 0
    """Items that it did not, for the hidden limit."""
    settled: int = 0
    """Evaluations whose verdict has been given at least once."""
    most_open: int = 0
    """Evaluations whose verdict had not been given, at the worst moment."""
    longest_evaluation: float = 0.0
    first_post: float | None = None
    last_accepted: float | None = None
    """When the judge took on its last item."""
    last_ready: float | None = None
    """When the last evaluation was done."""
    last_verdict: float | None = None
    """When the last answer that told somebody a new verdict left."""
    by_second: dict[str, Counter[int]] = field(default_factory=dict)
    """Of each kind of event, how many in each second since the first POST."""

    def happened(self, kind: str, now: float, n: int = 1) -> None:
        since = self.first_post if self.first_post is not None else now
        self.by_second.setdefault(kind, Counter())[int(now - since)] += n

    def as_json(self) -> dict[str, Any]:
        told = {name: value for name, value in vars(self).items() if name != "by_second"}
        return told | {f"{kind}_by_second": _listed(counts) for kind, counts in self.by_second.items()}


def _listed(counts: Counter[int]) -> list[int]:
    return [counts[second] for second in range(max(counts) + 1)]


# -- the judge -----------------------------------------------------------------------------------------------------


class Judge:
    """Evaluations as they stand: a few bytes for each, whatever the size of its input."""

    def __init__(self, takes: Durations, tier: Limit | None) -> None:
        self._takes = takes
        self._tier = SlidingWindow(tier)
        self._ready_at = array("d")
        self._state = bytearray()
        self._digests: list[bytes] = []
        self._taken_on: Counter[bytes] = Counter()
        self.account = Account()

    @property
    def duplicates(self) -> int:
        """Evaluations of an input that had been evaluated before."""
        return sum(n - 1 for n in self._taken_on.values())

    def begin(self, item: bytes, now: float) -> int:
        """Take on an item, or refuse to run it; its number in both cases."""
        allowed = self._tier.allows(now)
        seconds = self._takes() if allowed else 0.0
        self._digests.append(item)
        self._ready_at.append(now + seconds)
        self._state.append(_RUNNING if allowed else _REFUSED)
        if allowed:
            self._taken_on[item] += 1
            self._note_accepted(now, seconds)
        else:
            self.account.refused_runs += 1
            self.account.happened("refused_runs", now)
        return len(self._digests) - 1

    def _note_accepted(self, now: float, seconds: float) -> None:
        account = self.account
        account.items += 1
        account.most_open = max(account.most_open, account.items - account.settled)
        account.longest_evaluation = max(account.longest_evaluation, seconds)
        account.last_accepted = now
        account.last_ready = max(account.last_ready or 0.0, now + seconds)
        account.happened("items", now)

    def ready_at(self, number: int) -> float:
        return self._ready_at[number]

    def was_refused(self, number: int) -> bool:
        return self._state[number] == _REFUSED

    def knows(self, number: int) -> bool:
        return 0 <= number < len(self._digests)

    def verdict(self, number: int) -> str:
        return verdict(self._digests[number])

    def tell(self, number: int) -> bool:
        """The verdict is being told. True the first time."""
        if self._state[number] != _RUNNING:
            return False
        self._state[number] = _TOLD
        self.account.settled += 1
        return True


_RUNNING, _TOLD, _REFUSED = 0, 1, 2


# -- its three calls -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    body: bytes
    status: int = 200
    delay: float = 0.0
    tells_verdict: bool = False
    """Somebody learns a verdict by it that was not told before."""


class Server:
    """Answers the API's requests, each with the moment at which its answer leaves."""

    def __init__(
        self, *, reply: float, evaluation: str, rate: Limit | None = None, tier: Limit | None = None, seed: int = 0
    ) -> None:
        self._reply = reply
        self.judge = Judge(durations(evaluation, seed), tier)
        self._inputs: dict[int, str] = {}
        self._rate = SlidingWindow(rate)

    @property
    def account(self) -> Account:
        return self.judge.account

    def answer(self, method: str, path: str, query: str, body: bytes) -> Answer:
        if path == "/account":
            account = {**self.account.as_json(), "duplicates": self.judge.duplicates, "cpu": process_time()}
            return Answer(json.dumps(account).encode())
        try:
            return self._api(method, path, query, body, monotonic() + self._reply / 2)
        except Refusal as refusal:
            return Answer(json.dumps(refusal.body).encode(), refusal.status, self._reply)

    def _api(self, method: str, path: str, query: str, body: bytes, now: float) -> Answer:
        is_post = path == EVALUATIONS and method == "POST"
        if is_post and self.account.first_post is None:
            self.account.first_post = now
        self._require_rate(now)
        if is_post:
            return self._post(body, now)
        if path == EVALUATIONS and method == "GET":
            return self._get(query, now)
        if path == CATALOGUE and method == "GET":
            return Answer(_CATALOGUE_BODY, delay=self._reply)
        raise Refusal(404, {"detail": "Not found."})

    def _require_rate(self, now: float) -> None:
        if self._rate.allows(now):
            self.account.happened("requests", now)
            return
        self.account.refused_requests += 1
        self.account.happened("refused_requests", now)
        told = {"code": "RATE_LIMITED", "message": "Rate limit exceeded.", "retry_after": 1}
        raise Refusal(429, {"status": False, "result": told})

    def _post(self, body: bytes, now: float) -> Answer:
        self.account.posts += 1
        request = json.loads(body or b"{}")
        inputs = unpacked(request)
        if not request.get("is_async"):
            raise invalid("is_async", "This server evaluates in the background only.")
        numbers = [self.judge.begin(digest(item), now) for item in inputs]
        self._inputs.update(zip(numbers, map(json.dumps, inputs), strict=True))
        told = ",".join(
            f'{{"name":"{TEMPLATE}","output_type":"Pass/Fail","eval_id":"{ID_PREFIX}{n:012x}"}}' for n in numbers
        )
        return Answer(_ENVELOPE % told.encode(), delay=self._reply)

    def _get(self, query: str, now: float) -> Answer:
        self.account.polls += 1
        eval_id = (parse_qs(query).get("eval_id") or [""])[0]
        number = _number(eval_id)
        if number is None or not self.judge.knows(number):
            told = dict.fromkeys(("detail", "message", "error", "result"), "Evaluation not found.")
            raise Refusal(400, {"status": False, "type": "validation_error", "code": "invalid", **told})
        if now < self.judge.ready_at(number):
            return Answer(_PENDING, delay=self._reply)
        return self._row(eval_id, number)

    def _row(self, eval_id: str, number: int) -> Answer:
        inputs = self._inputs.pop(number, "{}")  # kept until its end is told, which is once as a rule
        common = f'"eval_id":"{eval_id}","name":"{TEMPLATE}","input_data":{inputs}'
        if self.judge.was_refused(number):
            row = (
                f'{{"eval_status":"failed","result":{{{common},"reason":null,"runtime":null,"model":null,"output_type":'
                f'null,"value":null,"error_localizer_enabled":false,"error_message":"{RATE_LIMITED}"}}}}'
            )
        else:
            row = (
                f'{{"eval_status":"completed","result":{{{common},"reason":"because","runtime":55.0,"model":null,'
                f'"output_type":"Pass/Fail","value":"{self.judge.verdict(number)}","error_localizer_enabled":false}}}}'
            )
        is_news = self.judge.tell(number)
        return Answer(f'{{"status":true,"result":{row}}}'.encode(), delay=self._reply, tells_verdict=is_news)


def unpacked(request: Any) -> list[dict[str, Any]]:
    """The items of a request, one or packed as lists. Raises Refusal where the platform does."""
    template, inputs = request.get("eval_name"), request.get("inputs")
    if template != TEMPLATE:
        raise invalid("non_field_errors", f"Evaluation template with name :{template} not found.")
    if not isinstance(inputs, dict) or set(inputs) != set(KEYS):
        raise invalid("inputs", f"Accepted keys are: {', '.join(KEYS)}")
    if not any(isinstance(value, list) for value in inputs.values()):
        return [inputs]
    lengths = {len(value) if isinstance(value, list) else -1 for value in inputs.values()}
    if len(lengths) > 1:
        raise invalid("inputs", "Input lists must have the same length.")
    [length] = lengths
    if length > MOST_PACKED:
        raise invalid("inputs", f"Input lists cannot have more than {MOST_PACKED} items, but found length {length}.")
    return [{key: inputs[key][i] for key in inputs} for i in range(length)]


def _number(eval_id: str) -> int | None:
    try:
        return int(eval_id.removeprefix(ID_PREFIX), 16)
    except ValueError:
        return None


_ABOUT = {
    "id": "1", "eval_id": 1, "name": TEMPLATE, "description": "", "eval_tags": [], "criteria": "",
    "config": {"required_keys": KEYS, "output": "Pass/Fail", "eval_type_id": "CustomPromptEvaluator"},
    "choices": ["Passed", "Failed"], "multi_choice": False, "owner": "system",
}  # fmt: skip
_CATALOGUE_BODY = json.dumps({"status": True, "result": [_ABOUT]}).encode()
_PENDING = b'{"status":true,"result":{"eval_status":"pending","result":"Evaluation is being processed."}}'
_ENVELOPE = b'{"status":true,"result":[{"evaluations":[%s]}]}'


# -- its HTTP ------------------------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """Just enough HTTP/1.1: keep-alive, Content-Length, one request at a time. A chunked body is read as empty."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = bytearray()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (request := self._next_request()) is not None:
            method, target, body, closes = request
            path, _, query = target.partition("?")
            answer = self._server.answer(method, path, query, body)
            if answer.delay:
                self._loop.call_later(answer.delay, self._send, answer, closes)
            else:
                self._send(answer, closes)

    def _next_request(self) -> tuple[str, str, bytes, bool] | None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self._received[:end].decode("latin-1")
        lowered = head.lower()
        length = int(_header(lowered, "content-length") or 0)
        if len(self._received) < end + 4 + length:
            return None
        body = bytes(self._received[end + 4 : end + 4 + length])
        del self._received[: end + 4 + length]
        method, target, _ = head.split("\r\n", 1)[0].split(" ", 2)
        return method, target, body, _header(lowered, "connection") == "close"

    def _send(self, answer: Answer, closes: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if answer.tells_verdict:
            self._server.account.last_verdict = monotonic()
        self._transport.write(_head(answer) + answer.body)
        if closes:
            self._transport.close()


def _header(head: str, name: str) -> str | None:
    start = head.find(f"\r\n{name}:")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find("\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}


def _head(answer: Answer) -> bytes:
    retry = "Retry-After: 1\r\n" if answer.status == 429 else ""
    return (
        f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}\r\n{retry}"
        f"Content-Type: application/json\r\nContent-Length: {len(answer.body)}\r\n\r\n"
    ).encode()


async def serve(server: Server, *, port: int, end_after: float) -> None:
    """Serve on loopback until SIGTERM or Ctrl-C, `end_after` seconds at most."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGINT, ended.set)
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", port, backlog=1024)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    try:
        await asyncio.wait_for(ended.wait(), end_after)
    except asyncio.TimeoutError:
        print(f"benchmarks.server: its {end_after:.0f} s are over", file=sys.stderr)
    finally:
        listening.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=0, help="0: any free one; the address is printed")
    add("--reply", type=float, default=0.04, metavar="SECONDS", help="from a request to its reply (default 0.04)")
    add("--evaluation", default="lognormal:3:0.5", metavar="NAME:NUMBERS", help=durations.__doc__)
    add("--rate", type=Limit.parse, metavar="100/s", help="requests; past it, 429")
    add("--tier", type=Limit.parse, metavar="50/s|600/min", help="evaluations; past it, a row that failed")
    add("--seed", type=int, default=0)
    add("--end-after", type=float, default=3600.0, metavar="SECONDS", help="it ends by itself (default 3600)")
    chosen = parser.parse_args()
    server = Server(
        reply=chosen.reply, evaluation=chosen.evaluation, rate=chosen.rate, tier=chosen.tier, seed=chosen.seed
    )
    asyncio.run(serve(server, port=chosen.port, end_after=chosen.end_after))


if __name__ == "__main__":
    main()
