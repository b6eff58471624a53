"""Compare a run with a baseline: `python -m flows.compare RUN [BASELINE]`. Read from the ledger; nothing is sent."""

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "compare_command")
