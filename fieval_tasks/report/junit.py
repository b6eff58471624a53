"""JUnit XML: every CI system shows it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO
from xml.sax.saxutils import escape, quoteattr

from fieval_tasks.items import Result
from fieval_tasks.report.record import finite, iso, value_text
from fieval_tasks.report.summary import Counts, Report
from fieval_tasks.report.text import clean, clip

_TEXT_LIMIT = 4_000


def write_junit(report: Report, results: Iterable[Result], file: IO[str]) -> None:
    """One suite per check and a case per item, in one pass over the results and without holding them.

    Only a Pass/Fail verdict can be a failure. An item without a verdict is an error, or skipped while one may come.
    """
    summary, items = report.summary, report.summary.items
    failures = sum(counts.not_passed for counts in report.counts.values())
    with ExitStack() as stack:
        suites = {
            name: stack.enter_context(TemporaryFile("w+", encoding="utf-8", newline="")) for name in summary.checks
        }
        for result in results:
            suites[result.check].write(_case(result))
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        file.write(
            f"<testsuites{_attributes(name=summary.run_id)}"
            f"{_totals(items, failures)}{_attributes(time=_seconds(summary.wall_seconds))}>\n"
        )
        for name, cases in suites.items():
            _copy_suite(report, name, cases, file)
        file.write("</testsuites>\n")


def _copy_suite(report: Report, name: str, cases: IO[str], file: IO[str]) -> None:
    counts = report.counts[name]
    totals = _totals(counts, counts.not_passed)
    file.write(f"<testsuite{_attributes(name=name)}{totals}{_attributes(timestamp=iso(report.summary.started_at))}>\n")
    cases.seek(0)
    shutil.copyfileobj(cases, file)
    file.write("</testsuite>\n")


def _case(result: Result) -> str:
    seconds = _seconds(result.runtime_ms and result.runtime_ms / 1000)
    head = f"<testcase{_attributes(classname=result.check, name=f'{result.item_id} (row {result.row})', time=seconds)}>"
    return f"{head}{_outcome(result)}</testcase>\n"


def _outcome(result: Result) -> str:
    if result.status in ("pending", "skipped"):
        why = "no verdict yet" if result.status == "pending" else result.reason or "not evaluated"
        return f"<skipped{_attributes(message=why)}/>"
    if result.status == "failed":
        error = result.error or {}
        kind, message = error.get("kind", "unknown"), error.get("message", "")
        return f"<error{_attributes(type=kind, message=message)}>{_text(f'{result.stage}: {message}')}</error>"
    said = ": ".join(part for part in (value_text(result.value), result.reason) if part)
    if result.passed is False:
        return f"<failure{_attributes(type='Failed', message=said)}>{_text(said)}</failure>"
    score = "" if result.score is None or result.passed is not None else f"score {finite(result.score)} "
    return f"<system-out>{_text(score + said)}</system-out>"


def _totals(counts: Counts, failures: int) -> str:
    return _attributes(
        tests=str(counts.total),
        failures=str(failures),
        errors=str(counts.failed),
        skipped=str(counts.pending + counts.skipped),
    )


def _seconds(seconds: float | None) -> str | None:
    known = finite(seconds)
    return None if known is None else f"{known:.3f}"


def _attributes(**values: str | None) -> str:
    return "".join(f" {name}={quoteattr(_legal(value))}" for name, value in values.items() if value is not None)


def _text(text: str) -> str:
    return escape(_legal(text))


def _legal(text: str) -> str:
    """The text with a mark for each character that XML 1.0 can't write, or that would steer the CI's log."""
    return clean(clip(text, _TEXT_LIMIT))
