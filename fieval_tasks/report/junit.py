"""JUnit XML: every CI system shows it."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO
from xml.sax.saxutils import escape, quoteattr

from fieval_tasks.core.items import Result
from fieval_tasks.report.record import finite, iso, value_text
from fieval_tasks.report.summary import GateOutcome, RunFacts
from fieval_tasks.report.text import clean, clip

_TEXT_LIMIT = 4_000
GATES = "gates"
"""The suite of the gates."""


class Suites:
    """The cases of each check as the results pass, kept in files that nobody sees until all are counted.

    Where the run has gates, each is a case of a suite of their own, and they decide: no item is a failure. Else a
    Pass/Fail verdict can be one. An item without a verdict is an error, or skipped while one may come.
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
        kind = _kind(result, gated=bool(self._facts.gates))
        self._cases[result.check].write(_case(result, kind))
        self._counts[result.check].update(("tests", kind))

    def write(self, file: IO[str], gates: Sequence[GateOutcome] = ()) -> None:
        """All of them as one document, whose counts are of what stands in it."""
        judged = Counter(kind for gate in gates for kind in ("tests", _GATES[gate.verdict]))
        whole: Counter[str] = sum(self._counts.values(), judged)
        seconds = _seconds(self._facts.wall_seconds)
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        file.write(f"<testsuites{_attributes(name=self._facts.run_id)}{_totals(whole)}{_attributes(time=seconds)}>\n")
        if gates:
            file.write(f"<testsuite{_attributes(name=GATES)}{_totals(judged)}{self._began()}>\n")
            file.writelines(map(_gate_case, gates))
            file.write("</testsuite>\n")
        for name, cases in self._cases.items():
            self._copy_suite(name, cases, file)
        file.write("</testsuites>\n")

    def _began(self) -> str:
        return _attributes(timestamp=iso(self._facts.started_at))

    def _copy_suite(self, name: str, cases: IO[str], file: IO[str]) -> None:
        file.write(f"<testsuite{_attributes(name=name)}{_totals(self._counts[name])}{self._began()}>\n")
        cases.seek(0)
        shutil.copyfileobj(cases, file)
        file.write("</testsuite>\n")


_TOTALS = ("tests", "failures", "errors", "skipped")
_GATES = {"PASS": "passed", "FAIL": "failures", "UNDECIDED": "errors"}


def _gate_case(gate: GateOutcome) -> str:
    kind, told = _GATES[gate.verdict], _attributes(type=gate.verdict, message=gate.sentence)
    tag = {"passed": "system-out", "failures": "failure", "errors": "error"}[kind]
    said = f"<{tag}{'' if kind == 'passed' else told}>{_text(gate.sentence)}</{tag}>"
    return f"<testcase{_attributes(classname=GATES, name=gate.gate)}>{said}</testcase>\n"


def _kind(result: Result, *, gated: bool) -> str:
    """Which of a suite's totals counts the result; `passed`, which none does."""
    if result.status in ("pending", "skipped"):
        return "skipped"
    if result.status == "failed":
        return "errors"
    return "failures" if result.passed is False and not gated else "passed"


def _totals(counts: Counter[str]) -> str:
    return _attributes(**{name: str(counts[name]) for name in _TOTALS})


def _case(result: Result, kind: str) -> str:
    seconds = _seconds(result.runtime_ms and result.runtime_ms / 1000)
    head = f"<testcase{_attributes(classname=result.check, name=f'{result.item_id} (row {result.row})', time=seconds)}>"
    return f"{head}{_outcome(result, kind)}</testcase>\n"


def _outcome(result: Result, kind: str) -> str:
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
