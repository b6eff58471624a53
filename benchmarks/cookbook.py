"""The published cookbook's way, in a process of its own: the official SDK and a pool of threads.

Every item is submitted with `is_async=True`; then everything open is asked about in rounds, three seconds apart,
until all is done.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.judge import TEMPLATE, digest, verdict
from benchmarks.usage import Usage

ROUND = 3.0
"""Seconds between two rounds of questions."""


def run(path: Path, threads: int) -> dict[str, Any]:
    from fi.evals import Evaluator  # type: ignore[import-untyped,unused-ignore]

    evaluator = Evaluator(
        fi_base_url=os.environ["FI_BASE_URL"],
        fi_api_key=os.environ["FI_API_KEY"],
        fi_secret_key=os.environ["FI_SECRET_KEY"],
    )
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    began = Usage.now()
    with ThreadPoolExecutor(threads) as pool:
        ids = list(pool.map(lambda row: submitted(evaluator, row), rows))
        values = settled(evaluator, ids, pool)
    ended = Usage.now()
    return {
        "cpu": (ended - began).cpu,
        "began": began.at,
        "ended": ended.at,
        "peak": ended.peak,
        "wrong": sum(value != verdict(digest(row)) for value, row in zip(values, rows, strict=True)),
    }


def submitted(evaluator: Any, row: dict[str, str]) -> str | None:
    result = evaluator.evaluate(TEMPLATE, inputs=row, model_name="turing_flash", is_async=True)
    eval_id: str | None = result.eval_results[0].eval_id
    return eval_id


def settled(evaluator: Any, ids: Sequence[str | None], pool: ThreadPoolExecutor) -> list[str | None]:
    """The value of each evaluation; None where there is none."""
    values: list[str | None] = [None] * len(ids)
    waiting = [place for place, eval_id in enumerate(ids) if eval_id]
    while waiting:
        time.sleep(ROUND)
        answers = list(pool.map(lambda place: evaluator.get_eval_result(ids[place])["result"], waiting))
        done = [(p, a) for p, a in zip(waiting, answers, strict=True) if a["eval_status"] in ("completed", "failed")]
        for place, answer in done:
            values[place] = answer["result"]["value"]
        finished = {place for place, _ in done}
        waiting = [place for place in waiting if place not in finished]
    return values


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cookbook", description=__doc__)
    parser.add_argument("dataset", type=Path, help="as benchmarks.dataset wrote it; the server is FI_BASE_URL")
    parser.add_argument("--threads", type=int, default=8)
    chosen = parser.parse_args()
    print(json.dumps(run(chosen.dataset, chosen.threads)))
