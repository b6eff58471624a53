"""The runs of a ledger, and how each ended: `python -m flows.runs`. Read from the ledger; nothing is sent."""

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "runs_command")
