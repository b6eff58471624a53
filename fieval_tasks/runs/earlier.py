"""What an account has evaluated before: it counts in the windows of its tier, and `--reuse` may take its verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from fieval_tasks.api.account import Account
from fieval_tasks.core.quantities import written_duration
from fieval_tasks.core.spelling import listed
from fieval_tasks.core.tiers import DAY, DEFAULT, Tier
from fieval_tasks.ledger.reuse import Earlier, reused
from fieval_tasks.ledger.run import CheckRecord
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.text import count


def evaluated_before(ledger: Ledger, account: Account, tier: Tier | None) -> dict[str | None, list[float]]:
    """Judge model -> how many seconds ago each evaluation was submitted, in the last day: by any run of the same keys.

    At most as many as the tier allows in a day; without a named tier, as the default tier does.
    """
    now = utc_now()
    since, most = now - timedelta(seconds=DAY), (tier or DEFAULT).most
    found: dict[str | None, list[float]] = {}
    for run in ledger.active_since(since, account.address) if most else ():
        book = ledger.book(run.run_id)
        times = [(check.model, book.submitted_since(since, check.name, most)) for check in run.checks]
        if any(moments for _, moments in times) and account.has(run.account):  # to compare seals takes 0.05 s
            for model, moments in times:
                found.setdefault(model, []).extend((now - moment).total_seconds() for moment in moments)
    return found


def reusable(ledger: Ledger, account: Account, checks: Iterable[CheckRecord], within: float) -> Earlier:
    """The verdicts of the last `within` seconds that may be reused: of runs at the same server, with the same account."""
    since = ledger.now() - timedelta(seconds=within)
    wanted = {(check.template, check.model) for check in checks}
    alike = (
        run
        for run in ledger.active_since(since, account.address)
        if wanted & {(check.template, check.model) for check in run.checks}
    )
    return Earlier(frozenset(run.run_id for run in alike if account.has(run.account)), since)


def reuse_notice(ledger: Ledger, run_id: str, within: float) -> str:
    """What the run has reused, in a sentence."""
    found = reused(ledger.database, run_id)
    window = f"--reuse {written_duration(within)}"
    if not found:
        return f"{window}: no run of this ledger, at this server and with this account, has a verdict for any of these items"
    runs = sorted(found, key=lambda run: (-found[run], run))
    named = listed((f"{found[run]:,} of {run}" for run in runs), _RUNS_NAMED)
    return f"{window}: {count(sum(found.values()), 'verdict')} of earlier runs ({named}) are reused: not sent, and not paid again"


_RUNS_NAMED = 3
"""Runs that a sentence names."""
