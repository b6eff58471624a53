"""How large report.html gets, whatever its rows hold, and what it leaves out for that."""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measures import Measure, Table
from benchmarks.usage import Usage
from fieval_tasks.core.items import Result
from fieval_tasks.report.output import write_report, write_results
from fieval_tasks.report.summary import RunFacts
from fieval_tasks.report.words import held

CHARACTERS = 2_000
"""Of a row's texts together."""
SEED = 1
_START = datetime(2026, 11, 20, 17, tzinfo=timezone.utc)


def page_size(data: Path | None, rows: int) -> Iterator[Table]:
    """All files of runs of so many rows: of random words, and of the sentences of a file of JSON lines, where one is named."""
    kinds: dict[str, Callable[[random.Random], str]] = {"random words": _word}
    if data is not None:
        sentences = [*_sentences(data)]
        kinds["prose"] = lambda drawn: drawn.choice(sentences)
    for name, part in kinds.items():
        with TemporaryDirectory(prefix="benchmark-") as folder:
            began = Usage.now()
            size, left_out = _page(Path(folder), rows, part)
            took = Usage.now() - began
        yield Table(
            f"page_size: {rows:,} rows of {CHARACTERS:,} characters of {name}",
            [
                Measure("report.html", size / 1e6, at_most=6, unit="MB"),
                Measure("all files", took.at, unit="s"),
                Measure("memory at most", Usage.now().peak, unit="MB"),
            ],
            [left_out],
        )


def _page(folder: Path, rows: int, part: Callable[[random.Random], str]) -> tuple[int, str]:
    """The bytes of the page, and what it leaves out."""
    checks = {"groundedness": ("groundedness", "turing_flash", "Pass/Fail")}
    facts = RunFacts("made", None, "made.jsonl", "async", "local", _START, checks=checks)
    report = write_results(facts, _results(rows, part), folder)
    write_report(report, folder)
    return (folder / "report.html").stat().st_size, held(report.page.rows)


def _results(rows: int, part: Callable[[random.Random], str]) -> Iterator[Result]:
    """One in ten fails, one in a hundred has no verdict."""
    drawn = random.Random(SEED)
    for row in range(1, rows + 1):
        text = ""
        while len(text) < CHARACTERS:
            text += part(drawn) + " "
        inputs = {"context": text[:1200], "output": text[1200:-200]}
        took, ended = drawn.lognormvariate(7.5, 0.5), _START + timedelta(seconds=row / 40)
        passed = row % 10 != 3
        scored = Result(
            f"row-{row}", row, "groundedness", "groundedness", "turing_flash", "scored", "Passed" if passed else "Failed",
            float(passed), passed, text[-200:], took, f"e-{row}", None, None, 1, _START, ended, inputs, seq=row,
        )  # fmt: skip
        error = {"kind": "evaluation_error", "message": f"the judge failed on row {row}"}
        lost = {"status": "failed", "stage": "evaluate", "error": error}
        nothing = dict.fromkeys(("value", "score", "passed", "reason"))
        yield replace(scored, **lost, **nothing) if row % 100 == 7 else scored


def _word(drawn: random.Random) -> str:
    return "".join(drawn.choices(string.ascii_lowercase, k=drawn.randint(2, 10)))


def _sentences(path: Path) -> Iterator[str]:
    """Those of a dataset's texts, each once; drawn at random they repeat themselves further apart than gzip looks back."""
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)
    texts = (str(value) for line in lines for value in line.values())
    yield from dict.fromkeys(one.strip() for text in texts for one in re.split(r"(?<=[.!?])\s+", text) if len(one) > 20)
