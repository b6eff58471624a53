"""JUnit XML: every CI system shows it. Elements and attributes are those that Jenkins' xunit plugin and GitLab both know."""

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
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.record import finite, iso, value_text
from fieval_tasks.report.summary import GateOutcome, RunFacts
from fieval_tasks.report.text import clean, clip, count

# The suites of the gates, and of the comparison with a baseline.
GATES, CHANGES = "gates", "baseline"
REST = "items that are not in this file"
"""The case that counts them."""
_TOTALS = ("tests", "failures", "errors", "skipped")
# Jenkins' schema has no place for the skipped ones of all suites together.
_RUN_TOTALS = _TOTALS[:3]
# Which of a suite's totals counts a case -> the element that says so in it. None counts one that passed.
_TAGS = {"failures": "failure", "errors": "error", "skipped": "skipped"}
_SKIPPED = {"pending": "no verdict yet", "not_needed": "not sent: the gates were decided without it"}
_GATES = {"PASS": "passed", "FAIL": "failures", "UNDECIDED": "errors"}
_LEFT_OUT = {"passed": "passed", "failures": "failed", "errors": "without a verdict", "skipped": "not evaluated yet"}


class Suites:
    """Collects the cases of each check in temporary files until all are counted.

    If the run has gates, each gate is a case in a suite of its own, and items are never failures. Else a Fail verdict is
    one. An item without a verdict is an error, or skipped while a verdict may come.
    """

    def __init__(self, facts: RunFacts, temporary: ExitStack, caps: Caps = CAPS) -> None:
        self._facts = facts
        self._temporary = temporary
        self._room = Room(caps.junit_bytes)
        self._suites = {name: self._suite(name) for name in facts.checks}

    def _suite(self, name: str, room: Room | None = None) -> _Suite:
        # A suite's element begins with its totals, and the checks' results come mixed, so each suite is written apart first.
        file = self._temporary.enter_context(TemporaryFile("w+", encoding="utf-8", newline=""))  # noqa: SIM115
        return _Suite(name, file, room or self._room)

    def add(self, result: Result) -> None:
        if result.check not in self._suites:
            self._suites[result.check] = self._suite(result.check)
        seconds = _seconds(result.runtime_ms and result.runtime_ms / 1000)
        outcome = _outcome(result, is_gated=bool(self._facts.gates))
        self._suites[result.check].add(_name(result), *outcome, time=seconds)

    def write(self, file: IO[str], gates: Sequence[GateOutcome] = (), changes: Mapping[str, str] | None = None) -> None:
        """All of them as one document, whose counts are of what stands in it. `changes`: check -> a sentence, which fails nothing."""
        judged = self._suite(GATES, Room(CAPS.junit_bytes))  # they are few, and never left out
        for gate in gates:
            about = {"type": gate.verdict, "message": gate.sentence} if gate.verdict != "PASS" else {}
            judged.add(gate.gate, _GATES[gate.verdict], gate.sentence, about)
        compared = self._suite(CHANGES, Room(CAPS.junit_bytes))
        for name, sentence in (changes or {}).items():
            compared.add(name, "passed", sentence, {})
        suites = [*([judged] if gates else []), *([compared] if changes else []), *self._suites.values()]
        for suite in suites:
            suite.state_rest()
        counts = sum((suite.counts for suite in suites), Counter[str]())
        run = {"name": self._facts.run_id, **_totals(counts, _RUN_TOTALS), "time": _seconds(self._facts.wall_seconds)}
        file.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites{_attributes(run)}>\n')
        for suite in suites:
            suite.write(file, iso(self._facts.started_at))
        file.write("</testsuites>\n")


class Room:
    """The bytes that are left for cases. Passed ones take half of them at most: failures that come later find room."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._reserved = most // 2

    def take(self, case: str, *, is_reserved: bool) -> bool:
        """False where the case does not fit in any more."""
        size = len(case.encode())
        if size > self._left - (0 if is_reserved else self._reserved):
            return False
        self._left -= size
        return True


class _Suite:
    """One suite, its cases in a file."""

    def __init__(self, name: str, cases: IO[str], room: Room) -> None:
        self.counts: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._seconds = 0.0
        """Of all evaluations, also of those left out."""
        self._name = name
        self._cases = cases
        self._room = room

    def add(self, name: str, kind: str, said: str, about: Mapping[str, str | None], *, time: str | None = None) -> None:
        """A case, `said` in the element of its outcome and `about` as that element's attributes."""
        case = self._case(name, kind, said, about, time)
        self._seconds += float(time or 0)
        if self._room.take(case, is_reserved=kind != "passed"):
            self._write(case, kind)
        else:
            self._left_out[kind] += 1

    def state_rest(self) -> None:
        """A skipped case that says how many items have none, where the file has no room for all."""
        if self._left_out:
            parts = ", ".join(f"{n:,} {_LEFT_OUT[kind]}" for kind, n in sorted(self._left_out.items()))
            said = (
                f"{count(self._left_out.total(), 'more item')} ({parts}): this file is kept below what GitLab reads; "
            )
            said += "results.jsonl has every item"
            self._write(self._case(REST, "skipped", said, {"message": said}, None), "skipped")

    def _case(self, name: str, kind: str, said: str, about: Mapping[str, str | None], time: str | None) -> str:
        tag = _TAGS.get(kind, "system-out")
        case = _attributes({"classname": self._name, "name": name, "time": time})
        outcome = f"<{tag}{_attributes(about)}>{escape(_legal(said))}</{tag}>"
        return f"<testcase{case}>{outcome}</testcase>\n"

    def _write(self, case: str, kind: str) -> None:
        self.counts.update(("tests", kind))
        self._cases.write(case)

    def write(self, file: IO[str], began: str | None) -> None:
        about = {"name": self._name, **_totals(self.counts), "time": _seconds(self._seconds), "timestamp": began}
        file.write(f"<testsuite{_attributes(about)}>\n")
        self._cases.seek(0)
        shutil.copyfileobj(self._cases, file)
        file.write("</testsuite>\n")


def _name(result: Result) -> str:
    """One of its own. The row is only in it where ids may look the same: CI systems know a case again by its name, and one
    more row at the top would make all new to them."""
    shown = _legal(clip(result.item_id, CAPS.junit_text // 2))
    repeat = f", repeat {result.repeat}" if result.repeat else ""
    return shown + ("" if shown == result.item_id else f" (row {result.row})") + repeat


def _outcome(result: Result, *, is_gated: bool) -> tuple[str, str, dict[str, str | None]]:
    """What counts the result, and what is said of it."""
    if result.status in _SKIPPED:
        said = _SKIPPED[result.status]
        return "skipped", said, {"message": said}  # GitLab shows an element's text, Jenkins its message
    if result.status == "failed":
        kind, message = (result.error or {}).get("kind", "unknown"), (result.error or {}).get("message", "")
        return "errors", f"{result.stage}: {message}", {"type": kind, "message": message}
    said = ": ".join(part for part in (value_text(result.value), result.reason) if part)
    said += f" (reused from run {result.reused_from})" if result.reused_from else ""
    if result.passed is False and not is_gated:
        return "failures", f"row {result.row}: {said}", {"type": "Failed", "message": said}
    score = "" if result.score is None or result.passed is not None else f"score {finite(result.score)} "
    return "passed", f"row {result.row}: {score}{said}", {}


def _totals(counts: Counter[str], names: Sequence[str] = _TOTALS) -> dict[str, str | None]:
    return {name: str(counts[name]) for name in names}


def _seconds(seconds: float | None) -> str | None:
    known = finite(seconds)
    return None if known is None or known < 0 else f"{known:.3f}"


def _attributes(values: Mapping[str, str | None]) -> str:
    return "".join(f" {name}={quoteattr(_legal(value))}" for name, value in values.items() if value is not None)


def _legal(text: str) -> str:
    """The text with a mark for each character that XML 1.0 can't write, or that would steer the CI's log. It names no file
    either: GitLab and Jenkins put up what stands in `[[ATTACHMENT|FILE]]`."""
    return clean(clip(text, CAPS.junit_text)).replace("[[ATTACHMENT|", "[[ATTACHMENT |")
