"""Keeping a run at the server and account that have its tickets."""

from __future__ import annotations

from fieval_tasks.api.account import LOCAL, Account, one_spelling
from fieval_tasks.core.command_lines import command
from fieval_tasks.core.errors import PlanError
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger


def settle(ledger: Ledger, run_id: str, account: Account, *, store: str | None = None) -> None:
    """Record the run's account, before its first request. Raises PlanError where another account is recorded."""
    run = ledger.run(run_id)
    require_same(run, account, store=store)
    notice = _ADOPTED.format(_named(account.address)) if run.submits else None
    if run.address is None and not ledger.bind(run_id, account.address, account.sealed(), notice=notice):
        require_same(ledger.run(run_id), account, store=store)  # another process has recorded it meanwhile


def move(ledger: Ledger, run: Run, account: Account) -> None:
    """Record new keys or a new address for the run: `--same-account` says that the account is the same."""
    if is_same(run, account):
        return
    there, here = _address(run) or account.address, account.address
    notice = _RENEWED if there == here else _MOVED.format(_named(there), _named(here))
    ledger.bind(run.run_id, account.address, account.sealed(), notice=notice, anew=True)


def is_same(run: Run, account: Account) -> bool:
    """Whether this account is the run's, as far as the ledger knows it."""
    return _address(run) in (None, account.address) and (run.address is None or account.has(run.account))


def require_same(run: Run, account: Account, *, store: str | None = None) -> None:
    """Raises PlanError where the run's tickets are another server's, or another account's. `store`: as it was given."""
    if is_same(run, account):
        return
    there, here = _address(run), account.address
    again = command("evaluate", "--resume", run.run_id, "--same-account", store=store)
    if there == here:
        raise PlanError(
            f"run {run.run_id} was sent to {here} with another account's keys, or to another workspace: its tickets are "
            f"theirs, so set those again (nothing was asked or sent); if these are new keys of the same account: {again}"
        )
    back = "add --connection local" if there == LOCAL.address else f"set FI_BASE_URL to {there}, and its keys"
    raise PlanError(
        f"run {run.run_id} was sent to {_named(there)}, which has its tickets, and now {_named(here)} would be asked for "
        f"them: {back} (nothing was asked or sent); if it is the same server and account under a new address: {again}"
    )


def _address(run: Run) -> str | None:
    """The server that the run was sent to; for a run of an older version the plan's server. None: not sent yet."""
    return run.address or (one_spelling(run.connection) if run.submits else None)


def _named(address: str | None) -> str:
    return "the local evaluator" if address == LOCAL.address else str(address)


_ADOPTED = (
    "it was begun by an older version, which did not keep whose keys it used: from now on it goes on with these, at {}"
)
_MOVED = "it was sent to {} first, and goes on at {}: --same-account says that this is the same account"
_RENEWED = "it goes on with other keys, or another workspace: --same-account says that this is the same account"
