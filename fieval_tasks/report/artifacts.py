"""The report in Prefect's UI. Artifacts are the window: the ledger and the files hold everything."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger

from fieval_tasks.items import Result
from fieval_tasks.report.markdown import inert, markdown
from fieval_tasks.report.record import value_text
from fieval_tasks.report.summary import Report
from fieval_tasks.report.text import one_line, share
from fieval_tasks.report.words import standing

TABLE_LIMIT = 900_000
"""Bytes of a table artifact; a hosted server takes less than 5 MB, and the UI shows ten rows a page."""
MARKDOWN_LIMIT = 900_000
_CELL = 300
_BLOCK = re.compile(r"^(?=[-+=]|\d+[.)])")
"""Where a line would begin a list or a rule."""
_SYNC: Any = {"_sync": True}  # Prefect's own switch: the plain call, even where an event loop runs


@dataclass(frozen=True)
class Progress:
    """A live progress artifact."""

    artifact_id: UUID | None
    """None where the server would not take it."""
    total: int


def publish(report: Report, folder: Path) -> None:
    """Show the report in the flow run that calls this: a summary, the worst rows, a link to the files.

    A server that refuses an artifact is a line in the log: the verdicts are bought and written by then.
    """
    run_id = report.summary.run_id
    title = f"{inert(run_id)}: {standing(report)}"
    table = worst_table(report)
    _attempt(lambda: create_markdown_artifact(_summary(report), key=key(run_id, "summary"), description=title, **_SYNC))
    if table:
        about = f"{inert(run_id)}: failed verdicts and lowest scores"
        _attempt(lambda: create_table_artifact(table, key=key(run_id, "worst-rows"), description=about, **_SYNC))
    for name, path in (("report", folder / "report.html"), ("files", folder)):
        _publish_link(run_id, name, path)


def _publish_link(run_id: str, name: str, path: Path) -> None:
    about = f"On the machine that ran it: {inert(str(path.resolve()), 400)}"
    _attempt(
        lambda: create_link_artifact(
            path.resolve().as_uri(), link_text=inert(path.name), key=key(run_id, name), description=about, **_SYNC
        )
    )


def progress_started(total: int, *, run_id: str | None = None) -> Progress:
    """Show a progress bar at 0 %. With a run id it has a key, and stands on the UI's page of artifacts too."""
    named = key(run_id, "progress") if run_id else None
    about = f"0 of {total:,} items settled"
    made = _attempt(lambda: create_progress_artifact(0.0, key=named, description=about, **_SYNC))
    return Progress(made, total)


def progress_updated(handle: Progress, fraction: float) -> None:
    """Move the progress bar to a fraction of 0..1."""
    artifact_id, reached = handle.artifact_id, min(max(fraction, 0.0), 1.0)
    if artifact_id is None:
        return
    about = f"{round(reached * handle.total):,} of {handle.total:,} items settled"
    _attempt(lambda: update_progress_artifact(artifact_id, 100 * reached, description=about, **_SYNC))


def key(run_id: str, name: str) -> str:
    """An artifact key as Prefect takes it: lower-case letters, digits and dashes."""
    slug = re.sub(r"[^a-z0-9]+", "-", run_id.lower()).strip("-")
    return f"fieval-{slug}-{name}" if slug else f"fieval-{name}"


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
    """The text for a cell, which the UI renders as Markdown: nothing in it may be a link, a picture or a heading."""
    return _BLOCK.sub("&#8203;", inert(text, _CELL))


def _summary(report: Report) -> str:
    """The Markdown report, with fewer worst rows where it would be too large."""
    texts = (markdown(report, worst=shown) for shown in (5, 1, 0))
    return next(
        (text for text in texts if len(text.encode()) <= MARKDOWN_LIMIT), f"{standing(report)}. See report.html."
    )


def _attempt(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (httpx.HTTPError, ObjectNotFound) as error:
        get_logger("fieval").warning("an artifact could not be published: %s", type(error).__name__)
        return None
