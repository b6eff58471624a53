"""JUnit XML: every CI system shows it."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO
from xml.sax.saxutils import escape, quoteattr

from fieval_tasks.items import Result
from fieval_tasks.report.record import finite, iso, value_text
from fieval_tasks.report.summary import RunFacts
from fieval_tasks.report.text import clean, clip

_TEXT_LIMIT = 4_000


class Suites:
    """The cases of each check as the results pass, kept in files that nobody sees until all are counted.

    Only a Pass/Fail verdict can be a failure. An item without a verdict is an error, or skipped while one may come.
    """

    def __init__(self, facts: RunFacts, temporary: ExitStack) -> None:
        self._facts = facts
        self._temporary = temporary
        self._cases = {name: self._file() for name in facts.checks}
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def _file(self) -> IO[str]:
        return self._temporary.enter_context(TemporaryFile("w+", encoding="utf-8", newline=""))

    def add(self, result: Result) -> None:
        if result.check not in self._cases:
            self._cases[result.check] = self._file()
        self._cases[result.check].write(_case(result))
        self._counts[result.check].update(("tests", _kind(result)))

    def write(self, file: IO[str]) -> None:
        """All of them as one document, whose counts are of what stands in it."""
        whole: Counter[str] = sum(self._counts.values(), Counter())
        seconds = _seconds(self._facts.wall_seconds)
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        file.write(f"<testsuites{_attributes(name=self._facts.run_id)}{_totals(whole)}{_attributes(time=seconds)}>\n")
        for name, cases in self._cases.items():
            self._copy_suite(name, cases, file)
        file.write("</testsuites>\n")

    def _copy_suite(self, name: str, cases: IO[str], file: IO[str]) -> None:
        began = _attributes(timestamp=iso(self._facts.started_at))
        file.write(f"<testsuite{_attributes(name=name)}{_totals(self._counts[name])}{began}>\n")
        cases.seek(0)
        shutil.copyfileobj(cases, file)
        file.write("</testsuite>\n")


_TOTALS = ("tests", "failures", "errors", "skipped")


def _kind(result: Result) -> str:
    """Which of a suite's totals counts the result; `passed`, which none does."""
    if result.status in ("pending", "skipped"):
        return "skipped"
    if result.status == "failed":
        return "errors"
    return "failures" if result.passed is False else "passed"


def _totals(counts: Counter[str]) -> str:
    return _attributes(**{name: str(counts[name]) for name in _TOTALS})


def _case(result: Result) -> str:
    seconds = _seconds(result.runtime_ms and result.runtime_ms / 1000)
    head = f"<testcase{_attributes(classname=result.check, name=f'{result.item_id} (row {result.row})', time=seconds)}>"
    return f"{head}{_outcome(result)}</testcase>\n"


def _outcome(result: Result) -> str:
    kind = _kind(result)
    if kind == "skipped":
        why = "no verdict yet" if result.status == "pending" else result.reason or "not evaluated"
        return f"<skipped{_attributes(message=why)}/>"
    if kind == "errors":
        error = result.error or {}
        name, message = error.get("kind", "unknown"), error.get("message", "")
        return f"<error{_attributes(type=name, message=message)}>{_text(f'{result.stage}: {message}')}</error>"
    said = ": ".join(part for part in (value_text(result.value), result.reason) if part)
    if kind == "failures":
        return f"<failure{_attributes(type='Failed', message=said)}>{_text(said)}</failure>"
    score = "" if result.score is None or result.passed is not None else f"score {finite(result.score)} "
    return f"<system-out>{_text(score + said)}</system-out>"


def _seconds(seconds: float | None) -> str | None:
    known = finite(seconds)
    return None if known is None or known < 0 else f"{known:.3f}"


def _attributes(**values: str | None) -> str:
    return "".join(f" {name}={quoteattr(_legal(value))}" for name, value in values.items() if value is not None)


def _text(text: str) -> str:
    return escape(_legal(text))


def _legal(text: str) -> str:
    """The text with a mark for each character that XML 1.0 can't write, or that would steer the CI's log."""
    return clean(clip(text, _TEXT_LIMIT))
