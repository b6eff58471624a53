"""Verdicts are handed on while they arrive: a sink that is slow, away or broken keeps nobody waiting and loses none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from threading import Event

import pytest

from fieval_tasks.core.errors import ExitCode, RowsUnwanted, SinkError
from fieval_tasks.core.items import Item, Result, Scored, Ticket
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.changes import Decided, Sending, Submitted
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.conclusion import Ended, Outcome, conclude
from fieval_tasks.runs.preparation import Kept, runs_to_collect
from fieval_tasks.sinks.following import CatchingUp, followed
from fieval_tasks.sinks.sink import Sink
from fieval_tasks.sinks.sink_tuning import SinkTuning
from tests.conftest import PATIENCE
from tests.faults.running import wait_until
from tests.sinks.conftest import asked, made_by_hand

NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
CHECK = CheckRecord("tone", "tone", "turing_flash", {}, "Pass/Fail", {"output": "answer"})
QUICK = SinkTuning(gather=0.0, first_pause=0.001, longest_pause=0.01, last_word=PATIENCE, patience=PATIENCE)
HASTY = SinkTuning(gather=0.0, first_pause=0.001, longest_pause=0.01, last_word=0.01, patience=0.2)
ITEMS = 12


@dataclass
class Listener(Sink):
    """A sink that keeps what it takes, and does first whatever is asked of it."""

    does_first: Callable[[], None] = lambda: None
    taken: dict[int, str] = field(default_factory=dict)
    """Seq -> the last status that was told of it."""
    told: int = 0

    def take(self, results: Sequence[Result]) -> None:
        for result in results:
            self.does_first()
            assert result.seq is not None
            self.taken[result.seq], self.told = result.status, self.told + 1

    bring_up_to_date = take


class Away:
    """Fails so many times, and then no more."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> None:
        if self.left:
            self.left -= 1
            raise SinkError("--to somewhere: it is away")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        run = Run("mine", NOON, "a.csv", "f" * 64, "async", "local", (CHECK,), {}, ())
        rows = [(Item(n, f"id-{n}", n + 1, "tone", "tone", None, {"output": "x"}, f"{n}"), None) for n in range(ITEMS)]
        opened.create(run, rows, chunk_size=3)
        sent = tuple(range(ITEMS))
        opened.book("mine").apply([Sending(sent), Submitted(tuple(Ticket(n, f"e-{n}") for n in sent), NOON)])
        opened.started("mine", flow_run_id=None)
        yield opened


@pytest.fixture
def book(ledger: Ledger) -> Book:
    return ledger.book("mine")


def decide(book: Book, *seqs: int) -> list[int]:
    book.apply([Decided(seq, Scored("Passed", 1.0, True, None, 1.0), NOON) for seq in seqs])
    return [*seqs]


def test_verdicts_are_handed_on_while_the_work_goes_on(book: Book) -> None:
    sink = Listener()
    with followed([lambda: sink], book, QUICK) as audience:
        audience.hear(decide(book, 0, 1))
        wait_until(lambda: sink.taken == {0: "scored", 1: "scored"})
        audience.hear(decide(book, 2))
    assert sink.taken == {0: "scored", 1: "scored", 2: "scored"}


def test_what_an_earlier_process_left_behind_is_handed_on_first(book: Book) -> None:
    decide(book, 3, 4)
    sink = Listener()
    with followed([lambda: sink], book, QUICK):
        wait_until(lambda: len(sink.taken) == 2)
    assert sink.taken == {3: "scored", 4: "scored"}


def test_errors_are_said_once_and_everything_arrives_all_the_same(book: Book, caplog: pytest.LogCaptureFixture) -> None:
    sink = Listener(Away(5))
    with followed([lambda: sink], book, QUICK) as audience:
        for seq in range(6):
            audience.hear(decide(book, seq))
        wait_until(lambda: len(sink.taken) == 6 and not audience.lag)
    assert [record.getMessage() for record in caplog.records] == [
        "--to somewhere: it is away; the run goes on, and its verdicts are written later"
    ]


def test_a_sink_that_can_not_be_opened_at_first_gets_everything(book: Book) -> None:
    sink, away = Listener(), Away(3)

    def opened() -> Listener:
        away()
        return sink

    with followed([opened], book, QUICK) as audience:
        audience.hear(decide(book, *range(ITEMS)))
        wait_until(lambda: len(sink.taken) == ITEMS)


def test_what_is_remembered_is_bounded_and_the_rest_is_read_from_the_ledger(book: Book) -> None:
    goes_on, sink = Event(), Listener()
    sink.does_first = lambda: goes_on.wait(PATIENCE) and None
    few = SinkTuning(**{**vars(QUICK), "most_heard": 3})
    with followed([lambda: sink], book, few) as audience:
        for seq in range(ITEMS):
            audience.hear(decide(book, seq))
        goes_on.set()
    assert len(sink.taken) == ITEMS


def test_a_sink_that_never_answers_holds_up_neither_the_work_nor_its_end(book: Book) -> None:
    never = Event()
    sink = Listener(lambda: never.wait(PATIENCE) and None)
    with followed([lambda: sink], book, HASTY) as audience:
        audience.hear(decide(book, 0))
    assert sink.taken == {}
    assert CatchingUp(lambda: sink, book, HASTY).fault() == "it took nothing for 0.2 s"
    never.set()


def test_why_a_sink_lags_behind_is_seen_meanwhile(book: Book) -> None:
    with followed([lambda: Listener(Away(10**6))], book, HASTY) as audience:
        audience.hear(decide(book, 0))
        wait_until(lambda: audience.lag == "--to somewhere: it is away")


def test_one_sink_does_not_keep_another_waiting(book: Book) -> None:
    never, quick = Event(), Listener()
    with followed([lambda: Listener(lambda: never.wait(PATIENCE) and None), lambda: quick], book, HASTY) as audience:
        audience.hear(decide(book, 0))
        wait_until(lambda: quick.taken == {0: "scored"})
    never.set()


def test_the_end_tells_everything_pending_items_too_and_tries_again(book: Book) -> None:
    decide(book, 0)
    sink = Listener(Away(3))
    assert CatchingUp(lambda: sink, book, QUICK).fault() is None
    assert sink.taken == {0: "scored"} | dict.fromkeys(range(1, ITEMS), "pending")


# -- what becomes of the run -----------------------------------------------------------------------------------------


def concluded(ledger: Ledger, to: str, tmp_path: Path, tuning: SinkTuning = QUICK) -> Outcome:
    plan = EvaluationPlan(output=str(tmp_path / "out"), to=(to,))
    return conclude(Kept(ledger.run("mine"), plan, ledger), Ended(), seconds=1.0, tuning=tuning)


def test_a_run_whose_table_lacks_verdicts_says_so_ends_with_3_and_is_found_by_collectors(
    ledger: Ledger, book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "a-long-secret")
    decide(book, *range(ITEMS))
    to = "postgresql://me@127.0.0.1:1/db#verdicts"
    outcome = concluded(ledger, to, tmp_path, HASTY)
    assert outcome.exit_code is ExitCode.INCOMPLETE
    assert f"{to} lacks verdicts of this run, which its ledger and files have" in outcome.message
    assert "flows.collect mine" in outcome.message
    assert outcome.sentence.startswith(f"{ITEMS} of {ITEMS} items scored; not all of them are where --to says: ")
    for name in ("report.html", "report.md", "results.jsonl"):
        assert "a-long-secret" not in (tmp_path / "out" / name).read_text()
    assert "flows.collect mine" in (tmp_path / "out" / "report.md").read_text()
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == ITEMS
    assert runs_to_collect(ledger.url) == ["mine"]


def test_it_ends_well_once_the_table_is_up_to_date(ledger: Ledger, book: Book, tmp_path: Path) -> None:
    decide(book, *range(ITEMS))
    folder = tmp_path / "later"
    to = f"sqlite:///{folder / 'mine.db'}#verdicts"
    assert concluded(ledger, to, tmp_path, HASTY).exit_code is ExitCode.INCOMPLETE
    folder.mkdir()
    outcome = concluded(ledger, to, tmp_path)
    assert (outcome.exit_code, outcome.is_news) == (ExitCode.OK, True)
    assert runs_to_collect(ledger.url) == []
    assert asked(to, "SELECT count(*) FROM verdicts WHERE status = 'scored'") == [(ITEMS,)]


def test_late_verdicts_and_items_tried_again_reach_the_table(ledger: Ledger, book: Book, tmp_path: Path) -> None:
    to = f"sqlite:///{tmp_path / 'mine.db'}#verdicts"
    decide(book, 0)
    concluded(ledger, to, tmp_path)
    counted = "SELECT status, count(*) FROM verdicts GROUP BY status ORDER BY status"
    assert asked(to, counted) == [("pending", ITEMS - 1), ("scored", 1)]
    decide(book, *range(ITEMS))
    concluded(ledger, to, tmp_path)
    assert asked(to, counted) == [("scored", ITEMS)]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["exit_code"] == 0


def test_a_sink_of_events_gets_only_what_is_settled_meanwhile_and_all_of_it_once(book: Book) -> None:
    decide(book, 0, 1)
    events, goes_on = Listener(), Event()
    events.does_first = lambda: goes_on.wait(PATIENCE) and None
    few = SinkTuning(**{**vars(QUICK), "most_heard": 3})
    with followed([], book, few, events=lambda: events) as audience:
        for seq in range(2, ITEMS):
            audience.hear(decide(book, seq))
        goes_on.set()
    assert (sorted(events.taken), events.told) == ([*range(2, ITEMS)], ITEMS - 2)


def test_events_that_could_not_be_told_in_time_are_said(book: Book, caplog: pytest.LogCaptureFixture) -> None:
    goes_on = Event()
    with followed([], book, HASTY, events=lambda: Listener(lambda: goes_on.wait(PATIENCE) and None)) as audience:
        audience.hear(decide(book, 0))
    goes_on.set()
    assert "could not be read again within 0.01 s" in caplog.text


# -- rows that a table does not take ----------------------------------------------------------------------------------


@dataclass
class Picky(Listener):
    """A sink that takes no batch with one of these items in it."""

    refused: frozenset[int] = frozenset()
    asked: int = 0

    def take(self, results: Sequence[Result]) -> None:
        self.asked += 1
        if self.refused & {result.seq for result in results}:
            raise RowsUnwanted("--to somewhere: it is too long")
        super().take(results)

    bring_up_to_date = take


def test_a_row_that_is_refused_keeps_no_other_out_and_is_not_tried_over_and_over(
    book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Picky(refused=frozenset({2, 3}))
    with followed([lambda: sink], book, QUICK) as audience:
        audience.hear(decide(book, 8))
        wait_until(lambda: 8 in sink.taken)  # what there was before has been looked at
        audience.hear(decide(book, *range(6)))
        wait_until(lambda: 5 in sink.taken)
        tried = sink.asked
        audience.hear(decide(book, 7))
        wait_until(lambda: 7 in sink.taken)
        assert "item id-2, check tone), and 1 other like it" in audience.lag
    assert sink.asked == tried + 1
    assert sorted(sink.taken) == [0, 1, 4, 5, 7, 8]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("refused", "others"), [((2, 9), "1 other"), (range(ITEMS), f"{ITEMS - 1} others")])
def test_the_end_names_what_is_refused_and_how_many(book: Book, refused: Sequence[int], others: str) -> None:
    decide(book, *range(ITEMS))
    sink = Picky(refused=frozenset(refused))
    assert CatchingUp(lambda: sink, book, QUICK).fault() == (
        f"--to somewhere: it is too long (item id-{refused[0]}, check tone), and {others} like it: refused as they are, all else "
        "is there; alter the table"
    )
    assert len(sink.taken) == ITEMS - len(refused)


def test_a_sink_that_is_given_up_is_not_said_to_have_all_else(book: Book) -> None:
    decide(book, *range(ITEMS))
    never = Event()

    def refuse() -> None:
        if sink.told == 4:  # twelve, six, three, and the first
            never.wait(PATIENCE)
        sink.told += 1
        raise RowsUnwanted("--to somewhere: it is too long")

    sink = Listener(refuse)
    said = CatchingUp(lambda: sink, book, HASTY).fault()
    never.set()
    assert said is not None
    assert "all else" not in said


def test_a_table_with_a_limit_gets_the_rest_and_all_of_it_once_it_is_altered(
    ledger: Ledger, book: Book, tmp_path: Path, place: str
) -> None:
    decide(book, *range(ITEMS))
    to = f"{place}#mine"
    asked(place, made_by_hand("mine", "CHECK (item_id NOT IN ('id-3', 'id-7'))"))
    outcome = concluded(ledger, to, tmp_path)
    assert (outcome.exit_code, runs_to_collect(ledger.url)) == (ExitCode.INCOMPLETE, ["mine"])
    assert "(item id-3, check tone), and 1 other like it: refused as they are" in outcome.message
    assert asked(place, "SELECT count(*) FROM mine") == [(ITEMS - 2,)]
    asked(place, "DROP TABLE mine")
    outcome = concluded(ledger, to, tmp_path)
    assert (outcome.exit_code, runs_to_collect(ledger.url)) == (ExitCode.OK, [])
    assert asked(place, "SELECT count(*) FROM mine") == [(ITEMS,)]
