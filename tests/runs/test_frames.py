"""Runs and results as DataFrames: the files' figures, with types that pandas can count with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fieval_tasks
from fieval_tasks import PlanError
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.ledger.pruning import prune
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.conclusion import Ended, conclude
from fieval_tasks.runs.preparation import Kept
from tests.report.report_examples import HOSTILE
from tests.runs.compared_runs import Told, a_run, told


def ended(ledger: Ledger, name: str, verdicts: list[Told], **fields: Any) -> Path:
    run = Kept(a_run(ledger, name, verdicts, exit_code=None, **fields), EvaluationPlan(), ledger)
    return conclude(run, Ended(), seconds=1.0).folder


def test_results_are_those_of_the_parquet_file(ledger: Ledger) -> None:
    texts = [text.encode(errors="replace").decode() for text in HOSTILE]
    folder = ended(ledger, "one", [*told(True, False, None), *(Told(True, text, text) for text in texts)])
    found, written = fieval_tasks.results("last"), pd.read_parquet(folder / "results.parquet")
    assert [*found.columns] == [*written.columns]
    for name in found.columns:
        assert found[name].isna().equals(written[name].isna())
        assert found[name].dropna().tolist() == written[name].dropna().tolist()


def test_results_have_types_and_times_in_utc(ledger: Ledger) -> None:
    ended(ledger, "one", told(True, None))
    types = fieval_tasks.results("one").dtypes.astype(str).to_dict()
    assert (types["passed"], types["row"], types["score"]) == ("boolean", "Int64", "float64")
    assert types["finished_at"] == "datetime64[us, UTC]"
    assert {types[name] for name in ("item_id", "status", "reason", "inputs.output")} == {"string"}


def test_runs_have_a_row_for_each_check_whatever_became_of_them(ledger: Ledger) -> None:
    ended(ledger, "one", told(True, False))
    ended(ledger, "two", told(True, None))
    a_run(ledger, "open", told(None), exit_code=None)
    prune(ledger.database, "one")
    found = fieval_tasks.runs()
    assert found["run_id"].tolist() == ["open", "two", "one"]
    assert found["ended"].tolist() == ["unfinished", "incomplete", "ok"]
    assert found["pass_rate"].fillna(-1).tolist() == [-1, 1.0, 0.5]
    assert found["pruned_at"].notna().tolist() == [False, False, True]
    assert str(found["created_at"].dtype) == "datetime64[us, UTC]"


def test_an_empty_ledger_has_the_columns_with_their_types(ledger: Ledger) -> None:
    found = fieval_tasks.runs(ledger.url)
    assert (len(found), str(found["total"].dtype), str(found["created_at"].dtype)) == (
        0,
        "Int64",
        "datetime64[us, UTC]",
    )


def test_what_is_not_there_is_a_problem_of_the_plan(ledger: Ledger) -> None:
    with pytest.raises(PlanError, match="it has no runs yet"):
        fieval_tasks.results("last")
    with pytest.raises(PlanError, match="there is no ledger"):
        fieval_tasks.runs("elsewhere.db")


def test_runs_is_a_room_and_can_be_called_before_and_after_it_is_imported(ledger: Ledger) -> None:
    code = "import fieval_tasks; a = fieval_tasks.runs(); import fieval_tasks.runs.trends; b = fieval_tasks.runs(); from fieval_tasks import runs; c = runs(); print(len(a), len(b), len(c))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0 0 0\n"
