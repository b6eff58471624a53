"""What a run came to, as figures that the ledger keeps of each check, and what they may be compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from fieval_tasks.core.budget import amount
from fieval_tasks.core.gates import Gate
from fieval_tasks.core.items import Result
from fieval_tasks.data.intake import canonical
from fieval_tasks.ledger.check_figures import WHOLE, CheckFigures
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.report.figures import STATUSES
from fieval_tasks.report.summary import Report
from fieval_tasks.report.tally import Tally
from fieval_tasks.runs.calibrating import identity
from fieval_tasks.runs.preparation import Kept
from fieval_tasks.runs.sides import DIGEST, Judged, asked_of


class AskedRows:
    """Tells by a digest whether two runs put the same questions to a check, in whatever order.

    A row's question is its input side (question, context, reference), and its id where a column names it: answers are what
    a trend is about, so other answers to the same questions are the same rows. Where rows have neither, the dataset's whole
    content counts.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._has_ids = run.plan.get("id_column") is not None
        self._keys = {check.name: Judged.of(check).keys for check in run.checks}
        self._sums = dict.fromkeys(self._keys, 0)

    def watched(self, results: Iterable[Result]) -> Iterator[Result]:
        """The same results, once they are counted in. They must have their inputs."""
        for result in results:
            if result.check in self._keys and not result.repeat:
                self._add(result)
            yield result

    def _add(self, result: Result) -> None:
        item = result.item_id.encode(errors="surrogatepass") if self._has_ids else b""
        asked = asked_of(result.inputs or {}, self._keys[result.check])
        if item or asked:
            # A sum, because a dataset that was sorted anew asks the same.
            digest = int.from_bytes(sha256(asked + b"\0" + item).digest(), "big")
            self._sums[result.check] = (self._sums[result.check] + digest) % 2**256

    def digest(self, check: str) -> str:
        """64 characters at most. One that starts with WHOLE is of the dataset's whole content, answers and all."""
        total = self._sums.get(check)
        return f"{total:064x}" if total else f"{WHOLE}{self._run.dataset_fingerprint}"[:64]


def figures_of(kept: Kept, report: Report, asked: AskedRows) -> list[CheckFigures]:
    """What each check of the run came to, as its report has it."""
    run, sent = kept.ledger.run(kept.run_id), kept.ledger.spent(kept.run_id)  # which has its server's address by now
    return [
        CheckFigures(
            run_id=run.run_id,
            check_name=check.name,
            at=kept.ledger.now(),
            asked=asked.digest(check.name),
            cost=_cost(check, sent.get(check.name, 0), kept.plan.prices),
            gates=_gates(report, check.name),
            **_judged(run, check),
            **_counted(report.checks[check.name]),
            **_corrected(report, check.name),
        )
        for check in run.checks
    ]


def _judged(run: Run, check: CheckRecord) -> dict[str, Any]:
    """What makes a judge the same one, as for people's labels; parameters as a digest, for they may hold keys."""
    same = identity(run, check, "")
    params = sha256(canonical(same["params"]).encode()).hexdigest()[: 2 * DIGEST]
    return {
        **{"server": same["judge"], "template": check.template, "model": check.model},
        **{"params": params, "good": ", ".join(same["good"])},
    }


def _gates(report: Report, check: str) -> list[dict[str, str]]:
    about = (check, None)  # None: all checks
    mine = (one for one in report.gates if Gate.parse(one.gate).check in about)
    return [{"gate": one.gate, "verdict": one.verdict, "sentence": one.sentence} for one in mine]


def _cost(check: CheckRecord, sent: int, prices: Mapping[str, str]) -> float | None:
    price = prices.get(check.model or "")
    return None if price is None else float(sent * amount(price))


def _counted(tally: Tally) -> dict[str, Any]:
    low, high = tally.pass_rate_interval or (None, None)
    least, most = tally.bounds or (None, None)
    return {
        **{name: getattr(tally, name) for name in ("total", *STATUSES, "reused", "passed", "pass_rate", "mean")},
        **{"pass_rate_low": low, "pass_rate_high": high, "bounds_low": least, "bounds_high": most},
    }


def _corrected(report: Report, check: str) -> dict[str, Any]:
    found = report.corrections.get(check)
    if found is None:
        return {}
    low, high = found.figures.interval
    return {"corrected_rate": found.figures.value, "corrected_low": low, "corrected_high": high, "policy": found.policy}
