"""The database of runs and items: what was sent and what was answered, each state committed as it happens."""
