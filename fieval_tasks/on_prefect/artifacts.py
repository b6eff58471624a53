"""The report as artifacts in Prefect's UI; everything else is in the ledger and the run's files."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from fieval_tasks.report.caps import CAPS
from fieval_tasks.report.pages import inert, markdown
from fieval_tasks.report.record import value_text
from fieval_tasks.report.summary import Report
from fieval_tasks.report.text import one_line, share
from fieval_tasks.report.words import standing

# Bytes of a table artifact. A hosted server takes less than 5 MB, and the UI shows ten rows a page.
TABLE_LIMIT = 900_000
MARKDOWN_LIMIT = 900_000
_CELL = 300
_BREAK = "\u200b"
_ACTIVE = re.compile(
    r"^(?=[#>]|\d{1,9}[.)](?:\s|$)|[-+*_](?:\s|$|[-*_]{2})|```|~~~)"  # where a heading, a list, a rule or a fence would begin
    r"|(?<=<)(?=[a-z/!?])|(?<=&)(?=\#?\w+;)|(?<=\])(?=[(\[:])"  # a tag, an entity, the address of a link
    r"|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)(?=\w)",  # an address that is linked as it stands
    re.IGNORECASE,
)
_LONGEST_KEY = 80
_SYNC: Any = {"_sync": True}  # Prefect's own switch: the plain call, even where an event loop runs


@dataclass(frozen=True)
class ProgressArtifact:
    """A live progress artifact."""

    artifact_id: UUID | None
    """None where the server refused it."""
    total: int
    """Items of the run."""


def publish(report: Report, folder: Path, *, series: str) -> None:
    """Publish the report as artifacts of the current flow run: a summary, and the worst rows.

    Reports of one `series`, such as a deployment or a dataset, are versions of the same artifacts. An artifact that the
    server refuses is only logged: the verdicts are paid for and written by then.
    """
    run_id = inert(report.facts.run_id)
    title, text, table = f"{run_id}: {standing(report)}", _summary(report, folder), worst_table(report)
    _attempt(lambda: create_markdown_artifact(text, key=key(series, "summary"), description=title, **_SYNC))
    if table:
        about = f"{run_id}: failed verdicts and lowest scores"
        _attempt(lambda: create_table_artifact(table, key=key(series, "worst-rows"), description=about, **_SYNC))


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
    slug = re.sub(r"[^a-z0-9]+", "-", series.lower()).strip("-")
    if len(slug) > _LONGEST_KEY or not slug or not series.isascii():
        slug = f"{slug[:_LONGEST_KEY]}-{sha256(series.encode(errors='replace')).hexdigest()[:8]}".strip("-")
    return f"fieval-{slug}-{kind}"


def worst_table(report: Report) -> list[dict[str, str]]:
    """The worst rows as the UI's table takes them: the same columns in every row, short text in every cell."""
    keys = list(dict.fromkeys(key for result in report.worst for key in result.inputs or {}))
    rows, size = [], 0
    for result in report.worst:
        row = _cells(result, keys)
        size += len(json.dumps(row))
        if size > TABLE_LIMIT:
            break
        rows.append(row)
    return rows


def _cells(result: Result, keys: list[str]) -> dict[str, str]:
    inputs = result.inputs or {}
    cells = {
        "check": result.check,
        "row": str(result.row),
        "item": result.item_id,
        "verdict": "Failed" if result.passed is False else share(result.score),
        "value": value_text(result.value) or "",
        "reason": result.reason or "",
    }
    cells |= {f"input: {name}": inputs.get(name, "") for name in keys}
    return {one_line(name, 80): _cell(text) for name, text in cells.items()}


def _cell(text: str) -> str:
    """The text for a cell, as it is, for the UI shows it so. The older UI reads Markdown in it: where that would make a
    link, a picture, a tag or a block of it, a space of no width stands, which neither shows."""
    return _ACTIVE.sub(_BREAK, one_line(text, _CELL))


def _summary(report: Report, folder: Path) -> str:
    """The Markdown report, with fewer worst rows where it would be too large, and where its files are."""
    texts = (markdown(report, caps=replace(CAPS, worst_in_markdown=shown)) for shown in (CAPS.worst_in_markdown, 1, 0))
    short = (text for text in texts if len(text.encode()) <= MARKDOWN_LIMIT)
    return next(short, f"{standing(report)}. See report.html.\n") + _files(folder)


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
