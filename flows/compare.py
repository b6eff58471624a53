"""Compare a run with a baseline: `python -m flows.compare RUN [BASELINE]`. Read from the ledger; nothing is sent."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "compare_command")

from collections.abc import Sequence

from fieval_tasks.decisions.comparison import Terms
from fieval_tasks.report.differences import Comparison
from fieval_tasks.runs.baselines import BLESSED, baseline_of
from fieval_tasks.runs.comparing import compared
from fieval_tasks.runs.preparation import kept
from fieval_tasks.runs.sides import RunSide


def compare(
    run: str,
    baseline: str = BLESSED,
    store: str | None = None,
    *,
    margin: float = Terms.margin,
    cluster: str | None = None,
    by: Sequence[str] = (),
    across_models: bool = False,
) -> Comparison:
    """What changed from the baseline to the run, over the items that both have.

    `margin`: a difference that is as good as none. `cluster`: a column whose rows are not independent; else the one that the
    run was begun with. `by`: columns whose values are compared each. Raises PlanError where the two can't be compared.
    """
    with kept(run, store) as found:
        other, _ = baseline_of(baseline, found.ledger, found.run)
        return compared(
            RunSide(found.ledger, found.run),
            other,
            terms=Terms(margin=margin),
            cluster=cluster or found.plan.cluster,
            by=dict.fromkeys(by),
            across_models=across_models,
        )
