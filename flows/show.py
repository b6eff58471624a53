"""One run on a page: `python -m flows.show RUN`. Read from the ledger; nothing is sent."""

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "show_command")
