"""report.html of a run of 1,000 rows and of one of 10,000, opened in headless Chromium in five ways."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.browser import WAYS, OpenedReport, chromium
from benchmarks.measures import Measure, Table
from benchmarks.running import ROOT, command, environment

FEW, MANY, SIZE = 1_000, 10_000, 2_000
"""Rows, and characters of a row."""
GIVES_ITSELF_AWAY = "As an AI language model, I can't say more."
"""What the template `no_llm_reference` fails."""
CHECKS = ("no_llm_reference", "completeness", "tone")
"""One that passes or fails, one with a score, one with choices."""
SAMPLE = ROOT / "fieval_tasks" / "data" / "sample.jsonl"
"""Whose words the made rows are of."""
TYPED = "model, I can"
"""It is in many rows at its beginning, and in few at its end."""
Row = Mapping[str, str]


def reports(data: Path | None, items: int | None, pictures: Path | None) -> Iterator[Table]:
    """`data`: rows of HaluEval's general set, in place of 1,000 that are made. Raises DidNotEnd, and NoBrowser."""
    with TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        rows = [*_made(FEW)] if data is None else [*_halueval(data)]
        gates = ("no_llm_reference.pass_rate[part=b] >= 0.9", "completeness.mean >= 0.6")
        _run(folder, "before", rows, CHECKS)
        small = _run(folder, "now", [*_worsened(rows)], CHECKS, "--baseline", "before", *_each("--gate", gates))
        yield _opened(f"{len(rows):,} rows, three checks", small)
        if pictures is not None:
            _take_pictures(small, pictures)
        many = items or MANY
        large = _run(folder, "many", _worsened(_made(many)), CHECKS[:1])
        yield _opened(f"{many:,} rows of {SIZE / 1000:.0f} KB", large)


# -- the runs ------------------------------------------------------------------------------------------------------


def _halueval(path: Path) -> Iterator[Row]:
    for n, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        part = "a" if row["hallucination"] == "no" else "b"
        yield {"id": f"h-{n}", "input": row["user_query"], "output": row["chatgpt_response"], "part": part}


def _made(rows: int) -> Iterator[Row]:
    """Rows of words in any order, which compress worse than what people write."""
    words = sorted({*re.findall(r"\w+", SAMPLE.read_text(encoding="utf-8"))})
    for n in range(rows):
        chosen = iter(random.Random(n).choices(words, k=SIZE))
        question, answer = (" ".join(islice(chosen, SIZE // length)) for length in (60, 8))
        yield {"id": f"m-{n}", "input": question, "output": answer[: SIZE - len(question)], "part": "ab"[n % 2]}


def _worsened(rows: Iterator[Row] | Sequence[Row]) -> Iterator[Row]:
    """Every fortieth answer is worse, so that the page has regressions."""
    for n, row in enumerate(rows):
        yield row if n % 40 else {**row, "output": f"{row['output']} {GIVES_ITSELF_AWAY}"}


def _run(folder: Path, name: str, rows: Iterator[Row] | Sequence[Row], checks: Sequence[str], *more: str) -> Path:
    """The report of a run by the command, on the embedded evaluator."""
    dataset = folder / f"{name}.jsonl"
    with dataset.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)
    words = ["flows.evaluate", dataset.name, *_each("--template", checks), "--id", "id", "--run", name]
    words += ["--connection", "local", "--no-prefect", *more]
    report = f"fieval-runs/{name}/report.html"
    command(words, folder, environment(None, folder), makes=report)
    return folder / report


def _each(option: str, words: Sequence[str]) -> list[str]:
    return [part for word in words for part in (option, word)]


# -- the reports ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """What a report was like in one way of opening it."""

    way: str
    faults: Sequence[str]
    paint: float
    """Milliseconds; of the keystroke, too."""
    key: float | None


def _opened(title: str, report: Path) -> Table:
    seen = [*_seen(report)]
    faults = [f"{one.way}: {fault}" for one in seen for fault in one.faults]
    keys = {one.way: one.key for one in seen if one.key is not None}
    return Table(
        f"report: {title}",
        [
            Measure("report.html", report.stat().st_size / 1e6, at_most=6, unit="MB"),
            *(Measure(f"first paint, {one.way}", one.paint / 1000, at_most=1, unit="s") for one in seen),
            *(
                Measure(f"slowest keystroke in the search, {way}", key, at_most=100, unit="ms")
                for way, key in keys.items()
            ),
            Measure("console errors, requests, serious findings of axe-core", len(faults), at_most=0),
        ],
        [f"load of this machine, of {os.cpu_count()} cores: {os.getloadavg()[0]:.1f}", *faults],
    )


def _seen(path: Path) -> Iterator[_Seen]:
    with chromium() as browser:
        for way, options in WAYS.items():
            report = OpenedReport(browser, path, way)
            paint = report.first_paint()
            unopened = report.page.locator("#list-problem:visible").all_inner_texts()
            key = max(report.keystrokes(TYPED)) if way in ("desktop", "phone") and not unopened else None
            # Without scripts axe-core can't run either; that page is the same but for the list.
            severe = report.severe_findings() if options.get("java_script_enabled", True) else []
            report.close()
            yield _Seen(way, [*unopened, *report.complaints, *severe], paint, key)


PICTURES = {
    "report": ("desktop", "", (1000, 700)),
    "report-list": ("desktop", "#check=no_llm_reference&change=regression", (1000, 520)),
    "report-item": ("phone", "#check=completeness&change=regression&item=ID", (360, 640)),
}
"""Of docs/reports.md: the way of opening it, the fragment, where ID is the first item's, and the size."""


def _take_pictures(path: Path, folder: Path) -> None:
    first = json.loads((path.parent / "results.jsonl").read_text(encoding="utf-8").partition("\n")[0])["item_id"]
    with chromium() as browser:
        for name, (way, fragment, (width, height)) in PICTURES.items():
            report = OpenedReport(browser, path, way, fragment=fragment.replace("ID", first))
            report.page.set_viewport_size({"width": width, "height": height})
            report.page.screenshot(path=folder / f"{name}.png")
            report.close()
