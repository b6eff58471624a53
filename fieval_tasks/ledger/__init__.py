"""What was sent and what came back, committed as it happens."""
