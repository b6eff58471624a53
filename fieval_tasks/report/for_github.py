"""A run, or a comparison, as GitHub Actions takes it: a comment and a step summary, annotations, and values for later steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import Any

from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.deciding import deciding
from fieval_tasks.report.differences import Comparison, Flip, verdict_of
from fieval_tasks.report.endings import PENDING, headline, verdict
from fieval_tasks.report.pages import environment, fenced, inert
from fieval_tasks.report.record import value_text
from fieval_tasks.report.summary import Report
from fieval_tasks.report.text import count, one_line
from fieval_tasks.report.words import standing

# GitHub's coloured boxes; all else is a WARNING.
_ALERTS = {"PASS": "TIP", "FAIL": "CAUTION", PENDING: "NOTE"}
_MARKER = "<!-- fieval: {} -->"
_UNSAFE_IN_MARKER = re.compile(r"[^\w./=-]+|--+")
_SPARE = 400
"""Bytes that are kept for the end of a page that is cut: it closes what is folded, and says what is left out."""


@dataclass(frozen=True)
class GitHubPage:
    """A page for GitHub that can be cut to a number of bytes."""

    body: str
    tail: str
    """How to look further: kept whatever is cut."""

    @classmethod
    def of_report(cls, report: Report, series: str, where: str, link: str, caps: Caps = CAPS) -> GitHubPage:
        """`series`: the dataset's location, by which runs on it share one comment. `where`: the folder of the run's files.
        `link`: the address of the workflow's run, or empty."""
        facts = report.facts
        key = [series, *(f"{one.name} {one.model}" for one in report.checks.values())]
        return cls._drawn(
            verdict(facts.exit_code or 0, report), report.comparison, caps, marker=marker(facts.dataset, key),
            title=f"{headline(report)}: {facts.run_id}", standing=standing(report), gates=report.gates,
            decides={gate.gate: deciding(gate, report).sentence for gate in report.gates},
            notices=report.notices, checks=report.checks, groups=report.page.reasons.found,
            resume=facts.resume_command, explain=facts.explain_command, where=where, link=link,
        )  # fmt: skip

    @classmethod
    def of_comparison(cls, found: Comparison, where: str, link: str, caps: Caps = CAPS) -> GitHubPage:
        """As `of_report`."""
        title = f"{found.run} compared with {found.baseline}"
        mark = marker("comparison", [found.baseline, *found.checks])
        return cls._drawn(verdict(found.exit_code), found, caps, marker=mark, title=title, where=where, link=link)

    @classmethod
    def _drawn(cls, found: str, compared: Comparison | None, caps: Caps, **said: Any) -> GitHubPage:
        lists = dict.fromkeys(("gates", "notices", "groups"), ())
        unsaid = {**lists, "checks": {}, "standing": "", "resume": "", "explain": ""}
        page = environment(inert, fenced).get_template("github.md.j2")
        alert = _ALERTS.get(found, "WARNING")
        text = page.render(unsaid | said | {"verdict": found, "alert": alert, "comparison": compared, "caps": caps})
        body, rule, tail = text.rpartition("\n#### To look further\n")  # no text of a row begins a line so: see `inert`
        return cls(f"{body}\n", rule + tail)

    def within(self, most: int) -> str:
        """The page in so many bytes of UTF-8, cut between two lines; empty where that is too little for its first ones."""
        whole = self.body + self.tail
        if len(whole.encode()) <= most:
            return whole
        lines, taken, left = self.body.splitlines(), list[str](), most - len(self.tail.encode()) - _SPARE
        for line in lines:
            left -= len(line.encode()) + 1
            if left < 0:
                break
            taken.append(line)
        if not taken:
            return ""
        rows = sum(line.startswith(("| ", "- ", "> - ")) for line in lines[len(taken) :])
        folded = sum(line.startswith("<details>") for line in taken) - taken.count("</details>")
        left_out = f"> **{count(rows, 'row is', 'rows are')} left out here:** GitHub shows no larger page."
        return "\n".join([*taken, *(["", "</details>"] * folded), "", left_out, self.tail])


def marker(name: str, key: Iterable[str]) -> str:
    """The first line of a comment, which GitHub does not show: the same for each run of this dataset by these checks."""
    shown = _UNSAFE_IN_MARKER.sub("-", name)[:60]
    return _MARKER.format(f"{shown} {sha256(chr(0).join(key).encode(errors='replace')).hexdigest()[:8]}")


# -- annotations ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InRepository:
    """Where the rows of a dataset stand in a repository."""

    file: str | None = None
    """From its root; None where they stand elsewhere."""
    lines: Mapping[int, int] = field(default_factory=dict)
    """Row's number -> line."""


Located = Callable[[list[int]], InRepository]
"""Finds the places of the rows with these numbers."""


def annotations_of(report: Report, located: Located, *, most: int = CAPS.annotations) -> list[str]:
    """The lines that have GitHub show what failed: gates, then the regressed and the failed items beside their rows."""
    items = list(islice(_items(report), most))
    place = located([row for row, _, _ in items])
    errors, warnings = (
        [
            annotation(kind, gate.sentence, file=place.file, title=f"gate {how}")
            for gate in report.gates
            if gate.verdict == verdict
        ]
        for kind, how, verdict in (("error", "failed", "FAIL"), ("warning", "undecided", "UNDECIDED"))
    )
    warnings += [
        annotation("warning", said, file=place.file, line=place.lines.get(row), title=title)
        for row, title, said in items
    ]
    told = annotation("notice", f"{headline(report)}: {standing(report)}", title=f"run {report.facts.run_id}")
    return [*errors[:most], *warnings[:most], told]


def comparison_annotations(found: Comparison, *, most: int = CAPS.annotations) -> list[str]:
    """One for each check that is worse, or of which too little is known."""
    kinds = {"WORSE": "error", "CANT_TELL": "warning"}
    told = [
        annotation(kinds.get(change.compared.verdict.value, "notice"), said, title="compared with the baseline")
        for change, said in zip(found.checks.values(), found.sentences.values(), strict=True)
    ]
    return told[:most]


def annotation(kind: str, text: str, **about: object) -> str:
    """`::error file=answers.csv,line=18,title=…::…`, in which no text ends the line, the properties or itself."""
    known = ((name, value) for name, value in about.items() if value is not None)
    said = ",".join(f"{name}={_property(one_line(str(value), CAPS.long_text))}" for name, value in known)
    return f"::{kind}{' ' if said else ''}{said}::{_data(one_line(text, CAPS.long_text))}"


def _items(report: Report) -> Iterator[tuple[int, str, str]]:
    """Row, title and words of the items that tell most: regressions, then verdicts that failed, the lowest first."""
    told = set[tuple[str, int]]()
    for name, change in report.comparison.checks.items() if report.comparison else ():
        for flip in change.flips:
            if flip.is_regression:
                told.add((name, flip.row))
                yield flip.row, f"{name}: row {flip.row} regressed", regressed(flip)
    for result in report.worst:
        if result.passed is False and (result.check, result.row) not in told:
            why = result.reason or value_text(result.value) or ""
            yield result.row, f"{result.check}: row {result.row} failed", f"item {result.item_id}: {why}"


def regressed(flip: Flip) -> str:
    before = f"{verdict_of(flip.baseline)} in the baseline, " if flip.baseline else "it passed in the baseline, "
    return f"item {flip.item_id}: {before}{verdict_of(flip.run)} now: {flip.run.reason or 'without a reason'}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
