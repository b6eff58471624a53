"""Make a run the baseline that later ones are compared with: `python -m flows.bless RUN`."""

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "bless_command")
