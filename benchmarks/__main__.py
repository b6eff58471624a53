"""`python -m benchmarks NAME...`: run benchmarks and print how far each figure is from its target."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from benchmarks.browser import NoBrowser
from benchmarks.cases import BENCHMARKS, Options
from benchmarks.running import DidNotEnd, Run


def main() -> int:
    """0 where every target was met, 1 where one was missed, 3 where a benchmark did not end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers and clients under way end too
    chosen = _parser().parse_args()
    names = [*BENCHMARKS] if "all" in chosen.names else chosen.names
    options = _options(chosen)
    return max(_benchmark(name, options) for name in names)


def _benchmark(name: str, options: Options) -> int:
    code = 0
    try:
        for table in BENCHMARKS[name](options):
            print(table, flush=True)
            code = max(code, int(table.misses > 0))
    except (DidNotEnd, NoBrowser) as error:
        print(f"== {name}\ndid not end: {error}\n", flush=True)
        return 3
    return code


def _options(chosen: argparse.Namespace) -> Options:
    ours = [] if chosen.concurrency is None else ["--concurrency", str(chosen.concurrency)]
    ours += [] if chosen.store is None else ["--store", chosen.store]

    def keep(benchmark: str, run: Run) -> None:
        if chosen.json is not None:
            with chosen.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"benchmark": benchmark, **run.as_json()}) + "\n")

    return Options(
        items=chosen.items,
        sdk_items=chosen.sdk_items,
        ours=ours,
        evaluation=chosen.evaluation,
        seed=chosen.seed,
        keep=keep,
        data=chosen.data,
        pictures=chosen.pictures,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="How close our runs are to the limit of the server they talk to.",
        epilog="exit codes: 0 every target met; 1 one missed; 3 a benchmark did not end",
    )
    add = parser.add_argument
    add("names", nargs="+", choices=[*BENCHMARKS, "all"], metavar="NAME", help=f"{', '.join(BENCHMARKS)}, or all")
    add("--items", type=int, metavar="N", help="instead of each benchmark's own number")
    add("--sdk-items", type=int, metavar="N", help="for the official SDK, which is slow (default: as many as ours)")
    add("--concurrency", type=int, metavar="N", help="our requests in flight at most (default: the plan's)")
    add("--store", metavar="URL", help="our ledger (default: a new sqlite file)")
    add(
        "--evaluation",
        metavar="NAME:NUMBERS",
        help="evaluation times, such as constant:3 (default: each benchmark's own)",
    )
    add("--seed", type=int, default=0, help="of the evaluation times (default 0)")
    add(
        "--data",
        type=Path,
        metavar="FILE",
        help="for agreement: texts that people judged, as QAGS or HaluEval has them (JSONL); for report: HaluEval's; for page_size: prose",
    )
    add(
        "--pictures", type=Path, metavar="FOLDER", help="for report: take the pictures of the docs, such as docs/images"
    )
    add("--json", type=Path, metavar="FILE", help="append a line for each run, with the server's whole account")
    return parser


if __name__ == "__main__":
    sys.exit(main())
