"""One run at work: sending items, asking about their tickets, and recording verdicts."""
