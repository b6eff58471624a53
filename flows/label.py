"""`python -m flows.label RUN`: a sheet of randomly drawn items for people to label, and reading their labels back."""

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "label_command")
