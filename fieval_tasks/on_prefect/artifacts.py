"""The report as artifacts in Prefect's UI; everything else is in the ledger and the run's files."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger

from fieval_tasks.core.items import Result
from fieval_tasks.report.artifact_pages import check_page, check_standing, run_page, why
from fieval_tasks.report.caps import CAPS
from fieval_tasks.report.pages import BREAK, inert
from fieval_tasks.report.record import value_text
from fieval_tasks.report.summary import Report
from fieval_tasks.report.text import one_line, share
from fieval_tasks.report.words import standing
from fieval_tasks.runs.preparation import Kept
from fieval_tasks.runs.trends import past_of

# Bytes of an artifact. A hosted server takes less than 5 MB, and the UI shows ten rows of a table on a page.
LARGEST = 900_000
PAGES = 10
"""Checks that have a page of their own, the first of the plan: a run of forty would fill the page of artifacts."""
_CELL = 300
_ACTIVE = re.compile(
    r"^(?=[#>]|\d{1,9}[.)](?:\s|$)|[-+*_](?:\s|$|[-*_]{2})|```|~~~)"  # where a heading, a list, a rule or a fence would begin
    r"|(?<=<)(?=[a-z/!?])|(?<=&)(?=\#?\w+;)|(?<=\])(?=[(\[:])"  # a tag, an entity, the address of a link
    r"|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)(?=\w)",  # an address that is linked as it stands
    re.IGNORECASE,
)
_LONGEST_STEM = 50
_PLAIN_DATASET = re.compile(r"[-_./ ]*[a-z0-9]+(?:[-_./ ][a-z0-9]+)*")
_PLAIN_CHECK = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")
"""Names whose stem tells them apart: of a run's checks, one may be Tone and another tone, or a-b and a_b."""
_SYNC: Any = {"_sync": True}  # Prefect's own switch: the plain call, even where an event loop runs


@dataclass(frozen=True)
class ProgressArtifact:
    """A live progress artifact."""

    artifact_id: UUID | None
    """None where the server refused it."""
    total: int
    """Items of the run."""


def publish(report: Report, run: Kept, *, series: str | None = None) -> None:
    """Publish the report as artifacts of the current flow run: its page, a page of each of the first checks, and a table of
    failures.

    Reports of one `series`, such as a deployment, are versions of the same artifacts; None: those of the dataset. A page of a
    check is a version of one for each dataset and check. An artifact that the server refuses is only logged: the verdicts are
    paid for and written by then.
    """
    run_id, end, checks, series = inert(report.facts.run_id), _files(run.folder), [*report.checks], series or run.series
    past = past_of(run.ledger, run.run.dataset, checks[:PAGES])
    _page(partial(run_page, report, past), end, key(series, "summary"), f"{run_id}: {standing(report)}")
    for name in checks[:PAGES]:
        page = partial(check_page, report, name, past[name])
        _page(page, end, check_key(run.series, name), f"{run_id}: {check_standing(report, name)}")
    if table := failures_table(report):
        about = f"{run_id}: failed verdicts, lowest scores and items without a verdict"
        _attempt(lambda: create_table_artifact(table, key=key(series, "worst-rows"), description=about, **_SYNC))


def _page(text: Callable[..., str], end: str, key: str, about: str) -> None:
    """A page, with fewer worst answers where it would be too large."""
    texts = (text(caps=replace(CAPS, worst_in_markdown=shown)) for shown in (CAPS.worst_in_markdown, 1, 0))
    short = next((one for one in texts if len(one.encode()) <= LARGEST), f"{about}. See report.html.\n")
    _attempt(lambda: create_markdown_artifact(short + end, key=key, description=about, **_SYNC))


def progress_started(total: int, *, series: str | None = None) -> ProgressArtifact:
    """Create a progress bar at 0 %. With a `series` it has a key, so that the UI's page of artifacts lists it too."""
    named = key(series, "progress") if series else None
    about = f"0 of {total:,} items settled"
    made = _attempt(lambda: create_progress_artifact(0.0, key=named, description=about, **_SYNC))
    return ProgressArtifact(made, total)


def progress_updated(handle: ProgressArtifact, fraction: float) -> None:
    """Move the progress bar to a fraction of 0..1."""
    artifact_id, reached = handle.artifact_id, min(max(fraction, 0.0), 1.0)
    if artifact_id is None:
        return
    about = f"{round(reached * handle.total):,} of {handle.total:,} items settled"
    _attempt(lambda: update_progress_artifact(artifact_id, 100 * reached, description=about, **_SYNC))


def key(series: str, kind: str) -> str:
    """An artifact key as Prefect takes it: lower-case letters, digits and dashes. If other letters had to be replaced, a
    hash keeps the key unique."""
    return f"fieval-{_stem(series, is_told_apart=series.isascii())}-{kind}"


def check_key(dataset: str, check: str) -> str:
    """The key of a check's page: no other dataset and check have this one. A dash of a name is never doubled."""
    of_dataset = _stem(dataset, is_told_apart=bool(_PLAIN_DATASET.fullmatch(dataset)))
    return f"fieval-{of_dataset}--{_stem(check, is_told_apart=bool(_PLAIN_CHECK.fullmatch(check)))}"


def _stem(name: str, *, is_told_apart: bool) -> str:
    """What can be read of a name, with a hash of it where that does not tell it apart from others."""
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if stem and len(stem) <= _LONGEST_STEM and is_told_apart:
        return stem
    return f"{stem[:_LONGEST_STEM].strip('-')}-{sha256(name.encode(errors='replace')).hexdigest()[:8]}".strip("-")


def failures_table(report: Report) -> list[dict[str, str]]:
    """Failed verdicts, the lowest scores and items without a verdict, as the UI's table takes them: the columns of the first
    row, the most telling ones first, and short text in every cell."""
    shown = [*report.worst, *(result for tally in report.checks.values() for result in tally.examples.failed)]
    keys = list(dict.fromkeys(key for result in shown for key in result.inputs or {}))
    rows, size = [], 0
    for result in shown:
        row = _cells(result, keys)
        size += len(json.dumps(row))
        if size > LARGEST:
            break
        rows.append(row)
    return rows


def _cells(result: Result, keys: list[str]) -> dict[str, str]:
    inputs = result.inputs or {}
    cells = {
        "item": result.item_id,
        "check": result.check,
        "reason": why(result),
        "row": str(result.row),
        "verdict": _verdict(result),
        "value": value_text(result.value) or "",
    }
    cells |= {f"input: {name}": inputs.get(name, "") for name in keys}
    return {one_line(name, 80): _cell(text) for name, text in cells.items()}


def _verdict(result: Result) -> str:
    if result.status == "failed":
        return f"none ({(result.error or {}).get('kind', 'unknown')})"
    return "Failed" if result.passed is False else share(result.score)


def _cell(text: str) -> str:
    """The text for a cell, as it is, for the UI shows it so. The older UI reads Markdown in it: where that would make a
    link, a picture, a tag or a block of it, a space of no width stands, which neither shows."""
    return _ACTIVE.sub(BREAK, one_line(text, _CELL))


def _files(folder: Path) -> str:
    """A browser opens no file of another machine, and refuses those of its own: the place is text."""
    where = f"{inert(str(folder.resolve()), 400)} on the machine {inert(socket.gethostname())}"
    return f"\n## Files\n\nThe whole report, report.html, and every verdict, results.csv, are in {where}.\n"


def _attempt(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (httpx.HTTPError, ObjectNotFound) as error:
        get_logger("fieval").warning("an artifact could not be published: %s", type(error).__name__)
        return None
