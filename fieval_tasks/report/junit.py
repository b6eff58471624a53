"""JUnit XML: every CI system shows it."""

# Not by junitparser, which holds the whole document in memory and passes on characters that XML has no place for.

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO
from xml.sax.saxutils import escape, quoteattr

from fieval_tasks.core.items import Result
from fieval_tasks.report.caps import CAPS
from fieval_tasks.report.record import finite, iso, value_text
from fieval_tasks.report.summary import GateOutcome, RunFacts
from fieval_tasks.report.text import clean, clip

# The suites of the gates, and of the comparison with a baseline.
GATES, CHANGES = "gates", "baseline"
_TOTALS = ("tests", "failures", "errors", "skipped")
# Which of a suite's totals counts a case -> the element that says so in it. None counts one that passed.
_TAGS = {"failures": "failure", "errors": "error", "skipped": "skipped"}
_SKIPPED = {"pending": "no verdict yet", "not_needed": "not sent: the gates were decided without it"}
_GATES = {"PASS": "passed", "FAIL": "failures", "UNDECIDED": "errors"}


class Suites:
    """Collects the cases of each check in temporary files until all are counted.

    If the run has gates, each gate is a case in a suite of its own, and items are never failures. Else a Fail verdict is
    one. An item without a verdict is an error, or skipped while a verdict may come.
    """

    def __init__(self, facts: RunFacts, temporary: ExitStack) -> None:
        self._facts = facts
        self._temporary = temporary
        self._suites = {name: self._suite(name) for name in facts.checks}

    def _suite(self, name: str) -> _Suite:
        # A suite's element begins with its totals, and the checks' results come mixed, so each suite is written apart first.
        return _Suite(name, self._temporary.enter_context(TemporaryFile("w+", encoding="utf-8", newline="")))

    def add(self, result: Result) -> None:
        if result.check not in self._suites:
            self._suites[result.check] = self._suite(result.check)
        repeat = f", repeat {result.repeat}" if result.repeat else ""
        name, seconds = (
            f"{result.item_id} (row {result.row}{repeat})",
            _seconds(result.runtime_ms and result.runtime_ms / 1000),
        )
        self._suites[result.check].add(name, *_outcome(result, is_gated=bool(self._facts.gates)), time=seconds)

    def write(self, file: IO[str], gates: Sequence[GateOutcome] = (), changes: Mapping[str, str] | None = None) -> None:
        """All of them as one document, whose counts are of what stands in it. `changes`: check -> a sentence, which fails nothing."""
        judged = self._suite(GATES)
        for gate in gates:
            about = {"type": gate.verdict, "message": gate.sentence} if gate.verdict != "PASS" else {}
            judged.add(gate.gate, _GATES[gate.verdict], gate.sentence, about)
        compared = self._suite(CHANGES)
        for name, sentence in (changes or {}).items():
            compared.add(name, "passed", sentence, {})
        suites = [*([judged] if gates else []), *([compared] if changes else []), *self._suites.values()]
        counts = sum((suite.counts for suite in suites), Counter[str]())
        run = {"name": self._facts.run_id, **_totals(counts), "time": _seconds(self._facts.wall_seconds)}
        file.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites{_attributes(run)}>\n')
        for suite in suites:
            suite.write(file, iso(self._facts.started_at))
        file.write("</testsuites>\n")


class _Suite:
    """One suite, its cases in a file."""

    def __init__(self, name: str, cases: IO[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._name = name
        self._cases = cases

    def add(self, name: str, kind: str, said: str, about: Mapping[str, str | None], *, time: str | None = None) -> None:
        """A case, `said` in the element of its outcome and `about` as that element's attributes."""
        self.counts.update(("tests", kind))
        tag = _TAGS.get(kind, "system-out")
        case = _attributes({"classname": self._name, "name": name, "time": time})
        outcome = f"<{tag}{_attributes(about)}>{escape(_legal(said))}</{tag}>"
        self._cases.write(f"<testcase{case}>{outcome}</testcase>\n")

    def write(self, file: IO[str], began: str | None) -> None:
        file.write(f"<testsuite{_attributes({'name': self._name, **_totals(self.counts), 'timestamp': began})}>\n")
        self._cases.seek(0)
        shutil.copyfileobj(self._cases, file)
        file.write("</testsuite>\n")


def _outcome(result: Result, *, is_gated: bool) -> tuple[str, str, dict[str, str | None]]:
    """What counts the result, and what is said of it."""
    if result.status in _SKIPPED:
        return "skipped", "", {"message": _SKIPPED[result.status]}
    if result.status == "failed":
        kind, message = (result.error or {}).get("kind", "unknown"), (result.error or {}).get("message", "")
        return "errors", f"{result.stage}: {message}", {"type": kind, "message": message}
    said = ": ".join(part for part in (value_text(result.value), result.reason) if part)
    said += f" (reused from run {result.reused_from})" if result.reused_from else ""
    if result.passed is False and not is_gated:
        return "failures", said, {"type": "Failed", "message": said}
    score = "" if result.score is None or result.passed is not None else f"score {finite(result.score)} "
    return "passed", score + said, {}


def _totals(counts: Counter[str]) -> dict[str, str | None]:
    return {name: str(counts[name]) for name in _TOTALS}


def _seconds(seconds: float | None) -> str | None:
    known = finite(seconds)
    return None if known is None or known < 0 else f"{known:.3f}"


def _attributes(values: Mapping[str, str | None]) -> str:
    return "".join(f" {name}={quoteattr(_legal(value))}" for name, value in values.items() if value is not None)


def _legal(text: str) -> str:
    """The text with a mark for each character that XML 1.0 can't write, or that would steer the CI's log."""
    return clean(clip(text, CAPS.junit_text))
