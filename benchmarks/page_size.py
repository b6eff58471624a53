"""`python -m benchmarks.page_size`: how large report.html gets, whatever its rows hold, and what it leaves out for that."""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import string
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from fieval_tasks.core.items import Result
from fieval_tasks.report.output import write_report, write_results
from fieval_tasks.report.summary import RunFacts
from fieval_tasks.report.words import held

LIMIT = 6_000_000
"""Bytes that the file of 10,000 rows of 2 KB may have."""
SEED = 1
_START = datetime(2026, 11, 20, 17, tzinfo=timezone.utc)


def main() -> int:
    """Print a line for each kind of text; 1 where a page is larger than it may be."""
    chosen = _parser().parse_args()
    kinds: dict[str, Callable[[random.Random], str]] = {"random words": _word}
    if chosen.data is not None:
        sentences = [*_sentences(chosen.data)]
        kinds["prose"] = lambda drawn: drawn.choice(sentences)
    code = 0
    for name, part in kinds.items():
        with TemporaryDirectory() as made:
            size, seconds, said = _page(chosen.output or Path(made), chosen.rows, chosen.characters, part)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{name}: {chosen.rows:,} rows of {chosen.characters:,} characters: {size:,} bytes of at most {LIMIT:,}, "
              f"all files in {seconds:.1f} s, {memory:,} MiB at most. {said}")  # fmt: skip
        code |= size > LIMIT
    return code


def _page(folder: Path, rows: int, characters: int, part: Callable[[random.Random], str]) -> tuple[int, float, str]:
    began = perf_counter()
    facts = RunFacts(
        "made", None, "made.jsonl", "async", "local", _START, checks={"groundedness": ("groundedness", "turing_flash", "Pass/Fail")}
    )  # fmt: skip
    report = write_results(facts, _results(rows, characters, part), folder)
    write_report(report, folder)
    return (folder / "report.html").stat().st_size, perf_counter() - began, held(report.page.rows)


def _results(rows: int, characters: int, part: Callable[[random.Random], str]) -> Iterator[Result]:
    """One in ten fails, one in a hundred has no verdict."""
    drawn = random.Random(SEED)
    for row in range(1, rows + 1):
        text = ""
        while len(text) < characters:
            text += part(drawn) + " "
        context, output, reason = (
            text[: characters * 6 // 10],
            text[characters * 6 // 10 : characters - 200],
            text[-200:],
        )
        ends, is_lost, passed = _START + timedelta(seconds=row / 40), row % 100 == 7, row % 10 != 3
        yield Result(
            f"row-{row}", row, "groundedness", "groundedness", "turing_flash", "failed" if is_lost else "scored",
            None if is_lost else "Passed" if passed else "Failed", None if is_lost else float(passed), None if is_lost else passed,
            None if is_lost else reason, drawn.lognormvariate(7.5, 0.5), f"e-{row}", "evaluate" if is_lost else None,
            {"kind": "evaluation_error", "message": f"the judge failed on row {row}"} if is_lost else None, 1, _START, ends,
            {"context": context, "output": output}, seq=row,
        )  # fmt: skip


def _word(drawn: random.Random) -> str:
    return "".join(drawn.choices(string.ascii_lowercase, k=drawn.randint(2, 10)))


def _sentences(path: Path) -> Iterator[str]:
    """Those of a dataset's texts, each once; drawn at random they repeat themselves further apart than gzip looks back."""
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)
    texts = (str(value) for line in lines for value in line.values())
    yield from dict.fromkeys(one.strip() for text in texts for one in re.split(r"(?<=[.!?])\s+", text) if len(one) > 20)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--characters", type=int, default=2_000, help="of a row's texts together")
    parser.add_argument("--data", type=Path, help="JSON lines with prose, such as HaluEval")
    parser.add_argument("--output", type=Path, help="a folder to keep the files in")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
