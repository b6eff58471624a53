"""The commands that decide: what they print, and their exit codes. They read the ledger, and Prefect is not imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import get_terminal_size

from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.core.quantities import parse_share
from fieval_tasks.ledger.blessings import blessings
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.listing import WIDEST, console_of, listing, sentence, wrapped
from fieval_tasks.report.text import clean, moment, shown_json
from fieval_tasks.runs.preparation import kept


def compare(
    run: str,
    baseline: str,
    *,
    margin: str | None,
    cluster: str | None,
    by: Sequence[str],
    across_models: bool,
    store: str | None,
    as_data: bool,
) -> int:
    from fieval_tasks.core.plan import DEFAULT_MARGIN
    from fieval_tasks.decisions.comparison import Terms
    from fieval_tasks.report.differences import as_lines
    from fieval_tasks.runs.baselines import baseline_of
    from fieval_tasks.runs.comparing import compared
    from fieval_tasks.runs.sides import RunSide
    from fieval_tasks.terminal.github_step import github_step

    try:
        allowed = float(parse_share(margin or DEFAULT_MARGIN))
    except ValueError as error:
        raise PlanError(f"--margin: {error}") from None
    with kept(run, store) as one:
        other, _ = baseline_of(baseline, one.ledger, one.run)
        found = compared(
            RunSide(one.ledger, one.run),
            other,
            terms=Terms(margin=allowed),
            cluster=cluster or one.plan.cluster,
            by=dict.fromkeys(by),
            across_models=across_models,
        )
    if as_data:
        print(shown_json(found.to_json()))
    else:
        out = console_of(sys.stdout, columns=min(get_terminal_size().columns, WIDEST))
        for line in as_lines(found):
            indent = line[: len(line) - len(line.lstrip())]
            print(*wrapped(sentence(line, out, LONGEST_LINE), out, first=indent), sep="\n")
    if step := github_step.get():
        step.compare(found, one.folder)
    return found.exit_code


LONGEST_LINE = 360
"""Characters of a text in the terminal: an answer may be a page."""


def bless(run: str | None, note: str, file: Path | None, anyway: bool, is_list: bool, store: str | None) -> int:
    from fieval_tasks.runs.blessing import blessed_run, written_baseline

    if is_list == (run is not None):
        raise PlanError("name the run that is to be the baseline, or --list to see those that are")
    if run is not None:
        if file is not None and note:
            raise PlanError("--note: a file holds none; leave it out, or say it in the commit")
        with kept(run, store) as found:
            if file is None:
                of = blessed_run(found, note, anyway=anyway).dataset
                print(clean(f"run {found.run_id} is blessed: the baseline for {of}"))
            else:
                n = written_baseline(found, file, anyway=anyway)
                print(clean(f"run {found.run_id} is written to {file}: {n:,} items; compare with --baseline {file}"))
        return ExitCode.OK
    with Ledger(store_url(store), must_exist=True) as ledger:
        all_blessed = blessings(ledger.database)
    rows = [{"at": moment(one.at), "run": one.run_id, "dataset": one.dataset, "note": one.note} for one in all_blessed]
    if rows:
        print(*listing(rows, console_of(sys.stdout), names=["run", "dataset", "note"]), sep="\n")
    else:
        print("no run is blessed: python -m flows.bless RUN makes one the baseline")
    return ExitCode.OK
