"""A dry run foretells what the run then does, and neither sends nor writes anything."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pytest

from fieval_tasks.api.client import Credentials, EvalClient
from fieval_tasks.core.errors import NameTaken, PlanError
from fieval_tasks.core.plan import Check, EvaluationPlan, Mode
from fieval_tasks.core.tiers import DEFAULT, Tier
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.run import CheckRecord
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.conclusion import Ended, conclude
from fieval_tasks.runs.forecast import Forecast, foretold
from fieval_tasks.runs.preparation import prepared
from fieval_tasks.runs.sides import Judged
from fieval_tasks.runs.workers import work_on
from fieval_tasks.terminal.forecast_text import as_object, day, lines, span
from tests.faults.mix import Mix
from tests.faults.running import Server, evaluated, serving

GROUNDED = Check(template="groundedness")


def written(rows: list[dict[str, Any]]) -> str:
    Path("d.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return "d.jsonl"


def rows(n: int) -> list[dict[str, Any]]:
    return [{"answer": f"The answer {i} is Paris.", "context": f"The answer {i} is Paris."} for i in range(n)]


def of(plan: EvaluationPlan) -> Forecast:
    with foretold(plan) as forecast:
        return forecast


def local(dataset: str, *checks: Check, **options: Any) -> EvaluationPlan:
    return EvaluationPlan(dataset=dataset, checks=checks or (GROUNDED,), connection="local", **options)


def test_items_repeats_failures_and_requests_are_those_of_the_run_that_follows() -> None:
    given = [*rows(70), rows(1)[0], rows(1)[0], {"answer": "", "context": "c"}, {"answer": "a", "context": None}]
    plan = local(written(given), GROUNDED, Check(template="completeness", name="whole"), mapping={"input": "context"})
    forecast = of(plan)
    assert forecast.outline.rows == 74
    assert [(check.items, check.copies, check.invalid) for check in forecast.checks] == [
        (74, 2, Counter(blank=2)),
        (74, 2, Counter(blank=2)),
    ]
    assert forecast.evaluations == 140
    with prepared(plan) as run:
        work_on(run)
        after = run.ledger.run(run.run_id)
        sent = run.ledger.spent(run.run_id)
    assert sent == {check.record.name: check.evaluations for check in forecast.checks}
    assert forecast.submissions <= after.submits <= forecast.submissions + 8, "the first ones carry a single item"
    assert after.polls <= forecast.polls


def test_nothing_is_written_and_a_name_that_is_taken_is_said() -> None:
    plan = local(written(rows(3)), run="x")
    of(plan)
    with Ledger(store_url()) as ledger:
        assert ledger.names("") == set()
    with prepared(plan), pytest.raises(NameTaken, match="there is a run 'x' already"):
        of(plan)


def test_ids_that_repeat_are_found_as_when_the_run_begins() -> None:
    plan = local(written([{"id": 1, **rows(1)[0]}, {"id": 1, **rows(1)[0]}]), id_column="id")
    with pytest.raises(PlanError, match="ids repeat in column 'id'"):
        of(plan)


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC, Mode.SUBMIT])
async def test_the_example_is_the_body_that_the_client_sends(mode: Mode) -> None:
    params = {"keyword": "é"}
    plan = local(written(rows(2)), Check(template="contains", params=params), mapping={"text": "answer"}, mode=mode)
    forecast, bodies = of(plan), list[Any]()

    def answered(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(500)

    [check] = forecast.checks
    assert check.example is not None
    async with EvalClient(Credentials("k" * 9, "s" * 9), transport=httpx.MockTransport(answered)) as client:
        send = client.evaluate_pack if mode is Mode.SYNC else client.submit_pack
        with pytest.raises(Exception, match="500"):
            await send("contains", [{"text": "The answer 0 is Paris."}], model=check.record.model, params=params)
    assert bodies == [check.example]
    assert (forecast.polls > 0, check.submissions) == (mode is Mode.ASYNC, 2 if mode is Mode.SYNC else 1)


def test_the_example_shows_no_secret_no_object_among_parameters_and_no_long_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOME_API_TOKEN", "tok-12345678")
    row = {"answer": f"tok-12345678 {'x' * 5_000}", "context": "c"}
    forecast = of(local(written([row])))
    shown = "\n".join(lines(forecast))
    assert "tok-12345678" not in shown + json.dumps(as_object(forecast))
    assert "(cut, 5,009 characters)" in shown, "the length of the text, its secret left out"


def test_cost_is_exact_and_an_end_that_would_be_reached_is_said() -> None:
    plan = local(written(rows(1_000)), prices={"turing_flash": "0.001"}, max_cost="0.999")
    forecast = of(plan)
    assert forecast.cost is not None
    assert forecast.cost.total == Fraction(1)
    assert not forecast.is_within_budget
    assert any("would reach that end before its last item" in line for line in lines(forecast))
    assert as_object(forecast)["ends"] == {"max_items": None, "max_cost": 0.999, "is_enough": False}
    enough = of(plan.model_copy(update={"max_cost": "1", "max_items": 1_000}))
    assert enough.is_within_budget


def test_a_sample_is_foretold_of_all_rows_and_precision_draws_it() -> None:
    dataset = written(rows(1_000))
    forecast = of(local(dataset))
    assert [(s.rows, s.population, s.rate) for s in forecast.samples] == [(706, 1_000, 0.5)]
    drawn = of(local(dataset, precision="5%", where="answer != 'x'", limit=900))
    assert (drawn.outline.rows, drawn.outline.population) == (269, 900)
    assert drawn.outline.run.population == 900
    assert any("--precision 5%: ±5 points at 95 %" in notice for notice in drawn.outline.run.notices)
    assert of(local(written(rows(3)), precision="0.02")).outline.run.population is None, "all are evaluated"
    with pytest.raises(PlanError, match="leave one of them out"):
        of(local(dataset, precision="0.02", sample=5))


def test_a_run_that_was_drawn_by_precision_is_resumed_as_it_was_drawn() -> None:
    plan = local(written(rows(100)), precision="0.1", run="r")
    with prepared(plan) as run:
        assert (run.run.total, run.plan.sample) == (49, 49)
    with prepared(EvaluationPlan(resume="r")) as again:
        assert (again.run.total, again.run.population) == (49, 100)
    with (
        pytest.raises(PlanError, match="begun with another precision"),
        prepared(EvaluationPlan(resume="r", precision="0.2")),
    ):
        pass


def test_time_counts_what_other_runs_of_the_same_keys_have_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, Mix()) as server:
        evaluated(tmp_path, server, 60)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        plan = EvaluationPlan(dataset="data.jsonl", checks=(Check(template="answers_in_context"),), tier="default")
        [tier] = of(plan).tiers
        assert (tier.tier, tier.used, tier.stops) == (DEFAULT, 60, 0)
        assert 60 < tier.seconds < 125, "the minute is full, and the sixty of this run fill another"
        unknown = of(plan.model_copy(update={"tier": None}))
        assert [one.tier.name for one in unknown.tiers] == ["default", "custom"]
        assert any("the account's limit is not known" in line for line in lines(unknown))
        recognised(tmp_path, server, DEFAULT)
        known = of(plan.model_copy(update={"tier": None}))
        assert [(one.tier, one.basis) for one in known.tiers] == [(DEFAULT, "recognised in run r")]
        assert any("on the default tier (recognised in run r)" in line for line in lines(known))
        hours = of(plan.model_copy(update={"tier": "10/h"}))
        assert hours.tiers[0].stops >= 5, "no run waits for as long with an item timeout of ten minutes"
        assert "--resume carries on" in "\n".join(lines(hours))


def recognised(folder: Path, server: Server, tier: Tier) -> None:
    """The run is carried on, and recognises the tier."""
    with prepared(EvaluationPlan(resume="r")) as run, run.engine() as engine:
        engine._at_work.lanes.quotas.quota_of("turing_flash").tier = tier
    with Ledger(store_url()) as ledger:
        assert ledger.run("r").tier == tier.name


def test_the_rate_of_the_last_run_with_the_same_judge_needs_fewer_rows_and_is_named() -> None:
    text = {"answer": "The Eiffel Tower is in Paris.", "context": "The Eiffel Tower is in Paris, France."}
    plan = local(written([{**text, "n": n} for n in range(400)]), run="before")
    with prepared(plan) as run:
        work_on(run)
        conclude(run, Ended(), seconds=0.0)
    worst, known = of(plan.model_copy(update={"run": None})).samples
    assert (worst.basis, worst.rate, known.basis, known.rate) == (
        "the worst case",
        0.5,
        "groundedness as in run before",
        1,
    )
    assert known.rows < worst.rows
    other = plan.model_copy(update={"run": None, "checks": (Check(template="groundedness", model="turing_small"),)})
    assert len(of(other).samples) == 1, "another judge's rate says nothing of this one's"
    assert of(plan.model_copy(update={"run": None, "confidence": 0.99})).samples[0].rows > worst.rows


def test_a_rate_says_nothing_where_other_choices_pass_and_columns_are_no_matter() -> None:
    check = CheckRecord("tone", "tone", "turing_flash", {}, "choices", {"output": "answer"}, good=("Joy", "neutral"))
    same = replace(check, good=("neutral", "joy"), sources={"output": "reply"})
    assert Judged.of(check).is_alike(Judged.of(same))
    for other in (replace(check, good=("joy",)), replace(check, model="turing_large"), replace(check, params={"k": 1})):
        assert not Judged.of(check).is_alike(Judged.of(other))


MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)


def test_a_day_is_named_as_people_name_it() -> None:
    now = MONDAY.astimezone().replace(hour=12)
    assert day(now, 3_600) == "today at 13:00"
    assert day(now, 86_400) == "on Tuesday 12:00"
    assert day(now, 7 * 86_400) == f"on {now + timedelta(days=7):%Y-%m-%d} 12:00"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (3_600, "1 h"), (7_199, "2 h"), (86_400 + 7_200, "1 day 2 h"), (2.6e6, "30 days 2 h")],
)  # fmt: skip
def test_a_span_is_said_in_two_units(seconds: float, words: str) -> None:
    assert span(seconds) == words
