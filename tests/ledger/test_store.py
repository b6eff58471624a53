"""The ledger: what is committed stays, moves only as it may, and comes back as it went in, on every database."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from fieval_tasks.core.errors import PlanError, StoreAway, StoreError
from fieval_tasks.core.items import Failed, Item, Result, Scored, State, Ticket
from fieval_tasks.ledger import database, schema, versions
from fieval_tasks.ledger.book import OpenTicket
from fieval_tasks.ledger.calibrations import Calibration, Calibrations, LabelDraw
from fieval_tasks.ledger.changes import (
    Asked,
    Change,
    Counted,
    Decided,
    Noted,
    NotTaken,
    ReplyLost,
    Requeued,
    Sending,
    Submitted,
)
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.history import History
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.ledger.reopening import NOT_JUDGED
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Conclusion, Ledger
from fieval_tasks.ledger.tuning import LedgerTuning
from tests import postgres
from tests.conftest import PATIENCE

NOON = datetime(2026, 8, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)
CHECK = CheckRecord("tone", "tone", "turing_flash", {"strict": [1, "é"]}, "choices", {"output": "answer"})
PASSED = Scored("Passed", 1.0, True, "It is said so.", 12.5)
NO_ANSWER = Failed("wait", "timed_out", "no verdict in 600 s")
INVALID = Failed("validate", "blank", "row 1: 'output' is blank")
# On each database: what is written is the same, and one of them alone is strict about NUL and half a surrogate pair.
lawfully = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
fresh = count()


@pytest.fixture
def in_small_batches(url: str) -> Iterator[Ledger]:
    with Ledger(url, tuning=LedgerTuning(batch=10)) as opened:
        yield opened


def a_run(name: str | None = None, **fields: Any) -> Run:
    known: dict[str, Any] = {"dataset": "answers.csv", "dataset_fingerprint": "f" * 64, "connection": "local"}
    known |= {"created_at": NOON, "mode": "async", "checks": (CHECK,), "plan": {"seed": 0}, "notices": ()}
    return Run(run_id=name or f"run-{next(fresh)}", **known | fields)


def an_item(seq: int, **fields: Any) -> Item:
    whole = Item(seq, f"id-{seq}", seq + 1, "tone", "tone", "turing_flash", {"output": f"text {seq}"}, f"{seq:064}")
    return replace(whole, **fields)


def rows(size: int, *, invalid: Iterable[int] = ()) -> list[tuple[Item, Failed | None]]:
    return [(an_item(seq), INVALID if seq in set(invalid) else None) for seq in range(size)]


def begun(ledger: Ledger, size: int = 1, **fields: Any) -> Run:
    return ledger.create(a_run(**fields), rows(size), chunk_size=3)


def results(ledger: Ledger, run: Run, *, with_inputs: bool = False) -> list[Result]:
    return list(ledger.book(run.run_id).results(with_inputs=with_inputs))


def states(ledger: Ledger, run: Run) -> dict[int, State]:
    """Each item's state, as another program would read it."""
    engine = sa.create_engine(ledger.url)
    query = sa.select(schema.items.c.seq, schema.items.c.state).where(schema.items.c.run_id == run.run_id)
    query = query.order_by(schema.items.c.seq)
    with engine.connect() as connection:
        found = {seq: State(state) for seq, state in connection.execute(query)}
    engine.dispose()
    return found


def ticket(seq: int, eval_id: str | None = None, at: datetime = NOON) -> Submitted:
    return Submitted((Ticket(seq, eval_id or f"eval-{seq}"),), at)


# Whole or not at all


def test_a_run_whose_items_break_off_leaves_nothing(in_small_batches: Ledger) -> None:

    def broken() -> Iterator[tuple[Item, Failed | None]]:
        yield from rows(25)
        raise PlanError("row 26 can't be read")

    with pytest.raises(PlanError, match="row 26"):
        in_small_batches.create(a_run("once"), broken(), chunk_size=3)
    assert in_small_batches.names("") == set()
    assert in_small_batches.unfinished() == []
    assert sum(in_small_batches.book("once").counts().values()) == 0
    assert in_small_batches.create(a_run("once"), rows(25), chunk_size=3).total == 25


def test_a_run_is_not_seen_before_it_is_whole(ledger: Ledger) -> None:
    seen = []

    def watched() -> Iterator[tuple[Item, Failed | None]]:
        for row in rows(3):
            seen.append(ledger.names(""))
            yield row

    ledger.create(a_run("whole"), watched(), chunk_size=3)
    assert seen == [set()] * 3
    assert ledger.names("") == {"whole"}


ABANDONS = """
import sys
from dataclasses import replace
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.ledger.tuning import LedgerTuning
from tests.ledger.test_store import a_run, an_item
def rows():
    for seq in range(25):
        yield an_item(seq), None
    print("half", flush=True)
    sys.stdin.readline()
    yield an_item(25), None
ledger = Ledger(sys.argv[1], tuning=LedgerTuning(batch=10))
ledger.create(a_run("abandoned"), rows(), chunk_size=3)
print("whole", flush=True)
"""


def seen(ledger: Ledger) -> list[str]:
    """Every run that a reader is shown."""
    names = {run.run_id for run in (*ledger.unfinished(), *ledger.unconcluded())} | ledger.names("")
    for wanted in ("last", "abandoned"):
        with suppress(PlanError):
            names.add(ledger.run(wanted).run_id)
    names |= {ledger.begun_by("nightly") or ""} - {""}
    return sorted(names)


def held(ledger: Ledger) -> int:
    """Items that the ledger holds, of whatever run."""
    engine = sa.create_engine(ledger.url)
    with engine.connect() as connection:
        n = connection.scalar(sa.select(sa.func.count()).select_from(schema.items)) or 0
    engine.dispose()
    return n


def test_what_a_killed_process_had_half_written_is_seen_by_nobody_and_taken_out_by_the_next(ledger: Ledger) -> None:
    with program(ABANDONS, ledger.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        assert held(ledger) == 20
        assert seen(ledger) == []
        with pytest.raises(PlanError, match="'abandoned' already"):
            begun(ledger, 1, name="abandoned")
        begun(ledger, 1, name="another")
        assert (seen(ledger), held(ledger)) == (["another"], 21)
        process.kill()
        process.wait()
        assert seen(ledger) == ["another"]
    assert begun(ledger, 4, name="abandoned").total == 4
    assert (seen(ledger), held(ledger)) == (["abandoned", "another"], 5)


def test_what_is_being_written_is_left_alone_and_becomes_whole(ledger: Ledger) -> None:
    with program(ABANDONS, ledger.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        begun(ledger, 1, name="another")
        assert process.communicate("go on\n")[0] == "whole\n"
    assert seen(ledger) == ["abandoned", "another"]
    assert len(results(ledger, ledger.run("abandoned"))) == 26
    assert ledger.book("abandoned").claims.of_others("anybody") == []


def test_a_draft_that_became_whole_while_others_looked_for_drafts_stays(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(ledger, 2, name="abandoned")
    monkeypatch.setattr("fieval_tasks.ledger.drafts.left_behind", lambda connection: ["abandoned"])
    begun(ledger, 1, name="another")
    assert (seen(ledger), held(ledger), ledger.run("abandoned")) == (["abandoned", "another"], 3, run)


def test_whoever_was_taken_for_dead_while_writing_writes_nothing_more(
    in_small_batches: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:

    def slow() -> Iterator[tuple[Item, Failed | None]]:
        yield from rows(15)
        with monkeypatch.context() as patched:
            patched.setattr("fieval_tasks.ledger.claims.has_gone", lambda owner: True)
            begun(in_small_batches, 1, name="another")
        yield from rows(40)[15:]

    with pytest.raises(StoreError, match="was taken out: nothing was sent"):
        in_small_batches.create(a_run("slow"), slow(), chunk_size=3)
    assert (seen(in_small_batches), held(in_small_batches)) == (["another"], 1)


def test_a_run_is_written_and_taken_out_in_small_transactions(tmp_path: Path) -> None:
    with Ledger(store_url(str(tmp_path / "ledger.db")), tuning=LedgerTuning(batch=10)) as ledger:
        written = writes(ledger)
        begun(ledger, 95)
        ledger.forget(ledger.run("last").run_id)
        assert max(written) <= 10
        assert sum(written) == 2 * 95


def writes(ledger: Ledger) -> list[int]:
    """From now on, for each commit: the rows of items that it wrote or took out."""
    told = [0]

    def executed(_: Any, cursor: Any, statement: str, *__: Any) -> None:
        if statement.startswith(("INSERT INTO fieval_items", "DELETE FROM fieval_items")):
            told[-1] += cursor.rowcount

    sa.event.listen(ledger.database.engine, "after_cursor_execute", executed)
    sa.event.listen(ledger.database.engine, "commit", lambda _: told.append(0))
    return told


def test_a_run_of_that_name_is_refused_and_the_first_stays(ledger: Ledger) -> None:
    first = begun(ledger, 2, name="twice")
    with pytest.raises(PlanError, match=r"'twice' already.*--resume"):
        ledger.create(a_run("twice", mode="sync"), rows(5), chunk_size=3)
    assert ledger.run("twice") == first
    assert len(results(ledger, first)) == 2


def test_changes_are_committed_together_or_not_at_all(ledger: Ledger) -> None:
    run = begun(ledger, 2)
    unwritable = Decided(1, replace(PASSED, value=object()), NOON)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ledger.book(run.run_id).apply([Sending((0, 1)), Decided(0, PASSED, NOON), Counted(submits=1), unwritable])
    assert set(states(ledger, run).values()) == {State.READY}
    assert ledger.run(run.run_id).submits == 0


# What goes in comes out


def test_results_come_in_order_and_once_each_however_they_are_paged(in_small_batches: Ledger) -> None:
    run = in_small_batches.create(a_run(), reversed(rows(95)), chunk_size=7)
    assert [r.item_id for r in in_small_batches.book(run.run_id).results()] == [f"id-{seq}" for seq in range(95)]


def test_results_can_be_read_while_verdicts_arrive(url: str) -> None:
    with Ledger(url, tuning=LedgerTuning(batch=2)) as ledger:
        run = begun(ledger, 4)
        reading = ledger.book(run.run_id).results()
        assert [next(reading).status, next(reading).status] == ["pending", "pending"]
        ledger.book(run.run_id).apply([Decided(seq, PASSED, NOON) for seq in range(4)])
        assert [r.status for r in reading] == ["scored", "scored"]


any_text = st.text(st.characters())
"""With NUL, half surrogate pairs and everything else that a file or a server may hold."""
UGLY = "\0\ud800%\\u0000\U0001f600"
"""Some of it that every run of the tests writes."""
proper_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(
    st.none(), any_text, numbers, st.lists(any_text), st.dictionaries(any_text, st.one_of(any_text, numbers))
)
moments = st.datetimes(
    datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=-7))])
)
scored = st.builds(
    Scored,
    value=values,
    score=st.none() | st.floats(0, 1),
    passed=st.none() | st.booleans(),
    reason=st.none() | proper_text,
    runtime_ms=st.none() | numbers,
)
failed = st.builds(
    Failed,
    stage=st.sampled_from(["validate", "submit", "wait", "evaluate"]),
    kind=st.sampled_from(["refused", "lost", "timed_out"]),
    message=proper_text,
)


@lawfully
@given(st.dictionaries(any_text, any_text), proper_text, st.text("0123456789abcdef", min_size=64, max_size=64))
@example({UGLY: UGLY, "": ""}, "'\\x00\n", "0" * 64)
def test_an_item_comes_back_as_it_went_in(
    ledger: Ledger, inputs: dict[str, str], item_id: str, fingerprint: str
) -> None:
    item = an_item(0, inputs=inputs, item_id=item_id, fingerprint=fingerprint, row=2**31 - 1)
    run = ledger.create(a_run(), [(item, None)], chunk_size=1)
    assert ledger.book(run.run_id).item(0) == item
    assert ledger.book(run.run_id).unsent(0) == [item]
    (result,) = results(ledger, run, with_inputs=True)
    assert (result.inputs, result.item_id, result.row) == (inputs, item_id, item.row)
    assert results(ledger, run)[0].inputs is None


@lawfully
@given(st.one_of(scored, failed), moments, moments)
@example(Scored({UGLY: [UGLY, 1e308]}, 5e-324, False, "", 0.1), NOON, NOON)
def test_a_verdict_comes_back_as_it_was_decided(
    ledger: Ledger, verdict: Scored | Failed, submitted_at: datetime, decided_at: datetime
) -> None:
    run = begun(ledger)
    ledger.book(run.run_id).apply([Sending((0,)), ticket(0, "eval", submitted_at), Decided(0, verdict, decided_at)])
    (result,) = results(ledger, run)
    assert result == expected(
        0, Entry(State.SENDING, 1, eval_id="eval", submitted_at=submitted_at, finished_at=decided_at, verdict=verdict)
    )
    assert result.submitted_at is not None
    assert result.submitted_at.utcoffset() == timedelta(0)


@lawfully
@given(any_text, any_text, any_text.filter(bool))
@example(UGLY, UGLY, UGLY)
def test_no_text_of_a_server_stops_the_ledger_and_all_of_it_can_be_written_to_a_file(
    ledger: Ledger, reason: str, message: str, eval_id: str
) -> None:
    run = begun(ledger, 3)
    scored, failed = replace(PASSED, reason=reason), Failed("evaluate", "unreadable", message)
    told: list[Change] = [Decided(0, scored, NOON), Decided(1, failed, NOON, eval_id), ticket(2, eval_id)]
    ledger.book(run.run_id).apply(told)
    first, second, third = results(ledger, run)
    assert second.error is not None
    for kept, said in (
        (first.reason, reason),
        (second.error["message"], message),
        (second.eval_id, eval_id),
        (third.eval_id, eval_id),
    ):
        assert kept is not None
        assert is_proper(kept)
        assert (kept == said) == is_proper(said)


def is_proper(text: str) -> bool:
    """Text that is UTF-8 and that PostgreSQL takes."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


@pytest.mark.parametrize(
    ("said", "kept"), [("a\0b", r"a\x00b"), ("half \ud83d", r"half \ud83d"), ("whole 😀", "whole 😀")]
)
def test_what_no_database_takes_is_written_out(ledger: Ledger, said: str, kept: str) -> None:
    run = begun(ledger, dataset=said)
    ledger.book(run.run_id).apply([Decided(0, replace(PASSED, reason=said), NOON)])
    assert results(ledger, run)[0].reason == kept
    assert ledger.run(run.run_id).dataset == kept


def test_an_item_that_repeats_another_comes_back_and_is_not_sent(ledger: Ledger) -> None:
    first, second = an_item(0), an_item(1, same_as=0)
    run = ledger.create(a_run(), [(first, None), (second, None)], chunk_size=1)
    assert ledger.book(run.run_id).item(1) == second
    assert ledger.book(run.run_id).unsent_chunks() == [0]
    assert ledger.book(run.run_id).unsent(1) == []
    assert [result.status for result in ledger.book(run.run_id).results()] == ["pending", "pending"]


def test_five_megabytes_of_text_come_back_whole(ledger: Ledger) -> None:
    text = "ß🙂x" * (5 * 2**20 // 7)
    run = ledger.create(a_run(), [(an_item(0, inputs={"output": text}), None)], chunk_size=1)
    ledger.book(run.run_id).apply([Decided(0, replace(PASSED, value=text, reason=text), NOON)])
    (result,) = results(ledger, run, with_inputs=True)
    assert (result.inputs, result.value, result.reason) == ({"output": text}, text, text)


@lawfully
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | any_text, lambda x: st.lists(x) | st.dictionaries(any_text, x)
    ),
    st.lists(any_text).map(tuple),
    moments,
)
def test_a_run_comes_back_as_it_was_created(
    ledger: Ledger, param: object, notices: tuple[str, ...], created_at: datetime
) -> None:
    check = replace(CHECK, params={"param": param}, model=None)
    run = a_run(checks=(check, CHECK), plan={"mapping": param}, notices=notices, created_at=created_at)
    assert ledger.create(run, rows(2), chunk_size=1) == replace(run, total=2)


# Every change moves only from the states it may

WAYS: dict[State, list[Callable[[int], Change]]] = {
    State.READY: [lambda seq: Sending((seq,)), lambda seq: NotTaken((seq,), counts_as_attempt=False)],
    State.SENDING: [lambda seq: Sending((seq,))],
    State.AMBIGUOUS: [lambda seq: Sending((seq,)), lambda seq: ReplyLost((seq,))],
    State.SUBMITTED: [lambda seq: Sending((seq,)), ticket],
    State.SCORED: [lambda seq: Sending((seq,)), ticket, lambda seq: Decided(seq, PASSED, NOON)],
    State.FAILED: [lambda seq: Sending((seq,)), lambda seq: Decided(seq, NO_ANSWER, NOON)],
    State.NOT_NEEDED: [],
}
UNSENT = {State.READY, State.SENDING, State.AMBIGUOUS, State.NOT_NEEDED}
MOVES: dict[str, tuple[Callable[[int], Change], set[State], State]] = {
    "sending": (lambda seq: Sending((seq,)), UNSENT, State.SENDING),
    "not taken": (lambda seq: NotTaken((seq,), counts_as_attempt=True), {State.SENDING}, State.READY),
    "reply lost": (lambda seq: ReplyLost((seq,)), {State.SENDING}, State.AMBIGUOUS),
    "submitted": (ticket, UNSENT, State.SUBMITTED),
    "scored": (lambda seq: Decided(seq, PASSED, NOON), {*UNSENT, State.SUBMITTED}, State.SCORED),
    "failed": (lambda seq: Decided(seq, NO_ANSWER, NOON), {*UNSENT, State.SUBMITTED}, State.FAILED),
    "requeued": (Requeued, {State.SUBMITTED}, State.READY),
}


@pytest.mark.parametrize("move", MOVES)
def test_a_change_moves_only_from_the_states_it_may_and_touches_nothing_else(ledger: Ledger, move: str) -> None:
    change, may_move, target = MOVES[move]
    run = begun(ledger, len(State))
    assert ledger.book(run.run_id).draws.leave_out() == {"tone": len(State)}
    ledger.book(run.run_id).apply([step(seq) for seq, state in enumerate(State) for step in WAYS[state]])
    assert states(ledger, run) == dict(enumerate(State))
    before = results(ledger, run)
    ledger.book(run.run_id).apply([change(seq) for seq in range(len(State))])
    assert states(ledger, run) == {seq: target if s in may_move else s for seq, s in enumerate(State)}
    after = results(ledger, run)
    assert [after[seq] for seq, s in enumerate(State) if s not in may_move] == [
        before[seq] for seq, s in enumerate(State) if s not in may_move
    ]


def test_what_was_sent_is_never_left_out_and_what_was_left_out_can_be_taken_back_in(ledger: Ledger) -> None:
    run = begun(ledger, len(State))
    book = ledger.book(run.run_id)
    book.apply([step(seq) for seq, state in enumerate(State) for step in WAYS[state]])
    left_out = {State.READY, State.AMBIGUOUS, State.NOT_NEEDED}
    assert book.draws.leave_out() == {"tone": 3}  # the last one was never sent either
    after = {seq: State.NOT_NEEDED if state in left_out else state for seq, state in enumerate(State)}
    assert states(ledger, run) == after
    assert {result.status for result in book.results() if result.finished_at is None} == {"pending"}
    assert book.draws.take_back_in() == 3
    assert states(ledger, run) == {seq: State.READY if state in left_out else state for seq, state in enumerate(State)}
    assert book.draws.leave_out() == {"tone": 3}


def test_items_are_sent_in_the_order_in_which_they_were_drawn(ledger: Ledger) -> None:
    items = [(replace(item, drawn=5 - item.seq), failed) for item, failed in rows(6)]
    run = ledger.create(a_run(), items, chunk_size=4)
    book = ledger.book(run.run_id)
    assert [[item.seq for item in book.unsent(chunk)] for chunk in book.unsent_chunks()] == [[5, 4, 3, 2], [1, 0]]
    assert [(draw.seq, draw.place, draw.chunk) for draw in book.draws.all()] == [
        (0, 5, 1), (1, 4, 1), (2, 3, 0), (3, 2, 0), (4, 1, 0), (5, 0, 0),
    ]  # fmt: skip
    book.apply([Decided(4, PASSED, NOON), Decided(0, PASSED, NOON)])
    assert [(end.seq, end.passed) for end in book.draws.ends([0])] == [(4, True)]
    assert [result.row for result in book.results()] == [item.row for item, _ in items]


def test_the_first_verdict_stands(ledger: Ledger) -> None:
    run = begun(ledger)
    ledger.book(run.run_id).apply([Decided(0, PASSED, NOON, "first")])
    decided = results(ledger, run)
    late = NOON + timedelta(hours=1)
    ledger.book(run.run_id).apply([Decided(0, NO_ANSWER, late, "second"), ticket(0, "third", late), Sending((0,))])
    assert results(ledger, run) == decided


def test_a_request_that_was_not_taken_is_no_attempt_unless_it_counts_as_one(ledger: Ledger) -> None:
    run = begun(ledger, 2)
    sent = Sending((0, 1))
    ledger.book(run.run_id).apply(
        [sent, NotTaken((0,), counts_as_attempt=False), NotTaken((1,), counts_as_attempt=True)]
    )
    assert [r.attempts for r in ledger.book(run.run_id).results()] == [0, 1]
    ledger.book(run.run_id).apply([sent, NotTaken((0, 1), counts_as_attempt=False), sent])
    assert [r.attempts for r in ledger.book(run.run_id).results()] == [1, 2]


def test_failed_items_are_ready_again_as_if_never_failed_and_invalid_ones_stay(ledger: Ledger) -> None:
    run = ledger.create(a_run(), rows(4, invalid=[1]), chunk_size=3)
    failed = Failed("evaluate", "evaluation_error", "the judge fell over")
    ledger.book(run.run_id).apply([Sending((0, 2)), ticket(0), Decided(0, failed, NOON), Decided(3, PASSED, NOON)])
    before = results(ledger, run)
    assert ledger.book(run.run_id).reopen_failed() == 1
    assert ledger.book(run.run_id).reopen_failed() == 0
    assert results(ledger, run) == [expected(0, Entry(State.READY, attempts=1)), *before[1:]]
    assert [item.seq for item in ledger.book(run.run_id).unsent(0)] == [0, 2]


def test_an_item_that_failed_validation_is_final_from_the_start(ledger: Ledger) -> None:
    run = ledger.create(a_run(), rows(4, invalid=[0, 1, 2]), chunk_size=3)
    assert ledger.book(run.run_id).unsent_chunks() == [1]
    first = results(ledger, run)[0]
    assert (first.status, first.stage, first.attempts) == ("failed", "validate", 0)
    assert first.error == {"kind": "blank", "message": INVALID.message}
    assert first.finished_at is not None


def test_counts_of_requests_add_up(ledger: Ledger) -> None:
    run = begun(ledger)
    ledger.book(run.run_id).apply([Counted(submits=1, polls=2), Counted(retries=3), Counted()])
    ledger.book(run.run_id).apply([Counted(polls=5, throttled=1)])
    known = ledger.run(run.run_id)
    assert (known.submits, known.polls, known.retries, known.throttled) == (1, 7, 3, 1)


def doubled(ledger: Ledger, run: Run) -> int:
    """As the run has it, and the sum over its items' biographies."""
    one_by_one = sum(
        past.possible_duplicates for seq in range(run.total) for past in ledger.book(run.run_id).pasts(row=seq + 1)
    )
    assert ledger.run(run.run_id).possible_duplicates == one_by_one
    assert sum(one.possible_duplicates for one in ledger.unfinished() if one.run_id == run.run_id) in (0, one_by_one)
    return one_by_one


LOST_ONCE = (Sending((0, 1, 2)), ReplyLost((0, 1, 2)))


def test_a_lost_reply_is_a_possible_duplicate_from_when_its_item_is_sent_again_to_when_it_is_not_taken(
    ledger: Ledger,
) -> None:
    run = begun(ledger, 3)
    ledger.book(run.run_id).apply(LOST_ONCE)
    assert doubled(ledger, run) == 0
    ledger.book(run.run_id).apply([Sending((0, 1))])
    assert doubled(ledger, run) == 2
    ledger.book(run.run_id).apply([NotTaken((0, 1), counts_as_attempt=True)])
    assert doubled(ledger, run) == 0
    ledger.book(run.run_id).apply([*LOST_ONCE, Sending((0, 1, 2)), ticket(0), Decided(1, PASSED, NOON)])
    assert doubled(ledger, run) == 6
    ledger.book(run.run_id).apply([Decided(2, Failed("submit", "refused", "no"), NOON)])
    assert doubled(ledger, run) == 5


def test_possible_duplicates_outlive_whoever_counted_and_a_change_of_mind(ledger: Ledger) -> None:
    run = begun(ledger, 3)
    ledger.book(run.run_id).apply(LOST_ONCE)
    ledger.book(run.run_id).apply([Decided(seq, Failed("submit", "lost_reply", "lost"), NOON) for seq in range(3)])
    assert ledger.book(run.run_id).reopen_failed() == 3
    assert doubled(ledger, run) == 0
    ledger.book(run.run_id).apply([Sending((0, 1, 2)), ticket(0)])
    assert ledger.book(run.run_id).claims.take([0], owner_name(), lease=60) == [0]
    assert doubled(ledger, run) == 3  # of two, either of the lost replies may have been the only evaluation
    ledger.book(run.run_id).apply([Sending((1, 2)), ticket(1)])
    assert doubled(ledger, run) == 5


def test_a_failed_item_whose_ticket_was_never_answered_is_asked_about_again(ledger: Ledger) -> None:
    run = begun(ledger, 4)
    later = NOON + timedelta(minutes=5)
    ledger.book(run.run_id).apply([Sending((0, 1, 2, 3)), *(ticket(seq) for seq in range(4))])
    ledger.book(run.run_id).apply(
        [Decided(seq, Failed("wait", "lost", "not found"), later, f"eval-{seq}") for seq in (0, 1)]
    )
    assert ledger.book(run.run_id).resendable() == set()
    assert ledger.book(run.run_id).reopen_failed() == 2
    assert states(ledger, run) == dict.fromkeys(range(4), State.SUBMITTED)
    found = sorted((t.seq, t.eval_id, t.submitted_at) for t in ledger.book(run.run_id).open_tickets())
    assert found == [(seq, f"eval-{seq}", NOON) for seq in range(4)]
    assert ledger.book(run.run_id).resendable() == {0, 1, 2, 3}
    assert doubled(ledger, run) == 0
    ledger.book(run.run_id).apply([Requeued(0, doubtful=True), Decided(1, PASSED, later)])
    assert ledger.book(run.run_id).resendable() == {2, 3}
    assert doubled(ledger, run) == 0
    ledger.book(run.run_id).apply([Sending((0,)), ticket(0, "another")])
    assert doubled(ledger, run) == 1
    assert ledger.book(run.run_id).resendable() == {2, 3}
    assert told_of(ledger, run, 0) == [("asked_again", "eval_id eval-0: lost: not found")]


NOT_READ = ("hollow", "unreadable_value")


@pytest.mark.parametrize("kind", ["evaluation_error", "rate_limited", "insufficient_credits", *NOT_READ])
def test_an_evaluation_that_failed_is_bought_again_and_is_a_duplicate_only_where_it_was_completed(
    ledger: Ledger, kind: str
) -> None:
    run = begun(ledger)
    ledger.book(run.run_id).apply([Sending((0,)), ticket(0), Decided(0, Failed("evaluate", kind, "why\0"), NOON)])
    assert ledger.book(run.run_id).reopen_failed() == 1
    assert states(ledger, run) == {0: State.READY}
    assert doubled(ledger, run) == 0
    ledger.book(run.run_id).apply([Sending((0,)), ticket(0, "another"), Decided(0, PASSED, NOON)])
    assert doubled(ledger, run) == (kind in NOT_READ)
    assert told_of(ledger, run, 0) == [("reopened", rf"eval_id eval-0: {kind}: why\x00")]


def test_items_that_share_a_failed_verdict_are_not_asked_about_themselves(ledger: Ledger) -> None:
    shared = [(an_item(0), None), (an_item(1, same_as=0), None)]
    run = ledger.create(a_run(), shared, chunk_size=3)
    lost = [Decided(seq, Failed("wait", "lost", "not found"), NOON, "eval-0") for seq in (0, 1)]
    ledger.book(run.run_id).apply([Sending((0,)), ticket(0), *lost])
    assert ledger.book(run.run_id).reopen_failed() == 2
    assert states(ledger, run) == {0: State.SUBMITTED, 1: State.READY}
    assert ledger.book(run.run_id).copies() == {0: [(1, "tone")]}
    assert results(ledger, run)[1].eval_id is None


def told_of(ledger: Ledger, run: Run, seq: int) -> list[tuple[str, str]]:
    [past] = ledger.book(run.run_id).pasts(row=seq + 1)
    return [(event.event, event.detail) for event in past.events]


def test_conclusions_come_back_in_the_order_in_which_they_were_added_and_go_with_their_run(ledger: Ledger) -> None:
    run, other = begun(ledger), begun(ledger)
    standing = {"scored": 3, "checks": {"tone": {"mean": 0.5, "said": "a\0\ud83d"}}}
    ledger.add_conclusion(run.run_id, NOON, 3, standing)
    ledger.add_conclusion(run.run_id, NOON - timedelta(hours=1), None, {})
    told = [Conclusion(NOON, 3, standing), Conclusion(NOON - timedelta(hours=1), None, {})]
    assert ledger.conclusions(run.run_id) == told
    assert ledger.conclusions(other.run_id) == []
    ledger.forget(run.run_id)
    assert ledger.conclusions(run.run_id) == []


# Against a plain dict


@dataclass
class Entry:
    """What the ledger should hold of an item."""

    state: State = State.READY
    attempts: int = 0
    lost: int = 0
    doubts: int = 0
    redone: int = 0
    polls: int = 0
    resend_if_unknown: bool = False
    sent_at: datetime | None = None
    eval_id: str | None = None
    submitted_at: datetime | None = None
    finished_at: datetime | None = None
    verdict: Scored | Failed | None = None

    @property
    def is_taken(self) -> bool:
        """It may have been judged since its doubts arose."""
        if isinstance(self.verdict, Failed):
            return self.verdict.stage in ("wait", "evaluate")
        return self.state in (State.SENDING, State.SUBMITTED, State.SCORED)

    @property
    def told_to_the_sender(self) -> dict[str, Any]:
        told = {"lost": self.lost, "doubts": self.doubts, "redone": self.redone}
        return told | {"ambiguous": self.state is State.AMBIGUOUS}


def expected(seq: int, entry: Entry) -> Result:
    item, verdict = an_item(seq), entry.verdict
    told = verdict if isinstance(verdict, Scored) else Scored(None, None, None, None, None)
    error = verdict if isinstance(verdict, Failed) else None
    return Result(
        item_id=item.item_id,
        row=item.row,
        check=item.check,
        template=item.template,
        model=item.model,
        status="scored" if verdict is told else "failed" if error else "pending",
        **vars(told),
        eval_id=entry.eval_id,
        stage=error.stage if error else None,
        error={"kind": error.kind, "message": error.message} if error else None,
        attempts=entry.attempts,
        submitted_at=entry.submitted_at,
        finished_at=entry.finished_at,
        lost=entry.lost,
        doubts=entry.doubts,
        seq=seq,
    )


SIZE = 7
seqs = st.integers(0, SIZE - 1)
few = st.integers(0, 3)
several = st.lists(seqs, min_size=1, max_size=4, unique=True).map(tuple)
changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(Sending, several, moments),
    st.builds(NotTaken, several, counts_as_attempt=st.booleans()),
    st.builds(ReplyLost, several),
    st.builds(Submitted, st.lists(st.builds(Ticket, seqs, st.uuids().map(str)), max_size=3).map(tuple), moments),
    st.builds(Decided, seqs, st.one_of(scored, failed), moments, st.none() | st.just("told late"), few),
    st.builds(Requeued, seqs, st.booleans(), st.booleans()),
    st.builds(Asked, seqs, few),
    st.builds(Noted, several, st.sampled_from(["not_the_protocol", "lost_reply"]), any_text, moments),
    st.builds(Counted, *[few] * 4),
)


class Account(RuleBasedStateMachine):
    """One run in the ledger, and the same in a dict."""

    ledger: ClassVar[Ledger]

    @initialize(invalid=st.sets(seqs, max_size=2), repeats=st.dictionaries(st.integers(4, SIZE - 1), st.integers(0, 3)))
    def begin(self, invalid: set[int], repeats: dict[int, int]) -> None:
        self.repeats = repeats
        items = ((replace(item, same_as=repeats.get(item.seq)), f) for item, f in rows(SIZE, invalid=invalid))
        self.run = self.ledger.create(a_run(), items, chunk_size=3)
        known = {seq: r.finished_at for seq, r in enumerate(self.ledger.book(self.run.run_id).results())}
        self.entries = {
            seq: Entry(State.FAILED, finished_at=known[seq], verdict=INVALID) if seq in invalid else Entry()
            for seq in range(SIZE)
        }
        self.counted = Counted()
        self.noted: list[tuple[Any, ...]] = []
        self.reader = sa.create_engine(self.ledger.url)

    def teardown(self) -> None:
        self.reader.dispose()

    def read(self, *columns: sa.Column[Any]) -> list[tuple[Any, ...]]:
        """What another program would read of the run, in the order of the table's key."""
        table = columns[0].table
        query = sa.select(*columns).where(table.c.run_id == self.run.run_id).order_by(*table.primary_key)
        with self.reader.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    @rule(together=st.lists(changes, min_size=1, max_size=8))
    def apply(self, together: list[Change]) -> None:
        self.ledger.book(self.run.run_id).apply(together)
        for change in together:
            self.note(change)

    @rule()
    def crash(self) -> None:
        sending = [seq for seq, entry in self.entries.items() if entry.state is State.SENDING]
        another, chunks = owner_name(), sorted({seq // 3 for seq in range(SIZE)})
        assert self.ledger.book(self.run.run_id).claims.take(chunks, another, lease=60) == chunks
        self.ledger.book(self.run.run_id).claims.release(another)
        for seq in sending:
            self.lose(self.entries[seq])
        found = self.noted_since(len(self.noted))
        assert [(seq, event) for seq, _, event, _ in found] == [(seq, "found_in_flight") for seq in sending]
        self.noted += found

    @rule()
    def retry_failed(self) -> None:
        reopened = [
            s for s, e in self.entries.items() if isinstance(e.verdict, Failed) and e.verdict.stage != "validate"
        ]
        noted = len(self.noted)
        assert self.ledger.book(self.run.run_id).reopen_failed() == len(reopened)
        for seq in reopened:
            self.reopen(seq, self.entries[seq])
        for entry in self.those(range(SIZE), {State.SUBMITTED}):
            entry.resend_if_unknown = True
        self.noted += self.noted_since(noted)
        assert sorted(seq for seq, *_ in self.noted[noted:]) == reopened

    def reopen(self, seq: int, entry: Entry) -> None:
        failed, entry.verdict = entry.verdict, None
        assert isinstance(failed, Failed)
        is_unheard = entry.eval_id is not None and failed.stage != "evaluate" and seq not in self.repeats
        if is_unheard:
            entry.state, entry.submitted_at = State.SUBMITTED, entry.submitted_at or entry.sent_at or entry.finished_at
        else:
            is_repeat, is_told = seq in self.repeats, failed.stage == "evaluate" and failed.kind not in NOT_JUDGED
            entry.state, entry.eval_id, entry.submitted_at = State.READY, None, None
            entry.doubts += is_told and not is_repeat
        entry.redone, entry.finished_at = 0, None

    def lose(self, entry: Entry) -> None:
        entry.state, entry.lost, entry.doubts = State.AMBIGUOUS, entry.lost + 1, entry.doubts + 1

    def note(self, change: Change) -> None:
        if isinstance(change, Counted):
            self.counted = Counted(
                *(a + b for a, b in zip(vars(self.counted).values(), vars(change).values(), strict=True))
            )
        elif isinstance(change, Submitted):
            for one in change.tickets:
                for entry in self.those((one.seq,), UNSENT):
                    entry.state, entry.eval_id, entry.submitted_at = State.SUBMITTED, one.eval_id, change.at
        elif isinstance(change, Decided):
            for entry in self.those((change.seq,), {*UNSENT, State.SUBMITTED}):
                entry.state = State.SCORED if isinstance(change.verdict, Scored) else State.FAILED
                entry.verdict, entry.finished_at = change.verdict, change.at
                entry.eval_id, entry.polls = change.eval_id or entry.eval_id, entry.polls + change.polls
        elif isinstance(change, Requeued):
            for entry in self.those((change.seq,), {State.SUBMITTED}):
                entry.state, entry.eval_id, entry.submitted_at = State.READY, None, None
                entry.redone, entry.doubts = entry.redone + change.counts, entry.doubts + change.doubtful
                entry.resend_if_unknown = False
        elif isinstance(change, Asked):
            self.entries[change.seq].polls += change.polls
        elif isinstance(change, Noted):
            self.noted += [(seq, change.at, change.event, written_out(change.detail)) for seq in change.seqs]
        elif isinstance(change, Sending):
            for entry in self.those(change.seqs, UNSENT):
                entry.state, entry.attempts, entry.sent_at = State.SENDING, entry.attempts + 1, change.at
        elif isinstance(change, ReplyLost):
            for entry in self.those(change.seqs, {State.SENDING}):
                self.lose(entry)
        else:
            for entry in self.those(change.seqs, {State.SENDING}):
                entry.state = State.READY
                entry.attempts -= not change.counts_as_attempt

    def those(self, named: Sequence[int], among: set[State]) -> list[Entry]:
        return [self.entries[seq] for seq in set(named) if self.entries[seq].state in among]

    @invariant()
    def results_agree(self) -> None:
        assert results(self.ledger, self.run) == [
            replace(expected(seq, e), same_as=self.repeats.get(seq)) for seq, e in self.entries.items()
        ]

    @invariant()
    def counts_sum_to_the_total_and_agree(self) -> None:
        counts = self.ledger.book(self.run.run_id).counts()
        assert sum(counts.values()) == self.run.total == SIZE
        assert counts == {state: [e.state for e in self.entries.values()].count(state) for state in State}
        whole = self.ledger.run(self.run.run_id)
        assert whole.possible_duplicates == sum(e.doubts - (not e.is_taken) for e in self.entries.values() if e.doubts)
        assert {name: getattr(whole, name) for name in vars(self.counted)} == vars(self.counted)

    @invariant()
    def what_is_left_to_send_agrees(self) -> None:
        unsent = [seq for seq, e in self.entries.items() if e.state in UNSENT and seq not in self.repeats]
        assert self.ledger.book(self.run.run_id).count_unsent() == len(unsent)
        assert self.ledger.book(self.run.run_id).unsent_chunks() == sorted({seq // 3 for seq in unsent})
        listed = [self.ledger.book(self.run.run_id).unsent(chunk) for chunk in range(SIZE // 3 + 1)]
        whole = [an_item(s, **self.entries[s].told_to_the_sender) for s in unsent]
        assert listed == [[item for item in whole if item.seq // 3 == chunk] for chunk in range(SIZE // 3 + 1)]

    @invariant()
    def what_repeats_another_agrees(self) -> None:
        still_open = [seq for seq in sorted(self.repeats) if not self.entries[seq].state.is_final]
        sharing = {
            first: [(s, "tone") for s in still_open if self.repeats[s] == first] for first in self.repeats.values()
        }
        assert self.ledger.book(self.run.run_id).copies() == {first: of for first, of in sharing.items() if of}
        assert self.ledger.book(self.run.run_id).count_copies() == len(self.repeats)

    @invariant()
    def what_is_waited_for_agrees(self) -> None:
        open_tickets = {t.seq: t for t in self.ledger.book(self.run.run_id).open_tickets()}
        assert open_tickets == {
            seq: OpenTicket(seq, e.eval_id or "", "tone", e.submitted_at or NOON)
            for seq, e in self.entries.items()
            if e.state is State.SUBMITTED
        }
        still_open = any(not e.state.is_final for e in self.entries.values())
        assert (self.run.run_id in {run.run_id for run in self.ledger.unfinished()}) == still_open
        unfinished = {seq // 3 for seq, e in self.entries.items() if not e.state.is_final}
        assert self.ledger.book(self.run.run_id).unfinished_chunks() == sorted(unfinished)
        in_first = {t.seq: t for t in self.ledger.book(self.run.run_id).open_tickets(chunks=[0])}
        assert in_first == {seq: ticket for seq, ticket in open_tickets.items() if seq < 3}

    @invariant()
    def what_each_item_went_through_agrees(self) -> None:
        table, run_id = schema.items.c, self.run.run_id
        assert self.read(table.seq, table.lost, table.doubts, table.redone, table.polls, table.sent_at) == [
            (seq, e.lost, e.doubts, e.redone, e.polls, e.sent_at) for seq, e in self.entries.items()
        ]
        is_open = {seq: e for seq, e in self.entries.items() if e.state is State.SUBMITTED}
        assert self.ledger.book(run_id).resendable() == {seq for seq, e in is_open.items() if e.resend_if_unknown}
        assert self.ledger.book(run_id).redone() == {seq: e.redone for seq, e in self.entries.items() if e.redone}

    @invariant()
    def what_was_noted_agrees(self) -> None:
        assert self.noted_since(0) == self.noted

    def noted_since(self, n: int) -> list[tuple[Any, ...]]:
        table = schema.events.c
        return self.read(table.seq, table.at, table.event, table.detail)[n:]


def written_out(text: str) -> str:
    """As every database takes it."""
    return text.replace("\0", r"\x00").encode("utf-8", "backslashreplace").decode()


def test_the_ledger_agrees_with_a_plain_dict_whatever_happens(ledger: Ledger) -> None:
    account = type("AccountOfThisLedger", (Account,), {"ledger": ledger})
    # Most states are met late, so few runs and long ones; the statements are the same for both databases.
    runs = 8 if ledger.url.startswith("sqlite") else 4
    run_state_machine_as_test(account, settings=settings(max_examples=runs, stateful_step_count=25))


def test_only_a_verdict_ends_an_item_or_that_it_is_not_needed() -> None:
    assert {state for state in State if state.is_final} == {State.SCORED, State.FAILED, State.NOT_NEEDED}
    assert {state.status for state in State if not state.is_final} == {"pending"}
    assert [state.status for state in (State.SCORED, State.FAILED, State.NOT_NEEDED)] == [
        "scored",
        "failed",
        "not_needed",
    ]


# Runs


def test_last_is_the_newest_run_and_an_unknown_one_is_told_with_the_latest(ledger: Ledger) -> None:
    with pytest.raises(PlanError, match=r"no run 'last' .*no runs yet"):
        ledger.run("last")
    for name, minutes in (("middle", 1), ("newest", 2), ("oldest", 0)):
        begun(ledger, name=name, created_at=NOON + timedelta(minutes=minutes))
    assert ledger.run("last").run_id == "newest"
    with pytest.raises(PlanError, match=r"no run 'newes' .*nearest is newest; the latest are newest, middle, oldest"):
        ledger.run("newes")


def test_unfinished_runs_are_those_with_an_item_that_has_no_verdict_oldest_first(ledger: Ledger) -> None:
    begun(ledger, name="younger", created_at=NOON + timedelta(days=1))
    begun(ledger, 2, name="older")
    done = begun(ledger, name="done")
    ledger.book(done.run_id).apply([Decided(0, PASSED, NOON)])
    ledger.book("older").apply([Decided(0, PASSED, NOON), ticket(1)])
    assert [run.run_id for run in ledger.unfinished()] == ["older", "younger"]


def test_a_forgotten_run_is_gone_with_its_items_and_no_other(ledger: Ledger) -> None:
    gone, kept = begun(ledger, 3), begun(ledger, 2)
    ledger.forget(gone.run_id)
    assert ledger.names("") == {kept.run_id}
    assert states(ledger, gone) == {}
    assert len(states(ledger, kept)) == 2


@lawfully
@given(st.lists(st.text("aA%_.-1", min_size=1, max_size=5), unique=True, max_size=5), st.text("aA%_.-1", max_size=3))
@example(["a%", "aa", "a_", "A%"], "a%")
@example(["a_b", "aab", "a_"], "a_")
def test_names_are_those_that_start_so_letter_by_letter(ledger: Ledger, names: list[str], prefix: str) -> None:
    for name in names:
        begun(ledger, name=name)
    assert ledger.names(prefix) == {name for name in names if name.startswith(prefix)}
    for name in names:
        ledger.forget(name)


def test_a_run_keeps_its_first_start_and_adds_up_its_time(ledger: Ledger) -> None:
    run_id = begun(ledger).run_id
    ledger.started(run_id, flow_run_id="first")
    first = ledger.run(run_id)
    ledger.finished(run_id, exit_code=3, seconds=1.5, complete=False)
    stopped = ledger.run(run_id)
    assert (stopped.exit_code, stopped.wall_seconds, stopped.finished_at) == (3, 1.5, None)
    ledger.started(run_id, flow_run_id=None)
    again = ledger.run(run_id)
    assert (again.started_at, again.exit_code, again.flow_run_id) == (first.started_at, None, None)
    ledger.finished(run_id, exit_code=0, seconds=2.0, complete=True)
    done = ledger.run(run_id)
    assert (done.exit_code, done.wall_seconds) == (0, 3.5)
    assert done.started_at is not None
    assert done.finished_at is not None
    assert NOON.utcoffset() == done.started_at.utcoffset() == done.finished_at.utcoffset()
    assert done.started_at <= done.finished_at


def test_who_began_a_run_stays_known_whoever_works_on_it_since(ledger: Ledger) -> None:
    run_id = begun(ledger).run_id
    for flow_run in (None, "nightly", "collector", None, "a resume"):
        ledger.started(run_id, flow_run_id=flow_run)
    assert ledger.run(run_id).flow_run_id == "a resume"
    assert [ledger.begun_by(name) for name in ("nightly", "collector", "a resume")] == [run_id, None, None]


def test_runs_that_lack_only_their_end_were_started_and_have_every_verdict(ledger: Ledger) -> None:
    names = ("never-started", "waits", "unsent", "ended", "younger", "older")
    for days, name in enumerate(names):
        begun(ledger, name=name, created_at=NOON - timedelta(days=days))
    for name in names[1:]:
        ledger.started(name, flow_run_id=None)
    for name in ("never-started", "ended", "younger", "older"):
        ledger.book(name).apply([Decided(0, PASSED, NOON)])
    ledger.book("waits").apply([ticket(0)])
    ledger.finished("ended", exit_code=0, seconds=1.0, complete=True)
    assert [run.run_id for run in ledger.unconcluded()] == ["older", "younger"]


# Several at once, and sudden ends

OPENS = """
import sys
from fieval_tasks.ledger.store import Ledger
for line in sys.stdin:
    with Ledger(line.strip()):
        print("opened", flush=True)
"""
WRITES = """
import sys
from itertools import count
from fieval_tasks.core.items import Ticket
from fieval_tasks.ledger.changes import Sending, Submitted
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
ledger = Ledger(sys.argv[1])
for seq in count():
    ledger.book("killed").apply([Sending((seq,)), Submitted((Ticket(seq, f"eval-{seq}"),), utc_now())])
    print(seq, flush=True)
"""


def program(text: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_processes_that_make_the_schema_at_once_do_no_harm(new_url: str, tmp_path: Path) -> None:
    is_file = new_url.startswith("sqlite")
    processes = [program(OPENS) for _ in range(3)]
    try:
        for turn in range(10):
            same = f"sqlite:///{tmp_path / f'{turn}.db'}" if is_file else new_url
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{same}\n")
                process.stdin.flush()
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "opened\n"
            assert schema_versions(same) == [versions.SCHEMA_VERSION]
            if not is_file:
                drop_everything(new_url)
    finally:
        for process in processes:
            process.communicate()


def test_threads_that_make_the_schema_at_once_do_no_harm(new_url: str) -> None:
    together = threading.Barrier(6)

    def open_and_create(number: int) -> None:
        together.wait()
        with Ledger(new_url) as opened:
            begun(opened, name=f"by-{number}")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(open_and_create, range(6)))
    assert schema_versions(new_url) == [versions.SCHEMA_VERSION]
    with Ledger(new_url) as opened:
        assert len(opened.names("by-")) == 6


def test_threads_that_write_at_once_lose_nothing(ledger: Ledger) -> None:
    size = 20
    written = [begun(ledger, size) for _ in range(4)]

    def work(run: Run) -> None:
        for seq in range(size):
            ledger.book(run.run_id).apply([Sending((seq,)), Counted(submits=1), Decided(seq, PASSED, NOON)])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, written))
    assert [ledger.book(run.run_id).counts()[State.SCORED] for run in written] == [size] * 4
    assert [ledger.run(run.run_id).submits for run in written] == [size] * 4


def test_a_killed_process_loses_nothing_that_was_committed(ledger: Ledger) -> None:
    run = begun(ledger, 5000, name="killed")
    with program(WRITES, ledger.url) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(20)]
        process.kill()
        told += [int(line) for line in process.stdout if line.endswith("\n")]
    tickets = sorted(t.seq for t in ledger.book(run.run_id).open_tickets())
    assert tickets == list(range(len(tickets)))
    assert len(told) <= len(tickets) <= len(told) + 1
    counts = ledger.book(run.run_id).counts()
    assert counts[State.SENDING] == 0
    assert sum(counts.values()) == 5000


def test_a_connection_that_was_cut_is_made_anew(postgres_server: str) -> None:
    database_url = postgres.emptied(postgres_server)
    with Ledger(store_url(database_url)) as ledger:
        run = begun(ledger)
        postgres.cut_connections(database_url)
        ledger.book(run.run_id).apply([Decided(0, PASSED, NOON)])
        assert results(ledger, run)[0].status == "scored"


def test_what_was_committed_outlives_a_crash_of_the_server_whatever_its_default_is(
    own_postgres_server: postgres.Server,
) -> None:
    url = store_url(own_postgres_server.url)
    with Ledger(url) as ledger:
        run = begun(ledger, 50)
        ledger.book(run.run_id).apply([Decided(seq, PASSED, NOON) for seq in range(50)])
    own_postgres_server.stop(signal.SIGQUIT)
    own_postgres_server.start()
    with Ledger(url) as ledger:
        assert ledger.book(run.run_id).counts()[State.SCORED] == 50


@pytest.mark.parametrize(("asked", "kept"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")])
def test_a_session_waits_for_the_disk_unless_it_waits_for_more(postgres_server: str, asked: str, kept: str) -> None:
    url = f"{postgres.emptied(postgres_server)}?options=-csynchronous_commit%3D{asked}"
    engine = database.opened(store_url(url))
    for _ in range(2):
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SHOW synchronous_commit")) == kept
    engine.dispose()


def test_tickets_of_some_chunks_are_read_alone(url: str) -> None:
    with Ledger(url, tuning=LedgerTuning(batch=2)) as ledger:
        run = begun(ledger, 30)
        ledger.book(run.run_id).apply([ticket(seq) for seq in range(30)])
        read: list[int] = []
        sa.event.listen(
            ledger.database.engine, "after_cursor_execute", lambda _, cursor, *__: read.append(cursor.rowcount)
        )
        found = ledger.book(run.run_id).open_tickets(chunks=iter([0, 9, 9, 4, 5, 77]))
        assert sorted(one.seq for one in found) == [0, 1, 2, 12, 13, 14, 15, 16, 17, 27, 28, 29]
        assert len(read) >= 3
        assert ledger.book(run.run_id).open_tickets(chunks=[]) == []
        assert len(ledger.book(run.run_id).open_tickets()) == 30


def test_a_ledger_that_another_program_holds_is_opened_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.cli.command import explain_command

    url = store_url(str(tmp_path / "ledger.db"))
    with Ledger(url) as ledger:
        begun(ledger, 2, name="mine")
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE fieval_runs SET wall_seconds = 1")
        assert explain_command(["mine", "row:1", "--store", url]) == 0
        assert "row 1 of answers.csv" in capsys.readouterr().out
        with Ledger(url) as ledger:
            assert len(results(ledger, ledger.run("mine"))) == 2


def test_a_database_without_a_ledger_is_not_made_one_by_who_only_reads(new_url: str) -> None:
    if new_url.startswith("sqlite"):
        Path(new_url.removeprefix("sqlite:///")).touch()
    with pytest.raises(PlanError, match="is no ledger"):
        Ledger(new_url, must_exist=True)
    engine = sa.create_engine(new_url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


def schema_versions(url: str) -> list[int]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = list(connection.scalars(sa.select(schema.schema.c.version)))
    engine.dispose()
    return found


def drop_everything(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP VIEW IF EXISTS fieval_verdicts")
    schema.metadata.drop_all(engine)
    engine.dispose()


# A ledger that can't be used says so in a sentence


def sentence(kind: type[Exception], url: str) -> str:
    with pytest.raises(kind) as error:
        Ledger(url)
    said = str(error.value)
    assert said
    assert "\n" not in said
    return said


def test_another_schema_version_is_refused_and_left_alone(new_url: str) -> None:
    Ledger(new_url).close()
    engine = sa.create_engine(new_url)
    with engine.begin() as connection:
        connection.execute(sa.update(schema.schema).values(version=99))
    engine.dispose()
    assert f"has schema version 99, and this program writes {versions.SCHEMA_VERSION}" in sentence(StoreError, new_url)
    assert schema_versions(new_url) == [99]


def test_draws_and_labels_are_kept_with_their_run(ledger: Ledger) -> None:
    run_id, kept = begun(ledger, 3).run_id, Calibrations(ledger.database)
    drawn = LabelDraw(run_id, "tone", NOON, "strict", 7, 3, ["r1", "two\nlines \ud800\0", "r0"])
    labels = Calibration(
        run_id, "tone", NOON, {"template": "tone", "params": {"a": [1]}, "policy": "strict"}, run_id, True, {"r1": True, "r0": False}, 3, ["r2"],
    )  # fmt: skip
    for _ in range(2):  # as after a commit whose answer was lost
        kept.record_draw(drawn)
        kept.record(labels)
    assert kept.draws() == kept.draws(run_id, "tone") == [drawn]
    [found] = kept.all()
    assert (found, found.policy) == (labels, "strict")
    kept.set_cells(found, (1, 0, 0, 1))
    assert [one.cells for one in kept.all()] == [[1, 0, 0, 1]]
    ledger.forget(run_id)
    assert (kept.draws(), kept.all()) == ([], [])


ADDED = {
    1: ("ALTER TABLE fieval_runs DROP COLUMN begun_by",),
    2: (
        "DROP INDEX fieval_items_in_doubt",
        "DROP INDEX fieval_items_by_eval_id",
        *(f"ALTER TABLE fieval_runs DROP COLUMN {name}" for name in ("address", "account", "is_whole")),
        *(f"ALTER TABLE fieval_items DROP COLUMN {name}" for name in ("doubts", "resend_if_unknown", "kept")),
    ),
    3: ("ALTER TABLE fieval_items DROP COLUMN params",),
    4: (
        "DROP INDEX fieval_items_reusable",
        *(f"ALTER TABLE fieval_items DROP COLUMN {name}" for name in ("traits", "repeat", "reused_from", "drawn")),
        "DROP TABLE fieval_baselines",
        "DROP TABLE fieval_calibrations",
        "DROP TABLE fieval_label_draws",
        "DROP TABLE fieval_spending",
        "ALTER TABLE fieval_runs DROP COLUMN population",
        "ALTER TABLE fieval_runs DROP COLUMN tier",
    ),
    5: (
        "DROP VIEW fieval_verdicts",
        "DROP TABLE fieval_figures",
        "DROP TABLE fieval_choices",
        "ALTER TABLE fieval_runs DROP COLUMN pruned_at",
        "ALTER TABLE fieval_runs DROP COLUMN is_behind",
        "ALTER TABLE fieval_conclusions DROP COLUMN ended",
    ),
}
"""Version -> what takes out of the next one's tables all that it has not got."""


def made_by_an_older_program(url: str, version: int = 1) -> Run:
    """A ledger with the tables of that version and a run in it, of whose items some were sent twice."""
    with Ledger(url) as ledger:
        run = begun(ledger, 6)
        ledger.started(run.run_id, flow_run_id="nightly")
        lost = [Sending((0, 1, 2, 3)), ReplyLost((0, 1, 2, 3))]
        ledger.book(run.run_id).apply(
            [*lost, *lost, Sending((0, 1, 2)), ticket(0), ticket(1), Decided(1, PASSED, NOON)]
        )
        ledger.book(run.run_id).apply([Decided(2, Failed("submit", "refused", "no"), NOON)])
        ledger.finished(run.run_id, exit_code=0, seconds=0.0, complete=True)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        counted = 10 if version < 3 else 4  # since then only what does not follow from the items
        connection.execute(sa.update(schema.runs).values(possible_duplicates=counted))
        for added in range(versions.SCHEMA_VERSION - 1, version - 1, -1):
            for statement in ADDED[added]:
                connection.exec_driver_sql(statement)
        connection.execute(sa.update(schema.schema).values(version=version))
    engine.dispose()
    return run


@pytest.mark.parametrize("version", versions.UPGRADES)
def test_a_ledger_of_an_older_program_is_brought_up_to_date_once_whoever_opens_it(new_url: str, version: int) -> None:
    run = made_by_an_older_program(new_url, version)
    together = threading.Barrier(4)

    def opened(_: int) -> str | None:
        together.wait()
        with Ledger(new_url) as ledger:
            return ledger.begun_by("nightly")

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(opened, range(4))) == [run.run_id] * 4
    assert schema_versions(new_url) == [versions.SCHEMA_VERSION]
    with Ledger(new_url) as ledger:
        assert [result.lost for result in ledger.book(run.run_id).results()] == [2, 2, 2, 2, 0, 0]
        assert (
            sum(past.possible_duplicates for seq in range(6) for past in ledger.book(run.run_id).pasts(row=seq + 1))
            == 6
        )
        assert ledger.run(run.run_id).possible_duplicates == 10  # of which four don't follow from the items
        spent = 11 if version < 5 else 0  # as often as items were sent; since then the run keeps its account itself
        assert sum(ledger.spent(run.run_id).values()) == spent
        assert History(ledger.database).uncounted([run.run_id]) == [run.run_id]
        [[kept]] = [found.values() for found in History(ledger.database).of_runs([run.run_id]).values()]
        assert (kept.check_name, kept.template, kept.model, kept.at) == ("tone", "tone", "turing_flash", None)
    assert columns(new_url) == made_columns(new_url)


def columns(url: str) -> dict[str, Any]:
    """Of each table and view: its columns with their types, and its indexes."""
    engine = sa.create_engine(url)
    found = sa.inspect(engine)
    told = {
        table: (
            {c["name"]: (str(c["type"]), c["nullable"]) for c in found.get_columns(table)},
            {i["name"]: i["column_names"] for i in found.get_indexes(table)},
        )
        for table in (*schema.metadata.tables, *found.get_view_names())
    }
    assert "fieval_verdicts" in told
    engine.dispose()
    return told


def made_columns(url: str) -> dict[str, Any]:
    """The same of a ledger that is new."""
    drop_everything(url)
    Ledger(url).close()
    return columns(url)


def test_a_ledger_that_can_not_be_brought_up_to_date_stays_as_it_was(
    new_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made_by_an_older_program(new_url)
    with monkeypatch.context() as patched:
        patched.setitem(versions.UPGRADES, 1, (versions.UPGRADES[1][0], "UPDATE nothing_of_that_name SET it = 1"))
        assert "nothing_of_that_name" in sentence(StoreError, new_url)
    assert schema_versions(new_url) == [1]
    with Ledger(new_url) as ledger:
        assert ledger.begun_by("nightly") == run.run_id


@pytest.mark.parametrize("content", [b"garbage", os.urandom(8192), b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert str(path) in sentence(StoreError, store_url(str(path)))
    assert path.read_bytes() == content


def test_a_folder_and_what_lies_below_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert str(tmp_path) in sentence(StoreError, store_url(str(tmp_path)))
    assert "can't be opened" in sentence(StoreError, store_url(str(tmp_path / "file" / "ledger.db")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "can't be used" in sentence(StoreError, store_url(str(tmp_path / "ledger.db")))
        assert "can't be opened" in sentence(StoreError, store_url(str(tmp_path / "folder" / "ledger.db")))
    finally:
        tmp_path.chmod(0o700)


def test_a_ledger_in_a_folder_that_may_not_be_written_is_read_there_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = store_url(str(tmp_path / "ledger.db"))
    with Ledger(url) as ledger:
        begun(ledger, 3, name="mine")
    monkeypatch.setattr(os, "access", lambda *_: False)  # as on a read-only mount
    with Ledger(url, must_exist=True) as ledger:
        assert len(results(ledger, ledger.run("mine"))) == 3
        assert [file.name for file in tmp_path.iterdir()] == ["ledger.db"]
        with pytest.raises(StoreError, match="readonly database; make the file and its folder writable"):
            ledger.forget("mine")


def test_a_ledger_that_is_written_to_while_it_is_read_as_if_at_rest_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = store_url(str(tmp_path / "ledger.db"))
    with Ledger(url) as ledger:
        begun(ledger, 300, name="mine")
    monkeypatch.setattr(os, "access", lambda *_: False)  # of the reader; the writer may write there
    with Ledger(url, must_exist=True) as ledger:
        assert ledger.run("mine").total == 300
        with Ledger(url) as writer:
            writer.forget("mine")
        with pytest.raises(StoreError, match="was written to while it was read"):
            ledger.run("mine")


def test_a_ledger_with_a_writer_s_log_is_read_with_the_log_also_where_its_folder_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = store_url(str(tmp_path / "ledger.db"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Ledger(url) as writer:
        begun(writer, 3, name="mine")
        with Ledger(url, must_exist=True) as ledger:
            assert ledger.run("mine").total == 3


def test_the_folder_of_a_new_ledger_is_made(tmp_path: Path) -> None:
    with Ledger(store_url(str(tmp_path / "a" / "b" / "ledger.db"))):
        assert (tmp_path / "a" / "b" / "ledger.db").is_file()


def test_a_database_that_another_holds_is_waited_for_and_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = store_url(str(tmp_path / "ledger.db"))
    with Ledger(url, tuning=LedgerTuning(patience=0.05)) as ledger:
        run = begun(ledger)
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"can't be used: database is locked; another program holds it"):
            ledger.book(run.run_id).apply([Decided(0, PASSED, NOON)])
        assert results(ledger, run)[0].status == "pending"
        other.execute("ROLLBACK")
        ledger.book(run.run_id).apply([Decided(0, PASSED, NOON)])
        assert results(ledger, run)[0].status == "scored"
        other.close()


def test_a_full_disk_is_told_with_the_next_step_and_what_was_recorded_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = store_url(str(tmp_path / "ledger.db"))
    with Ledger(url) as ledger:
        run = begun(ledger, 500)
    set_up = database._sqlite_settings

    def set_up_on_a_small_disk(patience: float, connection: sqlite3.Connection, record: object) -> None:
        set_up(patience, connection, record)
        connection.execute("PRAGMA max_page_count = 100")

    long = [Decided(seq, replace(PASSED, reason="x" * 2_000), NOON) for seq in range(500)]
    with monkeypatch.context() as patch:
        patch.setattr(database, "_sqlite_settings", set_up_on_a_small_disk)
        with Ledger(url) as ledger:
            written = written_until_it_fails(ledger, run, long, r"ledger\.db .*disk is full; make room .* resumed")
    with Ledger(url) as ledger:
        assert ledger.book(run.run_id).counts()[State.SCORED] == written > 0
        ledger.book(run.run_id).apply(long)
        assert ledger.book(run.run_id).counts()[State.SCORED] == 500


def written_until_it_fails(ledger: Ledger, run: Run, changes: Sequence[Change], why: str) -> int:
    """How many changes were committed, one by one, before the ledger could not be written any more."""
    left = iter(changes)
    with pytest.raises(StoreError, match=why) as told:
        any(ledger.book(run.run_id).apply([change]) for change in left)  # type: ignore[func-returns-value]
    assert not isinstance(told.value, StoreAway)
    return len(changes) - len(list(left)) - 1


FILLS = """
import resource, sys
from fieval_tasks.core.errors import StoreError
from fieval_tasks.core.items import Failed
from fieval_tasks.ledger.changes import Decided
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
done = 0
with Ledger(sys.argv[1]) as ledger:
    try:
        for done in range(500):
            ledger.book("limited").apply([Decided(done, Failed("wait", "lost", "x" * 2_000), utc_now())])
    except StoreError as error:
        print(done, error)
"""


def test_a_limit_of_the_file_s_size_is_told_with_the_next_step_and_what_was_recorded_is_kept(tmp_path: Path) -> None:
    with Ledger(store_url(str(tmp_path / "ledger.db"))) as ledger:
        run = begun(ledger, 500, name="limited")
        with program(FILLS, ledger.url) as process:
            done, _, said = process.communicate(timeout=PATIENCE)[0].partition(" ")
        assert "ledger.db can't be used: disk I/O error; " in said
        assert "then resume the run" in said
        assert ledger.book(run.run_id).counts()[State.FAILED] == int(done) > 0


def test_a_file_that_is_damaged_while_the_run_goes_on_is_told_with_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(store_url(str(path))) as ledger:
        run = begun(ledger, 500)
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 4096 * 10)
    with (
        pytest.raises(StoreError, match=r"ledger\.db can't be used: .*(malformed|damaged).*--store"),
        Ledger(store_url(str(path))) as ledger,
    ):
        list(ledger.book(run.run_id).results())


@pytest.mark.parametrize("url", ["://", "postgresql://h:port/db", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_can_be_no_store_is_a_problem_of_the_plan(url: str) -> None:
    assert "name a file" in sentence(PlanError, store_url(url)) or "write a path" in sentence(PlanError, store_url(url))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@127.0.0.1:1/db",
        "postgres://user:s3cret@127.0.0.1:1/db",
        "postgresql://user@127.0.0.1:1/db?password=s3cret",
        "postgresql://user:s3cret@127.0.0.1:1/db?no_such_option=1",
        "postgresql://user:s3cret/odd@127.0.0.1:port/db",
        "mysql+nothing://user:s3cret@127.0.0.1/db",
        "postgresql+pg8000://user:s3cret@127.0.0.1/db",
        "http://user:s3cret@127.0.0.1/",
    ],
)
def test_no_message_holds_the_password_of_a_store_that_can_not_be_had(url: str) -> None:
    with pytest.raises((StoreError, PlanError)) as error:
        Ledger(store_url(url))
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_server_s_store_without_its_driver_names_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    said = sentence(StoreError, "postgresql+psycopg://me:s3cret@127.0.0.1:1/db")
    assert "pip install 'psycopg[binary]'" in said
    assert "s3cret" not in said


def test_the_name_of_a_ledger_and_its_messages_hide_its_password(postgres_server: str) -> None:
    url = store_url(postgres.emptied(postgres_server).replace("postgres@", "postgres:s3cret@"))
    for way in (url, f"{url}?sslpassword=s3cret"):
        with Ledger(way) as ledger:
            assert "s3cret" not in ledger.name
            assert "postgres:***@127.0.0.1" in ledger.name
            drop_everything(url)
            with pytest.raises(StoreError) as error:
                ledger.book("any").counts()
            assert "s3cret" not in str(error.value)
            assert "fieval_items" in str(error.value)


def test_no_connection_is_left_open_also_where_opening_fails(tmp_path: Path) -> None:
    path, strange = tmp_path / "ledger.db", tmp_path / "strange"
    with Ledger(store_url(str(path))) as ledger:
        run = begun(ledger, 5)
        next(ledger.book(run.run_id).results())
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE fieval_schema SET version = 99")
    strange.write_bytes(os.urandom(8192))
    for refused in (path, strange):
        sentence(StoreError, store_url(str(refused)))
        assert [name for name in open_files() if str(tmp_path) in name] == []


def open_files() -> list[str]:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("this system has no /proc to read the open files from")
    return [os.readlink(file) for file in descriptors.iterdir() if os.path.lexists(file)]


# Where the ledger is


def test_the_store_is_what_is_named_then_the_environments_then_a_file_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FIEVAL_STORE_URL", raising=False)
    assert store_url() == f"sqlite:///{tmp_path}/fieval-runs/ledger.db"
    monkeypatch.setenv("FIEVAL_STORE_URL", "postgres://host/db")
    assert store_url() == "postgresql+psycopg://host/db"
    assert store_url("sub/mine.db") == f"sqlite:///{tmp_path}/sub/mine.db"
    assert store_url("postgresql+psycopg://host/db") == "postgresql+psycopg://host/db"


def test_the_ledger_is_plain_sql_that_anyone_may_read(ledger: Ledger) -> None:
    run = begun(ledger)
    ledger.book(run.run_id).apply([Decided(0, replace(PASSED, value=["a", "é"]), NOON)])
    engine = sa.create_engine(ledger.url)
    with engine.connect() as connection:
        told = connection.execute(sa.text("SELECT state, value, inputs, score FROM fieval_items")).one()
    engine.dispose()
    assert (told.state, told.score) == ("scored", 1.0)
    assert (json.loads(told.value), json.loads(told.inputs)) == (["a", "é"], {"output": "text 0"})
