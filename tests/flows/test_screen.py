"""What a command prints of the runs that it came to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fieval_tasks.core.errors import ExitCode
from fieval_tasks.report.summary import summarise
from fieval_tasks.runs.conclusion import Outcome
from fieval_tasks.runs.display import display
from flows.cli.interruption import Interruption
from flows.cli.screen import WorkEnd, run_shown
from tests.report.report_examples import facts, failed, judged


def test_a_file_that_is_missing_is_named_once_however_many_runs_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = summarise(facts(exit_code=0), [judged(1, True)])
    outcome = Outcome(report, "1 of 1 items scored", Path("out"))

    def two_runs() -> WorkEnd:
        display.get().conclude(outcome)
        display.get().conclude(outcome)
        return WorkEnd(outcome.message)

    assert run_shown(Interruption(), "again", two_runs) == ExitCode.OK
    assert "pyarrow" not in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    run_shown(Interruption(), "again", two_runs)
    printed = capsys.readouterr().out
    assert printed.count("report: out/report.html") == 2
    assert printed.count("results.parquet is not written without pyarrow") == 1


def test_that_all_items_were_scored_is_not_said_twice_where_a_gate_failed(capsys: pytest.CaptureFixture[str]) -> None:
    missing = Outcome(summarise(facts(exit_code=3), [judged(1, True), failed(2)]), "1 of 2 items scored", Path("out"))
    for run, said in ((Outcome(summarise(facts(exit_code=1), [judged(1, False)]), "1 of 1 items scored", Path("out")), False),
                      (missing, True)):  # fmt: skip

        def work(run: Outcome = run) -> WorkEnd:
            display.get().conclude(run)
            return WorkEnd(run.message)

        run_shown(Interruption(), "again", work)
        assert ("items scored" in capsys.readouterr().err) == said
