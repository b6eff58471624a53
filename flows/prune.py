"""Delete the rows and verdicts of old runs: `python -m flows.prune --older-than 90d`. What they came to is kept."""

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "prune_command")
