"""Whole runs whose verdicts also go to a table: refused before anything is sent, resumed with another, reused, audited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.dataframe import evaluate_dataframe
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.on_prefect.permitted import require_permitted
from fieval_tasks.runs.conclusion import Ended, conclude
from fieval_tasks.runs.forecast import foretold
from fieval_tasks.runs.preparation import prepared
from fieval_tasks.runs.workers import work_on
from fieval_tasks.terminal.forecast_text import as_object, lines
from tests.sinks.conftest import asked

TO = "sqlite:///mine.db#verdicts"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan(rows: int = 6, **said: Any) -> EvaluationPlan:
    lines = (json.dumps({"id": f"r{n}", "text": f"[{n % 4}]" if n % 6 != 5 else " "}) for n in range(rows))
    Path("d.jsonl").write_text("".join(f"{line}\n" for line in lines))
    fields = {
        "dataset": "d.jsonl",
        "checks": (Check(template="is_json"),),
        "id_column": "id",
        "connection": "local",
        "to": (TO,),
    }
    return EvaluationPlan(**fields | said)


def evaluated(asked: EvaluationPlan) -> int:
    with prepared(asked) as run:
        work_on(run)
        return conclude(run, Ended(), seconds=1.0).exit_code


def table(columns: str = "item_id, status", to: str = TO) -> list[tuple[Any, ...]]:
    return sorted(asked(to, f"SELECT {columns} FROM verdicts"))


def test_copies_and_what_failed_before_sending_are_rows_like_any_other() -> None:
    evaluated(plan())
    assert table() == [*((f"r{n}", "scored") for n in range(5)), ("r5", "failed")]


def test_a_table_that_will_not_do_is_refused_before_anything_is_sent_or_written() -> None:
    asked(TO, "CREATE TABLE verdicts (run_id VARCHAR)")
    with pytest.raises(PlanError, match="lacks item_id, row, check"), prepared(plan()):
        pass
    with pytest.raises(PlanError, match="lacks item_id, row, check"), foretold(plan()):
        pass
    with Ledger(store_url()) as ledger:
        assert ledger.names("") == set()


def test_a_run_of_that_name_is_to_be_resumed_whatever_the_table_holds() -> None:
    evaluated(plan(run="one"))
    with (
        pytest.raises(PlanError, match="there is a run 'one' already: choose another --run, or --resume it"),
        prepared(plan(run="one")),
    ):
        pass


def test_a_dry_run_names_the_table_and_makes_none() -> None:
    with foretold(plan()) as forecast:
        said = [line for line in lines(forecast) if "verdicts also go to" in line]
        assert said == [f"  verdicts also go to sqlite:///{Path.cwd()}/mine.db#verdicts, where they can be written"]
        assert as_object(forecast)["to"] == [f"sqlite:///{Path.cwd()}/mine.db#verdicts"]
    assert not Path("mine.db").exists()


def test_a_run_that_has_ended_is_written_to_another_table_by_resuming_it(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated(plan(run="one", to=()))
    assert not Path("mine.db").exists()
    evaluated(EvaluationPlan(resume="one", to=(TO,)))
    assert len(table()) == 6
    asked(TO, "DELETE FROM verdicts")
    evaluated(EvaluationPlan(resume="one", to=()))
    assert len(table()) == 6, "from then on it is the run's own"


def test_a_resume_in_another_folder_means_the_same_file(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated(plan(run="one"))
    (there := Path("elsewhere")).mkdir()
    ledger, here = str(Path("fieval-runs/ledger.db").absolute()), Path.cwd()
    asked(TO, "DELETE FROM verdicts")
    monkeypatch.chdir(there)
    evaluated(EvaluationPlan(resume="one", store=ledger))
    assert len(table(to=f"sqlite:///{here}/mine.db#verdicts")) == 6
    assert not Path("mine.db").exists()


def test_reused_verdicts_are_in_the_table_and_say_whose_they_were() -> None:
    evaluated(plan(run="one"))
    evaluated(plan(run="two", reuse="7d"))
    assert sorted(asked(TO, "SELECT item_id, reused_from FROM verdicts WHERE run_id = 'two' AND reused_from IS NOT NULL")) == [
        (f"r{n}", "one") for n in range(5)
    ]  # fmt: skip


def test_further_evaluations_of_a_row_are_rows_of_their_own() -> None:
    evaluated(plan(rows=2, repeats=3))
    assert table("item_id, repeat") == [(f"r{n}", repeat) for n in range(2) for repeat in range(3)]


def test_kept_columns_are_in_the_table_as_json() -> None:
    evaluated(plan(rows=1, keep=("id",)))
    assert table("columns") == [('{"id": "r0"}',)]


def test_a_dataframes_verdicts_go_there_too() -> None:
    frame = pd.DataFrame({"text": ["[1]", "no"]})
    evaluate_dataframe(frame, "is_json", connection="local", to=(TO,))
    assert table("row, passed") == [(1, 1), (2, 0)]


# -- in a deployment -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "environment", "why"),
    [
        ("sqlite:////etc/x.db#t", {"FIEVAL_FOLDERS": "/data"}, "plan.to: this worker opens"),
        ("duckdb:////etc/x.db#t", {"FIEVAL_FOLDERS": "/data"}, "plan.to: this worker opens"),
        ("postgresql://evil.test/db#t", {"PGPASSWORD": "a-long-secret"}, "set PGHOST where the worker runs"),
        ("postgresql:///db?host=evil.test#t", {"PGPASSWORD": "a-long-secret", "PGHOST": "db"}, "set PGHOST"),
    ],
)
def test_who_edits_a_deployments_parameters_reaches_no_other_file_and_gets_no_password(
    to: str, environment: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    require_permitted(plan(to=(to,)))
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a-deployment")
    with pytest.raises(PlanError, match=why):
        require_permitted(plan(to=(to,)))


@pytest.mark.parametrize("to", ["postgresql:///db#t", "postgresql://db/db#t", "sqlite:///mine.db#t"])
def test_a_deployment_writes_to_the_workers_own_server_and_folder(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PREFECT__RUNTIME__DEPLOYMENT__ID": "a-deployment", "PGPASSWORD": "x" * 9, "PGHOST": "db", "FIEVAL_FOLDERS": "/data"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    require_permitted(plan(to=(to,)))
