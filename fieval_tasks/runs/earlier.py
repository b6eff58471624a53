"""An account's evaluations of the last day, which count in the windows of its tier."""

from __future__ import annotations

from datetime import timedelta

from fieval_tasks.api.account import Account
from fieval_tasks.core.tiers import DAY, DEFAULT, Tier
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger


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
