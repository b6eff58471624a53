"""Statistics of verdicts: intervals, and bounds that the missing verdicts leave open."""
