"""How a check went from run to run: `python -m flows.trend DATASET CHECK`. Read from the ledger; nothing is sent."""

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "trend_command")
