"""Runs of a ledger that are compared, each row with its question, its answer and its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

from fieval_tasks.core.items import Failed, Item, Scored
from fieval_tasks.ledger.changes import Decided, Sending
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger

NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
CHECK = CheckRecord(
    "tone",
    "groundedness",
    "turing_flash",
    {},
    "Pass/Fail",
    {"output": "answer", "context": "docs", "input": "question"},
)


@dataclass(frozen=True)
class Told:
    """A row and what the judge said of it: True, False, a score, or None where no verdict came."""

    verdict: bool | float | None = True
    question: str = ""
    answer: str = "An answer."
    item_id: str | None = None
    traits: Mapping[str, Any] | None = None
    same_as: int | None = None
    repeat: int = 0


def told(*verdicts: bool | float | None) -> list[Told]:
    return [Told(verdict) for verdict in verdicts]


def a_run(
    ledger: Ledger,
    name: str,
    rows: Sequence[Told],
    *,
    check: CheckRecord = CHECK,
    also: CheckRecord | None = None,
    exit_code: int | None = 0,
    **fields: Any,
) -> Run:
    """A run that has ended; a row's id is made of its content, unless it has one. `also`: a check that says the same."""
    checks = (check, also) if also else (check,)
    known = Run(
        name, NOON + timedelta(seconds=len(ledger.names(""))), "a.csv", "f" * 64, "async", "local", checks, {}, ()
    )
    run = replace(known, **fields)
    each = [(row, one) for row in rows for one in checks]
    ledger.create(run, [(_item(seq, row, one), None) for seq, (row, one) in enumerate(each)], chunk_size=100)
    book = ledger.book(name)
    book.apply([Sending(tuple(range(len(each))), NOON)])
    book.apply([Decided(seq, told, NOON) for seq, (row, _) in enumerate(each) if (told := _verdict(row))])
    if exit_code is not None:
        ledger.finished(name, exit_code=exit_code, seconds=1.0, complete=True)
    return ledger.run(name)


def _item(seq: int, row: Told, check: CheckRecord) -> Item:
    question = row.question or f"question {seq}"
    inputs = {"output": row.answer, "context": "The context.", "input": question}
    content = sha256(f"{question}{row.answer}".encode()).hexdigest()
    known = Item(seq, row.item_id or content[:12], seq + 1, check.name, check.template, check.model, inputs, content)
    return replace(known, traits=row.traits, same_as=row.same_as, repeat=row.repeat)


def _verdict(row: Told) -> Scored | Failed | None:
    if row.verdict is None:
        return None
    if isinstance(row.verdict, bool):
        return Scored("Passed" if row.verdict else "Failed", float(row.verdict), row.verdict, "Because.")
    return Scored(row.verdict, row.verdict, None, "So so.")
