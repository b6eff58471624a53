"""From a plan to a run in the ledger, and from the ledger to its outcome, its report and its items' biographies."""
