"""What a run that stops when its gate is decided buys, by the whole command, beside what it would have bought."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import dataset
from benchmarks.judge import TEMPLATE, digest, verdict
from benchmarks.measures import Measure, Table
from benchmarks.running import Setting, account_of, command, environment, served

GATE = f"{TEMPLATE}.pass_rate >= 0.95"
RATES = {0.99: 0, 0.97: 0, 0.9: 1}
"""True pass rate -> the exit code that the gate must end with."""


def stopped(setting: Setting) -> Iterator[Table]:
    """One run for each rate. Raises DidNotEnd."""
    for rate, code in RATES.items():
        yield _stopped(setting, rate, code)


def _stopped(setting: Setting, rate: float, code: int) -> Table:
    with TemporaryDirectory(prefix="benchmark-") as name, served(setting) as address:
        folder = Path(name)
        rows = "".join(f"{json.dumps(row)}\n" for row in _rows(setting, rate))
        (folder / "rows.jsonl").write_text(rows, encoding="utf-8")
        words = ["flows.evaluate", "rows.jsonl", "--template", TEMPLATE, "--connection", "env", "--gate", GATE]
        words += ["--stop-when-decided", "--run", "r", "--seed", str(setting.seed)]
        told, variables = "fieval-runs/r/summary.json", environment(address, folder)
        ended = command(words, folder, variables, patience=setting.patience, makes=told)
        summary, account = json.loads((folder / told).read_text(encoding="utf-8")), account_of(address)
    items, [gate] = summary["items"], summary["gates"]
    return Table(
        f"stop: {setting.items:,} rows, of which {rate:.0%} pass, evaluations {setting.evaluation}, {GATE}",
        [
            Measure(f"exit code, which should be {code}", ended.code),
            Measure("wrong exit codes", int(ended.code != code), at_most=0),
            Measure("settled after, in the order of drawing", gate["settled_after"] or setting.items),
            Measure("evaluations at the server", account["items"], at_most=setting.items // 2),
            Measure("evaluations not spent", items["not_needed"]),
            Measure("left without an account", abs(setting.items - items["not_needed"] - account["items"]), at_most=0),
            Measure("evaluated more than once", account["duplicates"], at_most=0),
            Measure("seconds, from the command to its end", ended.seconds, unit="s"),
        ],
        [gate["sentence"]],
    )


def _rows(setting: Setting, rate: float) -> Iterator[dict[str, str]]:
    """Rows of which just that share passes at the server, those that fail among the others."""
    made = list(dataset.rows(4 * setting.items, setting.size))
    wanted = {"Failed": round(setting.items * (1 - rate))}
    wanted["Passed"] = setting.items - wanted["Failed"]
    chosen = {
        n for word, many in wanted.items() for n in islice((n for n, row in enumerate(made) if verdict(digest(row)) == word), many)
    }  # fmt: skip
    yield from (made[n] for n in sorted(chosen))
