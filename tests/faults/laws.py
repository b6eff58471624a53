"""The run's account against the platform's: what must agree, whatever happened in between."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from fieval_tasks.core.items import Result
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from tests.faults.account import NO_CREDIT, Account, Evaluation
from tests.faults.mix import SILENCES, TAKEN
from tests.faults.platform import reason, verdict

AMBIGUOUS = (*SILENCES, *(TAKEN + silence for silence in SILENCES))
NOT_JUDGED = ("fails", "rate_limited", NO_CREDIT)
"""Fates after which an item may be sent again, once they are told."""


@dataclass(frozen=True)
class Accounts:
    """Both sides of one run whose items differ in their text."""

    run: Run
    results: tuple[Result, ...]
    lost: Counter[str]
    """Text -> its POSTs whose reply was lost, as the ledger has it."""
    given_up: Counter[str]
    """Text -> its tickets that are not asked about any more, each perhaps judged, as the ledger has it."""
    platform: Account

    @classmethod
    def of(cls, ledger: Ledger, run_id: str, platform: Account) -> Accounts:
        run = ledger.run(run_id)
        results = tuple(ledger.book(run.run_id).results(with_inputs=True))
        items = [ledger.book(run.run_id).item(seq) for seq in range(run.total)]
        lost = Counter({item.inputs["output"]: item.lost for item in items})
        given_up = Counter({item.inputs["output"]: item.doubts - item.lost for item in items})
        return cls(run, results, lost, given_up, platform)

    @property
    def statuses(self) -> Counter[str]:
        return Counter(result.status for result in self.results)

    @property
    def duplicates(self) -> int:
        """Evaluations that nobody asked for on purpose: more than one judged for one item."""
        judged = Counter(e.text for e in self.platform.evaluations() if not self._may_be_sent_again(e))
        return sum(n - 1 for n in judged.values())

    def disagreements(self, *, killed: bool = False) -> list[str]:
        """What is wrong, a sentence each. `killed`: a process was, so that not every reply it got is in the ledger."""
        return [
            *self._sums(),
            *(wrong for result in self.results for wrong in self._verdict(result)),
            *self._refused(),
            *self._unaccounted(),
            *self._duplicates(killed),
        ]

    def _sums(self) -> Iterator[str]:
        if len(self.results) != self.run.total:
            yield f"{self.run.total} items went in and {len(self.results)} came out"
        if self.statuses.total() != sum(self.statuses[s] for s in ("scored", "failed", "pending")):
            yield f"odd statuses: {self.statuses}"
        if self.run.submits < self.platform.posts():
            yield f"the run counts {self.run.submits} submissions and the platform saw {self.platform.posts()}"

    def _verdict(self, result: Result) -> Iterator[str]:
        inputs = result.inputs or {}
        text = inputs["output"]
        evaluation = self.platform.evaluation(result.eval_id) if result.eval_id else None
        if result.eval_id and (evaluation is None or evaluation.inputs != inputs):
            yield f"{text!r} has the ticket of {evaluation}"
        if result.status == "scored" and (result.value, result.reason) != (verdict(inputs), reason(inputs)):
            yield f"{text!r} was given {result.value}, {result.reason!r}"
        if result.status == "scored" and evaluation and evaluation.fate not in ("judged", "odd"):
            yield f"{text!r} is scored and the platform's row is {evaluation.fate}"
        if result.stage == "evaluate" and (evaluation is None or evaluation.fate in ("judged", "odd", "stuck")):
            yield f"{text!r} failed ({result.error}) and the platform's row is {evaluation}"
        if result.stage == "wait":
            yield f"{text!r} failed ({result.error}) though the platform knows each of its evaluations"
        if result.status != "failed" and result.error:
            yield f"{text!r} is {result.status} and has the error {result.error}"

    def _refused(self) -> Iterator[str]:
        """Nothing failed on the way to the server that the server did not refuse, or lose the reply to."""
        told = self.platform.carried("400", "500", *AMBIGUOUS)
        for result in self.results:
            text = (result.inputs or {})["output"]
            if result.stage == "submit" and not told[text]:
                yield f"{text!r} failed ({result.error}) and the platform never refused it"

    def _unaccounted(self) -> Iterator[str]:
        """Every accepted evaluation is the item's ticket, was told to be no verdict, or is behind a lost reply."""
        known = {result.eval_id for result in self.results}
        others: defaultdict[str, list[Evaluation]] = defaultdict(list)
        for evaluation in self.platform.evaluations():
            if evaluation.eval_id not in known and not self._may_be_sent_again(evaluation):
                others[evaluation.text].append(evaluation)
        for text, unknown in others.items():
            if len(unknown) > self.lost[text] + self.given_up[text]:
                yield f"{text!r}: {len(unknown)} evaluations that no ticket names, and {self.lost[text]} lost replies"

    def _may_be_sent_again(self, evaluation: Evaluation) -> bool:
        return evaluation.fate in NOT_JUDGED and self.platform.was_told(evaluation.eval_id)

    def _duplicates(self, killed: bool) -> Iterator[str]:
        if self.duplicates > self.run.possible_duplicates:
            yield f"{self.duplicates} evaluations too many, and {self.run.possible_duplicates} declared"
        doubts = self.lost.total() + self.given_up.total()
        if self.run.possible_duplicates > doubts:
            yield f"{self.run.possible_duplicates} declared, and only {doubts} replies lost or tickets given up"
        judged = Counter(e.text for e in self.platform.evaluations() if not self._may_be_sent_again(e))
        if more := {text: n for text, n in self.given_up.items() if n > judged[text]}:
            yield f"more tickets given up than were not told to have failed: {more}"
        silent = self.platform.carried(*AMBIGUOUS)
        if not killed and self.duplicates > silent.total() + self.given_up.total():
            yield f"{self.duplicates} evaluations too many, and {silent.total()} items in lost replies"
        if not killed and (more := {text: n for text, n in self.lost.items() if n > silent[text]}):
            yield f"lost replies in the ledger that the platform had answered: {more}"
