"""From a plan to a run, and from a run to its outcome and its history."""
