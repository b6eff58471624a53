"""Runs that stop when their gates are decided: what they send, what they leave, and what they say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.core.items import Failed, Item, Scored, Ticket
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.data.intake import first_drawn, in_random_order, mark_copies
from fieval_tasks.ledger.changes import Decided, ReplyLost, Sending, Submitted
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.conclusion import Ended, Outcome, conclude
from fieval_tasks.runs.connections import Connection
from fieval_tasks.runs.preparation import Prepared
from fieval_tasks.runs.preparation import prepared as resumed
from fieval_tasks.runs.workers import how_it_ended, threads
from fieval_tasks.work.options import Share
from tests.platform import TEMPLATE, Platform, ok, refusal

N = 800
GATE = f"{TEMPLATE}.pass_rate >= 0.95"
CHECK = CheckRecord(TEMPLATE, TEMPLATE, None, {}, "Pass/Fail", {"output": "answer"})
PASSED, FAILED = Scored("Passed", 1.0, True, "because", 5.0), Scored("Failed", 0.0, False, "because", 5.0)


def answer(n: int, bad_each: int) -> str:
    return f"{'a bad' if n % bad_each == 0 else 'an'} answer, number {n}"


@contextmanager
def a_run(
    folder: Path,
    answers: Sequence[str],
    *,
    platform: Platform | None = None,
    langs: Sequence[str] = ("en",),
    checks: Sequence[CheckRecord] = (CHECK,),
    **plan: Any,
) -> Iterator[Prepared]:
    chosen = EvaluationPlan(
        **{"gates": (GATE,), "stop_when_decided": True, "output": str(folder / "out"), "store": "ledger.db", **plan}
    )

    def rows() -> Iterator[tuple[Item, Failed | None]]:
        items = (
            (
                Item(
                    n * len(checks) + k, f"id-{n}", n + 1, check.name, TEMPLATE, None, {"output": text},
                    f"{hash((k, text)) % 2**63:032x}", traits={"lang": langs[n % len(langs)]},
                ), None,
            )
            for n, text in enumerate(answers) for k, check in enumerate(checks)
        )  # fmt: skip
        return in_random_order(items, range(1, len(answers) + 1), len(checks), seed=7)

    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        recorded = chosen.model_dump(mode="json", exclude={"store", "resume"})
        run = Run("mine", utc_now(), "a.csv", "f" * 64, chosen.mode.value, "local", tuple(checks), recorded, ())
        run = ledger.create(run, mark_copies(rows(), first_drawn(rows())), chunk_size=100)
        yield Prepared(run, chosen, ledger, Connection("local", "local", open=(platform or Platform()).client))


def worked(run: Prepared, *, share: Share | None = None) -> Ended:
    with run.engine(share=share) as engine, threads(engine) as workers:
        return how_it_ended(engine, run.plan.mode, workers)


def concluded(run: Prepared) -> Outcome:
    return conclude(run, worked(run), seconds=1.0)


def statuses(run: Prepared) -> Counter[str]:
    return Counter(result.status for result in run.book.results())


def in_drawn_order(run: Prepared) -> list[int]:
    return [draw.seq for draw in sorted(run.book.draws.all(), key=lambda draw: draw.place)]


def given(run: Prepared, verdicts: Sequence[Scored]) -> None:
    """Verdicts of the rows that were drawn first."""
    seqs = in_drawn_order(run)[: len(verdicts)]
    run.book.apply([Decided(seq, verdict, utc_now()) for seq, verdict in zip(seqs, verdicts, strict=True)])


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
def test_a_run_that_is_good_for_sure_passes_without_most_of_its_evaluations(tmp_path: Path, mode: Mode) -> None:
    platform = Platform(takes=0.05)
    with a_run(tmp_path, [answer(n, 200) for n in range(N)], platform=platform, mode=mode) as run:
        outcome = concluded(run)
        bought = sum(platform.taken.values())
        assert outcome.exit_code is ExitCode.OK
        assert outcome.report.facts.finished_at is not None
        assert 100 < bought < 500
        assert statuses(run) == {"scored": bought, "not_needed": N - bought}
        [gate] = outcome.report.gates
        assert gate.verdict == "PASS"
        assert (
            f"of {N:,} in the order of drawing, at 99 % confidence: {N - bought:,} evaluations not spent"
            in gate.sentence
        )
        assert f"{N - bought:,} not needed: {N - bought:,} evaluations not spent" in outcome.sentence
        assert outcome.report.mistakes == []
        # What was bought was drawn first, but for what may be on its way beyond that.
        places = {seq: place for place, seq in enumerate(in_drawn_order(run))}
        assert max(places[r.row - 1] for r in run.book.results() if r.status == "scored") < bought + 10


def test_a_run_that_is_bad_for_sure_fails_as_soon(tmp_path: Path) -> None:
    platform = Platform(takes=0.05)
    with a_run(tmp_path, [answer(n, 4) for n in range(N)], platform=platform) as run:
        outcome = concluded(run)
        assert outcome.exit_code is ExitCode.GATE_FAILED
        assert sum(platform.taken.values()) < 200
        assert [gate.verdict for gate in outcome.report.gates] == ["FAIL"]


def test_rows_that_fail_slowly_are_waited_for_or_counted_as_failing(tmp_path: Path) -> None:
    asked: Counter[str] = Counter()

    def slow_where_bad(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        row = platform.rows.get(request.url.params.get("eval_id", ""))
        if row is None or "bad" not in row["output"]:
            return None
        asked[row["output"]] += 1
        return (
            ok({"eval_status": "pending", "result": "Evaluation is being processed."})
            if asked[row["output"]] < 3
            else None
        )

    with a_run(tmp_path, [answer(n, 12) for n in range(N)], platform=Platform(trouble=slow_where_bad)) as run:
        assert concluded(run).exit_code is ExitCode.GATE_FAILED


@pytest.mark.parametrize("is_marked", [True, False])
def test_what_a_killed_process_had_decided_is_decided_again_and_nothing_is_sent(
    tmp_path: Path, is_marked: bool
) -> None:
    platform = Platform()
    with a_run(tmp_path, [answer(n, N) for n in range(N)], platform=platform) as run:
        given(run, [PASSED] * 200)
        if is_marked:
            run.book.draws.leave_out()
        outcome = concluded(run)
        assert (platform.posts, outcome.exit_code) == (0, ExitCode.OK)
        assert statuses(run) == {"scored": 200, "not_needed": N - 200}


def test_a_collector_decides_as_the_run_would_have(tmp_path: Path) -> None:
    with a_run(tmp_path, [answer(n, N) for n in range(N)]) as run:
        given(run, [PASSED] * 199)
        [late] = in_drawn_order(run)[199:200]
        run.book.apply(
            [Sending((late,)), Submitted((Ticket(late, "e-1"),), utc_now()), Decided(late, PASSED, utc_now())]
        )
        assert conclude(run, Ended(), seconds=1.0).exit_code is ExitCode.OK
        assert run.next_command is None


def test_without_a_decision_all_is_evaluated_and_judged_as_ever(tmp_path: Path) -> None:
    with a_run(tmp_path, [answer(n, 20) for n in range(60)]) as run:
        outcome = concluded(run)
        assert statuses(run) == {"scored": 60}
        assert "settled" not in outcome.report.gates[0].sentence
        assert outcome.exit_code is ExitCode.OK  # 57 of 60


def test_what_was_not_needed_can_be_evaluated_after_all(tmp_path: Path) -> None:
    platform = Platform()
    with a_run(tmp_path, [answer(n, N) for n in range(N)], platform=platform) as run:
        concluded(run)
        assert run.book.draws.take_back_in() > 0
        whole = replace(run, plan=run.plan.model_copy(update={"stop_when_decided": False}))
        outcome = concluded(whole)
        assert statuses(run) == {"scored": N}
        assert set(platform.taken.values()) == {1}
        assert "settled" not in outcome.report.gates[0].sentence


def test_a_reply_that_was_lost_is_not_waited_for_and_stays_in_the_account(tmp_path: Path) -> None:
    with a_run(tmp_path, [answer(n, N) for n in range(N)]) as run:
        given(run, [PASSED] * 200)
        [lost] = in_drawn_order(run)[200:201]
        run.book.apply([Sending((lost,)), ReplyLost((lost,))])
        outcome = concluded(run)
        assert outcome.exit_code is ExitCode.OK
        assert outcome.report.lost_count == 1
        assert f"{N - 200:,} not needed: {N - 201:,} evaluations not spent" in outcome.sentence


def test_two_processes_stop_together_and_send_nothing_twice(tmp_path: Path) -> None:
    platform = Platform(takes=0.05)
    with a_run(tmp_path, [answer(n, 300) for n in range(N)], platform=platform) as run:
        with ThreadPoolExecutor(2) as both:
            ended = list(both.map(lambda n: worked(run, share=Share(n, 2)), range(2)))
        assert [one.stopped for one in ended] == [None, None]
        outcome = conclude(run, Ended(), seconds=1.0)
        assert outcome.exit_code is ExitCode.OK
        assert set(platform.taken.values()) == {1}
        assert sum(platform.taken.values()) == statuses(run)["scored"] < 700


def test_the_chance_to_be_wrong_is_shared_by_the_gates_and_one_that_fails_ends_the_run(tmp_path: Path) -> None:
    other = replace(CHECK, name="other")
    gates = (GATE, "other.pass_rate >= 0.5", "failures <= 5")
    with a_run(tmp_path, [answer(n, 4) for n in range(N)], checks=(CHECK, other), gates=gates) as run:
        outcome = concluded(run)
        assert outcome.exit_code is ExitCode.GATE_FAILED
        first, _, failures = outcome.report.gates
        assert (first.verdict, failures.verdict) == ("FAIL", "UNDECIDED")
        assert outcome.report.items.not_needed > N


def test_each_value_of_a_column_is_settled_by_its_own_rows(tmp_path: Path) -> None:
    gate = f"{TEMPLATE}.pass_rate[lang=*] >= 0.8"
    platform = Platform(takes=0.05)
    with a_run(tmp_path, [answer(n, N) for n in range(N)], platform=platform, langs=("fr", "de"), gates=(gate,)) as run:
        outcome = concluded(run)
        assert outcome.exit_code is ExitCode.OK
        assert [gate.verdict for gate in outcome.report.gates] == ["PASS", "PASS"]
        assert all(f"of {N // 2:,} in the order" in gate.sentence for gate in outcome.report.gates)
        assert all((gate.settled_after or N) < 100 for gate in outcome.report.gates)
        assert statuses(run)["not_needed"] > N / 2


def test_a_gate_on_a_mean_is_settled_early_too(tmp_path: Path) -> None:
    score = replace(CHECK, output="score")
    with a_run(tmp_path, [answer(n, N) for n in range(N)], checks=(score,), gates=(f"{TEMPLATE}.mean >= 0.6",)) as run:
        given(run, [Scored(f"{value}", value, None, "because", 5.0) for value in (0.9, 0.7) * 100])
        outcome = concluded(run)
        assert outcome.exit_code is ExitCode.OK
        [gate] = outcome.report.gates
        assert (gate.verdict, (gate.settled_after or N) <= 200) == ("PASS", True)


def test_a_gate_on_failures_ends_the_run_once_too_many_have_failed(tmp_path: Path) -> None:
    def refused(request: httpx.Request, _: Platform) -> httpx.Response | None:
        return refusal("no") if request.method == "POST" and b"bad" in request.content else None

    with a_run(
        tmp_path, [answer(n, 5) for n in range(N)], platform=Platform(trouble=refused), gates=("failures <= 5",)
    ) as run:
        outcome = concluded(run)
        assert outcome.exit_code is ExitCode.GATE_FAILED
        assert statuses(run)["not_needed"] > N / 2


def test_rows_that_are_the_same_are_known_together(tmp_path: Path) -> None:
    platform = Platform()
    with a_run(tmp_path, [answer(1 + n % 30, 100) for n in range(N)], platform=platform) as run:
        outcome = concluded(run)
        assert set(platform.taken.values()) == {1}
        assert outcome.exit_code is ExitCode.OK
        repeats = list(run.book.draws.all())
        assert len(repeats) == N
        assert statuses(run)["scored"] > sum(platform.taken.values())


def test_a_server_that_refuses_everything_stops_the_run_as_ever(tmp_path: Path) -> None:
    platform = Platform(trouble=lambda request, _: refusal("no such thing") if request.method == "POST" else None)
    with a_run(tmp_path, [answer(n, 4) for n in range(N)], platform=platform) as run:
        outcome = concluded(run)
        assert outcome.exit_code is ExitCode.INCOMPLETE
        assert "was stopped" in str(outcome.report.facts.notices)
        assert statuses(run)["not_needed"] == 0


def test_tickets_that_never_get_a_verdict_do_not_hold_up_what_is_left(tmp_path: Path) -> None:
    def forgotten(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        row = platform.rows.get(request.url.params.get("eval_id", ""))
        is_bad = row is not None and "bad" in row["output"]
        return ok({"eval_status": "pending", "result": "Evaluation is being processed."}) if is_bad else None

    platform = Platform(trouble=forgotten)
    with a_run(tmp_path, [answer(n, 3) for n in range(450)], platform=platform, item_timeout=1.0) as run:
        outcome = concluded(run)
        assert outcome.exit_code is ExitCode.INCOMPLETE  # 150 of 450 are open: nothing can be said
        assert statuses(run) == {"scored": 300, "pending": 150}


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"stop_when_decided": True}, "needs a gate"),
        ({"stop_when_decided": True, "gates": (GATE,), "mode": "submit"}, "mode submit waits for no verdict"),
    ],
)
def test_what_could_never_be_decided_is_refused(plan: dict[str, Any], told: str) -> None:
    with pytest.raises(PlanError, match=told):
        EvaluationPlan(**plan)


@pytest.mark.parametrize(
    ("begun", "said", "told"),
    [
        ({}, {"gates": (f"{TEMPLATE}.pass_rate >= 0.9",)}, "leave gates as they were, or add --no-stop-when-decided"),
        ({"stop_when_decided": False}, {"stop_when_decided": True}, "in no random order"),
    ],
)
def test_what_was_not_fixed_before_the_first_verdict_is_refused(
    tmp_path: Path, begun: dict[str, Any], said: dict[str, Any], told: str
) -> None:
    store = str(tmp_path / "ledger.db")
    with (
        a_run(tmp_path, ["x"], **begun),
        pytest.raises(PlanError, match=told),
        resumed(EvaluationPlan(resume="mine", store=store, **said)),
    ):
        pass


def test_a_run_that_goes_on_to_its_end_takes_back_what_was_not_needed(tmp_path: Path) -> None:
    store = str(tmp_path / "ledger.db")
    with a_run(tmp_path, [answer(n, N) for n in range(N)]) as run:
        given(run, [PASSED] * 200)
        run.book.draws.leave_out()
        with resumed(EvaluationPlan(resume="mine", store=store)):
            assert statuses(run) == {"scored": 200, "not_needed": N - 200}
            assert "--no-stop-when-decided" not in run.resume_command
        with resumed(EvaluationPlan(resume="mine", store=store, stop_when_decided=False)) as whole:
            assert statuses(run) == {"scored": 200, "pending": N - 200}
            assert "--resume mine --no-stop-when-decided" in whole.resume_command, "it may be interrupted, too"
            assert "the rows that are left are sent, too" in whole.described()[-1]


LATE = Failed("evaluate", "evaluation_error", "it timed out")


@contextmanager
def tried_again(folder: Path, platform: Platform) -> Iterator[Prepared]:
    """The run, opened as `--resume mine --retry-failed` opens it."""
    again = EvaluationPlan(resume="mine", store=f"sqlite:///{folder / 'ledger.db'}", retry_failed=True)
    with resumed(again) as run:
        yield replace(run, connection=replace(run.connection, open=platform.client))


@pytest.mark.parametrize(("rows", "passed", "is_marked"), [(N, 200, True), (N, 200, False), (300, 299, False)])
def test_failed_rows_of_a_run_that_is_decided_or_was_evaluated_whole_are_tried_again_where_that_is_asked_for(
    tmp_path: Path, rows: int, passed: int, is_marked: bool
) -> None:
    platform = Platform()
    with a_run(tmp_path, [answer(n, N) for n in range(rows)], platform=platform) as run:
        given(run, [PASSED] * passed)
        [late] = in_drawn_order(run)[passed : passed + 1]
        run.book.apply([Sending((late,)), Decided(late, LATE, utc_now())])
        if is_marked:  # else the process was killed before it left out what is not needed
            assert concluded(run).exit_code is ExitCode.INCOMPLETE
        with tried_again(tmp_path, platform) as again:
            assert concluded(again).exit_code is ExitCode.OK
        assert sum(platform.taken.values()) == 1
        left = rows - passed - 1
        assert statuses(run) == {"scored": passed + 1} | ({"not_needed": left} if left else {})


def test_shards_try_the_failed_rows_of_a_decided_run_again_and_reopen_none_that_failed_since(tmp_path: Path) -> None:
    from flows.fan_out import continued, shard_plan

    with a_run(tmp_path, [answer(n, N) for n in range(N)]) as run:
        given(run, [PASSED] * 200)
        late, later = in_drawn_order(run)[200:202]
        run.book.apply([Sending((late, later)), Decided(late, LATE, utc_now()), Decided(later, LATE, utc_now())])
        with tried_again(tmp_path, Platform()) as again:
            asked = EvaluationPlan.model_validate(shard_plan(again))
        run.book.apply([Sending((later,)), Decided(later, LATE, utc_now())])  # by another shard
        with resumed(continued(asked)) as shard:
            assert shard._is_decided is None, "the reopened row is sent, although the run is decided"
        assert statuses(run)["failed"] == 1


def test_a_run_that_too_many_failed_rows_had_decided_goes_on_once_they_are_tried_again(tmp_path: Path) -> None:
    platform = Platform(takes=0.05)
    with a_run(tmp_path, [answer(n, N) for n in range(N)], platform=platform, gates=("failures <= 5", GATE)) as run:
        run.book.apply([Decided(seq, LATE, utc_now()) for seq in in_drawn_order(run)[:6]])
        assert concluded(run).exit_code is ExitCode.GATE_FAILED
        assert statuses(run) == {"failed": 6, "not_needed": N - 6}
        with tried_again(tmp_path, platform) as again:
            outcome = concluded(again)
        assert [gate.verdict for gate in outcome.report.gates] == ["PASS", "PASS"]
        assert statuses(run)["scored"] == sum(platform.taken.values())
