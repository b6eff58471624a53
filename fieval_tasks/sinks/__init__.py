"""Places outside of the ledger that get a run's verdicts as they arrive, as a table of the user's own."""
