"""Places outside of the ledger that get a run's verdicts as they arrive: tables of the user's own, and OpenTelemetry."""
