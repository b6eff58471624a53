"""An item's biography: its row, what was sent and answered, why it waited, and what it cost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rapidfuzz import process

from fieval_tasks.core.command_lines import command
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.items import Item, State
from fieval_tasks.ledger.book import Event, Past
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.record import FURTHER, iso, record, utc, value_text
from fieval_tasks.report.text import clean, count, duration, one_line, shown_json

MEANINGS: Mapping[str, str] = {
    "refused": "refused: the server will not take these inputs",
    "server_fault": "the server failed",
    "gateway_fault": "a gateway gave up waiting for the server: the POST may have been accepted",
    "lost_reply": "the reply was lost: the POST may have been accepted",
    "not_the_protocol": "the answer was not one of this API",
    "unreachable": "no connection, so nothing was accepted",
    "throttled": "the server asked everyone to wait",
    "keys_refused": "the server did not accept the keys",
    "rate_limited": "taken and not judged: over the platform's limit",
    "insufficient_credits": "taken and not judged: no credit left",
    "evaluation_error": "taken, and the evaluation failed",
    "not_found": "the server did not know its ticket",
    "wrong_item": "the server's row for its ticket is another item's: no verdict",
    "hollow": "completed without a judge's reason or time: no verdict",
    "orphan": "pending far longer than those that were sent later",
    "asked_again": "--retry-failed: its ticket is asked about again, for its verdict was never heard",
    "reopened": "--retry-failed: it is to be sent again",
    "not_needed": "not sent, or not once more: the gates were decided without it",
    "reused": "reused: it has the verdict of an earlier run, and was not sent",
    "found_in_flight": "found half sent: its POST had begun and no answer was recorded, so it may have been accepted",
}
"""Event -> its meaning for the item. An event that is not listed is shown as it is."""
_NOW: Mapping[State, str] = {
    State.READY: "waits to be sent",
    State.SENDING: "is being sent, or was when its process stopped; to finish it, resume the run",
    State.AMBIGUOUS: "may have been accepted: the reply to its last POST was lost; to finish it, resume the run",
    State.SUBMITTED: "waits for its verdict; python -m flows.collect asks for it again",
}
LONGEST_INPUT = 160
LONGEST_DETAIL = 300


@dataclass(frozen=True)
class Biography:
    """All that is known about one item."""

    run: Run
    past: Past
    original: Item | None
    """The item whose verdict this one shares; None where it was sent itself."""

    @property
    def history(self) -> tuple[Event, ...]:
        return tuple(sorted(_events(self), key=lambda event: event.at))  # stable: as recorded

    @property
    def cost(self) -> dict[str, int]:
        """What it took: POSTs that carried it, alone or in a pack; questions; POSTs whose reply was lost, each perhaps
        accepted; tickets that nobody asks about any more, each perhaps judged; times it was sent again after the server had
        taken it; and evaluations that may have been made, and paid, beyond the one that counts."""
        past, item = self.past, self.past.item
        return {
            "posts": past.result.attempts,
            "polls": past.polls,
            "lost": item.lost,
            "given_up": item.doubts - item.lost,
            "redone": item.redone,
            "possible_duplicates": past.possible_duplicates,
        }


def biographies(ledger: Ledger, run: Run, wanted: str) -> list[Biography]:
    """The biographies of the items with that id, or of `row:17`: one for each check. Raises PlanError with similar ids."""
    book = ledger.book(run.run_id)
    found = book.pasts(item_id=wanted)
    if not found and (row := re.fullmatch(r"row:(\d{1,9})", wanted)):
        found = book.pasts(row=int(row[1]))
    if not found:
        raise PlanError(_unknown(wanted, run, [*dict.fromkeys(result.item_id for result in book.results())]))
    twins = (past.item.same_as for past in found)
    originals = [None if twin is None else book.item(twin) for twin in twins]
    return [Biography(run, past, original) for past, original in zip(found, originals, strict=True)]


def as_text(life: Biography) -> str:
    """Lines for a terminal, with a mark for each character of a row or a server that would steer it."""
    return "\n".join(_lines(life)) + "\n"


def as_fields(life: Biography) -> dict[str, Any]:
    """For JSON, with everything in full."""
    past = life.past
    return {
        "run_id": life.run.run_id,
        **record(past.result, [name for name in FURTHER if getattr(past.result, name)]),
        "state": past.state.value,
        "inputs": dict(past.item.inputs),
        "params": dict(past.item.params),
        "history": [vars(one) | {"at": iso(one.at)} for one in life.history],
        "cost": life.cost,
    }


def as_json(lives: list[Biography]) -> str:
    """An array in ASCII: no character in it steers a terminal."""
    return shown_json([as_fields(one) for one in lives])


# -- what happened -------------------------------------------------------------------------------------------------


def _events(life: Biography) -> Iterator[Event]:
    past, run = life.past, life.run
    result = past.result
    yield Event(run.created_at, "written", f"row {result.row} of {run.dataset}")
    yield from past.events
    if past.sent_at is not None:
        yield Event(past.sent_at, "sent", "the last POST that carried it")
    if result.submitted_at is not None:
        yield Event(result.submitted_at, "submitted", f"taken by the server: eval_id {result.eval_id}")
    if result.reused_from is not None:
        when = f"{utc(result.finished_at):%Y-%m-%d %H:%M:%S}" if result.finished_at else "earlier"
        yield Event(run.created_at, "reused", f"{_verdict(life)}; as run {result.reused_from} got it, at {when} UTC")
    elif result.finished_at is not None:
        yield Event(result.finished_at, result.status, _verdict(life))


def _verdict(life: Biography) -> str:
    result = life.past.result
    shared = f" (given to {_twin(life.original)})" if life.original else ""
    if result.status == "not_needed":
        return f"to have it evaluated: {command('evaluate', '--resume', life.run.run_id, '--no-stop-when-decided')}"
    if result.error is not None:
        return f"{result.stage}, {result.error['kind']}{shared}: {result.error['message']}"
    passed = {True: ", passed", False: ", not passed", None: ""}[result.passed]
    is_said = result.score is None or result.score == result.value
    score = "" if is_said else f", score {result.score:g}"
    reason = f": {result.reason}" if result.reason else ""
    return f"{value_text(result.value)}{score}{passed}{shared}{reason}"


def _twin(item: Item) -> str:
    return f"row {item.row}, of which this one is a copy"


def _unknown(wanted: str, run: Run, known: list[str]) -> str:
    near = [name for name, _, _ in process.extract(wanted, known, limit=5)]
    hint = f"nearest are {', '.join(one_line(name, 60) for name in near)}; or say row:17" if near else "it has no items"
    return f"no item {one_line(wanted, 60)!r} in run {run.run_id} ({hint})"


# -- as text -------------------------------------------------------------------------------------------------------


def _lines(life: Biography) -> Iterator[str]:
    item, past = life.past.item, life.past
    judge = f", judge {_shown(item.model)}" if item.model else ""
    yield f"{_shown(item.item_id)}: row {item.row} of {_shown(life.run.dataset)}, run {_shown(life.run.run_id)}"
    which = f", evaluation {item.repeat + 1} of the row" if item.repeat else ""
    yield f"check {_shown(item.check)}: template {_shown(item.template)}{judge}{which}"
    yield from (
        f"  {_shown(key)} = {json.dumps(_shown(text, LONGEST_INPUT), ensure_ascii=False)}"
        for key, text in item.inputs.items()
    )
    yield from (
        f"  {_shown(name)} = {_shown(json.dumps(value, ensure_ascii=False))}" for name, value in item.params.items()
    )
    yield "history, in UTC:"
    yield from _history_lines(life.history)
    if not past.state.is_final:
        yield f"now: {_now(life)}"
    yield f"cost: {_cost_line(life)}"


def _history_lines(history: tuple[Event, ...]) -> Iterator[str]:
    before = None
    for one in history:
        waited = "" if before is None else f"+{duration((one.at - before).total_seconds())}"
        meaning = MEANINGS.get(one.event, _shown(one.event))
        detail = _shown(
            f"{one.detail} s" if one.event == "throttled" and one.detail.isdigit() else one.detail, LONGEST_DETAIL
        )
        yield (
            f"  {utc(one.at):%Y-%m-%d %H:%M:%S.%f}"[:-3]
            + f"  {waited:>14}  {meaning}"
            + (f"; {detail}" if detail else "")
        )
        before = one.at


def _now(life: Biography) -> str:
    past = life.past
    if life.original:
        return f"waits for the verdict of {_twin(life.original)}"
    if past.state is State.READY and past.result.attempts:
        return "waits to be sent again"
    return _NOW[past.state]


def _cost_line(life: Biography) -> str:
    if life.past.result.reused_from is not None:
        return f"nothing: run {_shown(life.past.result.reused_from)} paid for it"
    cost = life.cost
    parts = [f"{count(cost['posts'], 'POST')} carried it", f"asked about {count(cost['polls'], 'time')}"]
    if cost["redone"]:
        parts.append(f"sent again {count(cost['redone'], 'time')} after the server had taken it")
    if cost["lost"]:
        parts.append(f"{count(cost['lost'], 'reply', 'replies')} lost")
    if cost["given_up"]:
        parts.append(f"{count(cost['given_up'], 'ticket')} given up")
    twice = f": {count(cost['possible_duplicates'], 'possible duplicate')}" if cost["lost"] or cost["given_up"] else ""
    return ", ".join(parts) + twice


def _shown(text: str, limit: int = 80) -> str:
    return one_line(clean(text), limit)
