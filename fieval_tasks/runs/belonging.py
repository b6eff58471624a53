"""A run goes on where it began: at the server that has its tickets, with keys of the account that they belong to."""

from __future__ import annotations

from fieval_tasks.api.account import LOCAL, Account, one_spelling
from fieval_tasks.core.commands import command
from fieval_tasks.core.errors import PlanError
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger


def settle(ledger: Ledger, run_id: str, account: Account, *, store: str | None = None) -> None:
    """Before its first request: the run belongs to this account from now on. Raises PlanError where it is another's."""
    run = ledger.run(run_id)
    require_same(run, account, store=store)
    notice = _ADOPTED.format(_named(account.address)) if run.submits else None
    if run.address is None and not ledger.bind(run_id, account.address, account.sealed(), notice=notice):
        require_same(ledger.run(run_id), account, store=store)  # another process was quicker


def move(ledger: Ledger, run: Run, account: Account) -> None:
    """The user says that it is the same account, whatever has changed."""
    if is_same(run, account):
        return
    there, here = _address(run) or account.address, account.address
    notice = _RENEWED if there == here else _MOVED.format(_named(there), _named(here))
    ledger.bind(run.run_id, account.address, account.sealed(), notice=notice, anew=True)


def is_same(run: Run, account: Account) -> bool:
    """Whether the run may be asked about there, as far as the ledger knows where it belongs."""
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
    """Where the run was sent; of one that an older program began, where it was to be sent. None: nowhere yet."""
    return run.address or (one_spelling(run.connection) if run.submits else None)


def _named(address: str | None) -> str:
    return "the local evaluator" if address == LOCAL.address else str(address)


_ADOPTED = (
    "it was begun by an older version, which did not keep whose keys it used: from now on it goes on with these, at {}"
)
_MOVED = "it was sent to {} first, and goes on at {}: --same-account says that this is the same account"
_RENEWED = "it goes on with other keys, or another workspace: --same-account says that this is the same account"
